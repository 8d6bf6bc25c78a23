//! Lowering of primitives that only move channels (concatenations, slices and shuffles), and which nodes then remain to
//! be lowered as tensors of their own.

use super::lower::{Lowering, Seen};
use super::readers::Readers;
use super::siblings::Siblings;
use super::{Layout, Mixing, RawId, Step, SumTerm, ValueId};
use crate::graph::{Graph, Node, Op};

/// A channel: the tensor that holds it, and which of its channels it is.
pub(super) type Source = (ValueId, u32);

/// By node: whether it is read as a tensor of its own. Members of bundles are not, nor are concatenations from which
/// channels are only selected.
pub(super) fn wanted_nodes(
    graph: &Graph,
    live: &[bool],
    readers: &[Readers],
    siblings: &Siblings,
    output: Node,
) -> Vec<bool> {
    let mut wanted = vec![false; live.len()];
    wanted[output.index()] = true;
    wanted[graph.input().index()] = true;
    let nodes: Vec<Node> = graph.nodes().collect();
    for &node in nodes.iter().rev().filter(|n| live[n.index()]) {
        if !wanted[node.index()] {
            continue;
        }
        match (siblings.share_of.get(&node), graph.op(node)) {
            (Some(&(family, _)), _) => {
                let family = &siblings.families[family];
                // The running total holds the sums before.
                family.sums.iter().filter(|sum| **sum < node).for_each(|sum| wanted[sum.index()] = true);
                for bundle in family.bundles.iter().filter(|bundle| bundle.due == node) {
                    want_copied(graph, readers, bundle.bottom, &mut wanted);
                }
            }
            (None, Op::Select { input, .. }) => want_channels(graph, readers, *input, &mut wanted),
            (None, op) => op.inputs().into_iter().for_each(|input| wanted[input.index()] = true),
        }
    }
    wanted
}

fn want_channels(graph: &Graph, readers: &[Readers], node: Node, wanted: &mut [bool]) {
    match graph.op(node) {
        Op::Select { input, .. } => want_channels(graph, readers, *input, wanted),
        Op::Concat { inputs } if readers[node.index()].only_selected() => {
            inputs.iter().for_each(|&input| want_channels(graph, readers, input, wanted));
        }
        _ => wanted[node.index()] = true,
    }
}

/// Whether copies of a node are made from its own tensor and not from copies of its input: so for primitives that are
/// part of no chain, and for a convolution with its norm, which are one value.
pub(super) fn copied_whole(graph: &Graph, node: Node) -> bool {
    match graph.op(node) {
        Op::Norm { input, .. } => {
            matches!(graph.op(*input), Op::Conv { .. } | Op::Depthwise { .. } | Op::Halve { .. })
        }
        Op::Activate { .. } | Op::Pool { .. } => false,
        _ => true,
    }
}

fn want_copied(graph: &Graph, readers: &[Readers], node: Node, wanted: &mut [bool]) {
    match graph.op(node) {
        Op::Norm { input, .. } | Op::Activate { input, .. } | Op::Pool { input, .. } if !copied_whole(graph, node) => {
            want_copied(graph, readers, *input, wanted);
        }
        _ => want_channels(graph, readers, node, wanted),
    }
}

impl Lowering<'_> {
    /// Where each channel of a node lies.
    pub(super) fn sources(&mut self, node: Node) -> Vec<Source> {
        let graph = self.graph;
        match graph.op(node) {
            Op::Select { input, channels } => {
                let below = self.sources(*input);
                channels.iter().map(|&channel| below[channel as usize]).collect()
            }
            Op::Concat { inputs } if self.readers[node.index()].only_selected() => {
                inputs.iter().flat_map(|&input| self.sources(input)).collect()
            }
            _ => {
                let channels = graph.shape(node).channels as u32;
                let (value, first) = match self.seen.get(&node) {
                    Some(&Seen::Share { value, first }) => (value, first as u32),
                    _ => (self.plain(node), 0),
                };
                (0..channels).map(|channel| (value, first + channel)).collect()
            }
        }
    }

    /// A tensor of these channels.
    pub(super) fn gather_sources(&mut self, sources: &[Source]) -> ValueId {
        let mut values: Vec<ValueId> = Vec::new();
        for (value, _) in sources {
            if !values.contains(value) {
                values.push(*value);
            }
        }
        // Channels of several tensors are selected from their concatenation, which costs nothing.
        let mut firsts = Vec::new();
        let mut first = 0;
        for &value in &values {
            firsts.push(first);
            first += self.layout(value).channels() as u32;
        }
        let whole = if let [one] = values[..] { one } else { self.concat(&values) };
        let index = |value: ValueId| values.iter().position(|&v| v == value).unwrap_or(0);
        let channels: Vec<u32> = sources.iter().map(|&(value, channel)| firsts[index(value)] + channel).collect();
        self.gather(whole, &channels)
    }

    /// Tensors without a norm that are not yet part of another concatenation become parts where they are; others are
    /// copied.
    pub(super) fn concat(&mut self, values: &[ValueId]) -> ValueId {
        let mut parts: Vec<RawId> = Vec::new();
        for &value in values {
            let raw = self.plan.values[value].raw;
            let free = self.plan.raws[raw].part_of.is_none()
                && !parts.contains(&raw)
                && raw != self.plan.input
                && self.plan.values[value].norm.is_none();
            let part = match free {
                true => raw,
                false => {
                    let term = SumTerm { value, mixing: Mixing::One, drop: None };
                    let copy = self.sum_of(vec![term], self.layout(value), raw);
                    self.plan.values[copy].raw
                }
            };
            parts.push(part);
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

    pub(super) fn gather(&mut self, input: ValueId, channels: &[u32]) -> ValueId {
        let raw = &self.plan.raws[self.plan.values[input].raw];
        let positions = raw.layout.positions();
        let (height, width) = (raw.height, raw.width);
        let layout = Layout::dense(channels.len());
        let lanes = layout.lanes().iter().map(|l| l.map(|c| positions[channels[c as usize] as usize] as u32)).collect();
        let output = self.raw(layout, height, width);
        let value = self.value(output, None);
        self.made(Step::Gather { input, output, value, lanes }, output)
    }
}
