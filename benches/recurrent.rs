//! Recurrent windows on the engine: the passes of a search step and of training from scratch, forward and backward.
//!
//!     cargo bench --bench recurrent                all of them
//!     cargo bench --bench recurrent -- search      some of them
//!
//! Throughput is counted in floating-point operations of the matrix products: Gelem/s are GFLOP/s of all threads.

use candle_core::{DType, Device, Tensor, Var};
use candlewick::engine::recurrent::RecurrentEngine;
use candlewick::engine::{Draws, Dropout, Mode, Pass, Target};
use candlewick::graph::recurrent::RecurrentGraph;
use candlewick::random::Seed;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::sync::Arc;

// Of the tests' cells two are timed.
#[allow(dead_code)]
#[path = "../tests/recurrent/cells.rs"]
mod cells;

const STEPS: usize = 35;

/// A window that can be run again and again.
struct Window {
    engine: RecurrentEngine,
    x: Tensor,
    w: Tensor,
    p: Tensor,
    states: Vec<Tensor>,
    pass: Pass,
    /// Passes through all products: forward, and one for each kind of gradient that goes through them.
    passes: usize,
    rows: usize,
}

impl Window {
    /// `weights`, `mixing`: which gradients are taken.
    fn new(graph: RecurrentGraph, rows: usize, weights: bool, mixing: bool) -> Self {
        let engine = RecurrentEngine::compile(Arc::new(graph), Target::best().expect("an instruction set"))
            .expect("the cell is whole");
        let graph = engine.graph();
        let mut start = vec![0.0f32; graph.parameters()];
        for weight in graph.weights() {
            weight.initialise(Seed(1), &mut start[weight.range()]);
        }
        let of = |tracked: bool, tensor: Tensor| match tracked {
            true => Var::from_tensor(&tensor).expect("a variable").as_tensor().clone(),
            false => tensor,
        };
        let w = of(weights, Tensor::from_vec(start, graph.parameters(), &Device::Cpu).expect("a vector"));
        let p = Tensor::full(0.2f32, graph.slot_count().max(1), &Device::Cpu).expect("a vector");
        let x = Tensor::randn(0f32, 0.1, (STEPS, rows, graph.width(graph.input())), &Device::Cpu).expect("tokens");
        let pass = Pass {
            mode: Mode::Training,
            statistics: engine.statistics(),
            draws: Draws { seed: Seed(1), ..Draws::default() },
            dropout: Dropout::new([("x", 0.75), ("h", 0.25)]),
            ..Pass::default()
        };
        let passes = 2 + usize::from(weights);
        let states = engine.zero_states(rows).expect("states");
        Self { x, w, p: of(mixing, p), states, pass, passes, rows, engine }
    }

    /// Forward and backward.
    fn run(&self) -> f32 {
        let (y, _) = self.engine.forward(&self.x, &self.states, &self.w, &self.p, &self.pass).expect("the pass runs");
        let loss = y.sqr().and_then(|y| y.mean_all()).expect("a loss");
        loss.backward().expect("gradients");
        loss.to_dtype(DType::F32).and_then(|loss| loss.to_scalar()).expect("a number")
    }

    fn flops(&self) -> u64 {
        (2 * self.engine.graph().macs() * STEPS * self.rows * self.passes) as u64
    }
}

fn windows(criterion: &mut Criterion) {
    let search = || cells::search(300, 300, 8).expect("the cell fits together");
    let windows = [
        ("search, alphas", Window::new(search(), 256, false, true)),
        ("search, weights", Window::new(search(), 256, true, false)),
        ("darts v2, weights", Window::new(cells::darts_v2(850, 850).expect("the cell fits together"), 64, true, false)),
    ];
    let mut group = criterion.benchmark_group("recurrent");
    group.sample_size(10);
    for (name, window) in &windows {
        group.throughput(Throughput::Elements(window.flops()));
        group.bench_function(*name, |bencher| bencher.iter(|| window.run()));
    }
    // What candle's own products (the `gemm` crate, all threads) reach at the shapes of these windows.
    for (rows, depth, width) in [(256, 300, 600), (2048, 300, 600), (64, 850, 1700)] {
        let of = |shape: (usize, usize)| Tensor::randn(0f32, 1.0, shape, &Device::Cpu).expect("a matrix");
        let (a, b) = (of((rows, depth)), of((depth, width)));
        group.throughput(Throughput::Elements((2 * rows * depth * width) as u64));
        group.bench_function(format!("candle's product, {rows} × {depth} × {width}"), |bencher| {
            bencher.iter(|| a.matmul(&b).expect("shapes fit"));
        });
    }
    group.finish();
}

criterion_group!(benches, windows);
criterion_main!(benches);
