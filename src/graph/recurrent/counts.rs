//! Parameters and multiply-adds, read off the built graph.

use super::{RecurrentGraph, RecurrentOp};

impl RecurrentGraph {
    /// The number of weights (mixing weights not included).
    pub fn parameters(&self) -> usize {
        self.weights().last().map_or(0, |weight| weight.range().end)
    }

    /// Multiply-adds of one row in one time step, in matrix products; one multiply-add counts one.
    pub fn macs(&self) -> usize {
        self.nodes().map(|node| self.macs_of(self.op(node))).sum()
    }

    fn macs_of(&self, op: &RecurrentOp) -> usize {
        match op {
            RecurrentOp::Product { weight, .. } => self.weights()[*weight].len(),
            _ => 0,
        }
    }
}
