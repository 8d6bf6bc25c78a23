//! The exact executor of recurrent networks: runs the graph of a time step as it was built, primitive by primitive, in
//! double precision.
//!
//! It is what the fast executor is held against, and the documentation of every primitive: each file says its formulas
//! and has forward and backward side by side, in plain loops.
//!
//! | primitives | file |
//! | --- | --- |
//! | products | `product.rs` |
//! | arithmetic, non-linearities, masks | `elementwise.rs` |
//! | batch norm | `norm.rs` |
//! | weighted sums, means | `sum.rs` |
//!
//! Backward through time (Werbos 1990): step by step from the last, node by node from the last. The gradient of a node
//! is the sum over its readers; that of a state is what the step before adds to the gradient of the node that made it.

mod elementwise;
mod executor;
mod norm;
mod product;
mod rows;
mod sum;

use super::drops;
use crate::engine::{Draws, Dropout, Mode};
use crate::graph::recurrent::live::runs;
use crate::graph::recurrent::{RecurrentGraph, RecurrentOp};
use crate::graph::{Node, Slot};
use crate::{Result, interrupt};
use norm::Moments;
use rows::Rows;
use std::sync::Arc;

/// A time step, ready to run in double precision.
#[derive(Clone)]
pub(super) struct ExactRecurrent {
    graph: Arc<RecurrentGraph>,
    output: Node,
    nexts: Vec<Node>,
}

/// What a pass is run on.
struct Window<'a> {
    /// Time × rows × width.
    x: &'a [f64],
    w: &'a [f64],
    p: &'a [f64],
    steps: usize,
    rows: usize,
    /// Rows × width each.
    states: Vec<Rows>,
    active: Option<&'a [bool]>,
    mode: Mode,
    draws: Draws,
    dropout: &'a Dropout,
}

/// The values of every node at every time step, and what they were made with: all that the backward pass needs.
struct Record {
    w: Vec<f64>,
    p: Vec<f64>,
    active: Option<Vec<bool>>,
    rows: usize,
    live: Vec<bool>,
    /// By mask; none where it drops nothing.
    masks: Vec<Option<Rows>>,
    /// By time step and node; nodes that do not run have no rows.
    values: Vec<Vec<Rows>>,
    /// By time step and node: what a norm normalised with.
    moments: Vec<Vec<Vec<Moments>>>,
    /// Whether norms took the batch's moments, so that gradients flow through them.
    of_batch: bool,
    /// The states after the last time step.
    states: Vec<Rows>,
}

/// Gradients of a pass.
struct Found {
    x: Vec<f64>,
    w: Vec<f64>,
    p: Vec<f64>,
}

impl ExactRecurrent {
    pub fn new(graph: Arc<RecurrentGraph>) -> Result<Self> {
        let (output, nexts) = graph.ends()?;
        Ok(Self { graph, output, nexts })
    }

    /// Runs a window. `running`: the running statistics, which follow in training.
    fn run(&self, window: Window<'_>, running: &mut [f64]) -> Result<Record> {
        let graph = &self.graph;
        let Window { rows, steps, mode, .. } = window;
        let mut record = Record {
            w: window.w.to_vec(),
            p: window.p.to_vec(),
            active: window.active.map(<[bool]>::to_vec),
            rows,
            live: graph.live(window.active),
            masks: self.masks(&window),
            values: Vec::with_capacity(steps),
            moments: Vec::with_capacity(steps),
            of_batch: mode != Mode::Evaluation,
            states: window.states,
        };
        let width = graph.width(graph.input());
        for x in window.x.chunks_exact(rows * width) {
            interrupt::check()?;
            record.values.push(Vec::with_capacity(record.live.len()));
            record.moments.push(vec![Vec::new(); record.live.len()]);
            for node in graph.nodes() {
                let value = match record.live[node.index()] {
                    true => self.node(&mut record, node, x, mode, running),
                    false => Rows::zeros(0, graph.width(node)),
                };
                record.step(|values| values.push(value));
            }
            record.states =
                self.nexts.iter().map(|&next| record.value(record.values.len() - 1, next).clone()).collect();
        }
        Ok(record)
    }

    fn masks(&self, window: &Window<'_>) -> Vec<Option<Rows>> {
        let mask = |mask: &crate::graph::recurrent::MaskInfo| {
            let q = window.dropout.of(&mask.name);
            (drops(window.mode) && q > 0.0).then(|| {
                let mut factors = vec![0.0; window.rows * mask.width];
                window.draws.fill_mask(&mask.stream, q, &mut factors);
                Rows { width: mask.width, values: factors.into_iter().map(f64::from).collect() }
            })
        };
        self.graph.masks().iter().map(mask).collect()
    }

