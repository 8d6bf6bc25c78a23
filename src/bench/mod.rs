//! Speed measurements that anyone can repeat: what `candlewick bench` runs.

mod arithmetic;
mod eval;
mod memory;
mod peaks;
mod primitives;
mod profile;
mod report;
mod step;
mod table;

pub use arithmetic::Arithmetic;
pub use eval::{EvalResult, EvalStep};
pub use memory::peak_rss_mb;
pub use peaks::{Crew, Peak, cache_bandwidth, multiply_add_peak, peaks};
pub use primitives::{Primitive, PrimitiveResult, primitives};
pub use profile::{Profile, ProfileLine, ProfileSummary};
pub use report::{Cell, Line, median, table};
pub use step::{SearchStep, StepResult};
pub use table::{Grid, Growth, Row, Sizes};

use crate::Result;
use crate::engine::Report;
use crate::learn::Batch;
use crate::random::Seed;
use candle_core::{Device, Tensor};
use rand::RngExt;
use std::sync::Arc;
use std::time::Instant;

/// What a measurement of steps leaves behind: its line, and a profile if one was asked for.
pub type Measured<R> = (R, Option<Profile>);

/// The seconds of each of `steps` runs, to five places, after one that warms up.
fn timed(steps: usize, mut step: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let mut seconds = Vec::new();
    for index in 0..=steps {
        let start = Instant::now();
        step()?;
        if index > 0 {
            seconds.push((start.elapsed().as_secs_f64() * 1e5).round() / 1e5);
        }
    }
    Ok(seconds)
}

/// Lines on stderr, for what a limit on memory costs.
fn on_stderr() -> Report {
    Arc::new(|line| eprintln!("{line}"))
}

/// Random colour images of `size` × `size` with random labels of ten classes.
fn random_batch(images: usize, size: usize, seed: Seed, index: u64) -> Result<Batch> {
    let mut rng = seed.rng("bench", index);
    let pixels: Vec<f32> = (0..images * 3 * size * size).map(|_| 2.0 * rng.random::<f32>() - 1.0).collect();
    let labels: Vec<u32> = (0..images).map(|_| rng.random_range(0..10)).collect();
    Batch::new(
        Tensor::from_vec(pixels, (images, 3, size, size), &Device::Cpu)?,
        Tensor::from_vec(labels, images, &Device::Cpu)?,
    )
}
