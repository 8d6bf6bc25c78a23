//! How often the training passes of a language model drop, by what they drop.

use crate::{Error, Result};

/// The probabilities with which a language model's training passes drop (`docs/darts.md` B2; Merity et al. 2018).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dropouts {
    /// Whole words of the vocabulary: their vectors are zero for a window.
    pub words: f64,
    /// The embedded words, one mask for all time steps (locked).
    pub input: f64,
    /// The token vector inside of the cell.
    pub x: f64,
    /// The states as the cell's matrices see them.
    pub hidden: f64,
    /// Between layers, locked.
    pub between: f64,
    /// Single weights of the matrices between states, for a window (DropConnect).
    pub weights: f64,
    /// What the decoder sees, locked.
    pub output: f64,
    /// The experts' vectors of a mixture of softmaxes, locked.
    pub latent: f64,
}

impl Dropouts {
    /// The names that scripts give them.
    pub const NAMES: [&'static str; 8] = ["words", "input", "x", "hidden", "between", "weights", "output", "latent"];

    /// The probability of this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        let mut own = *self;
        own.slot(name).copied()
    }

    /// Sets the probability of this name.
    ///
    /// # Errors
    /// An unknown name, a probability outside of [0, 1).
    pub fn set(&mut self, name: &str, probability: f64) -> Result<()> {
        if !(0.0..1.0).contains(&probability) {
            return Err(Error::user(format!("dropout \"{name}\" must be at least 0 and below 1, not {probability}")));
        }
        let slot = self.slot(name).ok_or_else(|| Error::unknown("dropout", name, Self::NAMES))?;
        *slot = probability;
        Ok(())
    }

    fn slot(&mut self, name: &str) -> Option<&mut f64> {
        Some(match name {
            "words" => &mut self.words,
            "input" => &mut self.input,
            "x" => &mut self.x,
            "hidden" => &mut self.hidden,
            "between" => &mut self.between,
            "weights" => &mut self.weights,
            "output" => &mut self.output,
            "latent" => &mut self.latent,
            _ => return None,
        })
    }
}
