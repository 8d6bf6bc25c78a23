//! Lowering of siblings: bundles as tensors whose channels come in equal shares, one for each member, and families as
//! running totals over them (see `siblings.rs`).

use super::lower::{Lowering, Seen};
use super::selection::copied_whole;
use super::siblings::Family;
use super::{LANES, LaneFactor, Layout, Mixing, NormPart, SumTerm, ValueId, Weights};
use crate::graph::{Node, Op};

impl Lowering<'_> {
    /// The sum that has this share of a family's block: everything that is due joins the running total.
    pub(super) fn family_sum(&mut self, sum: Node, family: usize, share: usize) -> Seen {
        let shape = self.graph.shape(sum);
        let shares = self.siblings.families[family].sums.len();
        let mut terms: Vec<SumTerm> = Vec::new();
        terms.extend(self.totals[family].map(|value| SumTerm { value, mixing: Mixing::One, drop: None }));
        for index in 0..self.siblings.families[family].bundles.len() {
            let bundle = &self.siblings.families[family].bundles[index];
            if bundle.due != sum {
                continue;
            }
            let nodes: Vec<Option<Node>> = bundle.members.iter().map(|m| m.map(|(node, _)| node)).collect();
            let mut factors = [LaneFactor::Zero; LANES];
            for (member, lanes) in bundle.members.iter().zip(factors.chunks_mut(shape.channels)) {
                if let Some((_, slot)) = member {
                    lanes.fill(slot.map_or(LaneFactor::One, LaneFactor::Slot));
                }
            }
            let bottom = bundle.bottom;
            let mixing = Mixing::Lanes(self.plan.lane_factors.push(factors));
            let seen = self.bundle(&nodes, bottom, Family::shares(shape.channels));
            let value = match seen {
                Seen::View { value, activation: Some(activation) } => self.write_out(value, Some(activation)),
                Seen::View { value, activation: None } => value,
                _ => unreachable!("bundles are views"),
            };
            terms.push(SumTerm { value, mixing, drop: None });
        }
        let output = self.raw(Layout::dense(shares * shape.channels), shape.height, shape.width);
        let total = self.sum_into(terms, output);
        self.totals[family] = Some(total);
        Seen::Share { value: total, first: share * shape.channels }
    }

    /// Members that are made by the same operations down to `bottom`, side by side.
    fn bundle(&mut self, nodes: &[Option<Node>], bottom: Node, copies: usize) -> Seen {
        let graph = self.graph;
        let Some(&any) = nodes.iter().flatten().next() else { unreachable!("bundles have members") };
        if any == bottom {
            return self.copies(bottom, copies);
        }
        let below = |node: &Option<Node>| node.map(|node| graph.op(node).inputs()[0]);
        let inputs: Vec<Option<Node>> = nodes.iter().map(below).collect();
        match graph.op(any) {
            Op::Conv { input, .. } if self.fuses_into_pointwise(*input) => {
                let below: Vec<Option<Node>> = inputs.iter().map(below).collect();
                let view = self.bundle(&below, bottom, copies);
                let unit = self.unit(nodes, view);
                self.plain_view(unit)
            }
            Op::Conv { .. } | Op::Depthwise { .. } | Op::Halve { .. } => {
                let view = self.bundle(&inputs, bottom, copies);
                let unit = self.unit(nodes, view);
                self.plain_view(unit)
            }
            Op::Norm { .. } => {
                let seen = self.bundle(&inputs, bottom, copies);
                let value = self.plain_of(seen);
                let parts = nodes.iter().map(|node| node.map(|node| self.norm_part(node))).collect();
                self.normed(value, self.widened(value, parts, copies))
            }
            Op::Activate { activation, .. } => {
                let seen = self.bundle(&inputs, bottom, copies);
                self.activated(seen, *activation)
            }
            Op::Pool { pool, .. } => {
                let seen = self.bundle(&inputs, bottom, copies);
                let (value, shape) = (self.plain_of(seen), graph.shape(any));
                let pooled = self.pool(value, *pool, shape.height, shape.width);
                self.plain_view(pooled)
            }
            _ => unreachable!("chains have no other primitives"),
        }
    }

    /// A tensor of copies may be wider than the members that read it.
    fn widened(&self, value: ValueId, mut parts: Weights<NormPart>, copies: usize) -> Weights<NormPart> {
        let channels = self.layout(value).channels();
        if let Some(part) = parts.iter().flatten().next() {
            let each = self.graph.norms()[part.info].channels;
            debug_assert!(channels / each <= copies);
            parts.resize(channels / each, None);
        }
        parts
    }

    /// One tensor repeated side by side, where all siblings read the same.
    fn copies(&mut self, node: Node, copies: usize) -> Seen {
        if let Some(&seen) = self.copied.get(&(node, copies)) {
            return seen;
        }
        let graph = self.graph;
        let seen = match graph.op(node) {
            Op::Norm { input, .. } if !copied_whole(graph, node) => {
                let seen = self.copies(*input, copies);
                let value = self.plain_of(seen);
                let part = Some(self.norm_part(node));
                self.normed(value, vec![part; copies])
            }
            Op::Activate { input, activation } => {
                let seen = self.copies(*input, copies);
                self.activated(seen, *activation)
            }
            Op::Pool { input, pool } => {
                let seen = self.copies(*input, copies);
                let (value, shape) = (self.plain_of(seen), graph.shape(node));
                let pooled = self.pool(value, *pool, shape.height, shape.width);
                self.plain_view(pooled)
            }
            _ => {
                let sources = self.sources(node);
                let repeated: Vec<_> = std::iter::repeat_n(sources, copies).flatten().collect();
                let value = self.gather_sources(&repeated);
                self.plain_view(value)
            }
        };
        let seen = self.own_if_shared(node, seen);
        self.copied.insert((node, copies), seen);
        seen
    }

    /// A view's value without activation and norm.
    fn plain_of(&mut self, seen: Seen) -> ValueId {
        match seen {
            Seen::View { value, activation } => self.write_out(value, activation),
            _ => unreachable!("bundles are views"),
        }
    }

    fn activated(&mut self, seen: Seen, activation: crate::graph::Activation) -> Seen {
        match seen {
            Seen::View { value, activation: None } => Seen::View { value, activation: Some(activation) },
            _ => Seen::View { value: self.plain_of(seen), activation: Some(activation) },
        }
    }

    pub(super) fn norm_part(&self, node: Node) -> NormPart {
        match self.graph.op(node) {
            Op::Norm { norm, affine, .. } => NormPart { info: *norm, affine: *affine },
            _ => unreachable!("asked of norms only"),
        }
    }
}
