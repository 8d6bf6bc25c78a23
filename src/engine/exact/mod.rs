//! The exact executor: runs a graph as it was built, primitive by primitive, in double precision.
//!
//! It is the reference for every other executor, and the documentation of every primitive: one file per family says
//! its formula, its shapes and its source, what happens at a kink or a tie, and has its forward and its backward
//! function side by side, in the plainest loops. Nothing is fused, shared, packed or recomputed.
//!
//! | primitives | file |
//! | --- | --- |
//! | convolution (dense, grouped, depthwise, pointwise), linear layer | `convolution.rs` |
//! | halving (FactorizedReduce) | `halve.rs` |
//! | batch norm | `norm.rs` |
//! | activations | `activation.rs` |
//! | max, average and global pool | `pool.rs` |
//! | weighted sums, mixed operations, drop path | `sum.rs` |
//! | concatenation, slice, shuffle | `channels.rs` |
//! | zeros, noise | `constant.rs` |
//!
//! Values are images × channels × height × width. Threads share the work by planes and channels, never by the terms of
//! a sum, so results have the same bits for any number of threads.

mod activation;
mod channels;
mod constant;
mod convolution;
mod executor;
mod flips;
mod halve;
mod maps;
mod margin;
mod norm;
mod pool;
mod product;
mod record;
mod rows;
mod standardise;
mod sum;
mod upsample;

pub use flips::Flip;
pub use margin::{Crossed, Margin};
pub use record::Record;

use super::{Draws, Wanted};
use crate::graph::{Graph, Node, Op, Term};
use crate::random::{Rng, Seed};
use crate::{Error, Result, interrupt};
use maps::Maps;
use norm::Moments;
use std::sync::Arc;
use sum::Mixing;

/// A graph, ready to run in double precision.
#[derive(Clone)]
pub struct Exact {
    graph: Arc<Graph>,
    output: Node,
    /// What errors of single precision are drawn from, if they are wanted.
    rounding: Option<Seed>,
}

/// What a pass is run on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Images × channels × height × width of the graph's input.
    pub x: &'a [f64],
    /// All weights, laid out as [`Graph::weights`] says.
    pub w: &'a [f64],
    /// All mixing weights, laid out as [`Graph::slot_blocks`] says; more are welcome, so that a graph without any may
    /// be given a dummy.
    pub p: &'a [f64],
    /// The number of images.
    pub batch: usize,
    /// By slot of `p`: whether its terms run. A node that only terms that do not run read is not run either, and its
    /// running statistics stay as they are. None: all run.
    pub active: Option<&'a [bool]>,
}

/// Where batch norms take mean and variance from. Running statistics are laid out as [`Graph::norms`] says.
pub enum Norms<'a> {
    /// The batch, and the running statistics follow it.
    Training(&'a mut [f64]),
    /// The batch; no running statistics are touched.
    Trial,
    /// The running statistics.
    Evaluation(&'a [f64]),
}

/// Gradients of a pass; empty where they were not wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gradients {
    /// Images × channels × height × width.
    pub x: Vec<f64>,
    /// As long as the weights, laid out as [`Graph::weights`] says.
    pub w: Vec<f64>,
    /// As long as the mixing weights that the forward pass was given.
    pub p: Vec<f64>,
}

impl Exact {
    /// # Errors
    /// A graph whose output is not set.
    pub fn new(graph: Arc<Graph>) -> Result<Self> {
        let output = graph.output().ok_or_else(|| Error::user("the graph has no output"))?;
        Ok(Self { graph, output, rounding: None })
    }

    /// The same executor, but every value that a primitive puts out and every gradient that is passed back is off by up
    /// to half a unit of single precision, at random. No executor in single precision can do without such errors (most
    /// make a few more): how far results move by them says how well a graph is conditioned, and
    /// [`crossed`](Self::crossed) which decisions they change.
    pub fn rounding(self, seed: Seed) -> Self {
        Self { rounding: Some(seed), ..self }
    }

