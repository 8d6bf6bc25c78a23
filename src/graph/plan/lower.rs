//! Lowering: from primitives to raw tensors, views and fused steps.

use super::open::open_sums;
use super::placement;
use super::places;
use super::readers::{Readers, count_readers, live_nodes};
use super::{
    Dense, Geometry, Gradient, Layout, Norm, Packing, Plan, PoolStep, Raw, RawId, Sizes, Step, Sum, SumTerm, Unit,
    Value, ValueId, View, ViewId,
};
use crate::Result;
use crate::graph::{Activation, Conv, Graph, Node, Op, Pool, Term};
use std::collections::HashMap;

/// What a node has become: a value through an activation, or nothing but zeros.
#[derive(Clone, Copy, PartialEq)]
enum Seen {
    View { value: ValueId, activation: Option<Activation> },
    Zero,
}

struct Lowering<'g> {
    graph: &'g Graph,
    /// How many nodes read each node, how many of them are norms, and the last of them.
    readers: Vec<Readers>,
    /// The sums' terms; sums that their reader took in are left out.
    sums: HashMap<Node, Vec<Term>>,
    seen: HashMap<Node, Seen>,
    view_ids: HashMap<(ValueId, Option<Activation>), ViewId>,
    /// Of the node at work.
    place: usize,
    plan: Plan,
}

pub(super) fn lower(graph: &Graph, output: Node) -> Result<Plan> {
    let live = live_nodes(graph, output);
    let readers = count_readers(graph, &live, output);
    let sums = open_sums(graph, graph.nodes().filter(|n| live[n.index()]), &readers);
    let plan = Plan {
        places: Vec::new(),
        raws: Vec::new(),
        values: Vec::new(),
        views: Vec::new(),
        norms: Vec::new(),
        units: Vec::new(),
        pools: Vec::new(),
        sums: Vec::new(),
        steps: Vec::new(),
        forward: Vec::new(),
        backward: Vec::new(),
        input: 0,
        output: 0,
        training: Default::default(),
        inference: Default::default(),
        sizes: Sizes::default(),
    };
    let mut lowering =
        Lowering { graph, readers, sums, seen: HashMap::new(), view_ids: HashMap::new(), place: 0, plan };
    for node in graph.nodes().filter(|n| live[n.index()]) {
        lowering.place = places::of(graph.scope_of(node), &mut lowering.plan.places);
        lowering.node(node)?;
    }
    let result = lowering.plain(output);
    lowering.plan.output = result;
    placement::settle_views(&mut lowering.plan);
    placement::place_tables(&mut lowering.plan);
    Ok(lowering.plan)
}

