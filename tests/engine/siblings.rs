//! Siblings share lanes: cells whose candidates are narrow compute what their plain graph says, whatever the
//! candidates, masks and widths, and they take fewer convolutions than there are candidates.

use crate::check::{check, check_with};
use crate::noise::noise;
use candle_core::{Device, Tensor};
use candlewick::engine::exact::{Exact, Inputs, Norms};
use candlewick::engine::{Draws, Engine, Mode, Pass, Target};
use candlewick::graph::plan::{Plan, Step};
use candlewick::graph::{Activation, Conv, Graph, Init, Node, Pool, PoolKind, Shape, Slot};
use candlewick::random::Seed;
use candlewick::space::cell::{CellKind, SearchCell, edge_count};
use candlewick::space::{
    Discrete, DiscreteOptions, Mask, Network, Operation, Operations, Supernet, SupernetOptions, catalogue,
};
use std::sync::Arc;

/// How a search cell is made.
struct Cell {
    nodes: usize,
    channels: usize,
    kind: CellKind,
    partial: usize,
    weighted: bool,
    operations: Vec<Operation<'static>>,
    mask: Option<Mask>,
}

impl Cell {
    fn of(nodes: usize, channels: usize, partial: usize) -> Self {
        let names = ["none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_5x5"];
        let operations = Operations::new().select(names).unwrap();
        Self { nodes, channels, kind: CellKind::Normal, partial, weighted: partial > 1, operations, mask: None }
    }

    /// The cell on a node, which is both of its inputs.
    fn on(&self, graph: &mut Graph, x: Node) -> Node {
        let edges = edge_count(self.nodes);
        let slots = graph.slots("normal", edges, self.operations.len()).unwrap();
        let betas = self.weighted.then(|| graph.slots("betas", edges, 1).unwrap());
        let cell = SearchCell {
            nodes: self.nodes,
            channels: self.channels,
            kind: self.kind,
            after_reduction: false,
            operations: &self.operations,
            mask: self.mask.as_ref(),
            slots: &slots,
            partial: self.partial,
            edge_weights: betas.as_ref(),
        };
        cell.build(graph, x, x).unwrap()
    }
}

#[test]
fn partial_cells_compute_what_their_graphs_say() {
    for (channels, partial) in [(16, 4), (8, 2), (20, 4), (6, 3), (4, 4), (32, 4)] {
        for kind in CellKind::BOTH {
            let cell = Cell { kind, ..Cell::of(2, channels, partial) };
            // Halving makes two halves of its channels.
            if kind == CellKind::Normal || (channels / partial).is_multiple_of(2) {
                check(&format!("{channels} by {partial}, {kind:?}"), 3, (6, 4), 2, |g, x| cell.on(g, x));
            }
        }
    }
    let unweighted = Cell { weighted: false, ..Cell::of(2, 8, 4) };
    check("edges of one weight", 3, (5, 4), 2, |g, x| unweighted.on(g, x));
    let whole = Cell { weighted: true, ..Cell::of(2, 5, 1) };
    check("all channels", 3, (5, 4), 2, |g, x| whole.on(g, x));
    check("five nodes", 2, (4, 4), 2, |g, x| Cell::of(5, 16, 4).on(g, x));
}

#[test]
fn masked_cells_leave_holes_among_siblings() {
    let keep = |kept: &dyn Fn(usize, usize) -> bool| -> Option<Mask> {
        Some((0..edge_count(3)).map(|edge| (0..5).map(|column| kept(edge, column)).collect()).collect())
    };
    for (name, mask) in [
        ("every other", keep(&|edge, column| (edge + column) % 2 == 0)),
        ("an edge without any", keep(&|edge, _| edge != 3)),
        ("one sibling less", keep(&|edge, column| !(edge == 2 && column >= 3))),
    ] {
        let cell = Cell { mask, ..Cell::of(3, 16, 4) };
        check(name, 3, (5, 4), 2, |g, x| cell.on(g, x));
    }
}