    /// The graph that is run.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Runs the graph on a batch.
    ///
    /// # Errors
    /// Lengths that do not fit the graph; an interruption.
    pub fn forward(&self, inputs: Inputs<'_>, mut norms: Norms<'_>, draws: &Draws) -> Result<Record> {
        let graph = &*self.graph;
        let Inputs { x, w, p, batch, active } = inputs;
        let (from, slots) = (graph.shape(graph.input()), graph.slot_count());
        fits("pixels", x.len(), batch * from.channels * from.pixels())?;
        fits("weights", w.len(), graph.parameters())?;
        fits("mixing weights", p.len().min(slots), slots)?;
        fits("mask entries", active.map_or(slots, <[bool]>::len), slots)?;
        match &norms {
            Norms::Training(running) => fits("running statistics", running.len(), graph.statistics_len())?,
            Norms::Evaluation(running) => fits("running statistics", running.len(), graph.statistics_len())?,
            Norms::Trial => {}
        }
        let factors = draws.path_factors(graph.drop_count(), batch).into_iter().map(f64::from).collect();
        let mixing = Mixing { p: p.to_vec(), active: active.map(<[bool]>::to_vec), factors };
        let runs = self.nodes_that_run(&mixing);
        let mut record = Record {
            batch,
            w: w.to_vec(),
            mixing,
            values: vec![None; runs.len()],
            moments: vec![None; runs.len()],
            of_batch: !matches!(norms, Norms::Evaluation(_)),
            output: self.output.index(),
        };
        let live = graph.live(active);
        for node in graph.nodes().filter(|node| runs[node.index()]) {
            interrupt::check()?;
            if let Op::Norm { input, norm, .. } = graph.op(node) {
                let x = record.value(input.index());
                let moments = match (&mut norms, live[node.index()]) {
                    // Of a norm whose channels nobody reads nothing follows.
                    (Norms::Training(_), false) => Moments::of_batch(x),
                    _ => self.moments(x, *norm, &mut norms),
                };
                record.moments[node.index()] = Some(moments);
            }
            let mut maps = self.primitive(node, &record, x, draws);
            if let Some(seed) = self.rounding {
                maps.round(&mut seed.rng("rounded values", node.index() as u64));
            }
            record.values[node.index()] = Some(maps);
        }
        Ok(record)
    }

    /// The gradients of a pass. `dy`: the gradient of its output, of the same length.
    ///
    /// # Errors
    /// A length that does not fit; an interruption.
    pub fn backward(&self, record: &Record, dy: &[f64], wanted: Wanted) -> Result<Gradients> {
        fits("output gradients", dy.len(), record.output().len())?;
        let mut back = self.back(record, wanted);
        let shape = self.graph.shape(self.output);
        back.pass(self.output, Maps { batch: record.batch, shape, values: dy.to_vec() });
        self.run_back(back)
    }

    /// A backward pass to which nothing has been passed yet.
    fn back<'a>(&'a self, record: &'a Record, wanted: Wanted) -> Back<'a> {
        Back {
            graph: &self.graph,
            record,
            wanted,
            rounding: self.rounding.map(|seed| seed.rng("rounded gradients", 0)),
            maps: vec![None; record.values.len()],
            w: vec![0.0; if wanted.w { record.w.len() } else { 0 }],
            p: vec![0.0; if wanted.p { record.mixing.p.len() } else { 0 }],
        }
    }

    /// The nodes in the order of the backward pass; the input, where it ends, is not among them.
    fn nodes_back(&self) -> impl Iterator<Item = Node> + use<> {
        let (nodes, input): (Vec<Node>, Node) = (self.graph.nodes().collect(), self.graph.input());
        nodes.into_iter().rev().filter(move |&node| node != input)
    }

    /// Passes everything on to the input, weights and mixing weights.
    fn run_back(&self, mut back: Back<'_>) -> Result<Gradients> {
        for node in self.nodes_back() {
            interrupt::check()?;
            if let Some(dy) = back.maps[node.index()].take() {
                back.primitive(node, &dy);
            }
        }
        let input = self.graph.input();
        let x = match (back.wanted.x, back.maps[input.index()].take()) {
            (false, _) => Vec::new(),
            (true, Some(dx)) => dx.values,
            // The output does not depend on the images.
            (true, None) => Maps::zeros(back.record.batch, self.graph.shape(input)).values,
        };
        Ok(Gradients { x, w: back.w, p: back.p })
    }

