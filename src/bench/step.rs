//! One step of a search, as the paper takes it: alpha gradient and Adam, weight gradient and SGD.

use super::report::{Cell, Line, median};
use super::{Arithmetic, Measured, Profile, on_stderr, peak_rss_mb, random_batch, timed};
use crate::graph::Shape;
use crate::learn::{Adam, AdamOptions, Optimizer, Order, Sgd, SgdOptions, alpha_gradient, weight_gradient};
use crate::random::Seed;
use crate::space::{Network, Supernet, SupernetOptions};
use crate::{Error, Result};
use candle_core::Device;
use serde::Serialize;

/// The learning rate at the search's beginning, which is also the unrolled step's.
const ETA: f64 = 0.025;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct SearchStep {
    pub order: usize,
    pub batch: usize,
    pub channels: usize,
    pub layers: usize,
    /// K of partial channels with edge weights (PC-DARTS); 1: DARTS.
    pub partial: usize,
    /// Side of the (square, three-channel) images.
    pub size: usize,
    /// Steps to time, after one that warms up.
    pub steps: usize,
    /// The most bytes that training may take.
    pub memory: Option<u64>,
}

/// One line of the benchmark's output; the fields of the PyTorch side.
#[derive(Clone, Debug, Serialize)]
pub struct StepResult {
    pub what: &'static str,
    pub order: usize,
    pub batch: usize,
    pub channels: usize,
    pub layers: usize,
    pub partial: usize,
    pub seconds: Vec<f64>,
    pub weights: usize,
    pub peak_rss_mb: u64,
    #[serde(flatten)]
    pub arithmetic: Arithmetic,
}

impl Line for StepResult {
    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::count("order", self.order),
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

impl SearchStep {
    /// Times the steps on random images; with `profile`, as many again while everything is recorded.
    ///
    /// # Errors
    /// An order other than 1 and 2, and whatever the supernet does not allow.
    pub fn run(&self, seed: Seed, profile: bool) -> Result<Measured<StepResult>> {
        if self.order != 1 && self.order != 2 {
            return Err(Error::user(format!("the order is 1 or 2, not {}", self.order)));
        }
        let shape = Shape::new(3, self.size, self.size);
        let options = SupernetOptions {
            channels: self.channels,
            layers: self.layers,
            partial: self.partial,
            edge_weights: self.partial > 1,
            ..SupernetOptions::new(shape, 10)
        };
        let mut network = Network::supernet(Supernet::build(&options)?, seed, &Device::Cpu)?;
        if let Some(bytes) = self.memory {
            network = network.within(bytes, on_stderr())?;
        }
        let mut w_opt = Sgd::new(
            vec![network.weights().clone()],
            SgdOptions { momentum: 0.9, weight_decay: 3e-4, clip: Some(5.0), ..SgdOptions::new(ETA) },
        )?;
        let mut a_opt = Adam::new(
            network.alphas().parameters(),
            AdamOptions { betas: (0.5, 0.999), weight_decay: 1e-3, ..AdamOptions::new(3e-4) },
        )?;
        let (train, valid) =
            (random_batch(self.batch, self.size, seed, 0)?, random_batch(self.batch, self.size, seed, 1)?);
        let mut step = || {
            let order = if self.order == 1 { Order::First } else { Order::Second(w_opt.unroll(ETA)?) };
            let (_, gradients) = alpha_gradient(&network, &train, &valid, None, &order)?;
            a_opt.step(&gradients)?;
            let (_, gradient) = weight_gradient(&network, &train, None)?;
            w_opt.step(&[gradient])
        };
        let seconds = timed(self.steps, &mut step)?;
        // Before a profile measures peaks in memory of its own.
        let peak_rss_mb = peak_rss_mb();
        let profile = profile.then(|| Profile::of(network.graph(), self.steps, &mut step)).transpose()?;
        // A pass forward is one unit, its input gradients and its weights' gradients are one each. First order: the alphas'
        // gradient does without the latter. Second order: the unrolled step, the validation gradient of weights and alphas, two
        // gradients of the alphas beside the weights. Then the weights' own gradient.
        let units = if self.order == 1 { 2 + 3 } else { (3 + 3 + 2 + 2) + 3 };
        let arithmetic = Arithmetic::new(&network, self.batch, units, &seconds)?;
        let result = StepResult {
            what: "search_step",
            order: self.order,
            batch: self.batch,
            channels: self.channels,
            layers: self.layers,
            partial: self.partial,
            seconds,
            weights: network.parameters(),
            peak_rss_mb,
            arithmetic,
        };
        Ok((result, profile))
    }
}