#[test]
fn candidates_that_do_not_run_leave_their_siblings_alone() {
    let edges = edge_count(2);
    for pick in 0..3 {
        // One candidate an edge, as where operations are sampled; edge weights always run.
        let active =
            (0..edges * 5).map(|slot| slot % 5 == (slot / 5 * 2 + pick) % 5).chain(vec![true; edges]).collect();
        let cell = Cell::of(2, 16, 4);
        check_with(&format!("pick {pick}"), 3, (5, 4), 2, Some(active), Draws::default(), |g, x| cell.on(g, x));
    }
}

/// Candidates that scripts might write: biases, groups, wider middles, an activation that is not zero at zero, a norm
/// with weights, a residual sum, a pool inside, a shared layer.
fn inventive() -> Vec<Operation<'static>> {
    let biased = Operation::new("biased", "", |g, x, place| {
        let y = g.activate(x, Activation::Sigmoid);
        let y = g.conv("a", y, Conv::square(place.channels, 3).bias())?;
        let y = g.batch_norm("n", y, true)?;
        Ok(g.activate(y, Activation::Sigmoid))
    });
    let grouped = Operation::new("grouped", "", |g, x, place| {
        let y = g.conv("a", x, Conv::square(place.channels, 3).groups(2))?;
        let y = g.activate(y, Activation::Elu);
        let y =
            g.pool(y, Pool { kind: PoolKind::Average { count_padding: true }, kernel: 3, stride: 1, padding: 1 })?;
        let y = g.depthwise("b", y, 3, 1, 1)?;
        g.batch_norm("n", y, false)
    });
    let wide = Operation::new("wide", "", |g, x, place| {
        let y = g.pointwise("a", x, 3 * place.channels)?;
        let y = g.relu(y);
        let y = g.depthwise("b", y, 3, 1, 1)?;
        g.pointwise("c", y, place.channels)
    });
    let residual = Operation::new("residual", "", |g, x, place| {
        let y = g.relu(x);
        let y = g.depthwise("a", y, 5, 1, 1)?;
        let y = g.pointwise("b", y, place.channels)?;
        let y = g.batch_norm("n", y, true)?;
        g.add(&[x, y])
    });
    let narrow = Operation::new("narrow", "", |g, x, place| {
        let y = g.pointwise("a", x, place.channels / 2)?;
        let y = g.batch_norm("n", y, false)?;
        let y = g.relu(y);
        g.pointwise("b", y, place.channels)
    });
    vec![biased, grouped, wide, residual, narrow]
}

#[test]
fn candidates_of_every_kind_can_be_siblings() {
    for (channels, partial) in [(16, 4), (4, 1), (16, 2)] {
        let cell = Cell { operations: inventive(), ..Cell::of(2, channels, partial) };
        check(&format!("{channels} by {partial}"), 3, (4, 5), 2, |g, x| cell.on(g, x));
    }
    let mask =
        Some((0..edge_count(3)).map(|edge| (0..5).map(|column| (edge * 3 + column) % 4 != 0).collect()).collect());
    let cell = Cell { operations: inventive(), mask, ..Cell::of(3, 16, 4) };
    check("with holes", 3, (4, 4), 2, |g, x| cell.on(g, x));
}

#[test]
fn siblings_outside_of_cells() {
    check("read by norms, sums and slices besides", 4, (5, 4), 2, |g, x| {
        let slots = g.slots("normal", 2, 3).unwrap();
        let head = g.slice(x, 1, 2).unwrap();
        let norm = g.batch_norm("hn", head, false).unwrap();
        let sum = |g: &mut Graph, name: &str, row: usize| {
            let r = g.relu(norm);
            let a = g.depthwise(&format!("{name}a"), r, 3, 1, 1).unwrap();
            let a = g.pointwise(&format!("{name}b"), a, 2).unwrap();
            let b = g.conv(&format!("{name}c"), head, Conv::square(2, 3)).unwrap();
            g.mixed(&[(a, slots.slot(row, 0)), (b, slots.slot(row, 1)), (norm, slots.slot(row, 2))]).unwrap()
        };
        let one = sum(g, "one", 0);
        let two = sum(g, "two", 1);
        let normed = g.batch_norm("n", one, true).unwrap();
        let again = g.batch_norm("m", one, false).unwrap();
        let cut = g.slice(two, 1, 1).unwrap();
        let both = g.concat(&[one, two, cut]).unwrap();
        let all = g.concat(&[normed, again, both, head, norm]).unwrap();
        g.shuffle(all, 13).unwrap()
    });
}

