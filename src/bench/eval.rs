//! One training step of a discrete network: forward, backward and SGD on DARTS_V2, without auxiliary head and drop
//! path.

use super::Measured;
use super::report::{Cell, Line};
use super::steps::{Steps, Timed};
use crate::Result;
use crate::learn::{Optimizer, Sgd, SgdOptions, weight_gradient};
use crate::random::Seed;
use crate::space::{Discrete, DiscreteOptions, Network, catalogue};
use candle_core::Device;
use serde::Serialize;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct EvalStep(pub Steps);

/// One line of the benchmark's output.
#[derive(Clone, Debug, Serialize)]
pub struct EvalResult {
    pub what: &'static str,
    #[serde(flatten)]
    pub timed: Timed,
    pub params: usize,
}

impl Line for EvalResult {
    fn cells(&self) -> Vec<Cell> {
        self.timed.cells()
    }
}

impl EvalStep {
    /// Times the steps on random images; with `profile`, as many again while everything is recorded.
    ///
    /// # Errors
    /// Whatever the network does not allow.
    pub fn run(&self, seed: Seed, profile: bool) -> Result<Measured<EvalResult>> {
        let Self(steps) = *self;
        let Steps { channels, layers, .. } = steps;
        let options = DiscreteOptions { channels, layers, ..DiscreteOptions::new(steps.shape(), 10) };
        let built = Discrete::build(&catalogue::genotype("DARTS_V2")?, &options)?;
        let network = steps.limited(Network::discrete(built, seed, &Device::Cpu)?)?;
        let options = SgdOptions { momentum: 0.9, weight_decay: 3e-4, ..SgdOptions::new(0.025) };
        let mut optimizer = Sgd::new(vec![network.weights().clone()], options)?;
        let images = steps.random_batch(seed, 0)?;
        // A forward pass, its input gradients and its weights' gradients.
        let (timed, profile) = steps.time(&network, 3, profile, || {
            let (_, gradient) = weight_gradient(&network, &images, None)?;
            optimizer.step(&[gradient])
        })?;
        Ok((EvalResult { what: "eval_step", timed, params: network.parameters() }, profile))
    }
}
