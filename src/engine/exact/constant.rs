//! Primitives that read no values: zeros (the candidate "none") and standard normal noise. Neither has a gradient.
//!
//! Noise is drawn image by image from the keys of the pass ([`Draws::noise`]), in single precision, and is the same for
//! every executor: channels × height × width in this order.

use super::maps::Maps;
use crate::engine::Draws;
use crate::graph::Shape;

/// Zeros of a shape.
pub(super) fn zero(batch: usize, to: Shape) -> Maps {
    Maps::zeros(batch, to)
}

/// The `id`-th noise of a graph.
pub(super) fn noise(id: usize, draws: &Draws, batch: usize, to: Shape) -> Maps {
    let len = to.channels * to.pixels();
    let values = (0..batch).flat_map(|image| draws.noise(id, image).take(len).map(f64::from)).collect();
    Maps { batch, shape: to, values }
}
