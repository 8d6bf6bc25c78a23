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
    /// The names that scripts give them, with what each drops.
    pub const ALL: [(&'static str, &'static str); 8] = [
        ("words", "whole words of the vocabulary, for a window"),
        ("input", "the embedded words, one mask for all time steps"),
        ("x", "the token vector inside of the cell, one mask a window"),
        ("hidden", "the states as the cell's matrices see them, one mask a window"),
        ("between", "what one layer gives the next, one mask for all time steps"),
        ("weights", "single weights between states, for a window (DropConnect)"),
        ("output", "what the decoder sees, one mask for all time steps"),
        ("latent", "the vectors of a mixture's softmaxes, one mask for all time steps"),
    ];

    /// The probability of this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.clone().slot(name).map(|slot| *slot)
    }

    /// Sets the probability of this name.
    ///
    /// # Errors
    /// An unknown name, a probability outside of [0, 1).
    pub fn set(&mut self, name: &str, probability: f64) -> Result<()> {
        if !(0.0..1.0).contains(&probability) {
            return Err(Error::user(format!("dropout \"{name}\" must be at least 0 and below 1, not {probability}")));
        }
        let slot = self.slot(name).ok_or_else(|| Error::unknown("dropout", name, Self::ALL.map(|(name, _)| name)))?;
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
