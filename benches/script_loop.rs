//! What the script around a search costs: a turn of the loop with the five calls of a step, in a script and in Rust.
//!
//!     cargo bench --bench script_loop
//!
//! Prints one JSON line of microseconds per turn, the fastest of several rounds. `empty` is the loop with functions
//! that do nothing, as declared and checked as the real ones. `script` and `rust` are the same first-order search on a
//! network so small that the loop shows; their difference is what the script adds to a step of any size.

use anyhow::Result;
use candle_core::Device;
use candlewick::bench::search_optimizers;
use candlewick::data::{BatchOptions, Batches, ImageOptions, ImageSet, Source, images};
use candlewick::graph::Shape;
use candlewick::learn::{Optimizer, Order, alpha_gradient, weight_gradient};
use candlewick::random::Seed;
use candlewick::run::{Entry, Progress, Run, RunFolder, RunInfo, number};
use candlewick::script::{self, Host, Library, List, Options, Script, Setup, on_script_thread};
use candlewick::space::{Network, Supernet, SupernetOptions};
use rhai::Dynamic;
use std::path::Path;
use std::time::Instant;

const ROUNDS: usize = 5;
const BATCH: usize = 2;

/// The loop of `scripts/darts.rhai` with everything else left out.
const LOOP: &str = r"
    for step in run.steps(turns) {
        let images = batches.next();
        a_opt.step(alpha_gradient(net, images, valid.next(), #{ order: 1, optimizer: w_opt }));
        let loss = w_opt.step(weight_gradient(net, images));
        run.log(#{ train_loss: loss });
    }";

const SMALL: &str = r#"
    let half    = images("digits").train.split(0.5);
    let batches = half[0].batches(2);
    let valid   = half[1].batches(2);
    let shape   = #{ channels: 1, size: 8, classes: 10 };
let net     = supernet(shape, #{ channels: 1, layers: 1, nodes: 1, reductions: [] });
    let w_opt   = sgd(net.weights, #{ lr: 0.025, momentum: 0.9, weight_decay: 3e-4, clip: 5.0 });
    let a_opt   = adam(net.alphas, #{ lr: 3e-4, betas: [0.5, 0.999], weight_decay: 1e-3 });
    let run     = start_run();
"#;

/// Ints stand for the network, the batches, the optimisers and the run.
const EMPTY: &str = "let batches = 1; let valid = 1; let net = 1; let w_opt = 1; let a_opt = 1; let run = 1;";

fn declare_empty(library: &mut Library) {
    library.method("next", &["batches"], |_: i64| Ok(1_i64));
    library
        .function("alpha_gradient", &["net", "train", "valid", "options"], |_: i64, _: i64, _: i64, o: Options| {
            o.get::<i64>("order")
        })
        .option("order", 1_i64, "")
        .option("optimizer", 1_i64, "");
    library.function("weight_gradient", &["net", "batch"], |_: i64, _: i64| Ok(1_i64));
    library.method("step", &["optimizer", "gradient"], |_: i64, _: i64| Ok(0.5_f64));
    library.method("steps", &["run", "count"], |_: i64, count: i64| Ok(List((0..count).collect::<Vec<i64>>())));
    library.method("log", &["run", "fields"], |_: i64, _: rhai::Map| Ok(Dynamic::UNIT));
}

/// Seconds to run a script of so many turns from beginning to end.
fn scripted(setup: &str, turns: usize, declare: fn(&mut Library)) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let text = format!("let turns = {turns};\n{setup}{LOOP}");
    let options = Setup { out: Some(folder.path().join("run")), ..Setup::default() };
    let host = Host::with_sink(options, Box::new(std::io::sink()));
    let start = Instant::now();
    on_script_thread(|| Script::compile_with(host, text, declare)?.run())??;
    Ok(start.elapsed().as_secs_f64())
}

/// Microseconds per turn: what `turns` turns take longer than none, in the fastest round.
fn turn(turns: usize, mut seconds: impl FnMut(usize) -> Result<f64>) -> Result<f64> {
    let mut fastest = f64::INFINITY;
    for _ in 0..ROUNDS {
        let idle = seconds(0)?;
        fastest = fastest.min((seconds(turns)? - idle) / turns as f64 * 1e6);
    }
    Ok((fastest * 100.0).round() / 100.0)
}

/// The same search in Rust; seconds from beginning to end.
fn native(turns: usize) -> Result<f64> {
    let start = Instant::now();
    let data = images(&Source::Digits, &ImageOptions::default())?;
    let (first, second) = data.train.split(0.5)?;
    let batches = |set: &ImageSet, stream| Batches::new(set, BATCH, &BatchOptions::default(), Seed(0), stream);
    let (train, valid) = (batches(&first, "train")?, batches(&second, "valid")?);
    let options = SupernetOptions {
        channels: 1,
        layers: 1,
        nodes: 1,
        reductions: Some(vec![]),
        ..SupernetOptions::new(Shape::new(1, 8, 8), 10)
    };
    let network = Network::supernet(Supernet::build(&options)?, Seed(0), &Device::Cpu)?;
    let (mut w_opt, mut a_opt) = search_optimizers(&network)?;
    let folder = tempfile::tempdir()?;
    let run = begin(folder.path())?;
    for step in run.steps((0..turns).map(Ok), Some(turns as u64)) {
        step?;
        let images = train.next()?;
        let (_, gradients) = alpha_gradient(&network, &images, &valid.next()?, None, &Order::First)?;
        a_opt.step(&gradients)?;
        let (loss, gradient) = weight_gradient(&network, &images, None)?;
        w_opt.step(&[gradient])?;
        run.log(&Entry::from_iter([("train_loss".to_string(), number(loss))]))?;
    }
    Ok(start.elapsed().as_secs_f64())
}

fn begin(folder: &Path) -> Result<Run> {
    let folder = RunFolder::begin(folder, &RunInfo::default(), None)?;
    Ok(Run::start(folder, Progress::hidden(), vec![], Entry::new())?)
}

fn main() -> Result<()> {
    let empty = turn(20_000, |turns| scripted(EMPTY, turns, declare_empty))?;
    let rust = turn(500, native)?;
    let script = turn(500, |turns| scripted(SMALL, turns, script::declare))?;
    println!("{{\"what\": \"script_loop\", \"empty_us\": {empty}, \"script_us\": {script}, \"rust_us\": {rust}}}");
    Ok(())
}