impl Lowering<'_> {
    fn node(&mut self, node: Node) -> Result<()> {
        let graph = self.graph;
        let shape = graph.shape(node);
        let seen = match graph.op(node) {
            Op::Input => {
                let output = self.raw(Layout::dense(shape.channels), shape.height, shape.width);
                self.plan.input = output;
                let value = self.made(Step::Import { output }, output);
                self.plain_view(value)
            }
            Op::Depthwise { .. } if self.fuses_into_pointwise(node) => return Ok(()),
            Op::Depthwise { input, conv, weight } => {
                let unit = self.unit(node, *input, *conv, Some(*weight), None, None);
                self.plain_view(unit)
            }
            Op::Conv { input, conv, weight, bias } => {
                let dense = Dense::Conv { weight: *weight, groups: conv.groups };
                let unit = match graph.op(*input) {
                    Op::Depthwise { input: inner, conv: inner_conv, weight: inner_weight }
                        if self.fuses_into_pointwise(*input) =>
                    {
                        self.unit(node, *inner, *inner_conv, Some(*inner_weight), Some(dense), *bias)
                    }
                    _ => self.unit(node, *input, *conv, None, Some(dense), *bias),
                };
                self.plain_view(unit)
            }
            Op::Halve { input, channels, weights } => {
                let conv = Conv::square(*channels, 2).padding(0).stride(2);
                let unit = self.unit(node, *input, conv, None, Some(Dense::Halve { weights: *weights }), None);
                self.plain_view(unit)
            }
            Op::Norm { input, norm, affine } => {
                let value = self.plain(*input);
                self.normed(value, *norm, *affine)
            }
            Op::Activate { input, activation } => match self.seen[input] {
                Seen::View { value, activation: None } => Seen::View { value, activation: Some(*activation) },
                _ => {
                    let value = self.plain(*input);
                    Seen::View { value, activation: Some(*activation) }
                }
            },
            Op::Pool { input, pool } => {
                let input = self.plain(*input);
                let value = self.pool(input, *pool, shape.height, shape.width);
                self.plain_view(value)
            }
            Op::Zero { .. } => Seen::Zero,
            Op::Noise { id } => {
                let output = self.raw(Layout::dense(shape.channels), shape.height, shape.width);
                let value = self.value(output, None);
                let value = self.made(Step::Noise { output, value, id: *id }, output);
                self.plain_view(value)
            }
            Op::Sum { .. } => {
                let Some(terms) = self.sums.remove(&node) else { return Ok(()) };
                let value = self.sum(node, &terms);
                self.plain_view(value)
            }
            Op::Concat { inputs } => {
                let value = self.concat(inputs);
                self.plain_view(value)
            }
            Op::Select { input, channels } => {
                let input = self.plain(*input);
                let value = self.gather(input, channels);
                self.plain_view(value)
            }
            Op::GlobalPool { input } => {
                let input = self.plain(*input);
                let output = self.raw(self.layout(input), 1, 1);
                let value = self.value(output, None);
                let value = self.made(Step::GlobalPool { input, output, value }, output);
                self.plain_view(value)
            }
        };
        let seen = self.own_if_shared(node, seen);
        self.seen.insert(node, seen);
        Ok(())
    }

    /// A unit's or pool's output has exactly one value; where a norm and somebody else (or two norms) read it, they read
    /// a copy that may have several.
    fn own_if_shared(&mut self, node: Node, seen: Seen) -> Seen {
        let Readers { all, norms, .. } = self.readers[node.index()];
        let Seen::View { value, activation: None } = seen else { return seen };
        let raw = self.plan.values[value].raw;
        let single = self.is_single(raw) && self.plan.values[value].norm.is_none();
        if !single || norms == 0 || all == 1 {
            return seen;
        }
        let copy = self.sum_of(vec![SumTerm { value, slot: None, drop: None }], self.layout(value), raw);
        self.plain_view(copy)
    }

    /// Whether a depthwise convolution disappears into the one pointwise convolution that reads it.
    fn fuses_into_pointwise(&self, node: Node) -> bool {
        let Readers { all: 1, last: Some(reader), .. } = self.readers[node.index()] else { return false };
        match self.graph.op(reader) {
            Op::Conv { conv, .. } => {
                conv.kernel == (1, 1) && conv.stride == (1, 1) && conv.padding == (0, 0) && conv.groups == 1
            }
            _ => false,
        }
    }

    fn unit(
        &mut self,
        node: Node,
        input: Node,
        conv: Conv,
        depthwise: Option<usize>,
        dense: Option<Dense>,
        bias: Option<usize>,
    ) -> ValueId {
        let Seen::View { value, activation } = self.view_of(input) else {
            unreachable!("views of zeros are written out")
        };
        let view = self.view(value, activation);
        let shape = self.graph.shape(node);
        let layout = match dense {
            Some(_) => Layout::dense(shape.channels),
            None => self.layout(value),
        };
        let taps = match &dense {
            Some(Dense::Halve { .. }) => vec![(0, 0), (1, 1)],
            _ => (0..conv.kernel.0)
                .flat_map(|r| (0..conv.kernel.1).map(move |c| (r * conv.dilation.0, c * conv.dilation.1)))
                .collect(),
        };
        let from = self.graph.shape(input);
        let geometry =
            Geometry::new((from.height, from.width), (shape.height, shape.width), conv.stride, conv.padding, taps);
        let output = self.raw(layout, shape.height, shape.width);
        let value = self.value(output, None);
        self.plan.units.push(Unit {
            input: view,
            output,
            value,
            geometry,
            depthwise,
            dense,
            bias,
            packing: Packing::default(),
        });
        self.made(Step::Unit(self.plan.units.len() - 1), output)
    }

    fn pool(&mut self, input: ValueId, pool: Pool, height: usize, width: usize) -> ValueId {
        let output = self.raw(self.layout(input), height, width);
        let value = self.value(output, None);
        self.plan.pools.push(PoolStep { input, output, value, pool });
        self.made(Step::Pool(self.plan.pools.len() - 1), output)
    }

    fn sum(&mut self, node: Node, terms: &[Term]) -> ValueId {
        let shape = self.graph.shape(node);
        let mut values = Vec::new();
        for term in terms {
            match self.seen.get(&term.node).copied().unwrap_or(Seen::Zero) {
                Seen::Zero => {}
                Seen::View { value, activation: None } => values.push((value, term)),
                Seen::View { .. } => values.push((self.plain(term.node), term)),
            }
        }
        let layout = match values.first() {
            Some(&(first, _)) if values.iter().all(|&(v, _)| self.layout(v) == self.layout(first)) => {
                self.layout(first)
            }
            _ => Layout::dense(shape.channels),
        };
        let conformed = |(value, term): (ValueId, &Term)| SumTerm {
            value: self.conform(value, &layout),
            slot: term.slot,
            drop: term.drop,
        };
        let terms: Vec<SumTerm> = values.into_iter().map(conformed).collect();
        let output = self.raw(layout, shape.height, shape.width);
        self.sum_into(terms, output)
    }

    fn sum_of(&mut self, terms: Vec<SumTerm>, layout: Layout, like: RawId) -> ValueId {
        let (height, width) = (self.plan.raws[like].height, self.plan.raws[like].width);
        let output = self.raw(layout, height, width);
        self.sum_into(terms, output)
    }

    fn sum_into(&mut self, terms: Vec<SumTerm>, output: RawId) -> ValueId {
        let mut dots = Vec::new();
        for term in &terms {
            let raw = self.plan.values[term.value].raw;
            if !dots.contains(&raw) {
                dots.push(raw);
            }
        }
        let value = self.value(output, None);
        self.plan.sums.push(Sum { terms, output, value, statistics: 0, dots });
        self.made(Step::Sum(self.plan.sums.len() - 1), output)
    }

    /// Parts that are plain, whole and not yet part of something else become parts in place; others are written out.
    fn concat(&mut self, inputs: &[Node]) -> ValueId {
        let mut parts: Vec<RawId> = Vec::new();
        for &input in inputs {
            let value = self.plain(input);
            let raw = self.plan.values[value].raw;
            let free = self.plan.raws[raw].part_of.is_none()
                && !parts.contains(&raw)
                && raw != self.plan.input
                && self.plan.values[value].norm.is_none();
            let part = match free {
                true => raw,
                false => {
                    let copy = self.sum_of(vec![SumTerm { value, slot: None, drop: None }], self.layout(value), raw);
                    self.plan.values[copy].raw
                }
            };
            parts.push(part);
            // Marks it taken at once, so that a second mention becomes a copy.
            self.plan.raws[part].part_of = Some((usize::MAX, 0));
        }
        let layout = Layout::concat(parts.iter().map(|&p| &self.plan.raws[p].layout));
        let (height, width) = (self.plan.raws[parts[0]].height, self.plan.raws[parts[0]].width);
        let whole = self.raw(layout, height, width);
        let mut block = 0;
        for part in parts {
            self.plan.raws[part].part_of = Some((whole, block));
            block += self.plan.raws[part].layout.blocks();
        }
        self.value(whole, None)
    }

    fn gather(&mut self, input: ValueId, channels: &[u32]) -> ValueId {
        let raw = &self.plan.raws[self.plan.values[input].raw];
        let positions = raw.layout.positions();
        let (height, width) = (raw.height, raw.width);
        let layout = Layout::dense(channels.len());
        let lanes = layout.lanes().iter().map(|l| l.map(|c| positions[channels[c as usize] as usize] as u32)).collect();
        let output = self.raw(layout, height, width);
        let value = self.value(output, None);
        self.made(Step::Gather { input, output, value, lanes }, output)
    }

    /// The same value in another layout.
    fn conform(&mut self, value: ValueId, layout: &Layout) -> ValueId {
        if self.layout(value) == *layout {
            return value;
        }
        let plain = self.write_out(value, None);
        let channels: Vec<u32> = (0..layout.channels() as u32).collect();
        self.gather(plain, &channels)
    }

    /// The node as a value of a raw tensor, without norm or activation: written out if need be.
    fn plain(&mut self, node: Node) -> ValueId {
        match self.view_of(node) {
            Seen::View { value, activation } => {
                let plain = self.write_out(value, activation);
                if activation.is_some() || plain != value {
                    self.seen.insert(node, Seen::View { value: plain, activation: None });
                }
                plain
            }
            Seen::Zero => unreachable!("views of zeros are written out"),
        }
    }

    fn write_out(&mut self, value: ValueId, activation: Option<Activation>) -> ValueId {
        if activation.is_none() && self.plan.values[value].norm.is_none() {
            return value;
        }
        let raw = self.plan.values[value].raw;
        if activation.is_none() {
            return self.sum_of(vec![SumTerm { value, slot: None, drop: None }], self.layout(value), raw);
        }
        let input = self.view(value, activation);
        let (height, width) = (self.plan.raws[raw].height, self.plan.raws[raw].width);
        let output = self.raw(self.layout(value), height, width);
        let written = self.value(output, None);
        self.made(Step::Apply { input, output, value: written }, output)
    }

    /// What a node has become, with zeros made real.
    fn view_of(&mut self, node: Node) -> Seen {
        match self.seen.get(&node).copied() {
            Some(Seen::Zero) | None => {
                let shape = self.graph.shape(node);
                let output = self.raw(Layout::dense(shape.channels), shape.height, shape.width);
                let value = self.sum_into(Vec::new(), output);
                let seen = Seen::View { value, activation: None };
                self.seen.insert(node, seen);
                seen
            }
            Some(view) => view,
        }
    }

    fn normed(&mut self, value: ValueId, info: usize, affine: Option<[usize; 2]>) -> Seen {
        let raw = self.plan.values[value].raw;
        let index = self.plan.norms.len();
        let normed = match self.is_single(raw) {
            // The unit's one value is the normed one.
            true => {
                self.plan.values[value].norm = Some(index);
                value
            }
            false => self.value(raw, Some(index)),
        };
        self.plan.norms.push(Norm { raw, value: normed, info, affine, offset: 0, own_sums: 0 });
        self.plain_view(normed)
    }

    fn is_single(&self, raw: RawId) -> bool {
        !matches!(
            self.plan.raws[raw].made_by.map(|s| &self.plan.steps[s]),
            Some(Step::Sum(_) | Step::Import { .. } | Step::Noise { .. }) | None
        )
    }

    fn raw(&mut self, layout: Layout, height: usize, width: usize) -> RawId {
        self.plan.raws.push(Raw { layout, height, width, part_of: None, made_by: None, level: 0, place: self.place });
        self.plan.raws.len() - 1
    }

    fn value(&mut self, raw: RawId, norm: Option<usize>) -> ValueId {
        self.plan.values.push(Value { raw, norm, gradient: Gradient::Buffer });
        self.plan.values.len() - 1
    }

    fn made(&mut self, step: Step, output: RawId) -> ValueId {
        let value = match &step {
            Step::Import { .. } => self.value(output, None),
            Step::Unit(unit) => self.plan.units[*unit].value,
            Step::Pool(pool) => self.plan.pools[*pool].value,
            Step::Sum(sum) => self.plan.sums[*sum].value,
            Step::Noise { value, .. }
            | Step::Apply { value, .. }
            | Step::Gather { value, .. }
            | Step::GlobalPool { value, .. } => *value,
        };
        self.plan.steps.push(step);
        self.plan.raws[output].made_by = Some(self.plan.steps.len() - 1);
        value
    }

    fn view(&mut self, value: ValueId, activation: Option<Activation>) -> ViewId {
        *self.view_ids.entry((value, activation)).or_insert_with(|| {
            self.plan.views.push(View { value, activation, pad: (0, 0) });
            self.plan.views.len() - 1
        })
    }

    fn plain_view(&self, value: ValueId) -> Seen {
        Seen::View { value, activation: None }
    }

    fn layout(&self, value: ValueId) -> Layout {
        self.plan.raws[self.plan.values[value].raw].layout.clone()
    }
}
