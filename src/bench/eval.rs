//! One training step of a discrete network: forward, backward and SGD on DARTS_V2, without auxiliary head and drop path.

use super::report::{Cell, Line, median};
use super::{Arithmetic, Measured, Profile, on_stderr, peak_rss_mb, random_batch, timed};
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
    #[serde(flatten)]
    pub arithmetic: Arithmetic,
}

impl Line for EvalResult {
    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::count("batch", self.batch),
            Cell::count("channels", self.channels),
            Cell::count("layers", self.layers),
            Cell::count("threads", self.arithmetic.threads),
            Cell::word("simd", self.arithmetic.simd),
            Cell::number("median s", median(&self.seconds), 4),
            Cell::number("ms an image", 1e3 * median(&self.seconds) / self.batch as f64, 2),
            Cell::number("GFLOP/s", self.arithmetic.gflops, 1),
            Cell::count("peak MB", self.peak_rss_mb),
            Cell::number("training MB", self.arithmetic.training_mb, 1),
        ]
    }
}

impl EvalStep {
    /// Times the steps on random images; with `profile`, as many again while everything is recorded.
    ///
    /// # Errors
    /// Whatever the network does not allow.
    pub fn run(&self, seed: Seed, profile: bool) -> Result<Measured<EvalResult>> {
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
        let mut step = || {
            let (_, gradient) = weight_gradient(&network, &images, None)?;
            optimizer.step(&[gradient])
        };
        let seconds = timed(steps, &mut step)?;
        // Before a profile measures peaks in memory of its own.
        let peak_rss_mb = peak_rss_mb();
        let profile = profile.then(|| Profile::of(network.graph(), steps, &mut step)).transpose()?;
        let params = network.parameters();
        // A forward pass, its input gradients and its weights' gradients.
        let arithmetic = Arithmetic::new(&network, batch, 3, &seconds)?;
        let what = "eval_step";
        Ok((EvalResult { what, batch, channels, layers, seconds, params, peak_rss_mb, arithmetic }, profile))
    }
}
