//! A language model trained from scratch and scored.

use super::{CellScore, at_least_one, cost, diverged};
use crate::data::text::{Jitter, Stream, WindowOptions, Windows};
use crate::learn::{Excerpt, Optimizer, Penalties, Sgd, SgdOptions, evaluate_language, language_gradient};
use crate::random::Seed;
use crate::space::recurrent::LanguageModel;
use crate::{Error, Result};
use serde::Serialize;

/// Columns of the held-out text, as DARTS' code cuts it.
const SCORED_COLUMNS: usize = 10;

/// How it is trained: SGD on windows whose lengths vary, with a learning rate in proportion to a window's length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextTraining {
    pub epochs: usize,
    /// Columns that the training text is cut into.
    pub batch: usize,
    /// Time steps of a window on average.
    pub length: usize,
    /// For a window of full length.
    pub lr: f64,
    pub weight_decay: f64,
    /// Largest norm of the gradient.
    pub clip: f64,
    /// Weight of the penalty on changes from one time step to the next.
    pub slowness: f64,
}

impl TextTraining {
    /// Checks what only a training would find.
    ///
    /// # Errors
    /// No epoch, no column, an empty window, settings that SGD refuses.
    pub fn check(&self) -> Result<()> {
        at_least_one(&[("epochs", self.epochs), ("batch", self.batch), ("length", self.length)])?;
        if !(self.slowness >= 0.0 && self.slowness.is_finite()) {
            return Err(Error::user(format!("slowness must not be negative, but it is {}", self.slowness)));
        }
        Sgd::new(vec![], self.sgd()).map(drop)
    }

    fn sgd(&self) -> SgdOptions {
        let Self { lr, weight_decay, clip, .. } = *self;
        SgdOptions { lr, momentum: 0.0, nesterov: false, weight_decay, clip: Some(clip) }
    }

    /// Multiply-adds of training and scoring a model that takes `macs` for a token.
    pub fn cost(&self, macs: usize, train: usize, valid: usize) -> f64 {
        cost(macs, self.epochs, train, valid)
    }

    /// Trains a fresh model on `train` and scores it on `valid`; the windows' lengths are keyed by `seed`.
    ///
    /// # Errors
    /// Ctrl-C; a loss that is not finite; texts that are too short for a window.
    pub fn run(&self, model: &LanguageModel, train: &Stream, valid: &Stream, seed: Seed) -> Result<CellScore> {
        let windows = |stream, batch, jitter| {
            Windows::new(stream, batch, WindowOptions { length: self.length, jitter }, seed, "cell")
        };
        let (taught, held_out) =
            (windows(train, self.batch, Jitter::Evaluation)?, windows(valid, SCORED_COLUMNS, Jitter::None)?);
        let penalties = Penalties { activation: 0.0, slowness: self.slowness };
        let mut sgd = Sgd::new(vec![model.weights().clone()], self.sgd())?;
        for epoch in 0..self.epochs {
            let mut hidden = model.zero_hidden(self.batch)?;
            for window in taught.epoch(epoch as u64) {
                let window = window?;
                sgd.set_lr(self.lr * window.length() as f64 / self.length as f64)?;
                let excerpt = Excerpt { words: window.x, next: window.y, hidden };
                let (loss, gradient, after) = language_gradient(model, &excerpt, None, penalties)?;
                if !loss.is_finite() {
                    return Err(diverged(loss, epoch));
                }
                sgd.step(&[gradient])?;
                hidden = after;
            }
        }
        let pairs = held_out.epoch(0).map(|window| window.map(|window| (window.x, window.y)));
        let surprise = evaluate_language(model, pairs, None)?;
        if !surprise.perplexity().is_finite() {
            return Err(diverged(surprise.loss, self.epochs));
        }
        Ok(CellScore {
            loss: surprise.loss,
            accuracy: None,
            perplexity: Some(surprise.perplexity()),
            parameters: model.parameters(),
            macs: model.macs(),
            cost: self.cost(model.macs(), taught.rows() * self.batch, surprise.tokens),
        })
    }
}