    /// Bytes that a forward and a backward pass over `batch` images take at most: the values and the gradient of every
    /// node, weights, mixing weights, and their gradients.
    pub fn memory(&self, batch: usize) -> u64 {
        let len = |node| self.graph.shape(node).channels as u64 * self.graph.shape(node).pixels() as u64;
        let image: u64 = self.graph.nodes().map(len).sum();
        let once = self.graph.parameters() as u64 + self.graph.slot_count() as u64;
        2 * size_of::<f64>() as u64 * (image * batch as u64 + once)
    }

    /// By node: whether the output depends on it through terms that run.
    fn nodes_that_run(&self, mixing: &Mixing) -> Vec<bool> {
        let nodes: Vec<Node> = self.graph.nodes().collect();
        let mut runs = vec![false; nodes.len()];
        runs[self.output.index()] = true;
        for &node in nodes.iter().rev() {
            if runs[node.index()] {
                inputs(self.graph.op(node), mixing).iter().for_each(|input| runs[input.index()] = true);
            }
        }
        runs
    }

    /// What a batch norm normalises with; in training its running statistics follow.
    fn moments(&self, x: &Maps, norm: usize, norms: &mut Norms<'_>) -> Vec<Moments> {
        let info = &self.graph.norms()[norm];
        match norms {
            Norms::Trial => Moments::of_batch(x),
            Norms::Evaluation(running) => Moments::of_running(&running[info.mean()], &running[info.variance()]),
            Norms::Training(running) => {
                let moments = Moments::of_batch(x);
                let (mean, variance) = running[info.offset..][..2 * info.channels].split_at_mut(info.channels);
                norm::follow(x, &moments, mean, variance);
                moments
            }
        }
    }

    /// The values of a primitive whose inputs ran.
    fn primitive(&self, node: Node, record: &Record, images: &[f64], draws: &Draws) -> Maps {
        let (batch, to) = (record.batch, self.graph.shape(node));
        let x = |node: &Node| record.value(node.index());
        let w = |weight: usize| &record.w[self.graph.weights()[weight].range()];
        match self.graph.op(node) {
            Op::Input => Maps { batch, shape: to, values: images.to_vec() },
            Op::Conv { input, conv, weight, bias } => convolution::forward(x(input), conv, w(*weight), bias.map(w), to),
            Op::Depthwise { input, conv, weight } => convolution::forward(x(input), conv, w(*weight), None, to),
            Op::Halve { input, weights, .. } => halve::forward(x(input), weights.map(w), to),
            Op::Norm { input, affine, .. } => {
                norm::forward(x(input), record.moments_of(node.index()), affine.map(|affine| affine.map(w)))
            }
            Op::Activate { input, activation } => activation::forward(x(input), *activation),
            Op::Pool { input, pool } => pool::forward(x(input), pool, to),
            Op::GlobalPool { input } => pool::forward_global(x(input), to),
            Op::Standardise { input } => standardise::forward(x(input)),
            Op::Upsample { input, factor } => upsample::forward(x(input), *factor, to),
            Op::Zero { .. } => constant::zero(batch, to),
            Op::Noise { id, kind } => constant::noise(*kind, *id, draws, batch, to),
            Op::Sum { terms } => {
                let terms: Vec<(&Term, &Maps)> =
                    terms.iter().filter(|term| record.mixing.runs(term)).map(|term| (term, x(&term.node))).collect();
                sum::forward(&terms, &record.mixing, batch, to)
            }
            Op::Product { inputs } => product::forward(inputs.each_ref().map(x), to),
            Op::Concat { inputs } => channels::forward_concat(&inputs.iter().map(x).collect::<Vec<_>>(), batch, to),
            Op::Select { input, channels } => channels::forward_select(x(input), channels, to),
        }
    }
}

/// A backward pass on its way from the output to the input.
struct Back<'a> {
    graph: &'a Graph,
    record: &'a Record,
    wanted: Wanted,
    rounding: Option<Rng>,
    /// By node: the sum of what its readers passed back so far.
    maps: Vec<Option<Maps>>,
    w: Vec<f64>,
    p: Vec<f64>,
}

