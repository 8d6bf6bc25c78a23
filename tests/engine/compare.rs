//! One pass of the engine held against the exact executor: the output, every element of every gradient, and the running
//! statistics, tensor by tensor. Which executor is held, `executor.rs` says: tests of GPUs have one of their own.
//!
//! How far single precision may be off is not the same for every network: a batch norm over almost equal values, or a
//! gradient whose terms cancel, magnifies rounding. So the exact executor also runs with every value moved by a random
//! rounding error, and what a tensor moves by then is what its tolerance grows with.

use crate::executor;
use crate::noise::noise;
use candle_core::{Device, Tensor, Var};
use candlewick::bytes::parse_bytes;
use candlewick::engine::exact::{Exact, Inputs, Margin, Norms, Record};
use candlewick::engine::{Draws, Engine, Mode, Pass, RunningStatistics, Wanted};
use candlewick::graph::{Graph, Init};
use candlewick::random::Seed;
use std::sync::Arc;

/// The error that is always allowed, by the largest magnitude in its tensor.
const ROUNDING: f64 = 5e-6;
/// How much further than the exact executor does when it rounds the engine may move. It rounds within primitives too.
const FURTHER: f64 = 200.0;
/// The largest tolerance, by the largest magnitude in its tensor, at which a comparison still says something.
const LOOSEST: f64 = 1e-2;
/// Kinks and ties must be further away, by the largest magnitude in their map.
const NEAREST: f64 = 2e-6;
/// How often the exact executor rounds.
const SAMPLES: u64 = 3;

const ALL: Wanted = Wanted { x: true, w: true, p: true };
const NOTHING: Wanted = Wanted { x: false, w: false, p: false };

/// A network and a pass over it.
#[derive(Clone)]
pub struct Case {
    pub graph: Arc<Graph>,
    pub batch: usize,
    pub mode: Mode,
    pub active: Option<Vec<bool>>,
    pub draws: Draws,
    /// Where gradients are taken.
    pub wanted: Wanted,
    /// Whether the engine also runs within the least memory that will do.
    pub tight: bool,
}

impl Case {
    /// A pass that takes batch statistics and all gradients.
    pub fn new(graph: Graph, batch: usize) -> Self {
        let graph = Arc::new(graph);
        Self { graph, batch, mode: Mode::Trial, active: None, draws: Draws::default(), wanted: ALL, tight: false }
    }
}

/// What a case is run on.
struct Values {
    x: Vec<f32>,
    w: Vec<f32>,
    p: Vec<f32>,
    /// The gradient of the output.
    dy: Vec<f32>,
    running: Vec<f32>,
}

impl Values {
    fn new(case: &Case, seed: u64) -> Self {
        let graph = &case.graph;
        let (from, to) = (graph.shape(graph.input()), graph.shape(graph.output().unwrap()));
        let noise = |stream: u64, len: usize| noise(8 * seed + stream, len);
        let mut w = noise(0, graph.parameters());
        for info in graph.weights() {
            for value in &mut w[info.range()] {
                // Wide enough that many layers neither fade nor grow.
                *value = match info.init {
                    Init::Uniform(bound) => 1.7 * bound * *value,
                    Init::Normal(deviation) => 1.7 * deviation * *value,
                    Init::Constant(constant) => constant + 0.5 * *value,
                };
            }
        }
        let mut running = noise(1, graph.statistics_len());
        for norm in graph.norms() {
            running[norm.variance()].iter_mut().for_each(|value| *value = 0.4 + value.abs());
        }
        Self {
            x: noise(2, case.batch * from.channels * from.pixels()),
            w,
            // Every slot counts.
            p: noise(3, graph.slot_count().max(1)).iter().map(|v| v + 0.3f32.copysign(*v)).collect(),
            dy: noise(4, case.batch * to.channels * to.pixels()),
            running,
        }
    }
}

/// What a pass makes, as named tensors.
type Tensors = Vec<(String, Vec<f64>)>;

