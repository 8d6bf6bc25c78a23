//! Primitives that read no values: zeros (the candidate "none") and random numbers. Neither has a gradient.
//!
//! They are drawn image by image from the keys of the pass ([`Draws::noise`]), in single precision, and are the same
//! for every executor: channels × height × width in this order.

use super::maps::Maps;
use crate::engine::Draws;
use crate::graph::{NoiseKind, Shape};

/// Zeros of a shape.
pub(super) fn zero(batch: usize, to: Shape) -> Maps {
    Maps::zeros(batch, to)
}

/// The `id`-th noise of a graph.
pub(super) fn noise(kind: NoiseKind, id: usize, draws: &Draws, batch: usize, to: Shape) -> Maps {
    let len = to.channels * to.pixels();
    let values = (0..batch).flat_map(|image| draws.noise(kind, id, image).take(len).map(f64::from)).collect();
    Maps { batch, shape: to, values }
}
