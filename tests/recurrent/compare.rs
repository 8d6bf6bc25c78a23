//! One pass of a time step over a window on either executor: outputs, states, gradients, running statistics, in double
//! precision.

use crate::noise::noise;
use candle_core::{DType, Device, Tensor, Var};
use candlewick::engine::recurrent::RecurrentEngine;
use candlewick::engine::{CpuOptions, Draws, Dropout, Isa, Mode, Pass, RunningStatistics, Target, Wanted};
use candlewick::graph::recurrent::RecurrentGraph;
use candlewick::random::Seed;
use std::sync::Arc;

pub const ALL: Wanted = Wanted { x: true, w: true, p: true };

/// A time step and a pass over a window of it.
#[derive(Clone)]
pub struct Case {
    pub graph: Arc<RecurrentGraph>,
    pub steps: usize,
    pub rows: usize,
    pub mode: Mode,
    pub active: Option<Vec<bool>>,
    /// The probability of every mask.
    pub dropout: f64,
    pub wanted: Wanted,
    pub seed: u64,
}

impl Case {
    /// A training pass that takes all gradients and drops a third of everything that is masked.
    pub fn new(graph: RecurrentGraph, steps: usize, rows: usize) -> Self {
        let graph = Arc::new(graph);
        Self { graph, steps, rows, mode: Mode::Training, active: None, dropout: 0.3, wanted: ALL, seed: 1 }
    }
}

/// What a case is run on.
#[derive(Clone)]
pub struct Values {
    pub x: Vec<f64>,
    pub w: Vec<f64>,
    pub p: Vec<f64>,
    pub states: Vec<Vec<f64>>,
    /// The gradient of the outputs.
    pub dy: Vec<f64>,
}

fn wide(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

impl Values {
    pub fn new(case: &Case) -> Self {
        let (graph, rows) = (&case.graph, case.rows);
        let tokens = case.steps * rows;
        let noise = |stream: u64, len: usize| wide(noise(16 * case.seed + stream, len));
        let out = graph.width(graph.output().expect("an output"));
        let states = graph.states().iter().enumerate();
        Self {
            x: noise(0, tokens * graph.width(graph.input())),
            w: noise(1, graph.parameters()).into_iter().map(|w| 0.9 * w).collect(),
            p: noise(2, graph.slot_count().max(1)),
            states: states.map(|(at, state)| noise(4 + at as u64, rows * state.width)).collect(),
            dy: noise(3, tokens * out),
        }
    }
}

impl Values {
    /// The same, each number off by up to half a unit of single precision.
    pub fn rounded(&self, sample: u64) -> Self {
        let mut stream = (1 + sample) << 32;
        let mut off = |values: &Vec<f64>| -> Vec<f64> {
            stream += 1;
            let by = noise(stream, values.len());
            values
                .iter()
                .zip(by)
                .map(|(value, by)| value * (1.0 + f64::from(f32::EPSILON) / 2.0 * f64::from(by)))
                .collect()
        };
        Self {
            x: off(&self.x),
            w: off(&self.w),
            p: off(&self.p),
            states: self.states.iter().map(&mut off).collect(),
            dy: off(&self.dy),
        }
    }
}

/// What a pass leaves. Gradients that were not wanted are empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Left {
    pub output: Vec<f64>,
    pub states: Vec<Vec<f64>>,
    pub x: Vec<f64>,
    pub w: Vec<f64>,
    pub p: Vec<f64>,
    pub running: Vec<f64>,
}

impl Left {
    /// Its parts with names.
    pub fn parts(&self) -> Vec<(String, &[f64])> {
        let mut parts = vec![("the output".to_string(), self.output.as_slice())];
        parts.extend(self.states.iter().enumerate().map(|(at, state)| (format!("state {at}"), state.as_slice())));
        let named = [("dx", &self.x), ("dw", &self.w), ("dp", &self.p), ("the running statistics", &self.running)];
        parts.extend(named.map(|(name, part)| (name.to_string(), part.as_slice())));
        parts
    }
}

pub fn cpu(isa: Isa) -> Target {
    Target::Cpu(CpuOptions::on(isa))
}

/// A tensor of the engine's type.
pub fn tensor(values: &[f64], shape: &[usize], dtype: DType) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).expect("as many values").to_dtype(dtype).expect("a float type")
}

pub fn values(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.flatten_all().expect("a tensor").to_dtype(DType::F64).expect("a number type");
    flat.to_vec1().expect("double precision")
}

/// The pass of a case, with fresh running statistics.
pub fn pass_of(case: &Case) -> Pass {
    let statistics = RunningStatistics::of(case.graph.norms());
    // Not the usual ones, so that evaluation and training show which is which.
    let moved: Vec<f64> = statistics.values().iter().enumerate().map(|(at, v)| v + 0.01 * at as f64).collect();
    statistics.set(&moved).expect("as many statistics");
    Pass {
        mode: case.mode,
        statistics,
        active: case.active.clone().map(Arc::from),
        draws: Draws { seed: Seed(case.seed), pass: 3, ..Draws::default() },
        dropout: Dropout::new(case.graph.masks().iter().map(|mask| (mask.name.clone(), case.dropout))),
        ..Pass::default()
    }
}

/// Runs a case.
pub fn run(case: &Case, values_of: &Values, target: Target) -> Left {
    let engine = RecurrentEngine::compile(case.graph.clone(), target).expect("the time step is whole");
    run_on(&engine, case, values_of)
}

/// Runs a case on an engine that may have run before.
pub fn run_on(engine: &RecurrentEngine, case: &Case, given: &Values) -> Left {
    let (graph, dtype) = (&case.graph, engine.dtype());
    let input = |values: &[f64], shape: &[usize], wanted: bool| {
        let values = tensor(values, shape, dtype);
        let variable = Var::from_tensor(&values).expect("a variable");
        let used = if wanted { variable.as_tensor().clone() } else { values };
        (variable, used)
    };
    let (x_var, x) = input(&given.x, &[case.steps, case.rows, graph.width(graph.input())], case.wanted.x);
    let (w_var, w) = input(&given.w, &[given.w.len()], case.wanted.w);
    let (p_var, p) = input(&given.p, &[given.p.len()], case.wanted.p);
    let states: Vec<Tensor> = graph
        .states()
        .iter()
        .zip(&given.states)
        .map(|(info, state)| tensor(state, &[case.rows, info.width], dtype))
        .collect();
    let pass = pass_of(case);
    let (output, after) = engine.forward(&x, &states, &w, &p, &pass).expect("the pass runs");
    let mut left = Left {
        output: values(&output),
        states: after.iter().map(values).collect(),
        x: Vec::new(),
        w: Vec::new(),
        p: Vec::new(),
        running: pass.statistics.values(),
    };
    if case.wanted.any() {
        let dy = tensor(&given.dy, output.dims(), dtype);
        let gradients = (output * dy).expect("one shape").sum_all().expect("a sum").backward().expect("gradients");
        let of = |variable: &Var| gradients.get(variable).map(values).unwrap_or_default();
        (left.x, left.w, left.p) = (of(&x_var), of(&w_var), of(&p_var));
    }
    left
}

/// ‖a − b‖ / ‖b‖; where b is (almost) zero, ‖a − b‖.
pub fn error(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let apart = norm(&mut got.iter().zip(expected).map(|(got, expected)| got - expected));
    let size = norm(&mut expected.iter().copied());
    if size < 1e-3 { apart } else { apart / size }
}