    /// The value of a node at the time step that is under way.
    fn node(&self, record: &mut Record, node: Node, x: &[f64], mode: Mode, running: &mut [f64]) -> Rows {
        let (graph, now) = (&self.graph, record.values.len() - 1);
        let width = graph.width(node);
        let value = |node: &Node| record.value(now, *node);
        match graph.op(node) {
            RecurrentOp::Input => Rows { width, values: x.to_vec() },
            RecurrentOp::State { state } => record.states[*state].clone(),
            RecurrentOp::Product { inputs, weight, bias } => {
                let inputs: Vec<&Rows> = inputs.iter().map(value).collect();
                let of = |weight: usize| &record.w[graph.weights()[weight].range()];
                product::forward(&inputs, of(*weight), bias.map(of), record.rows, width)
            }
            RecurrentOp::Add { inputs: [a, b] } => value(a).zip(value(b), |a, b| a + b),
            RecurrentOp::Subtract { inputs: [a, b] } => value(a).zip(value(b), |a, b| a - b),
            RecurrentOp::Multiply { inputs: [a, b] } => value(a).zip(value(b), |a, b| a * b),
            RecurrentOp::Blend { from, to, gate } => elementwise::blend(value(from), value(to), value(gate)),
            RecurrentOp::Apply { input, function } => elementwise::function(*function, value(input)),
            RecurrentOp::Affine { input, scale, shift } => value(input).map(|x| scale * x + shift),
            RecurrentOp::AtMost { input, most } => elementwise::at_most(value(input), *most),
            RecurrentOp::Slice { input, start } => value(input).slice(*start, width),
            RecurrentOp::Mask { input, mask } => match &record.masks[*mask] {
                Some(mask) => value(input).zip(mask, |x, mask| x * mask),
                None => value(input).clone(),
            },
            RecurrentOp::Norm { input, norm } => {
                let info = &graph.norms()[*norm];
                let moments = match mode {
                    Mode::Evaluation => {
                        let pairs = running[info.mean()].iter().zip(&running[info.variance()]);
                        pairs.map(|(&mean, &variance)| Moments { mean, variance }).collect()
                    }
                    _ => Moments::of_batch(value(input)),
                };
                if mode == Mode::Training {
                    let (mean, variance) = running[info.offset..].split_at_mut(info.channels);
                    norm::follow(&moments, record.rows, mean, variance);
                }
                let y = norm::forward(value(input), &moments);
                record.moments[now][node.index()] = moments;
                y
            }
            RecurrentOp::Sum { terms, scale } => {
                let running = terms.iter().filter(|(_, slot)| record.runs(*slot));
                let terms: Vec<(&Rows, f64)> =
                    running.map(|(node, slot)| (value(node), sum::factor(*slot, *scale, &record.p))).collect();
                sum::forward(&terms, record.rows, width)
            }
        }
    }

    /// Backward through time. `dy`: the outputs' gradient, time × rows × width.
    fn back(&self, record: &Record, dy: &[f64]) -> Result<Found> {
        let graph = &self.graph;
        let (steps, rows) = (record.values.len(), record.rows);
        let (wide, out) = (graph.width(graph.input()), graph.width(self.output));
        let mut found =
            Found { x: vec![0.0; steps * rows * wide], w: vec![0.0; record.w.len()], p: vec![0.0; record.p.len()] };
        // The gradient of each state's next value; after the last step there is none.
        let mut states: Vec<Option<Rows>> = vec![None; self.nexts.len()];
        for now in (0..steps).rev() {
            interrupt::check()?;
            let mut gradients = Gradients { of: vec![None; record.live.len()] };
            for (next, gradient) in self.nexts.iter().zip(&mut states) {
                if let Some(gradient) = gradient.take() {
                    gradients.add(*next, gradient);
                }
            }
            let dy = &dy[now * rows * out..(now + 1) * rows * out];
            gradients.add(self.output, Rows { width: out, values: dy.to_vec() });
            for node in graph.nodes().collect::<Vec<_>>().into_iter().rev() {
                let Some(dy) = gradients.of[node.index()].take() else { continue };
                match graph.op(node) {
                    RecurrentOp::Input => {
                        found.x[now * rows * wide..(now + 1) * rows * wide].copy_from_slice(&dy.values);
                    }
                    RecurrentOp::State { state } => states[*state] = Some(dy),
                    _ => self.node_back(record, now, node, &dy, &mut gradients, &mut found),
                }
            }
        }
        Ok(found)
    }

