//! How large the parts of a graph may be. Within these bounds no product of sizes overflows, so code that sizes a
//! buffer for a primitive need not check again.

use super::{Conv, Pool, Shape};
use crate::{Error, Result};

/// The largest value of an option of the builder: channels, height, width, stride, padding, dilation, groups, the
/// rows and columns of mixing weights.
pub const MOST: usize = 1 << 16;

/// The longest side of a kernel.
pub const MOST_KERNEL: usize = 1 << 10;

/// The most numbers per image at one node, padding included: 1 GiB in single precision.
pub const MOST_VALUES: usize = 1 << 28;

/// The most weights of a graph; also the most mixing weights.
pub const MOST_WEIGHTS: usize = 1 << 31;

/// Checks that an option lies between 1 and `most`.
pub(crate) fn at_least_one(option: &str, value: usize, most: usize) -> Result<()> {
    match (1..=most).contains(&value) {
        true => Ok(()),
        false => Err(Error::user(format!("`{option}` must be from 1 to {most}, not {value}"))),
    }
}

/// Checks how many weights of one kind a graph has.
pub(super) fn of_weights(what: &str, count: usize) -> Result<()> {
    match count <= MOST_WEIGHTS {
        true => Ok(()),
        false => Err(Error::user(format!("a network has at most {MOST_WEIGHTS} {what}; this one would have more"))),
    }
}

fn at_most(option: &str, value: usize, most: usize) -> Result<()> {
    match value <= most {
        true => Ok(()),
        false => Err(Error::user(format!("`{option}` must be at most {most}, not {value}"))),
    }
}

/// Checks the size of what one image looks like at a node with `padding` (vertical, horizontal) around it.
pub(super) fn of_shape(shape: Shape, padding: (usize, usize)) -> Result<()> {
    let Shape { channels, height, width } = shape;
    for (option, size) in [("channels", channels), ("height", height), ("width", width)] {
        at_least_one(option, size, MOST)?;
    }
    // No overflow: three sizes of at most 3 · 2¹⁶.
    let values = channels * (height + 2 * padding.0) * (width + 2 * padding.1);
    match values <= MOST_VALUES {
        true => Ok(()),
        false => {
            let around = if padding == (0, 0) { "" } else { " with the padding" };
            Err(Error::user(format!(
                "{shape}{around} are {values} numbers per image at one node; the most is {MOST_VALUES}"
            )))
        }
    }
}

/// A sliding window. It leaves, on each side, (size + 2·padding − reach)/stride + 1 with reach = dilation · (kernel −
/// 1) + 1 pixels.
struct Window {
    kernel: (usize, usize),
    stride: (usize, usize),
    padding: (usize, usize),
    dilation: (usize, usize),
}

impl Window {
    fn check(&self) -> Result<()> {
        for (kernel, stride, padding, dilation) in [
            (self.kernel.0, self.stride.0, self.padding.0, self.dilation.0),
            (self.kernel.1, self.stride.1, self.padding.1, self.dilation.1),
        ] {
            at_least_one("kernel", kernel, MOST_KERNEL)?;
            at_least_one("stride", stride, MOST)?;
            at_least_one("dilation", dilation, MOST)?;
            at_most("padding", padding, MOST)?;
        }
        Ok(())
    }

    fn leaves(&self, from: Shape) -> Result<(usize, usize)> {
        let size = |axis: &str, from: usize, kernel: usize, stride: usize, padding: usize, dilation: usize| {
            let reach = dilation * (kernel - 1) + 1;
            match (from + 2 * padding).checked_sub(reach) {
                Some(steps) => Ok(steps / stride + 1),
                None => Err(Error::user(format!(
                    "a kernel that spans {reach} pixels does not fit a {axis} of {from} with padding {padding}"
                ))),
            }
        };
        Ok((
            size("height", from.height, self.kernel.0, self.stride.0, self.padding.0, self.dilation.0)?,
            size("width", from.width, self.kernel.1, self.stride.1, self.padding.1, self.dilation.1)?,
        ))
    }
}

impl Conv {
    /// The shape of this convolution's output.
    ///
    /// # Errors
    /// Options beyond their bounds, groups that do not divide the channels, a kernel that does not fit, an input or
    /// output that is too large.
    pub(super) fn shape(&self, from: Shape) -> Result<Shape> {
        at_least_one("channels", self.channels, MOST)?;
        at_least_one("groups", self.groups, MOST)?;
        let window =
            Window { kernel: self.kernel, stride: self.stride, padding: self.padding, dilation: self.dilation };
        window.check()?;
        if !from.channels.is_multiple_of(self.groups) || !self.channels.is_multiple_of(self.groups) {
            return Err(Error::user(format!(
                "{} groups must divide both the {} input and the {} output channels",
                self.groups, from.channels, self.channels
            )));
        }
        of_shape(from, self.padding)?;
        let (height, width) = window.leaves(from)?;
        let to = Shape::new(self.channels, height, width);
        of_shape(to, (0, 0))?;
        // What a depthwise part makes before its pointwise one takes it in.
        of_shape(Shape { channels: from.channels, ..to }, (0, 0))?;
        Ok(to)
    }
}

impl Pool {
    /// The shape of this pool's output.
    ///
    /// # Errors
    /// Options beyond their bounds, windows that would lie in the padding alone, a window that does not fit, an output
    /// that is too large.
    pub(super) fn shape(&self, from: Shape) -> Result<Shape> {
        let Pool { kernel, stride, padding, .. } = *self;
        let window = Window {
            kernel: (kernel, kernel),
            stride: (stride, stride),
            padding: (padding, padding),
            dilation: (1, 1),
        };
        window.check()?;
        if 2 * padding > kernel {
            return Err(Error::user(format!(
                "`padding` of a pool must be at most half its kernel {kernel}, not {padding}"
            ))
            .hint("otherwise some windows would hold nothing but padding"));
        }
        let (height, width) = window.leaves(from)?;
        let to = Shape::new(from.channels, height, width);
        of_shape(to, (0, 0))?;
        Ok(to)
    }
}
