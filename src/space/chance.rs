//! Chance in a network's passes: drop path and noise, numbered so that a resumed training draws what the unbroken one
//! would have drawn.

use crate::engine::{Draws, Mode};
use crate::random::Seed;
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::sync::{Mutex, PoisonError};

/// The number of the first pass that scores; training's stay below it.
const SCORING: u64 = 1 << 63;

/// The draws of one network, shared by its clones.
pub struct Chance {
    seed: Seed,
    next: Mutex<Next>,
}

#[derive(Clone, Copy)]
struct Next {
    /// Training's passes.
    passes: u64,
    /// Passes that scored.
    scored: u64,
    drop_path: f64,
}

impl Chance {
    pub fn new(seed: Seed) -> Self {
        Self { seed, next: Mutex::new(Next { passes: 0, scored: 0, drop_path: 0.0 }) }
    }

    fn with<R>(&self, f: impl FnOnce(&mut Next) -> R) -> R {
        f(&mut self.next.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Draws of their own, which go on from the same place.
    pub fn copy(&self) -> Self {
        Self { seed: self.seed, next: Mutex::new(self.with(|next| *next)) }
    }

    /// The draws of the next pass of a mode.
    pub fn draws(&self, mode: Mode) -> Draws {
        match mode {
            Mode::Evaluation => self.scoring(),
            Mode::Training | Mode::Trial => self.with(|next| {
                next.passes += 1;
                Draws { seed: self.seed, pass: next.passes - 1, drop_path: next.drop_path, dropout: true }
            }),
        }
    }

    /// The draws of the next pass that scores: nothing is dropped, noise is redrawn in every pass, and what training
    /// draws is not shifted.
    pub fn scoring(&self) -> Draws {
        self.with(|next| {
            next.scored += 1;
            Draws { seed: self.seed, pass: SCORING + next.scored - 1, drop_path: 0.0, dropout: false }
        })
    }

    pub fn drop_path(&self) -> f64 {
        self.with(|next| next.drop_path)
    }

    /// Sets the probability with which training passes drop a path.
    ///
    /// # Errors
    /// A probability outside of [0, 1).
    pub fn set_drop_path(&self, probability: f64) -> Result<()> {
        if !(0.0..1.0).contains(&probability) {
            return Err(Error::user(format!(
                "the probability of drop path must be at least 0 and below 1, not {probability}"
            )));
        }
        self.with(|next| next.drop_path = probability);
        Ok(())
    }

    /// [passes, probability, scoring passes], for a checkpoint.
    ///
    /// # Errors
    /// Those of the device.
    pub fn state(&self) -> Result<Tensor> {
        let Next { passes, scored, drop_path } = self.with(|next| *next);
        Ok(Tensor::new(&[passes as f64, drop_path, scored as f64], &Device::Cpu)?)
    }

    /// Puts back what [`state`](Self::state) gave.
    ///
    /// # Errors
    /// Anything but three numbers in double precision, the second a probability below 1.
    pub fn restore(&self, state: &Tensor) -> Result<()> {
        match state.to_vec1::<f64>()?[..] {
            [passes, drop_path, scored] => {
                self.set_drop_path(drop_path)?;
                self.with(|next| (next.passes, next.scored) = (passes as u64, scored as u64));
                Ok(())
            }
            _ => Err(Error::user("the saved network's draws are not three numbers")),
        }
    }
}
