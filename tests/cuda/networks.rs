//! Whole networks of every family: what the processor's executor computes, and the same bits whatever the order of
//! threads.

use crate::noise::noise;
use crate::shim::Shim;
use candle_core::{Device, Tensor, Var};

use candlewick::engine::{CpuOptions, Draws, Engine, Isa, Mode, Pass, RunningStatistics, Target};
use candlewick::graph::{Activation, Graph, Init, Shape};
use candlewick::random::Seed;
use candlewick::space::{
    DenseNetOptions, Discrete, DiscreteOptions, Operation, Operations, Supernet, SupernetOptions, catalogue, densenet,
};
use std::sync::Arc;

/// A network and how a pass over it runs.
pub struct Case {
    pub name: &'static str,
    pub graph: Arc<Graph>,
    draws: Draws,
}

impl Case {
    fn new(name: &'static str, graph: Graph) -> Self {
        Self { name, graph: Arc::new(graph), draws: Draws::default() }
    }
}

const IMAGES: usize = 3;

fn shape() -> Shape {
    Shape::new(3, 8, 8)
}

fn supernet(channels: usize, partial: usize) -> Graph {
    let edge_weights = partial > 1;
    let options =
        SupernetOptions { channels, layers: 3, nodes: 2, partial, edge_weights, ..SupernetOptions::new(shape(), 10) };
    Supernet::build(&options).expect("a supernet").graph
}

/// DARTS_V2's cells with an auxiliary head, paths that are dropped.
fn discrete() -> Case {
    let options = DiscreteOptions {
        channels: 4,
        layers: 3,
        auxiliary: true,
        drop_path: true,
        ..DiscreteOptions::new(Shape::new(3, 32, 32), 10)
    };
    let genotype = catalogue::genotype("DARTS_V2").expect("it is published");
    let graph = Discrete::build(&genotype, &options).expect("a network").graph;
    let draws = Draws { seed: Seed(5), pass: 3, drop_path: 0.3, ..Draws::default() };
    Case { draws, ..Case::new("discrete", graph) }
}

/// A search among candidates that a script might write: an activation that needs an exponential, a wide middle, a norm
/// with weights.
fn own() -> Graph {
    let own = Operation::new("own", "", |g, x, place| {
        let y = g.pointwise("a", x, 2 * place.channels)?;
        let y = g.activate(y, Activation::Silu);
        let y = g.depthwise("b", y, 5, place.stride, 1)?;
        let y = g.pointwise("c", y, place.channels)?;
        g.batch_norm("n", y, true)
    });
    let mut known = Operations::new();
    known.define(own).expect("a new name");
    let operations = known.select(["none", "own", "max_pool_3x3", "skip_connect"]).expect("known names");
    let options = SupernetOptions { channels: 6, layers: 3, nodes: 2, operations, ..SupernetOptions::new(shape(), 10) };
    Supernet::build(&options).expect("a supernet").graph
}

/// Dense parts between so many blocks of sixteen channels: their products are shared out in another way for every pair.
fn widths(blocks: &[usize]) -> Graph {
    let mut graph = Graph::new(3, 4, 4);
    let mut x = graph.input();
    for (layer, blocks) in blocks.iter().enumerate() {
        let y = graph.pointwise(&format!("dense{layer}"), x, 16 * blocks).expect("a layer");
        x = graph.batch_norm(&format!("norm{layer}"), y, false).expect("a norm");
    }
    let pooled = graph.global_pool(x);
    let output = graph.linear("output", pooled, 5).expect("an output");
    graph.set_output(output);
    graph
}

