//! `candlewick bench`: the engine's speed on this machine.

use super::device::DeviceName;
use super::lines::{is_read_by_a_person, print_lines};
use super::workers::start_workers;
use super::{Outcome, memory};
use crate::Error;
use crate::bench::{
    self, Crew, EvalStep, Grid, LanguageStep, Line, Measured, PrimitiveResult, Profiled, SearchStep, Sizes, Steps,
    cache_bandwidth, multiply_add_peak, peaks, primitives,
};
use crate::engine::Isa;
use crate::random::Seed;
use anyhow::bail;
use clap::{Args, Subcommand};
use std::time::Duration;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Steps of a search: alpha gradient and Adam, weight gradient and SGD, on random images.
    Step(Step),
    /// Training steps of the discrete network of DARTS_V2: forward, backward and SGD, on random images.
    Eval(Eval),
    /// Steps of a recurrent search, on random words.
    RnnStep(RnnStep),
    /// Training steps of the language model of DARTS_V2's recurrent cell, on random words.
    RnnEval(RnnEval),
    /// The engine's kernels one at a time, on one thread, beside what this machine can do at most.
    Primitives(Primitives),
    /// First-order search steps by size: batch, channels, layers and threads (on a processor), one varied at a time.
    Table(Table),
}

#[derive(Args)]
struct Step {
    /// 1: first order, 2: one unrolled weight step
    #[arg(long, default_value_t = 1)]
    order: usize,
    /// Images per batch
    #[arg(long, default_value_t = 64, value_parser = at_least_one)]
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
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct Eval {
    /// Images per batch
    #[arg(long, default_value_t = 32, value_parser = at_least_one)]
    batch: usize,
    /// Channels of the first cell
    #[arg(long, default_value_t = 36)]
    channels: usize,
    /// Cells
    #[arg(long, default_value_t = 20)]
    layers: usize,
    #[command(flatten)]
    timing: Timing,
    #[command(flatten)]
    place: Place,
}

/// Where steps run.
#[derive(Args)]
struct Place {
    /// Where networks run: cpu, cuda, cuda:N, or auto for the first GPU that can be used
    #[arg(long, default_value = "cpu")]
    device: DeviceName,
    /// Work out what a step would take on an H100, by roofline, without a GPU
    #[arg(long)]
    predict: bool,
}

impl Place {
    /// Whether steps are predicted and not run.
    ///
    /// # Errors
    /// A prediction for the processor.
    fn predicts(&self) -> Result<bool, Error> {
        match (self.predict, self.device) {
            (true, DeviceName::Cpu) => Err(Error::user("--predict is about GPUs").hint("add --device cuda")),
            (predict, _) => Ok(predict),
        }
    }

