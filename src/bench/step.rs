//! One step of a search, as the paper takes it: alpha gradient and Adam, weight gradient and SGD.

use super::Measured;
use super::prediction::{PredictedLine, predicted};
use super::report::{Cell, Line};
use super::steps::{ETA, Place, Steps, Timed, search_optimizers};
use crate::engine::Wanted;
use crate::learn::{Optimizer, Order, alpha_gradient, weight_gradient};
use crate::random::Seed;
use crate::space::{Network, Supernet, SupernetOptions};
use crate::{Error, Result};
use serde::Serialize;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct SearchStep {
    pub order: usize,
    /// K of partial channels with edge weights (PC-DARTS); 1: DARTS.
    pub partial: usize,
    pub steps: Steps,
}

/// One line of the benchmark's output.
#[derive(Clone, Debug, Serialize)]
pub struct StepResult {
    pub what: &'static str,
    pub order: usize,
    pub partial: usize,
    #[serde(flatten)]
    pub timed: Timed,
    pub weights: usize,
}

impl Line for StepResult {
    fn cells(&self) -> Vec<Cell> {
        [vec![Cell::count("order", self.order)], self.timed.cells()].concat()
    }
}

impl SearchStep {
    fn supernet(&self) -> Result<Supernet> {
        let Self { order, partial, steps } = *self;
        if order != 1 && order != 2 {
            return Err(Error::user(format!("the order must be 1 or 2, not {order}")));
        }
        Supernet::build(&SupernetOptions {
            channels: steps.channels,
            layers: steps.layers,
            partial,
            edge_weights: partial > 1,
            ..SupernetOptions::new(steps.shape(), 10)
        })
    }

    /// What a step would take on a GPU.
    ///
    /// # Errors
    /// As for [`run`](Self::run); what does not run on CUDA yet.
    pub fn predict(&self) -> Result<Vec<PredictedLine>> {
        predicted("search_step", &self.supernet()?.graph, self.steps.batch, &self.passes())
    }

    /// The gradients of a step's passes.
    fn passes(&self) -> Vec<Wanted> {
        let [w, p, both] = [(true, false), (false, true), (true, true)].map(|(w, p)| Wanted { x: false, w, p });
        // Second order: the unrolled step, the validation gradient, two gradients of the alphas beside the weights.
        if self.order == 1 { vec![p, w] } else { vec![w, both, p, p, w] }
    }

    /// Times the steps on random images; with a profile, as many again while everything is recorded.
    ///
    /// # Errors
    /// An order other than 1 and 2, and whatever the supernet does not allow.
    pub fn run(&self, seed: Seed, place: &Place) -> Result<Measured<StepResult>> {
        let Self { order, partial, steps } = *self;
        let network = steps.placed(Network::supernet(self.supernet()?, seed, &place.tensors())?, place)?;
        let (mut w_opt, mut a_opt) = search_optimizers(&network)?;
        let (train, valid) = (steps.random_batch(seed, 0, place)?, steps.random_batch(seed, 1, place)?);
        // A pass forward is one unit, its input gradients and its weights' gradients are one each. First order: the
        // alphas' gradient does without the latter. Second order: the unrolled step, the validation gradient of weights
        // and alphas, two gradients of the alphas beside the weights. Then the weights' own gradient.
        let units = if order == 1 { 2 + 3 } else { (3 + 3 + 2 + 2) + 3 };
        let (timed, profile) = steps.time(&network, units, &self.passes(), place, || {
            let order = if order == 1 { Order::First } else { Order::Second(w_opt.unroll(ETA)?) };
            let (_, gradients) = alpha_gradient(&network, &train, &valid, None, &order)?;
            a_opt.step(&gradients)?;
            let (_, gradient) = weight_gradient(&network, &train, None)?;
            w_opt.step(&[gradient])
        })?;
        Ok((StepResult { what: "search_step", order, partial, timed, weights: network.parameters() }, profile))
    }
}