/// Every family, small.
pub fn families() -> Vec<Case> {
    let dense = DenseNetOptions { growth: 6, depth: 10, ..DenseNetOptions::new(shape(), 10) };
    vec![
        Case::new("supernet", supernet(4, 1)),
        Case::new("supernet of whole blocks", supernet(16, 1)),
        Case::new("partial channels", supernet(8, 4)),
        Case::new("a script's own candidate", own()),
        discrete(),
        Case::new("DenseNet", densenet(&dense).expect("a network")),
        Case::new("dense parts of 5 and 2 blocks", widths(&[5, 2, 5])),
        Case::new("dense parts of 1 and 10 blocks", widths(&[1, 10, 1])),
        Case::new("dense parts of 3, 4 and 6 blocks", widths(&[3, 3, 4, 6])),
    ]
}

/// Output, running statistics, and gradients of x, w and p.
pub type Outcome = [Vec<f32>; 5];

fn run(case: &Case, engine: &Engine, mode: Mode) -> Outcome {
    run_from(case, engine, mode, &Device::Cpu)
}

/// A pass over tensors of a device.
pub fn run_from(case: &Case, engine: &Engine, mode: Mode, device: &Device) -> Outcome {
    let graph = &case.graph;
    let from = graph.shape(graph.input());
    let mut w = noise(11, graph.parameters());
    for info in graph.weights() {
        for value in &mut w[info.range()] {
            *value = match info.init {
                Init::Uniform(bound) => 1.7 * bound * *value,
                Init::Normal(deviation) => 1.7 * deviation * *value,
                Init::Constant(constant) => constant + 0.5 * *value,
            };
        }
    }
    let var = |values: Vec<f32>, shape: &[usize]| Var::from_vec(values, shape, device).expect("a variable");
    let x = var(noise(12, IMAGES * from.channels * from.pixels()), &[IMAGES, from.channels, from.height, from.width]);
    let w = var(w, &[graph.parameters()]);
    let p = var(noise(13, graph.slot_count().max(1)), &[graph.slot_count().max(1)]);
    let statistics = RunningStatistics::new(graph);
    let pass = Pass { mode, statistics: statistics.clone(), draws: case.draws, ..Pass::default() };
    let output = engine.forward(&x, &w, &p, &pass).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let dy = Tensor::from_vec(noise(14, output.elem_count()), output.dims(), device).expect("a gradient");
    let store = (&output * dy).and_then(|loss| loss.sum_all()).and_then(|loss| loss.backward()).expect("gradients");
    let flat = |tensor: &Tensor| tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).expect("numbers");
    let [x, w, p] = [&x, &w, &p].map(|of| flat(store.get(of).expect("a gradient")));
    let statistics = statistics.values().into_iter().map(|value| value as f32).collect();
    [flat(&output), statistics, x, w, p]
}

pub fn on_shim(case: &Case, shim: Shim) -> Engine {
    Engine::compile_on(case.graph.clone(), Arc::new(shim)).unwrap_or_else(|error| panic!("{}: {error}", case.name))
}

/// The length of the difference of two vectors, by the length of the second.
pub fn apart(one: &[f32], other: &[f32]) -> f64 {
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    assert_eq!(one.len(), other.len());
    let difference = length(&mut one.iter().zip(other).map(|(a, b)| f64::from(a - b)));
    difference / length(&mut other.iter().map(|v| f64::from(*v))).max(1e-12)
}

pub const PARTS: [&str; 5] = ["output", "running statistics", "gradient of x", "gradient of w", "gradient of p"];

#[test]
fn every_family_computes_what_the_processor_computes() {
    for case in families() {
        let Some(shim) = Shim::new(0) else { return };
        let gpu = on_shim(&case, shim);
        let on = |isa: Isa| Engine::compile_for(case.graph.clone(), Target::Cpu(CpuOptions::on(isa)));
        let best = on(Isa::choose().expect("an instruction set")).expect("it compiles");
        let portable = on(Isa::named("portable").expect("on every machine")).expect("it compiles");
        for mode in [Mode::Training, Mode::Evaluation] {
            let (got, expected, other) = (run(&case, &gpu, mode), run(&case, &best, mode), run(&case, &portable, mode));
            for (((part, got), expected), other) in PARTS.iter().zip(&got).zip(&expected).zip(&other) {
                // Where its own instruction sets round so differently, a processor cannot say more.
                let (apart, bound) = (apart(got, expected), 1e-5 + apart(other, expected));
                assert!(apart <= bound, "{}, {mode:?}: {part} is {apart:e} apart, not {bound:e}", case.name);
            }
        }
    }
}