    fn open(&self, profile: bool) -> Result<bench::Place, Error> {
        Ok(bench::Place::new(self.device.open()?.networks, profile))
    }
}

#[derive(Args)]
struct RnnStep {
    /// 1: first order, 2: one unrolled weight step
    #[arg(long, default_value_t = 1)]
    order: usize,
    /// Columns
    #[arg(long, default_value_t = 256, value_parser = at_least_one)]
    batch: usize,
    /// Width of the embedding and of all states
    #[arg(long, default_value_t = 300, value_parser = at_least_one)]
    hidden: usize,
    /// Nodes of the cell
    #[arg(long, default_value_t = 8, value_parser = at_least_one)]
    nodes: usize,
    #[command(flatten)]
    words: WordTiming,
}

#[derive(Args)]
struct RnnEval {
    /// Columns
    #[arg(long, default_value_t = 64, value_parser = at_least_one)]
    batch: usize,
    /// Width of the embedding and of all states
    #[arg(long, default_value_t = 850, value_parser = at_least_one)]
    hidden: usize,
    #[command(flatten)]
    words: WordTiming,
}

/// What measurements of language models take.
#[derive(Args)]
struct WordTiming {
    /// Time steps of a window
    #[arg(long, default_value_t = 35, value_parser = at_least_one)]
    window: usize,
    /// Words
    #[arg(long, default_value_t = 10000, value_parser = at_least_one)]
    vocab: usize,
    /// Steps to time, after one that warms up
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    steps: usize,
    /// Threads; by default all cores
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    #[arg(long, default_value_t = 2)]
    seed: u64,
}

/// What every measurement of steps takes.
#[derive(Args)]
struct Timing {
    /// Side of the images
    #[arg(long, default_value_t = 32)]
    size: usize,
    /// Steps to time, after one that warms up
    #[arg(long, default_value_t = 5, value_parser = at_least_one)]
    steps: usize,
    /// The most memory that training may take, "6GB" or "800MiB"; outputs that do not fit are recomputed
    #[arg(long, value_name = "AMOUNT", value_parser = memory)]
    memory: Option<u64>,
    /// Threads; by default all cores
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    #[arg(long, default_value_t = 2)]
    seed: u64,
    /// Take as many steps again and show where their time goes, by kernel and, on the processor, by cell
    #[arg(long)]
    profile: bool,
}

#[derive(Args)]
struct Primitives {
    /// Only primitives whose name contains this, for example "depthwise 5x5"
    #[arg(long)]
    only: Option<String>,
    /// Milliseconds to spend on each primitive
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    milliseconds: u64,
    /// Threads of the limits that all cores reach together; by default all cores
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

#[derive(Args)]
struct Table {
    /// Batch sizes
    #[arg(long, value_delimiter = ',', default_value = "16,32,64,128", value_parser = at_least_one)]
    batches: Vec<usize>,
    /// Channels of the first cell
    #[arg(long, value_delimiter = ',', default_value = "8,16,24,32,48", value_parser = at_least_one)]
    channels: Vec<usize>,
    /// Numbers of cells
    #[arg(long, value_delimiter = ',', default_value = "5,8,11,14,17,20", value_parser = at_least_one)]
    layers: Vec<usize>,
    /// Numbers of threads; by default one and all cores
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<Vec<u16>>,
    /// Sizes of what is not varied: batch, channels, layers
    #[arg(long, value_delimiter = ',', default_value = "64,16,8", value_parser = at_least_one)]
    centre: Vec<usize>,
    /// Side of the images
    #[arg(long, default_value_t = 32)]
    size: usize,
    /// Steps to time in each row, after one that warms up
    #[arg(long, default_value_t = 5, value_parser = at_least_one)]
    steps: usize,
    #[arg(long, default_value_t = 2)]
    seed: u64,
    /// Where networks run: cpu, cuda, cuda:N, or auto for the first GPU that can be used
    #[arg(long, default_value = "cpu")]
    device: DeviceName,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(0) => Err("at least 1 is needed".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("not a whole number".into()),
    }
}

pub fn bench(arguments: Arguments) -> Outcome {
    match arguments.what {
        What::Step(Step { order, batch, channels, layers, partial, timing, place }) => {
            start_workers(timing.threads)?;
            let Timing { size, steps, memory, seed, profile, .. } = timing;
            let step = SearchStep { order, partial, steps: Steps { batch, channels, layers, size, steps, memory } };
            match place.predicts()? {
                true => print_lines(&step.predict()?),
                false => print_measured(step.run(Seed(seed), &place.open(profile)?)?),
            }
        }
        What::Eval(Eval { batch, channels, layers, timing, place }) => {
            start_workers(timing.threads)?;
            let Timing { size, steps, memory, seed, profile, .. } = timing;
            let step = EvalStep(Steps { batch, channels, layers, size, steps, memory });
            match place.predicts()? {
                true => print_lines(&step.predict()?),
                false => print_measured(step.run(Seed(seed), &place.open(profile)?)?),
            }
        }
        What::RnnStep(RnnStep { order, batch, hidden, nodes, words }) => {
            measure_words(LanguageStep { order: Some(order), batch, hidden, nodes, ..words.step() }, &words)
        }
        What::RnnEval(RnnEval { batch, hidden, words }) => {
            measure_words(LanguageStep { batch, hidden, ..words.step() }, &words)
        }
        What::Primitives(options) => measure_primitives(&options),
        What::Table(options) => measure_table(options),
    }
}

impl WordTiming {
    /// A training step of these sizes; the others are for the caller to fill in.
    fn step(&self) -> LanguageStep {
        let Self { window, vocab, steps, .. } = *self;
        LanguageStep { order: None, batch: 0, hidden: 0, nodes: 0, window, vocabulary: vocab, steps }
    }
}

fn measure_words(step: LanguageStep, words: &WordTiming) -> Outcome {
    start_workers(words.threads)?;
    print_lines(&[step.run(Seed(words.seed))?])
}

fn print_measured<R: Line>((result, profile): Measured<R>) -> Outcome {
    print_lines(&[result])?;
    match profile {
        None => Ok(()),
        Some(Profiled::Device(kernels)) => print_lines(&kernels),
        Some(Profiled::Cpu(profile)) => {
            print_lines(&[profile.summary])?;
            print_lines(&profile.kernels)?;
            print_lines(&profile.cells)
        }
    }
}

fn measure_primitives(options: &Primitives) -> Outcome {
    start_workers(options.threads)?;
    let isa = Isa::choose()?;
    let mut chosen = primitives(isa);
    if let Some(part) = &options.only {
        // Each is there once for every size of planes.
        let mut known: Vec<String> = chosen.iter().map(|primitive| primitive.name.clone()).collect();
        known.sort();
        known.dedup();
        chosen.retain(|primitive| primitive.name.contains(part.as_str()));
        if chosen.is_empty() {
            bail!(Error::unknown("primitive", part, known.iter().map(String::as_str)));
        }
    }
    print_lines(&peaks(isa))?;
    let (gflops, gbps) = (multiply_add_peak(isa, Crew::OneThread), cache_bandwidth(isa));
    let time = Duration::from_millis(options.milliseconds);
    let mut rows = Vec::new();
    for primitive in &mut chosen {
        crate::interrupt::check()?;
        let row = PrimitiveResult::measure(primitive, isa, time, gflops, gbps);
        match is_read_by_a_person() {
            true => rows.push(row),
            false => print_lines(&[row])?,
        }
    }
    print_lines(&rows)
}

fn measure_table(options: Table) -> Outcome {
    let all = start_workers(None)?;
    let Table { batches, channels, layers, threads, centre, size, steps, seed, device } = options;
    let &[batch, centre_channels, centre_layers] = centre.as_slice() else {
        bail!(
            Error::user(format!("--centre is batch, channels and layers, not {} numbers", centre.len()))
                .hint("for example --centre 64,16,8")
        );
    };
    let device = device.open()?.name;
    if device != "cpu" && threads.is_some() {
        bail!(Error::user("--threads is about processors, and these steps run on a GPU").hint("leave it out"));
    }
    let threads = match threads {
        Some(threads) => threads.into_iter().map(usize::from).collect(),
        None => vec![1, all],
    };
    let centre = Sizes { batch, channels: centre_channels, layers: centre_layers, threads: all };
    let grid = Grid { batches, channels, layers, threads, centre, size, steps, seed, device };
    let growth = grid.run(crate::error::tell, print_lines)?;
    print_lines(&[growth])
}