/// Cuts flat vectors into the tensors that they are made of.
fn named(case: &Case, output: &[f64], [x, w, p]: [&[f64]; 3], running: &[f64]) -> Tensors {
    let graph = &case.graph;
    let mut tensors = vec![("output".to_string(), output.to_vec())];
    if case.wanted.x {
        tensors.push(("gradient of x".into(), x.to_vec()));
    }
    if case.wanted.w {
        tensors.extend(
            graph.weights().iter().map(|info| (format!("gradient of {}", info.name), w[info.range()].to_vec())),
        );
    }
    if case.wanted.p {
        let block = |block: &candlewick::graph::SlotBlock| {
            (format!("gradient of p, {}", block.name), p[block.offset..][..block.len()].to_vec())
        };
        tensors.extend(graph.slot_blocks().iter().map(block));
    }
    for norm in graph.norms().iter().filter(|_| case.mode == Mode::Training) {
        tensors.push((format!("running mean of {}", norm.name), running[norm.mean()].to_vec()));
        tensors.push((format!("running variance of {}", norm.name), running[norm.variance()].to_vec()));
    }
    tensors
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// What the exact executor says.
fn exact(case: &Case, executor: &Exact, values: &Values) -> (Tensors, Record) {
    let mut running = wide(&values.running);
    let fixed = running.clone();
    let norms = match case.mode {
        Mode::Training => Norms::Training(&mut running),
        Mode::Trial => Norms::Trial,
        Mode::Evaluation => Norms::Evaluation(&fixed),
    };
    let (x, w, p) = (wide(&values.x), wide(&values.w), wide(&values.p));
    let inputs = Inputs { x: &x, w: &w, p: &p, batch: case.batch, active: case.active.as_deref() };
    let record = executor.forward(inputs, norms, &case.draws).unwrap();
    let back = executor.backward(&record, &wide(&values.dy), case.wanted).unwrap();
    (named(case, record.output(), [&back.x, &back.w, &back.p], &running), record)
}

/// The expected tensors, each with its tolerance.
pub struct Expected {
    seed: u64,
    tensors: Vec<(String, Vec<f64>, f64)>,
    /// Values that were drawn before, because they came too near a kink or were too ill-conditioned to compare.
    pub redrawn: u64,
}

/// Draws values until single precision can follow them: kinks are far enough away, and rounding moves no tensor by
/// much. Only the exact executor is asked. None where no draw of `most` will do.
pub fn expect(case: &Case, first: u64, most: u64) -> Option<Expected> {
    let executor = Exact::new(case.graph.clone()).unwrap();
    (first..first + most).find_map(|seed| {
        let values = Values::new(case, seed);
        let (tensors, record) = exact(case, &executor, &values);
        let margin: Margin = executor.margin(&record);
        if margin.relative < NEAREST {
            return None;
        }
        let mut moved = vec![0f64; tensors.len()];
        for sample in 1..=SAMPLES {
            let rounding = executor.clone().rounding(Seed(sample));
            let (rounded, other) = exact(case, &rounding, &values);
            if executor.crossed(&record, &other) != Default::default() {
                return None;
            }
            for (moved, ((_, rounded), (_, tensor))) in moved.iter_mut().zip(rounded.iter().zip(&tensors)) {
                *moved = moved.max(difference(rounded, tensor));
            }
        }
        // A gradient that is zero but for rounding has no scale of its own.
        let all = tensors.iter().fold(0f64, |all, (_, tensor)| all.max(largest(tensor)));
        let with_tolerance = |((name, tensor), moved): ((String, Vec<f64>), f64)| {
            let scale = if largest(&tensor) < 1e-9 * all { 4.0 * all } else { largest(&tensor).max(1e-1 * all) };
            let tolerance = ROUNDING * scale + FURTHER * moved;
            (name, tensor, tolerance)
        };
        let tensors: Vec<_> = tensors.into_iter().zip(moved).map(with_tolerance).collect();
        let says_something =
            |(_, tensor, tolerance): &(_, Vec<f64>, f64)| *tolerance <= LOOSEST * largest(tensor).max(1e-2 * all);
        tensors.iter().all(says_something).then_some(Expected { seed, tensors, redrawn: seed - first })
    })
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0f64, |largest, value| largest.max(value.abs()))
}

/// The largest difference between two tensors; infinite where one holds something that is not a number.
fn difference(one: &[f64], other: &[f64]) -> f64 {
    let pairs = one.iter().zip(other).map(|(a, b)| (a - b).abs());
    pairs.fold(0f64, |most, error| if error.is_nan() { f64::INFINITY } else { most.max(error) })
}

/// What one pass of the engine made; gradients of x, w and p.
struct Outcome {
    output: Vec<f32>,
    gradients: [Vec<f32>; 3],
    running: Vec<f64>,
}

impl Outcome {
    /// Whether this is the other to the last bit. `gradients`: whether they count.
    fn is(&self, other: &Outcome, gradients: bool) -> bool {
        let equal = |a: &[f32], b: &[f32]| a.iter().map(|a| a.to_bits()).eq(b.iter().map(|b| b.to_bits()));
        equal(&self.output, &other.output)
            && self.running == other.running
            && (!gradients || (0..3).all(|at| equal(&self.gradients[at], &other.gradients[at])))
    }
}