    /// Hands a node's gradient on to what it was made of.
    fn node_back(
        &self,
        record: &Record,
        now: usize,
        node: Node,
        dy: &Rows,
        gradients: &mut Gradients,
        found: &mut Found,
    ) {
        let graph = &self.graph;
        let value = |node: &Node| record.value(now, *node);
        match graph.op(node) {
            RecurrentOp::Input | RecurrentOp::State { .. } => {}
            RecurrentOp::Product { inputs, weight, bias } => {
                let range = |weight: usize| graph.weights()[weight].range();
                let mut first = 0;
                for input in inputs {
                    let x = value(input);
                    gradients.add(*input, product::backward_input(dy, &record.w[range(*weight)], first, x.width));
                    product::backward_weight(x, dy, first, &mut found.w[range(*weight)]);
                    first += x.width;
                }
                if let Some(bias) = bias {
                    product::backward_bias(dy, &mut found.w[range(*bias)]);
                }
            }
            RecurrentOp::Add { inputs: [a, b] } => {
                gradients.add(*a, dy.clone());
                gradients.add(*b, dy.clone());
            }
            RecurrentOp::Subtract { inputs: [a, b] } => {
                gradients.add(*a, dy.clone());
                gradients.add(*b, dy.map(|dy| -dy));
            }
            RecurrentOp::Multiply { inputs: [a, b] } => {
                gradients.add(*a, value(b).zip(dy, |b, dy| b * dy));
                gradients.add(*b, value(a).zip(dy, |a, dy| a * dy));
            }
            RecurrentOp::Blend { from, to, gate } => {
                let found = elementwise::blend_backward(value(from), value(to), value(gate), dy);
                for (node, gradient) in [from, to, gate].into_iter().zip(found) {
                    gradients.add(*node, gradient);
                }
            }
            RecurrentOp::Apply { input, function } => {
                gradients.add(*input, elementwise::function_backward(*function, value(&node), dy));
            }
            RecurrentOp::Affine { input, scale, .. } => gradients.add(*input, dy.map(|dy| scale * dy)),
            RecurrentOp::AtMost { input, most } => {
                gradients.add(*input, elementwise::at_most_backward(value(input), *most, dy));
            }
            RecurrentOp::Slice { input, start } => {
                let mut whole = Rows::zeros(record.rows, graph.width(*input));
                whole.add_slice(dy, *start);
                gradients.add(*input, whole);
            }
            RecurrentOp::Mask { input, mask } => {
                let gradient = match &record.masks[*mask] {
                    Some(mask) => dy.zip(mask, |dy, mask| dy * mask),
                    None => dy.clone(),
                };
                gradients.add(*input, gradient);
            }
            RecurrentOp::Norm { input, .. } => {
                let moments = &record.moments[now][node.index()];
                gradients.add(*input, norm::backward(value(&node), dy, moments, record.of_batch));
            }
            RecurrentOp::Sum { terms, scale } => {
                for (node, slot) in terms.iter().filter(|(_, slot)| record.runs(*slot)) {
                    gradients.add(*node, sum::backward_x(sum::factor(*slot, *scale, &record.p), dy));
                    if let Some(slot) = slot {
                        found.p[slot.0 as usize] += sum::backward_p(value(node), dy, *scale);
                    }
                }
            }
        }
    }
}

impl Record {
    fn value(&self, now: usize, node: Node) -> &Rows {
        &self.values[now][node.index()]
    }

    /// Changes the values of the time step that is under way.
    fn step(&mut self, change: impl FnOnce(&mut Vec<Rows>)) {
        if let Some(values) = self.values.last_mut() {
            change(values);
        }
    }

    fn runs(&self, slot: Option<Slot>) -> bool {
        runs(slot, self.active.as_deref())
    }
}

/// By node, the gradient that its readers have left so far in this time step.
struct Gradients {
    of: Vec<Option<Rows>>,
}

impl Gradients {
    fn add(&mut self, node: Node, gradient: Rows) {
        match &mut self.of[node.index()] {
            Some(sum) => sum.add_slice(&gradient, 0),
            none => *none = Some(gradient),
        }
    }
}
