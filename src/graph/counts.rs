//! Parameters and multiply-adds, read off the built graph: there is no formula to disagree with it.

use super::{Graph, Node, Op};

impl Graph {
    /// The number of weights (mixing weights not included).
    pub fn parameters(&self) -> usize {
        self.weights().iter().map(|w| w.len()).sum()
    }

    /// Multiply-adds of one image in convolutions and linear layers; one multiply-add counts one.
    pub fn macs(&self) -> usize {
        self.macs_below("")
    }

    /// Multiply-adds of the primitives whose dotted scope is `scope` or lies below it ("" for all).
    pub fn macs_below(&self, scope: &str) -> usize {
        self.nodes().filter(|&n| is_below(self.scope_of(n), scope)).map(|n| self.macs_of(n)).sum()
    }

    /// Weights whose dotted name lies below `scope` ("" for all).
    pub fn parameters_below(&self, scope: &str) -> usize {
        self.weights().iter().filter(|w| is_below(&w.name, scope)).map(|w| w.len()).sum()
    }

    pub(super) fn macs_of(&self, node: Node) -> usize {
        let out = self.shape(node);
        match self.op(node) {
            Op::Conv { weight, .. } | Op::Depthwise { weight, .. } => self.weights()[*weight].len() * out.pixels(),
            Op::Halve { weights, .. } => weights.iter().map(|&w| self.weights()[w].len()).sum::<usize>() * out.pixels(),
            _ => 0,
        }
    }
}

fn is_below(name: &str, scope: &str) -> bool {
    scope.is_empty() || name.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
