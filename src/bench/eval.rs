//! One training step of a discrete network: forward, backward and SGD on DARTS_V2, without auxiliary head and drop
//! path.

use super::Measured;
use super::prediction::{PredictedLine, predicted};
use super::report::{Cell, Line};
use super::steps::{Place, Steps, Timed};
use crate::Result;
use crate::engine::Wanted;
use crate::learn::{Optimizer, Sgd, SgdOptions, weight_gradient};
use crate::random::Seed;
use crate::space::{Discrete, DiscreteOptions, Network, catalogue};
use serde::Serialize;

/// The gradients of a step's passes.
const PASSES: [Wanted; 1] = [Wanted { x: false, w: true, p: false }];

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
    fn discrete(&self) -> Result<Discrete> {
        let Steps { channels, layers, .. } = self.0;
        let options = DiscreteOptions { channels, layers, ..DiscreteOptions::new(self.0.shape(), 10) };
        Discrete::build(&catalogue::genotype("DARTS_V2")?, &options)
    }

    /// What a step would take on a GPU.
    ///
    /// # Errors
    /// Whatever the network does not allow; what does not run on CUDA yet.
    pub fn predict(&self) -> Result<Vec<PredictedLine>> {
        predicted("eval_step", &self.discrete()?.graph, self.0.batch, &PASSES)
    }

    /// Times the steps on random images; with a profile, as many again while everything is recorded.
    ///
    /// # Errors
    /// Whatever the network does not allow.
    pub fn run(&self, seed: Seed, place: &Place) -> Result<Measured<EvalResult>> {
        let Self(steps) = *self;
        let network = steps.placed(Network::discrete(self.discrete()?, seed, &place.tensors())?, place)?;
        let options = SgdOptions { momentum: 0.9, weight_decay: 3e-4, ..SgdOptions::new(0.025) };
        let mut optimizer = Sgd::new(vec![network.weights().clone()], options)?;
        let images = steps.random_batch(seed, 0, place)?;
        // A forward pass, its input gradients and its weights' gradients.
        let (timed, profile) = steps.time(&network, 3, &PASSES, place, || {
            let (_, gradient) = weight_gradient(&network, &images, None)?;
            optimizer.step(&[gradient])
        })?;
        Ok((EvalResult { what: "eval_step", timed, params: network.parameters() }, profile))
    }
}
