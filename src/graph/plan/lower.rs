//! Lowering: from primitives to raw tensors, views and fused steps.

use super::components;
use super::flatten::flatten_sums;
use super::padding;
use super::readers::{Readers, count_readers, live_nodes};
use super::selection::wanted_nodes;
use super::siblings::{self, Siblings};
use super::{
    ComponentId, Gradient, Layout, Mixing, Norm, NormId, NormPart, Plan, PoolStep, Raw, RawId, StageId, Step, Sum,
    SumTerm, Table, Value, ValueId, View, ViewId, Weights,
};
use crate::Result;
use crate::graph::{Activation, Graph, Node, Op, Pool, Term};
use std::collections::HashMap;

/// What a node is lowered to: a value through an activation, a share of a running total, or zeros.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Seen {
    View {
        value: ValueId,
        activation: Option<Activation>,
    },
    /// A share of a family's running total, from channel `first` on.
    Share {
        value: ValueId,
        first: usize,
    },
    Zero,
}

pub(super) struct Lowering<'g> {
    pub graph: &'g Graph,
    pub readers: Vec<Readers>,
    pub siblings: Siblings,
    /// By family: the running total.
    pub totals: Vec<Option<ValueId>>,
    /// Tensors repeated side by side, by node and number of copies.
    pub copied: HashMap<(Node, usize), Seen>,
    /// The sums' terms; sums that were flattened into their reader are left out.
    sums: HashMap<Node, Vec<Term>>,
    pub seen: HashMap<Node, Seen>,
    view_ids: HashMap<(ValueId, Option<Activation>), ViewId>,
    /// That of the node being lowered.
    component: ComponentId,
    pub plan: Plan,
}

