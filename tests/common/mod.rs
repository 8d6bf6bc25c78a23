//! Shared by the tests: a plain f64 interpreter of graphs, the measure that everything else is held against.
#![allow(dead_code)]

pub mod check;
pub mod reference;

/// Random numbers in ±1 that look the same everywhere.
pub fn noise(seed: u64, len: usize) -> Vec<f32> {
    use rand::RngExt;
    let mut rng = candlewick::random::Seed(seed).rng("test", 0);
    (0..len).map(|_| 2.0 * rng.random::<f32>() - 1.0).collect()
}
