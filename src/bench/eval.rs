//! One training step of a discrete network: forward, backward and SGD on DARTS_V2, without auxiliary head and drop path.

use super::{on_stderr, peak_rss_mb, random_batch, timed};
use crate::Result;
use crate::graph::Shape;
use crate::learn::{Optimizer, Sgd, SgdOptions, weight_gradient};
use crate::random::Seed;
use crate::space::{Discrete, DiscreteOptions, Network, catalogue};
use candle_core::Device;
use serde::Serialize;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct EvalStep {
    pub batch: usize,
    pub channels: usize,
    pub layers: usize,
    /// Side of the (square, three-channel) images.
    pub size: usize,
    /// Steps to time, after one that warms up.
    pub steps: usize,
    /// The most bytes that training may take.
    pub memory: Option<u64>,
}

/// One line of the benchmark's output; the fields of the PyTorch side.
#[derive(Clone, Debug, Serialize)]
pub struct EvalResult {
    pub what: &'static str,
    pub batch: usize,
    pub channels: usize,
    pub layers: usize,
    pub seconds: Vec<f64>,
    pub params: usize,
    pub peak_rss_mb: u64,
}

impl EvalStep {
    /// Times the steps on random images.
    ///
    /// # Errors
    /// Whatever the network does not allow.
    pub fn run(&self, seed: Seed) -> Result<EvalResult> {
        let Self { batch, channels, layers, size, steps, memory } = *self;
        let options = DiscreteOptions { channels, layers, ..DiscreteOptions::new(Shape::new(3, size, size), 10) };
        let built = Discrete::build(&catalogue::genotype("DARTS_V2")?, &options)?;
        let mut network = Network::discrete(built, seed, &Device::Cpu)?;
        if let Some(bytes) = memory {
            network = network.within(bytes, on_stderr())?;
        }
        let options = SgdOptions { momentum: 0.9, weight_decay: 3e-4, ..SgdOptions::new(0.025) };
        let mut optimizer = Sgd::new(vec![network.weights().clone()], options)?;
        let images = random_batch(batch, size, seed, 0)?;
        let seconds = timed(steps, || {
            let (_, gradient) = weight_gradient(&network, &images, None)?;
            optimizer.step(&[gradient])
        })?;
        let params = network.parameters();
        Ok(EvalResult { what: "eval_step", batch, channels, layers, seconds, params, peak_rss_mb: peak_rss_mb() })
    }
}
