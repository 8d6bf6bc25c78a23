//! `candlewick bench`: the engine's speed on this machine.

use super::Outcome;
use super::workers::start_workers;
use crate::Error;
use crate::bench::{EvalStep, SearchStep};
use crate::random::Seed;
use clap::{Args, Subcommand};
use serde::Serialize;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Steps of a search: alpha gradient and Adam, weight gradient and SGD, on random images. Prints one JSON line.
    Step(Step),
    /// Training steps of the discrete network of DARTS_V2: forward, backward and SGD, on random images. Prints one JSON line.
    Eval(Eval),
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
    /// K of partial channels, with edge weights (PC-DARTS: 4); 1: DARTS
    #[arg(long, default_value_t = 1)]
    partial: usize,
    #[command(flatten)]
    timing: Timing,
}

#[derive(Args)]
struct Eval {
    /// Images a batch
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Channels of the first cell
    #[arg(long, default_value_t = 36)]
    channels: usize,
    /// Cells
    #[arg(long, default_value_t = 20)]
    layers: usize,
    #[command(flatten)]
    timing: Timing,
}

/// What every measurement of steps takes.
#[derive(Args)]
struct Timing {
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
    match arguments.what {
        What::Step(Step { order, batch, channels, layers, partial, timing: Timing { size, steps, threads, seed } }) => {
            start_workers(threads)?;
            print_line(&SearchStep { order, batch, channels, layers, partial, size, steps }.run(Seed(seed))?)
        }
        What::Eval(Eval { batch, channels, layers, timing: Timing { size, steps, threads, seed } }) => {
            start_workers(threads)?;
            print_line(&EvalStep { batch, channels, layers, size, steps }.run(Seed(seed))?)
        }
    }
}

fn print_line(result: &impl Serialize) -> Outcome {
    println!("{}", serde_json::to_string(result).map_err(|e| Error::run(e.to_string()))?);
    Ok(())
}