pub(super) fn lower(graph: &Graph, output: Node) -> Result<Plan> {
    let live = live_nodes(graph, output);
    let readers = count_readers(graph, &live, output);
    let sums = flatten_sums(graph, graph.nodes().filter(|n| live[n.index()]), &readers);
    let siblings = siblings::find(graph, &sums, &readers);
    let wanted = wanted_nodes(graph, &live, &readers, &siblings, output);
    let plan = Plan {
        components: Table::new(),
        raws: Table::new(),
        values: Table::new(),
        views: Table::new(),
        norms: Table::new(),
        lane_factors: Table::new(),
        units: Table::new(),
        pools: Table::new(),
        sums: Table::new(),
        steps: Table::new(),
        forward: Table::new(),
        backward: Vec::new(),
        input: RawId::default(),
        output: ValueId::default(),
        training: Default::default(),
        inference: Default::default(),
    };
    let mut lowering = Lowering {
        graph,
        readers,
        totals: vec![None; siblings.families.len()],
        siblings,
        copied: HashMap::new(),
        sums,
        seen: HashMap::new(),
        view_ids: HashMap::new(),
        component: ComponentId::default(),
        plan,
    };
    for node in graph.nodes().filter(|n| wanted[n.index()]) {
        lowering.component = components::of(graph.scope_of(node), &mut lowering.plan.components);
        lowering.node(node)?;
    }
    let result = lowering.plain(output);
    lowering.plan.output = result;
    padding::settle_views(&mut lowering.plan);
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
            Op::Depthwise { input, .. } | Op::Conv { input, .. } | Op::Halve { input, .. } => {
                let from = match graph.op(*input) {
                    Op::Depthwise { input: inner, .. } if self.fuses_into_pointwise(*input) => *inner,
                    _ => *input,
                };
                let view = self.view_of(from);
                let unit = self.unit(&[Some(node)], view);
                self.plain_view(unit)
            }
            Op::Norm { input, .. } => {
                let value = self.plain(*input);
                self.normed(value, vec![Some(self.norm_part(node))])
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
            Op::Noise { id, kind } => {
                let output = self.raw(Layout::dense(shape.channels), shape.height, shape.width);
                let value = self.value(output, None);
                let value = self.made(Step::Noise { output, value, id: *id, kind: *kind }, output);
                self.plain_view(value)
            }
            Op::Sum { .. } if self.siblings.share_of.contains_key(&node) => {
                let (family, share) = self.siblings.share_of[&node];
                self.family_sum(node, family, share)
            }
            Op::Sum { .. } => {
                let Some(terms) = self.sums.remove(&node) else { return Ok(()) };
                let value = self.sum(node, &terms);
                self.plain_view(value)
            }
            Op::Product { inputs } => self.product(*inputs),
            Op::Concat { inputs } => {
                let values: Vec<ValueId> = inputs.iter().map(|&input| self.plain(input)).collect();
                let value = self.concat(&values);
                self.plain_view(value)
            }
            Op::Select { .. } => {
                let sources = self.sources(node);
                let value = self.gather_sources(&sources);
                self.plain_view(value)
            }
            Op::GlobalPool { input } => {
                let input = self.plain(*input);
                let output = self.raw(self.layout(input), 1, 1);
                let value = self.value(output, None);
                let value = self.made(Step::GlobalPool { input, output, value }, output);
                self.plain_view(value)
            }
            Op::Standardise { input } => {
                let input = self.plain(*input);
                let output = self.raw(self.layout(input), shape.height, shape.width);
                let value = self.value(output, None);
                let value = self.made(Step::Standardise { input, output, value }, output);
                self.plain_view(value)
            }
            Op::Upsample { input, factor } => {
                let input = self.plain(*input);
                let output = self.raw(self.layout(input), shape.height, shape.width);
                let value = self.value(output, None);
                let value = self.made(Step::Upsample { input, output, value, factor: *factor }, output);
                self.plain_view(value)
            }
        };
        let seen = self.own_if_shared(node, seen);
        self.seen.insert(node, seen);
        Ok(())
    }

    /// The output of a unit, a pool or a written-out activation has exactly one value; where a norm and another reader
    /// (or two norms) read it, they read a copy, which may have several.
    pub(super) fn own_if_shared(&mut self, node: Node, seen: Seen) -> Seen {
        let Readers { all, norms, .. } = self.readers[node.index()];
        let Seen::View { value, activation: None } = seen else { return seen };
        let raw = self.plan.values[value].raw;
        let single = self.is_single(raw) && self.plan.values[value].norm.is_none();
        if !single || norms == 0 || all == 1 {
            return seen;
        }
        let copy = self.sum_of(vec![SumTerm { value, mixing: Mixing::One, drop: None }], self.layout(value), raw);
        self.plain_view(copy)
    }

    pub(super) fn pool(&mut self, input: ValueId, pool: Pool, height: usize, width: usize) -> ValueId {
        let output = self.raw(self.layout(input), height, width);
        let value = self.value(output, None);
        let pool = self.plan.pools.push(PoolStep { input, output, value, pool });
        self.made(Step::Pool(pool), output)
    }

    fn sum(&mut self, node: Node, terms: &[Term]) -> ValueId {
        let shape = self.graph.shape(node);
        let mut values = Vec::new();
        for term in terms {
            match self.seen.get(&term.node).copied().unwrap_or(Seen::Zero) {
                Seen::Zero => {}
                Seen::View { value, activation: None } => values.push((value, term)),
                Seen::View { .. } | Seen::Share { .. } => values.push((self.plain(term.node), term)),
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
            mixing: term.slot.map_or(Mixing::One, Mixing::Slot),
            drop: term.drop,
        };
        let terms: Vec<SumTerm> = values.into_iter().map(conformed).collect();
        let output = self.raw(layout, shape.height, shape.width);
        self.sum_into(terms, output)
    }

    pub(super) fn sum_of(&mut self, terms: Vec<SumTerm>, layout: Layout, like: RawId) -> ValueId {
        let (height, width) = (self.plan.raws[like].height, self.plan.raws[like].width);
        let output = self.raw(layout, height, width);
        self.sum_into(terms, output)
    }

    pub(super) fn sum_into(&mut self, terms: Vec<SumTerm>, output: RawId) -> ValueId {
        let mut dots = Vec::new();
        for term in &terms {
            let Value { raw, norm, .. } = self.plan.values[term.value];
            let counts = term.mixing != Mixing::One || norm.is_some();
            if counts && !dots.contains(&raw) {
                dots.push(raw);
            }
        }
        let value = self.value(output, None);
        let sum = self.plan.sums.push(Sum { terms, output, value, dots });
        self.made(Step::Sum(sum), output)
    }

    fn product(&mut self, inputs: [Node; 2]) -> Seen {
        let inputs = inputs.map(|input| self.plain(input));
        let raw = &self.plan.raws[self.plan.values[inputs[0]].raw];
        let (height, width, channels) = (raw.height, raw.width, raw.layout.channels());
        let [one, other] = inputs.map(|input| self.layout(input));
        let layout = if one == other { one } else { Layout::dense(channels) };
        let inputs = inputs.map(|input| self.conform(input, &layout));
        let output = self.raw(layout, height, width);
        let value = self.value(output, None);
        let value = self.made(Step::Product { inputs, output, value }, output);
        self.plain_view(value)
    }

    /// The same value in another layout: one without empty lanes between channels.
    fn conform(&mut self, value: ValueId, layout: &Layout) -> ValueId {
        if self.layout(value) == *layout {
            return value;
        }
        let plain = self.write_out(value, None);
        let channels: Vec<u32> = (0..layout.channels() as u32).collect();
        self.gather(plain, &channels)
    }

    /// The node as a value of a raw tensor, without norm or activation; it is written out if necessary.
    pub(super) fn plain(&mut self, node: Node) -> ValueId {
        match self.view_of(node) {
            Seen::View { value, activation } => {
                let plain = self.write_out(value, activation);
                if activation.is_none() && plain == value {
                    return value;
                }
                let seen = self.own_if_shared(node, self.plain_view(plain));
                self.seen.insert(node, seen);
                match seen {
                    Seen::View { value, .. } => value,
                    Seen::Share { .. } | Seen::Zero => plain,
                }
            }
            _ => unreachable!("views of zeros and shares are written out"),
        }
    }

    pub(super) fn write_out(&mut self, value: ValueId, activation: Option<Activation>) -> ValueId {
        if activation.is_none() && self.plan.values[value].norm.is_none() {
            return value;
        }
        let raw = self.plan.values[value].raw;
        if activation.is_none() {
            return self.sum_of(vec![SumTerm { value, mixing: Mixing::One, drop: None }], self.layout(value), raw);
        }
        let input = self.view(value, activation);
        let (height, width) = (self.plan.raws[raw].height, self.plan.raws[raw].width);
        let output = self.raw(self.layout(value), height, width);
        let written = self.value(output, None);
        self.made(Step::Apply { input, output, value: written }, output)
    }

    /// What a node is lowered to, with zeros and shares written out.
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
            Some(Seen::Share { value, first }) => {
                let channels = self.graph.shape(node).channels;
                let sources: Vec<_> = (first..first + channels).map(|channel| (value, channel as u32)).collect();
                let value = self.gather_sources(&sources);
                let seen = self.own_if_shared(node, self.plain_view(value));
                self.seen.insert(node, seen);
                seen
            }
            Some(view) => view,
        }
    }

    pub(super) fn normed(&mut self, value: ValueId, parts: Weights<NormPart>) -> Seen {
        let raw = self.plan.values[value].raw;
        // The unit's one value is the normed one.
        let normed = if self.is_single(raw) { value } else { self.value(raw, None) };
        let norm = self.plan.norms.push(Norm { raw, value: normed, parts });
        self.plan.values[normed].norm = Some(norm);
        self.plain_view(normed)
    }

    fn is_single(&self, raw: RawId) -> bool {
        !matches!(
            self.plan.raws[raw].made_by.map(|s| &self.plan.steps[s]),
            Some(Step::Sum(_) | Step::Import { .. } | Step::Noise { .. }) | None
        )
    }

    pub(super) fn raw(&mut self, layout: Layout, height: usize, width: usize) -> RawId {
        self.plan.raws.push(Raw {
            layout,
            height,
            width,
            part_of: None,
            made_by: None,
            level: StageId::default(),
            component: self.component,
        })
    }

    pub(super) fn value(&mut self, raw: RawId, norm: Option<NormId>) -> ValueId {
        self.plan.values.push(Value { raw, norm, gradient: Gradient::Buffer })
    }

    pub(super) fn made(&mut self, step: Step, output: RawId) -> ValueId {
        let value = match &step {
            Step::Import { .. } => self.value(output, None),
            Step::Unit(unit) => self.plan.units[*unit].value,
            Step::Pool(pool) => self.plan.pools[*pool].value,
            Step::Sum(sum) => self.plan.sums[*sum].value,
            Step::Noise { value, .. }
            | Step::Apply { value, .. }
            | Step::Gather { value, .. }
            | Step::Product { value, .. }
            | Step::GlobalPool { value, .. }
            | Step::Standardise { value, .. }
            | Step::Upsample { value, .. } => *value,
        };
        self.plan.raws[output].made_by = Some(self.plan.steps.push(step));
        value
    }

    pub(super) fn view(&mut self, value: ValueId, activation: Option<Activation>) -> ViewId {
        *self
            .view_ids
            .entry((value, activation))
            .or_insert_with(|| self.plan.views.push(View { value, activation, pad: (0, 0) }))
    }

    pub(super) fn plain_view(&self, value: ValueId) -> Seen {
        Seen::View { value, activation: None }
    }

    pub(super) fn layout(&self, value: ValueId) -> Layout {
        self.plan.raws[self.plan.values[value].raw].layout.clone()
    }
}