impl Back<'_> {
    /// Adds to a node's gradient.
    fn pass(&mut self, node: Node, mut gradient: Maps) {
        if let Some(rng) = &mut self.rounding {
            gradient.round(rng);
        }
        match &mut self.maps[node.index()] {
            Some(sum) => sum.add(&gradient),
            none => *none = Some(gradient),
        }
    }

    /// Passes the gradient of a node's output on to its inputs, weights and mixing weights.
    fn primitive(&mut self, node: Node, dy: &Maps) {
        let (graph, record, wanted) = (self.graph, self.record, self.wanted);
        let x = |node: &Node| record.value(node.index());
        let w = |weight: usize| &record.w[graph.weights()[weight].range()];
        match graph.op(node) {
            Op::Input | Op::Zero { .. } | Op::Noise { .. } => {}
            Op::Conv { input, conv, weight, .. } | Op::Depthwise { input, conv, weight } => {
                if wanted.w {
                    convolution::backward_w(x(input), dy, conv, self.dw(*weight));
                }
                if let (true, Op::Conv { bias: Some(bias), .. }) = (wanted.w, graph.op(node)) {
                    convolution::backward_bias(dy, self.dw(*bias));
                }
                self.pass(*input, convolution::backward_x(dy, conv, w(*weight), graph.shape(*input)));
            }
            Op::Halve { input, weights, .. } => {
                for half in (0..2).filter(|_| wanted.w) {
                    halve::backward_w(x(input), dy, half, self.dw(weights[half]));
                }
                self.pass(*input, halve::backward_x(dy, weights.map(w), graph.shape(*input)));
            }
            Op::Norm { input, affine, .. } => {
                let (moments, gamma) = (record.moments_of(node.index()), affine.map(|[gamma, _]| w(gamma)));
                let (dx, dgamma, dbeta) = norm::backward(x(input), dy, moments, gamma, record.of_batch);
                if let (true, Some([gamma, beta])) = (wanted.w, affine) {
                    self.dw(*gamma).iter_mut().zip(dgamma).for_each(|(sum, own)| *sum += own);
                    self.dw(*beta).iter_mut().zip(dbeta).for_each(|(sum, own)| *sum += own);
                }
                self.pass(*input, dx);
            }
            Op::Activate { input, activation } => self.pass(*input, activation::backward(x(input), dy, *activation)),
            Op::Pool { input, pool } => self.pass(*input, pool::backward(x(input), dy, pool)),
            Op::GlobalPool { input } => self.pass(*input, pool::backward_global(dy, graph.shape(*input))),
            Op::Standardise { input } => self.pass(*input, standardise::backward(x(input), dy)),
            Op::Upsample { input, factor } => {
                self.pass(*input, upsample::backward(dy, *factor, graph.shape(*input)));
            }
            Op::Sum { terms } => {
                for term in terms.iter().filter(|term| record.mixing.runs(term)) {
                    if let (true, Some(slot)) = (wanted.p, term.slot) {
                        self.p[slot.0 as usize] += sum::backward_p(term, x(&term.node), dy, &record.mixing);
                    }
                    self.pass(term.node, sum::backward_x(term, dy, &record.mixing));
                }
            }
            Op::Product { inputs } => {
                for (input, other) in [(inputs[0], inputs[1]), (inputs[1], inputs[0])] {
                    self.pass(input, product::backward(x(&other), dy, graph.shape(input)));
                }
            }
            Op::Concat { inputs } => {
                let mut first = 0;
                for input in inputs {
                    let from = graph.shape(*input);
                    self.pass(*input, channels::backward_concat(dy, first, from));
                    first += from.channels;
                }
            }
            Op::Select { input, channels } => {
                self.pass(*input, channels::backward_select(dy, channels, graph.shape(*input)));
            }
        }
    }

    /// The gradient of one weight tensor.
    fn dw(&mut self, weight: usize) -> &mut [f64] {
        &mut self.w[self.graph.weights()[weight].range()]
    }
}

/// The nodes that a primitive reads in a pass: terms that are masked off are not read.
fn inputs(op: &Op, mixing: &Mixing) -> Vec<Node> {
    match op {
        Op::Sum { terms } => terms.iter().filter(|term| mixing.runs(term)).map(|term| term.node).collect(),
        // Zeros have their input's size, not its values.
        Op::Zero { .. } => Vec::new(),
        _ => op.inputs(),
    }
}

fn fits(what: &str, given: usize, wanted: usize) -> Result<()> {
    match given == wanted {
        true => Ok(()),
        false => Err(Error::user(format!("the network takes {wanted} {what}, not {given}"))),
    }
}