/// The paper's text, edge by edge: a mixture of the first channels beside the others, shuffled, times the edge's
/// weight.
fn edge_by_edge(cell: &Cell, g: &mut Graph, x: Node) -> Node {
    let slots = g.slots("normal", edge_count(cell.nodes), cell.operations.len()).unwrap();
    let betas = g.slots("betas", edge_count(cell.nodes), 1).unwrap();
    let part = cell.channels / cell.partial;
    let reduced = |g: &mut Graph, name: &str| {
        g.scope(name, |g| {
            let y = g.relu(x);
            let y = g.pointwise("1", y, cell.channels).unwrap();
            g.batch_norm("2", y, false).unwrap()
        })
    };
    let mut states = vec![reduced(g, "pre0"), reduced(g, "pre1")];
    let mut edge = 0;
    for _ in 0..cell.nodes {
        let mut terms: Vec<(Node, Slot)> = Vec::new();
        for (input, &state) in states.iter().enumerate() {
            let stride = if cell.kind == CellKind::Reduction && input < 2 { 2 } else { 1 };
            let head = g.slice(state, 0, part).unwrap();
            let place =
                candlewick::space::Target { channels: part, stride, norms: candlewick::space::NormStyle::Search };
            let candidates: Vec<(Node, Slot)> = cell
                .operations
                .iter()
                .enumerate()
                .map(|(column, operation)| {
                    let scope = format!("edges.{edge}.ops.{column}");
                    (g.scope(scope, |g| operation.apply(g, head, place)).unwrap(), slots.slot(edge, column))
                })
                .collect();
            let mixed = g.mixed(&candidates).unwrap();
            let mut rest = g.slice(state, part, cell.channels - part).unwrap();
            if stride == 2 {
                rest = g.pool(rest, Pool { kind: PoolKind::Max, kernel: 2, stride: 2, padding: 0 }).unwrap();
            }
            let both = g.concat(&[mixed, rest]).unwrap();
            terms.push((g.shuffle(both, cell.partial).unwrap(), betas.slot(edge, 0)));
            edge += 1;
        }
        states.push(g.mixed(&terms).unwrap());
    }
    g.concat(&states[2..]).unwrap()
}

#[test]
fn a_partial_cell_is_what_the_paper_says_edge_by_edge() {
    for kind in CellKind::BOTH {
        let cell = Cell { kind, ..Cell::of(3, 16, 4) };
        let network = |body: &dyn Fn(&mut Graph, Node) -> Node| {
            let mut graph = Graph::new(3, 6, 6);
            let input = graph.input();
            let out = body(&mut graph, input);
            let size = graph.shape(out).height;
            let probe = graph.conv("probe", out, Conv::square(5, size).padding(0)).unwrap();
            let logits = graph.linear("head", probe, 3).unwrap();
            graph.set_output(logits);
            graph
        };
        let (own, paper) = (network(&|g, x| cell.on(g, x)), network(&|g, x| edge_by_edge(&cell, g, x)));
        let names = |graph: &Graph| graph.weights().iter().map(|w| w.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&own), names(&paper));
        assert_eq!(own.macs(), paper.macs());
        let (edges, columns) = (edge_count(3), cell.operations.len());
        let (w, x, p) = (noise(1, own.parameters()), noise(2, 2 * 3 * 36), noise(3, own.slot_count()));
        let mut folded = p.clone();
        (0..edges * columns).for_each(|slot| folded[slot] *= p[edges * columns + slot / columns]);
        let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let (own, paper) = (Arc::new(own), Arc::new(paper));
        let exact = Exact::new(paper.clone()).unwrap();
        let inputs = Inputs { x: &wide(&x), w: &wide(&w), p: &wide(&p), batch: 2, active: None };
        let record = exact.forward(inputs, Norms::Trial, &Draws::default()).unwrap();
        let tensor = |v: &[f32]| Tensor::from_slice(v, v.len(), &Device::Cpu).unwrap();
        let pass = Pass::default();
        for (graph, p) in [(own, folded), (paper, p)] {
            let images = tensor(&x).reshape((2, 3, 6, 6)).unwrap();
            let engine = Engine::compile_for(graph, Target::best().unwrap()).unwrap();
            let got = engine.forward(&images, &tensor(&w), &tensor(&p), &pass).unwrap().flatten_all().unwrap();
            for (got, expected) in got.to_vec1::<f32>().unwrap().iter().zip(record.output()) {
                assert!((f64::from(*got) - expected).abs() < 1e-3 * (1.0 + expected.abs()), "{got} {expected}");
            }
        }
    }
}

