//! From images to the numbers a network sees: pad, crop and flip at random, scale, normalise, cut out.
//!
//! The order is torchvision's, as the DARTS authors use it: padding is black *before* normalisation, cutout's square is
//! zero *after* it.

use super::set::{Image, ImageSet};
use crate::random::Rng;
use crate::shape::Shape;
use rand::RngExt;

/// What happens to a training image at random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augmentation {
    /// Black pixels added on each side before a window of the image's own size is cut at random; 0 leaves it in place.
    pub pad: usize,
    /// Whether one image in two is mirrored left to right.
    pub flip: bool,
    /// Side of a square set to zero (the mean colour) around a pixel chosen at random, clipped at the border; 0 for
    /// none (T. DeVries and G. Taylor, "Improved regularization of convolutional neural networks with cutout", 2017).
    pub cutout: usize,
}

impl Augmentation {
    /// The usual choice for `set`: padding of an eighth of the shorter side (4 of 32 or 28, 1 of 8), mirroring where
    /// mirror images keep their class. No cutout.
    pub fn standard(set: &ImageSet) -> Self {
        let side = set.shape().height.min(set.shape().width);
        Self { pad: (side + 4) / 8, flip: set.mirrors(), cutout: 0 }
    }

    /// Writes one image into `out` [C, H, W], normalised. Random numbers are drawn in the order window (row, column),
    /// mirror, cutout (row, column), each only if it is in use.
    pub(super) fn apply(&self, image: Image<'_>, shape: Shape, scale: &Normalise, rng: &mut Rng, out: &mut [f32]) {
        match image {
            Image::Bytes(bytes) => {
                let tables = scale.tables.iter().map(|table| move |byte: u8| table[usize::from(byte)]);
                self.write(bytes, shape, tables, rng, out);
            }
            Image::Numbers(numbers) => {
                let moments = scale.moments.iter().map(|&(mean, std)| move |number: f32| (number - mean) / std);
                self.write(numbers, shape, moments, rng, out);
            }
        }
    }

    /// The same, given how the values of each channel become numbers; black is the default value.
    fn write<T: Copy + Default, F: Fn(T) -> f32>(
        &self,
        image: &[T],
        shape: Shape,
        scales: impl Iterator<Item = F>,
        rng: &mut Rng,
        out: &mut [f32],
    ) {
        let Shape { height, width, .. } = shape;
        let (top, left) = match self.pad {
            0 => (0, 0),
            pad => (rng.random_range(0..=2 * pad as u32) as usize, rng.random_range(0..=2 * pad as u32) as usize),
        };
        let mirrored = self.flip && rng.random_bool(0.5);
        let hole = (self.cutout > 0).then(|| {
            let row = rng.random_range(0..height as u32) as usize;
            let column = rng.random_range(0..width as u32) as usize;
            (around(row, self.cutout, height), around(column, self.cutout, width))
        });

        // Output row y shows padded row y + top, which is image row y + top - pad.
        let rows = overlap(top, self.pad, height);
        let columns = overlap(left, self.pad, width);
        let planes = out.chunks_exact_mut(height * width).zip(image.chunks_exact(height * width));
        for ((to, from), scale) in planes.zip(scales) {
            if self.pad > 0 {
                to.fill(scale(T::default()));
            }
            for y in rows.clone() {
                let from = &from[(y + top - self.pad) * width..][columns.start + left - self.pad..][..columns.len()];
                let to = &mut to[y * width..][columns.clone()];
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = scale(from));
            }
            if mirrored {
                to.chunks_exact_mut(width).for_each(<[f32]>::reverse);
            }
            if let Some((rows, columns)) = &hole {
                rows.clone().for_each(|y| to[y * width..][columns.clone()].fill(0.0));
            }
        }
    }
}

/// The part of 0..`size` that shows the image when a window at `offset` is cut from it and `pad` pixels on each side.
fn overlap(offset: usize, pad: usize, size: usize) -> std::ops::Range<usize> {
    let start = pad.saturating_sub(offset).min(size);
    let end = (pad + size).saturating_sub(offset).min(size);
    start..end.max(start)
}

/// `side` places from `side`/2 before `centre` on, clipped to 0..`size`.
fn around(centre: usize, side: usize, size: usize) -> std::ops::Range<usize> {
    centre.saturating_sub(side / 2)..(centre + side - side / 2).min(size)
}

/// (v / levels − mean) / std for each channel: of the 256 bytes, computed once, or of any number.
pub(super) struct Normalise {
    tables: Vec<[f32; 256]>,
    moments: Vec<(f32, f32)>,
}

impl Normalise {
    pub fn of(set: &ImageSet) -> Self {
        let levels = f32::from(set.levels());
        let moments: Vec<(f32, f32)> = set.mean().iter().copied().zip(set.std().iter().copied()).collect();
        let table = |&(mean, std): &(f32, f32)| std::array::from_fn(|byte| (byte as f32 / levels - mean) / std);
        Self { tables: moments.iter().map(table).collect(), moments }
    }
}
