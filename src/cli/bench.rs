//! `candlewick bench`: the engine's speed on this machine.

use super::Outcome;
use super::workers::start_workers;
use crate::Error;
use crate::bench::SearchStep;
use crate::random::Seed;
use clap::{Args, Subcommand};

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Steps of a search: alpha gradient and Adam, weight gradient and SGD, on random images. Prints one JSON line.
    Step(Step),
}

#[derive(Args)]
struct Step {
    /// 1: first order, 2: one unrolled weight step
    #[arg(long, default_value_t = 1)]
    order: usize,
    /// Images a batch
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Channels of the first cell
    #[arg(long, default_value_t = 16)]
    channels: usize,
    /// Cells
    #[arg(long, default_value_t = 8)]
    layers: usize,
    /// Side of the images
    #[arg(long, default_value_t = 32)]
    size: usize,
    /// Steps to time, after one that warms up
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Threads; by default all cores
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    #[arg(long, default_value_t = 2)]
    seed: u64,
}

pub fn bench(arguments: Arguments) -> Outcome {
    let What::Step(step) = arguments.what;
    start_workers(step.threads)?;
    let Step { order, batch, channels, layers, size, steps, seed, .. } = step;
    let result = SearchStep { order, batch, channels, layers, size, steps }.run(Seed(seed))?;
    let line = serde_json::to_string(&result).map_err(|e| Error::run(e.to_string()))?;
    println!("{line}");
    Ok(())
}
