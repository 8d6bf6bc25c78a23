//! What flows between primitives: one node's values for a batch.

use crate::graph::Shape;
use crate::random::Rng;
use rand::RngExt;
use rayon::prelude::*;

/// Images × channels × height × width, in this order: the columns of a row lie side by side, then the rows of a plane,
/// the planes of an image, and the images. A feature vector has planes of one pixel.
#[derive(Clone, Debug)]
pub(super) struct Maps {
    pub batch: usize,
    pub shape: Shape,
    pub values: Vec<f64>,
}

impl Maps {
    pub fn zeros(batch: usize, shape: Shape) -> Self {
        Self { batch, shape, values: vec![0.0; batch * shape.channels * shape.pixels()] }
    }

    /// `fill(image, channel, plane)` writes each plane, which starts as zeros. Planes are written in parallel, but each
    /// by one thread from first to last, so no sum depends on the number of threads.
    pub fn from_planes(batch: usize, shape: Shape, fill: impl Fn(usize, usize, &mut [f64]) + Sync) -> Self {
        let mut maps = Self::zeros(batch, shape);
        let planes = maps.values.par_chunks_mut(shape.pixels().max(1));
        planes.enumerate().for_each(|(at, plane)| fill(at / shape.channels, at % shape.channels, plane));
        maps
    }

    /// One channel of one image: height × width.
    pub fn plane(&self, image: usize, channel: usize) -> &[f64] {
        let pixels = self.shape.pixels();
        &self.values[(image * self.shape.channels + channel) * pixels..][..pixels]
    }

    /// One channel of every image.
    pub fn planes(&self, channel: usize) -> impl Iterator<Item = &[f64]> {
        (0..self.batch).map(move |image| self.plane(image, channel))
    }

    /// Adds other maps of the same shape.
    pub fn add(&mut self, other: &Maps) {
        self.values.iter_mut().zip(&other.values).for_each(|(own, other)| *own += other);
    }

    /// Moves every value by up to half a unit of single precision.
    pub fn round(&mut self, rng: &mut Rng) {
        let half = f64::from(f32::EPSILON) / 2.0;
        self.values.iter_mut().for_each(|value| *value *= 1.0 + half * (2.0 * rng.random::<f64>() - 1.0));
    }
}
