//! What a step has to compute, read off the built graph, and what it keeps.

use super::report::{median, rounded};
use crate::engine::Isa;
use crate::space::Network;
use serde::Serialize;

/// The part of a benchmark's line that says how much a step computes, and how fast that went.
#[derive(Clone, Debug, Serialize)]
pub struct Arithmetic {
    /// Multiply-adds of one image's forward pass, in convolutions and linear layers.
    pub macs: usize,
    /// Of a step: two operations per multiply-add; a forward pass, input gradients and weights' gradients count alike.
    pub gflop_per_step: f64,
    /// At the median of the seconds.
    pub gflops: f64,
    /// The activations and their gradients that the engine keeps for a batch.
    pub training_mb: f64,
    pub threads: usize,
    pub simd: &'static str,
}

impl Arithmetic {
    /// `units`: how many times a step computes as much as one forward pass.
    pub(super) fn new(network: &Network, batch: usize, units: usize, seconds: &[f64]) -> crate::Result<Self> {
        let macs = network.macs();
        let gflop = 2.0 * (macs * batch * units) as f64 / 1e9;
        let seconds = median(seconds);
        let bytes = network.training_bytes(batch)?;
        Ok(Self {
            macs,
            gflop_per_step: rounded(gflop, 6),
            gflops: if seconds > 0.0 { rounded(gflop / seconds, 4) } else { 0.0 },
            training_mb: rounded(bytes as f64 / f64::from(1 << 20), 5),
            threads: rayon::current_num_threads(),
            simd: Isa::choose()?.name(),
        })
    }
}
