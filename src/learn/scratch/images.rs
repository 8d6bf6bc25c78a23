//! A network of images trained from scratch and scored.

use super::{CellScore, at_least_one, cost, diverged};
use crate::data::{Augment, BatchOptions, Batches, ImageSet};
use crate::learn::{Optimizer, Sgd, SgdOptions, evaluate, schedule, weight_gradient};
use crate::random::Seed;
use crate::space::Network;
use crate::{Error, Result};
use serde::Serialize;

/// How many images are scored at once.
const SCORED_AT_ONCE: usize = 256;

/// How it is trained: SGD whose learning rate falls along half a cosine, epoch by epoch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageTraining {
    pub epochs: usize,
    /// Images of a step.
    pub batch: usize,
    pub lr: f64,
    pub lr_min: f64,
    pub momentum: f64,
    pub weight_decay: f64,
    /// Largest norm of the gradient.
    pub clip: f64,
    /// Side of the square that is cut out of images; 0: none.
    pub cutout: usize,
    /// "standard" or "none".
    pub augment: String,
    /// The probability of dropping a path in the last epoch; it grows from 0 in a straight line.
    pub drop_path: f64,
}

impl ImageTraining {
    /// Checks what only a training would find.
    ///
    /// # Errors
    /// No epoch or an empty batch, an unknown augmentation, settings that SGD refuses.
    pub fn check(&self) -> Result<()> {
        at_least_one(&[("epochs", self.epochs), ("batch", self.batch)])?;
        Augment::parse(&self.augment)?;
        if !(0.0..1.0).contains(&self.drop_path) {
            return Err(Error::user(format!("drop_path must be at least 0 and below 1, not {}", self.drop_path)));
        }
        Sgd::new(vec![], self.sgd()).map(drop)
    }

    fn sgd(&self) -> SgdOptions {
        let Self { lr, momentum, weight_decay, clip, .. } = *self;
        SgdOptions { lr, momentum, nesterov: false, weight_decay, clip: Some(clip) }
    }

    /// Multiply-adds of training and scoring a network that takes `macs` for an image.
    pub fn cost(&self, macs: usize, train: usize, valid: usize) -> f64 {
        cost(macs, self.epochs, train, valid)
    }

    /// Trains a fresh network on `train` and scores it on `valid`; order and augmentation are keyed by `seed`.
    ///
    /// # Errors
    /// Ctrl-C; a loss that is not finite; sets that do not fit the network.
    pub fn run(&self, network: &Network, train: &ImageSet, valid: &ImageSet, seed: Seed) -> Result<CellScore> {
        let options = BatchOptions { augment: Augment::parse(&self.augment)?, ..BatchOptions::default() };
        let options = BatchOptions { cutout: self.cutout, ..options };
        let batches = Batches::new(train, self.batch, &options, seed, "cell")?;
        let device = network.weights().device();
        let mut sgd = Sgd::new(vec![network.weights().clone()], self.sgd())?;
        for epoch in 0..self.epochs {
            sgd.set_lr(schedule::cosine(self.lr, self.lr_min, epoch as f64, self.epochs as f64))?;
            if self.drop_path > 0.0 {
                network.set_drop_path(self.drop_path * epoch as f64 / self.epochs as f64)?;
            }
            for batch in batches.epoch(epoch as u64) {
                let (loss, gradient) = weight_gradient(network, &batch?.to_device(device)?, None)?;
                if !loss.is_finite() {
                    return Err(diverged(loss, epoch));
                }
                sgd.step(&[gradient])?;
            }
        }
        let scored = valid.batches_in_order(SCORED_AT_ONCE)?.map(|batch| batch?.to_device(device));
        let score = evaluate(network, scored, None)?;
        if !score.loss.is_finite() {
            return Err(diverged(score.loss, self.epochs));
        }
        Ok(CellScore {
            loss: score.loss,
            accuracy: score.hits.map(|hits| hits.accuracy),
            perplexity: None,
            parameters: network.parameters(),
            macs: network.macs(),
            cost: self.cost(network.macs(), train.len(), valid.len()),
        })
    }
}
