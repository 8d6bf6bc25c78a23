//! `conv2d`: a convolution of a script's own tensors, with gradients to both.
//!
//! Put together from selecting rows and a matrix product. candle's own takes one stride and one padding for both
//! directions, and its backward pass settles the size of the gradient by the height alone, so it fails for maps that
//! are not square.

use super::Tensor;
use super::arguments::{Pair, float_type};
use crate::script::binding::{Library, Options};
use crate::{Error, Result};
use candle_core::Tensor as Candle;

/// One direction of a convolution.
struct Direction {
    size: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
    outputs: usize,
}

impl Direction {
    fn new(size: usize, kernel: usize, stride: usize, padding: Option<usize>, dilation: usize) -> Option<Self> {
        let reach = dilation.checked_mul(kernel.checked_sub(1)?)?;
        let padding = padding.unwrap_or(reach / 2);
        let room = padding.checked_mul(2)?.checked_add(size)?.checked_sub(reach.checked_add(1)?)?;
        let outputs = room.checked_div(stride)? + 1;
        (dilation > 0).then_some(Self { size, kernel, stride, padding, dilation, outputs })
    }

    /// Where the tap lies that output `output` takes, unless that is in the padding.
    fn place(&self, output: usize, tap: usize) -> Option<usize> {
        let place = (output * self.stride + tap * self.dilation).checked_sub(self.padding)?;
        (place < self.size).then_some(place)
    }
}

/// The pixel of every tap of every output pixel, outputs × taps; `blank` stands for padding.
fn taps(rows: &Direction, columns: &Direction, blank: usize) -> Vec<u32> {
    let mut taps = Vec::with_capacity(rows.outputs * columns.outputs * rows.kernel * columns.kernel);
    for (y, x) in (0..rows.outputs).flat_map(|y| (0..columns.outputs).map(move |x| (y, x))) {
        for (tap_y, tap_x) in (0..rows.kernel).flat_map(|y| (0..columns.kernel).map(move |x| (y, x))) {
            let place = rows.place(y, tap_y).zip(columns.place(x, tap_x));
            taps.push(place.map_or(blank, |(y, x)| y * columns.size + x) as u32);
        }
    }
    taps
}

fn conv2d(x: &Tensor, w: &Tensor, options: &Options) -> Result<Tensor> {
    let misfit = |what: &str| Error::user(format!("conv2d of {:?} with weights {:?}: {what}", x.dims(), w.dims()));
    let (&[images, channels, height, width], &[outputs, inner, tall, wide]) = (x.dims(), w.dims()) else {
        return Err(misfit("both have four axes")
            .hint("x: [images, channels, height, width]; weights: [outputs, channels / groups, height, width]"));
    };
    let groups = options.get::<usize>("groups")?;
    if inner.checked_mul(groups) != Some(channels) {
        return Err(misfit(&format!("{groups} groups of {inner} channels are not {channels}"))
            .hint("the weights' second axis is the channels of x divided by the groups"));
    }
    if outputs.checked_rem(groups) != Some(0) {
        return Err(misfit(&format!("{outputs} outputs cannot be cut into {groups} groups")));
    }
    if x.count() == 0 || w.count() == 0 {
        return Err(misfit("there is nothing to convolve"));
    }
    let pair = |name: &str| options.find::<Pair>(name);
    let (stride, dilation) = (pair("stride")?.unwrap_or(Pair(1, 1)), pair("dilation")?.unwrap_or(Pair(1, 1)));
    let padding = pair("padding")?;
    let direction = |size, kernel, of: fn(&Pair) -> usize| {
        Direction::new(size, kernel, of(&stride), padding.as_ref().map(of), of(&dilation))
    };
    let (Some(rows), Some(columns)) = (direction(height, tall, |pair| pair.0), direction(width, wide, |pair| pair.1))
    else {
        return Err(misfit("the dilated kernel is larger than the padded images")
            .hint("stride and dilation are at least 1, and dilation · (kernel − 1) + 1 at most size + 2 · padding"));
    };
    let dtype = float_type([x, w]);
    // What is selected stands there twice: as selected, and in the order of the product.
    let (pixels, size) = ((rows.outputs, columns.outputs), dtype.size_in_bytes());
    x.meter().admit(&[2, rows.outputs, columns.outputs, tall, wide, images, channels], size)?;
    let (pixels, taken, blank) = (pixels.0 * pixels.1, tall * wide, height * width);
    let flat = x.float()?.to_dtype(dtype)?.permute((2, 3, 0, 1))?.reshape((blank, images * channels))?;
    let flat = Candle::cat(&[flat, Candle::zeros((1, images * channels), dtype, x.device())?], 0)?;
    let taps = Candle::from_vec(taps(&rows, &columns, blank), pixels * taken, x.device())?;
    let seen = flat.contiguous()?.index_select(&taps, 0)?.reshape(&[pixels, taken, images, groups, inner][..])?;
    let seen = seen.permute(vec![3, 2, 0, 4, 1])?.reshape((groups, images * pixels, inner * taken))?;
    let weights = w.float()?.to_dtype(dtype)?.reshape((groups, outputs / groups, inner * taken))?;
    let y = seen.contiguous()?.matmul(&weights.transpose(1, 2)?.contiguous()?)?;
    let y = y.reshape((groups, images, pixels, outputs / groups))?.permute((1, 0, 3, 2))?;
    x.with(y.reshape((images, outputs, rows.outputs, columns.outputs))?)
}

pub fn declare(library: &mut Library) {
    library
        .function("conv2d", &["x", "weights", "options"], |x: Tensor, w: Tensor, options: Options| {
            conv2d(&x, &w, &options)
        })
        .doc(
            r#"
            The convolution (without flipping the kernel) of images [images, channels, height, width] with weights
            [outputs, channels / groups, height, width]; gradients flow to both. For a script's own small maps; networks
            are made with `network` and `g.conv`.
            "#,
        )
        .optional::<Pair>("stride", "1", "one for both directions, or [vertical, horizontal]")
        .optional::<Pair>("padding", "what keeps the size at stride 1", "zeros on each side")
        .optional::<Pair>("dilation", "1", "distance between neighbouring taps")
        .option("groups", 1_usize, "groups of channels that are convolved separately")
        .example(
            r#"
            let x = arange(9).reshape([1, 1, 3, 3]);
            assert_equal(conv2d(x, ones([1, 1, 2, 2]), #{ padding: 0 })[0][0], tensor([[8, 12], [20, 24]]));
            let w = parameter(normal([4, 1, 3, 3]));
            let y = conv2d(ones([2, 2, 8, 6]), w, #{ stride: 2, groups: 2 });
            assert_equal(y.shape, [2, 4, 4, 3]);
            assert_equal(gradient(sum(y), w).shape, w.shape);
            "#,
        );
}