#[test]
fn the_search_network_of_partial_channels_has_the_reference_counts_and_packs_its_candidates() {
    let options = SupernetOptions { partial: 4, edge_weights: true, ..SupernetOptions::new(Shape::new(3, 32, 32), 10) };
    let graph = Supernet::build(&options).unwrap().graph;
    assert_eq!((graph.parameters(), graph.macs(), graph.slot_count()), (299_578, 56_596_992, 2 * 14 * 9));
    let plan = Plan::new(&graph).unwrap();
    let units = plan.steps.iter().filter(|step| matches!(step, Step::Unit(_))).count();
    // Of 14 edges with six convolutions each and two inputs: 5 states at 4 channels, 8 shares at 8, all 14 at 16.
    let (narrow, middle, wide) = (5 * 6 + 2, 8 * 6 + 2, 14 * 6 + 2);
    let halved = 4 + 8;
    assert_eq!(units, 2 * narrow + 3 * middle + 3 * wide + halved + 2);
}

/// A batch's statistics, followed long enough, are the running ones: both ways to see the batch agree, but for the
/// variance's bias. A norm that siblings copy must be taken once.
#[test]
fn evaluation_sees_what_training_saw() {
    let genotype = catalogue::genotype("SNAS_aggressive").unwrap();
    let options = DiscreteOptions { channels: 8, layers: 5, ..DiscreteOptions::new(Shape::new(3, 16, 16), 10) };
    let network = Network::discrete(Discrete::build(&genotype, &options).unwrap(), Seed(1), &Device::Cpu).unwrap();
    let mut w: Vec<f32> = network.weights().detached().to_vec1().unwrap();
    for info in network.graph().weights().iter().filter(|info| matches!(info.init, Init::Constant(_))) {
        // Gammas and betas that a second norm would not undo.
        w[info.range()].iter_mut().enumerate().for_each(|(i, v)| *v += 0.4 * ((i * 7 % 5) as f32 / 2.0 - 1.0));
    }
    network.weights().set(&Tensor::from_vec(w.clone(), w.len(), &Device::Cpu).unwrap()).unwrap();
    let pixels: Vec<f32> = (0..32 * 3 * 256).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
    let x = Tensor::from_vec(pixels, (32, 3, 16, 16), &Device::Cpu).unwrap();
    let logits =
        |mode| -> Vec<f32> { network.forward(&x, None, mode, None).unwrap().flatten_all().unwrap().to_vec1().unwrap() };
    (0..120).for_each(|_| drop(logits(Mode::Training)));
    let (trial, evaluation) = (logits(Mode::Trial), logits(Mode::Evaluation));
    let largest = trial.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    let worst = trial.iter().zip(&evaluation).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(worst < 0.02 * largest, "off by {worst} at logits up to {largest}");
}