/// The bits of everything that a pass makes.
pub fn bits(case: &Case, engine: &Engine, mode: Mode) -> Vec<u32> {
    run(case, engine, mode).into_iter().flatten().map(f32::to_bits).collect()
}

#[test]
fn bits_are_the_same_in_every_order_of_threads() {
    for case in families() {
        let in_order = |order: u32| Some(bits(&case, &on_shim(&case, Shim::new(order)?), Mode::Training));
        let Some(first) = in_order(0) else { return };
        for order in [1, 5] {
            assert!(in_order(order) == Some(first.clone()), "{}: order {order}", case.name);
        }
    }
}

#[test]
fn a_gpu_gives_the_bits_of_the_shim() {
    let Some(gpu) = crate::gpu::asked_for() else { return };
    for case in families() {
        let on_gpu = Engine::compile_on(case.graph.clone(), gpu.clone()).expect("it compiles");
        for mode in [Mode::Training, Mode::Evaluation] {
            let Some(shim) = Shim::new(0) else { return };
            let expected = run(&case, &on_shim(&case, shim), mode);
            // The second time the launches are recorded, the third time they are replayed.
            for time in 1..=3 {
                let got = run(&case, &on_gpu, mode);
                for ((part, got), expected) in PARTS.iter().zip(&got).zip(&expected) {
                    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                    let apart = apart(got, expected);
                    assert!(
                        bits(got) == bits(expected),
                        "{}, {mode:?}, time {time}: {part} is {apart:e} apart",
                        case.name
                    );
                }
            }
        }
    }
}

#[test]
fn a_barrier_that_is_missing_shows() {
    let case = Case::new("supernet", supernet(4, 1));
    let Some(shim) = Shim::without_a_barrier(1) else { return };
    let Some(whole) = Shim::new(1) else { return };
    let (broken, whole) =
        (run(&case, &on_shim(&case, shim), Mode::Training), run(&case, &on_shim(&case, whole), Mode::Training));
    assert!(whole.iter().flatten().all(|value| value.is_finite()));
    assert!(apart(&broken[0], &whole[0]).is_nan() || apart(&broken[0], &whole[0]) > 1e-3);
}

#[test]
fn a_batch_that_does_not_fit_is_refused_with_the_one_that_would() {
    let case = Case::new("supernet", supernet(4, 1));
    let Some(shim) = Shim::new(0) else { return };
    let images = |engine: &Engine, count: usize| {
        let x = Tensor::zeros((count, 3, 8, 8), candle_core::DType::F32, &Device::Cpu).expect("images");
        let w = Var::zeros(case.graph.parameters(), candle_core::DType::F32, &Device::Cpu).expect("weights");
        let p = Tensor::zeros(case.graph.slot_count(), candle_core::DType::F32, &Device::Cpu).expect("alphas");
        engine.forward(&x, &w, &p, &Pass::default())
    };
    let engine = on_shim(&case, shim.with_room(4_000_000));
    let error = images(&engine, 1000).expect_err("it is refused");
    assert_eq!(error.exit_code(), 2);
    let message = &error.message;
    assert!(message.contains("batch of 1000") && message.contains("needed") && message.contains("free"), "{message}");
    let hint = error.hint.expect("a hint");
    let most = hint.split_whitespace().find_map(|word| word.parse().ok()).expect("a number of images");
    assert!(most > 0, "{hint}");
    images(&engine, most).expect("what it names fits");
    images(&engine, most + 1).expect_err("and no more");
}