/// Runs the engine.
fn pass(case: &Case, engine: &Engine, values: &Values, wanted: Wanted) -> Result<Outcome, String> {
    let from = case.graph.shape(case.graph.input());
    let tensor = |values: &[f32], track: bool| -> Tensor {
        let tensor = Tensor::from_slice(values, values.len(), &Device::Cpu).unwrap();
        if track { Var::from_tensor(&tensor).unwrap().into_inner() } else { tensor }
    };
    let x = Tensor::from_slice(&values.x, (case.batch, from.channels, from.height, from.width), &Device::Cpu).unwrap();
    let x = if wanted.x { Var::from_tensor(&x).unwrap().into_inner() } else { x };
    let (w, p) = (tensor(&values.w, wanted.w), tensor(&values.p, wanted.p));
    let running = RunningStatistics::new(&case.graph);
    running.set(&wide(&values.running)).unwrap();
    let (active, draws) = (case.active.clone().map(Into::into), case.draws);
    let pass = Pass { mode: case.mode, statistics: running.clone(), active, draws, ..Pass::default() };
    let failed = |error: candlewick::Error| format!("fails: {error}");
    let output = engine.forward(&x, &w, &p, &pass).map_err(failed)?;
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let mut gradients = <[Vec<f32>; 3]>::default();
    if wanted.x || wanted.w || wanted.p {
        let dy = Tensor::from_slice(&values.dy, output.dims(), &Device::Cpu).unwrap();
        let loss = (&output * dy).unwrap().sum_all().unwrap();
        let store = loss.backward().map_err(|error| format!("fails: {error}"))?;
        for (gradient, var) in gradients.iter_mut().zip([&x, &w, &p]) {
            *gradient = store.get(var).map(flat).unwrap_or_default();
        }
    }
    Ok(Outcome { output: flat(&output), gradients, running: running.values() })
}

/// The engine within the least memory in which it trains this batch.
fn within_the_least(case: &Case, engine: &Engine, values: &Values) -> Result<Engine, String> {
    let least = |message: String| {
        let (_, rest) = message.split_once("would do is ").ok_or(format!("names no least memory: {message}"))?;
        parse_bytes(rest.trim()).map_err(|error| error.to_string())
    };
    let within = |bytes: u64| engine.clone().within(bytes, Arc::new(|_: &str| {}));
    let one = within(1).err().ok_or("trains within one byte")?;
    let one = least(one.message)?;
    let tight = within(one).map_err(|error| format!("fails within what it named: {error}"))?;
    match pass(case, &tight, values, case.wanted) {
        Ok(_) => Ok(tight),
        Err(message) => within(least(message)?).map_err(|error| format!("fails within what it named: {error}")),
    }
}

/// Runs the engine and says what is wrong, if anything: a tensor past its tolerance, or other bits when run again,
/// without gradients, or within less memory. Otherwise the largest error, as a share of its tolerance.
pub fn run(case: &Case, expected: &Expected) -> Result<f64, String> {
    let values = Values::new(case, expected.seed);
    let engine = executor::compile(&case.graph).map_err(|error| format!("does not compile: {error}"))?;
    let outcome = pass(case, &engine, &values, case.wanted)?;
    if !outcome.is(&pass(case, &engine, &values, case.wanted)?, true) {
        return Err("run again it has other bits".into());
    }
    if !outcome.is(&pass(case, &engine, &values, NOTHING)?, false) {
        return Err("run without gradients it has other bits".into());
    }
    if case.tight {
        let tight = within_the_least(case, &engine, &values)?;
        if !outcome.is(&pass(case, &tight, &values, case.wanted)?, true) {
            return Err("run within less memory it has other bits".into());
        }
    }
    let [x, w, p] = outcome.gradients.each_ref().map(|gradient| wide(gradient));
    let got = named(case, &wide(&outcome.output), [&x, &w, &p], &outcome.running);
    let mut worst = 0f64;
    for ((name, got), (_, expected, tolerance)) in got.iter().zip(&expected.tensors) {
        let error = difference(got, expected);
        if error > *tolerance {
            return Err(format!(
                "{name} is off by {error:e} where {tolerance:e} is allowed and the largest element is {:e}:\n  got \
                 {got:?}\n  expected {expected:?}",
                largest(expected)
            ));
        }
        // Where nothing is allowed, nothing was off.
        worst = worst.max(if error > 0.0 { error / tolerance } else { 0.0 });
    }
    Ok(worst)
}
