//! Numbers that look random and are the same everywhere.

/// Random numbers in ±1.
pub fn noise(seed: u64, len: usize) -> Vec<f32> {
    use rand::RngExt;
    let mut rng = candlewick::random::Seed(seed).rng("test", 0);
    (0..len).map(|_| 2.0 * rng.random::<f32>() - 1.0).collect()
}
