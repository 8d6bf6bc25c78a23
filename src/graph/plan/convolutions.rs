//! Lowering of convolutions to units.

use super::lower::{Lowering, Seen};
use super::readers::Readers;
use super::{Dense, Geometry, Layout, Step, Unit, ValueId, Weights};
use crate::graph::{Conv, Node, Op};

impl Lowering<'_> {
    /// Whether a depthwise convolution is fused into its only reader, a pointwise convolution.
    pub(super) fn fuses_into_pointwise(&self, node: Node) -> bool {
        let Readers { all: 1, last: Some(reader), .. } = self.readers[node.index()] else { return false };
        if !matches!(self.graph.op(node), Op::Depthwise { .. }) {
            return false;
        }
        match self.graph.op(reader) {
            Op::Conv { conv, .. } => {
                conv.kernel == (1, 1) && conv.stride == (1, 1) && conv.padding == (0, 0) && conv.groups == 1
            }
            _ => false,
        }
    }

    /// A convolution, with the depthwise one that is fused into it, of one node or of siblings side by side.
    pub(super) fn unit(&mut self, nodes: &[Option<Node>], input: Seen) -> ValueId {
        let graph = self.graph;
        let Seen::View { value, activation } = input else { unreachable!("units read views") };
        let view = self.view(value, activation);
        let Some(&any) = nodes.iter().flatten().next() else { unreachable!("units have members") };
        let taken_in = |node: Node| match graph.op(node) {
            Op::Conv { input, .. } if self.fuses_into_pointwise(*input) => Some(*input),
            _ => None,
        };
        // The geometry is that of the node that looks at neighbours.
        let outer = taken_in(any).unwrap_or(any);
        let (conv, from) = match graph.op(outer) {
            Op::Conv { conv, input, .. } | Op::Depthwise { conv, input, .. } => (*conv, graph.shape(*input)),
            Op::Halve { channels, input, .. } => (Conv::square(*channels, 2).padding(0).stride(2), graph.shape(*input)),
            _ => unreachable!("units are convolutions"),
        };
        let each = |weight: &dyn Fn(Node) -> Option<usize>| -> Option<Weights<usize>> {
            let all: Weights<usize> = nodes.iter().map(|node| node.and_then(weight)).collect();
            all.iter().any(Option::is_some).then_some(all)
        };
        let depthwise = each(&|node| match graph.op(taken_in(node).unwrap_or(node)) {
            Op::Depthwise { weight, .. } => Some(*weight),
            _ => None,
        });
        let bias = each(&|node| match graph.op(node) {
            Op::Conv { bias, .. } => *bias,
            _ => None,
        });
        let dense = match graph.op(any) {
            Op::Conv { conv, .. } => {
                let weights = each(&|node| match graph.op(node) {
                    Op::Conv { weight, .. } => Some(*weight),
                    _ => None,
                });
                weights.map(|weights| Dense::Conv { weights, groups: conv.groups })
            }
            Op::Halve { .. } => {
                let weights = |node: Node| match graph.op(node) {
                    Op::Halve { weights, .. } => Some(*weights),
                    _ => None,
                };
                Some(Dense::Halve { weights: nodes.iter().map(|node| node.and_then(weights)).collect() })
            }
            _ => None,
        };
        let taps = match &dense {
            Some(Dense::Halve { .. }) => vec![(0, 0), (1, 1)],
            _ => (0..conv.kernel.0)
                .flat_map(|r| (0..conv.kernel.1).map(move |c| (r * conv.dilation.0, c * conv.dilation.1)))
                .collect(),
        };
        let shape = graph.shape(any);
        let layout = match (&dense, nodes.len()) {
            (None, 1) => self.layout(value),
            _ => Layout::dense(nodes.len() * shape.channels),
        };
        let geometry =
            Geometry::new((from.height, from.width), (shape.height, shape.width), conv.stride, conv.padding, taps);
        let output = self.raw(layout, shape.height, shape.width);
        let value = self.value(output, None);
        let unit = self.plan.units.push(Unit { input: view, output, value, geometry, depthwise, dense, bias });
        self.made(Step::Unit(unit), output)
    }
}
