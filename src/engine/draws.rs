//! What a pass draws at random: drop path's factors, noise, dropout, the masks of recurrent networks.
//!
//! Every number is keyed by the seed, the pass and its use (which drop path, which noise, which image, which mask), so
//! the forward and the backward pass see the same ones for any number of threads.

use crate::graph::NoiseKind;
use crate::random::Seed;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

/// The key of a pass's random numbers, and how often drop path drops. Equal draws give equal passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draws {
    pub seed: Seed,
    /// The pass's number.
    pub pass: u64,
    /// The probability with which a path is dropped, from 0 to below 1.
    pub drop_path: f64,
    /// Whether dropout within a network drops.
    pub dropout: bool,
}

impl Default for Draws {
    fn default() -> Self {
        Self { seed: Seed(0), pass: 0, drop_path: 0.0, dropout: true }
    }
}

impl Draws {
    /// What each path is multiplied by, paths × images: 0 with the probability q of drop path, 1/(1 − q) otherwise.
    /// Empty where nothing is dropped.
    pub fn path_factors(&self, paths: usize, images: usize) -> Vec<f32> {
        if self.drop_path == 0.0 {
            return Vec::new();
        }
        let kept = (1.0 / (1.0 - self.drop_path)) as f32;
        let mut rng = self.seed.rng("drop_path", self.pass);
        (0..paths * images).map(|_| if rng.random::<f64>() < self.drop_path { 0.0 } else { kept }).collect()
    }

    /// The numbers of one noise in one image: an endless iterator.
    pub fn noise(&self, kind: NoiseKind, id: usize, image: usize) -> impl Iterator<Item = f32> {
        let mut keys = self.seed.rng("noise", self.pass);
        // Eight words of the pass's stream are one image's key, far from the next image's and the next noise's.
        keys.set_word_pos((((id as u128) << 32) + image as u128) << 3);
        let mut rng = Seed(keys.next_u64()).rng("noise", image as u64);
        let drops = self.dropout;
        std::iter::repeat_with(move || match kind {
            NoiseKind::Normal => StandardNormal.sample(&mut rng),
            NoiseKind::Kept { .. } if !drops => 1.0,
            NoiseKind::Kept { dropped } if rng.random::<f64>() < dropped.value() => 0.0,
            NoiseKind::Kept { dropped } => (1.0 / (1.0 - dropped.value())) as f32,
        })
    }

    /// Writes a mask of inverted dropout into `out`: 0 with probability q, 1/(1 − q) otherwise. `stream`: the mask's.
    pub(crate) fn fill_mask(&self, stream: &str, q: f64, out: &mut [f32]) {
        let kept = (1.0 / (1.0 - q)) as f32;
        let mut rng = self.seed.rng(stream, self.pass);
        out.fill_with(|| if rng.random::<f64>() < q { 0.0 } else { kept });
    }
}

/// How often masks drop, by their names. A mask that is not named drops nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dropout(Arc<[(String, f64)]>);

impl Dropout {
    /// Masks' names, each with the probability from 0 to below 1 with which it drops.
    pub fn new<N: Into<String>>(masks: impl IntoIterator<Item = (N, f64)>) -> Self {
        Self(masks.into_iter().map(|(name, q)| (name.into(), q)).collect())
    }

    /// The probability of one mask.
    pub fn of(&self, name: &str) -> f64 {
        self.0.iter().find(|(known, _)| known == name).map_or(0.0, |(_, q)| *q)
    }

    /// All that are named.
    pub fn named(&self) -> &[(String, f64)] {
        &self.0
    }
}
