//! What a pass draws at random: drop path's factors, and noise.
//!
//! Every number is keyed by the seed, the pass and its use (which drop path, which noise, which image), so the forward
//! and the backward pass see the same ones for any number of threads.

use crate::random::Seed;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

/// The key of a pass's random numbers, and how often drop path drops. Equal draws give equal passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draws {
    pub seed: Seed,
    /// The pass's number.
    pub pass: u64,
    /// The probability with which a path is dropped, from 0 to below 1.
    pub drop_path: f64,
}

impl Default for Draws {
    fn default() -> Self {
        Self { seed: Seed(0), pass: 0, drop_path: 0.0 }
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

    /// The standard normal numbers of one noise in one image: an endless iterator.
    pub fn noise(&self, id: usize, image: usize) -> impl Iterator<Item = f32> {
        let mut keys = self.seed.rng("noise", self.pass);
        // Eight words of the pass's stream are one image's key, far from the next image's and the next noise's.
        keys.set_word_pos((((id as u128) << 32) + image as u128) << 3);
        let mut rng = Seed(keys.next_u64()).rng("noise", image as u64);
        std::iter::repeat_with(move || StandardNormal.sample(&mut rng))
    }
}
