//! Random networks compute what the exact executor says: outputs, gradients and running statistics, on every
//! instruction set, the same bits again, without gradients and within less memory.
//!
//! `CANDLEWICK_GRAPHS=5000 cargo test --release --test engine random_graphs` tries more of them;
//! `CANDLEWICK_GRAPH_SEED=17` (or `17..40`) runs these seeds alone, with the instruction set of `CANDLEWICK_SIMD`.

mod maker;

use crate::compare::{Case, expect, run};
use crate::simd::simd_paths;
use candlewick::graph::Graph;
use std::ops::Range;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many graphs are tried unless `CANDLEWICK_GRAPHS` says otherwise.
const GRAPHS: u64 = 200;
/// How many graphs one process runs.
const CHUNK: u64 = 20;
/// How often values are drawn for a graph before it counts as unfit for single precision.
const DRAWS: u64 = 30;
const SEED: &str = "CANDLEWICK_GRAPH_SEED";

/// `17` or `17..40`.
fn seeds(text: &str) -> Range<u64> {
    let number =
        |text: &str| text.trim().parse().unwrap_or_else(|_| panic!("{SEED} is a number or from..to: {text:?}"));
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(text)..number(text) + 1,
    }
}

/// The graph and the pass as a reader needs them to build the case by hand.
fn description(case: &Case) -> String {
    let Case { graph, batch, mode, active, draws, wanted, tight } = case;
    let mut text = format!("{batch} images, {mode:?}, {wanted:?}, {draws:?}, tight: {tight}, active: {active:?}\n");
    let line = |graph: &Graph, node| format!("  {node:?} = {:?}: {}\n", graph.op(node), graph.shape(node));
    text.extend(graph.nodes().map(|node| line(graph, node)));
    text
}

/// What became of a range of seeds in this process, one line per event.
fn run_here(seeds: Range<u64>) -> (usize, Vec<String>) {
    let (mut compared, mut failures) = (0, Vec::new());
    for seed in seeds {
        // A crash leaves the seed as the last line.
        eprintln!("seed {seed}");
        let case = maker::draw(seed);
        match expect(&case, 50 * seed, DRAWS) {
            None => eprintln!("unfit {seed}"),
            Some(expected) => {
                compared += 1;
                if expected.redrawn > 0 {
                    eprintln!("redrawn {} for {seed}", expected.redrawn);
                }
                match run(&case, &expected) {
                    Ok(worst) => eprintln!("worst {worst:.3} of its tolerance, seed {seed}"),
                    Err(message) => failures.push(format!("seed {seed}: {message}\n{}", description(&case))),
                }
            }
        }
    }
    (compared, failures)
}

#[test]
fn random_graphs_compute_what_the_exact_executor_says() {
    if let Ok(text) = std::env::var(SEED) {
        let (_, failures) = run_here(seeds(&text));
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        return;
    }
    let count = std::env::var("CANDLEWICK_GRAPHS")
        .map_or(GRAPHS, |text| text.parse().unwrap_or_else(|_| panic!("CANDLEWICK_GRAPHS is a number: {text:?}")));
    let simd = simd_paths();
    let (next, failures, tally) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(Tally::default()));
    let worker = || {
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            let from = chunk as u64 * CHUNK;
            if from >= count {
                return;
            }
            let simd = simd[chunk % simd.len()];
            let range = format!("{from}..{}", count.min(from + CHUNK));
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "random_graphs::random_graphs_compute_what_the_exact_executor_says", "--nocapture"])
                .env(SEED, &range)
                .env("CANDLEWICK_SIMD", simd)
                .env("RAYON_NUM_THREADS", (1 + chunk % 3).to_string())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = [output.stderr, output.stdout].concat();
            let said = String::from_utf8_lossy(&said);
            tally.lock().unwrap().read(&said);
            if !output.status.success() {
                let repeat = format!("CANDLEWICK_SIMD={simd} {SEED}={range}");
                failures.lock().unwrap().push(format!("{repeat} ended with {}:\n{said}", output.status));
            }
        }
    };
    std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        (0..workers).for_each(|_| _ = scope.spawn(worker));
    });
    let (failures, tally) = (failures.into_inner().unwrap(), tally.into_inner().unwrap());
    println!("{count} graphs on {simd:?}: {tally:?}");
    assert!(failures.is_empty(), "{} of the processes failed:\n{}", failures.len(), failures.join("\n"));
    assert!(tally.unfit * 5 <= count && tally.compared + tally.unfit == count, "{tally:?}");
}

/// What the processes said.
#[derive(Debug, Default)]
struct Tally {
    compared: u64,
    /// Graphs for which no values were fit for single precision.
    unfit: u64,
    /// Values drawn again, by the exact executor alone.
    redrawn: u64,
    /// The largest error, as a share of its tolerance.
    worst: f64,
}

impl Tally {
    fn read(&mut self, said: &str) {
        for line in said.lines() {
            let mut words = line.split(' ');
            let (what, number) = (words.next(), words.next().and_then(|number| number.parse::<f64>().ok()));
            match (what, number) {
                (Some("worst"), Some(share)) => {
                    self.compared += 1;
                    self.worst = self.worst.max(share);
                }
                (Some("unfit"), Some(_)) => self.unfit += 1,
                (Some("redrawn"), Some(times)) => self.redrawn += times as u64,
                _ => {}
            }
        }
    }
}
