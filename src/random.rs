//! Random numbers: one counter-based generator keyed by (seed, stream, step).
//!
//! Nothing in the project holds a running generator. Code that needs randomness names the stream ("weights", "crop",
//! "gumbel" …) and the step it is at, so a resumed run draws what the run that was never stopped would have drawn, and
//! one consumer's appetite never shifts another's numbers.

use crate::fingerprint::Fingerprint;
use rand::SeedableRng;
pub use rand_chacha::ChaCha8Rng as Rng;

/// The seed of a whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The generator of `stream` at `step`. Equal arguments give equal numbers on every machine.
    pub fn rng(self, stream: &str, step: u64) -> Rng {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&self.0.to_le_bytes());
        key[8..16].copy_from_slice(&Fingerprint::of(stream.as_bytes()).number().to_le_bytes());
        let mut rng = Rng::from_seed(key);
        rng.set_stream(step);
        rng
    }
}
