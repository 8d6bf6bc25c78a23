//! What a time step says of itself: its nodes, and the tables beside them.

use super::{MaskInfo, RecurrentGraph, RecurrentOp, StateInfo};
use crate::graph::{Node, NormInfo, SlotBlock, WeightInfo};
use crate::{Error, Result};

impl RecurrentGraph {
    /// The node that every time step puts out.
    pub fn output(&self) -> Option<Node> {
        self.output
    }

    /// How wide a node is.
    pub fn width(&self, node: Node) -> usize {
        self.widths[node.index()]
    }

    /// The primitive that makes a node.
    pub fn op(&self, node: Node) -> &RecurrentOp {
        &self.ops[node.index()]
    }

    /// All nodes, each after its inputs.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        (0..self.ops.len() as u32).map(Node)
    }

    /// All weights, in the order in which they lie in the flat vector.
    pub fn weights(&self) -> &[WeightInfo] {
        &self.weights
    }

    /// The weight of this name.
    pub fn weight_named(&self, name: &str) -> Option<&WeightInfo> {
        self.weights.iter().find(|weight| weight.name == name)
    }

    /// All states, in the order in which they go in and come out.
    pub fn states(&self) -> &[StateInfo] {
        &self.states
    }

    /// All masks.
    pub fn masks(&self) -> &[MaskInfo] {
        &self.masks
    }

    /// All batch norms, in the order in which they lie in the flat statistics vector.
    pub fn norms(&self) -> &[NormInfo] {
        &self.norms
    }

    /// Length of the flat statistics vector.
    pub fn statistics_len(&self) -> usize {
        self.norms.last().map_or(0, |norm| norm.offset + 2 * norm.channels)
    }

    /// All matrices of mixing weights, in the order in which they lie in `p`.
    pub fn slot_blocks(&self) -> &[SlotBlock] {
        &self.blocks
    }

    /// Length of the flat vector of mixing weights.
    pub fn slot_count(&self) -> usize {
        self.blocks.last().map_or(0, |block| block.offset + block.len())
    }

    /// The output and, state by state, the next one.
    ///
    /// # Errors
    /// Where one of them is not set.
    pub fn ends(&self) -> Result<(Node, Vec<Node>)> {
        let output =
            self.output.ok_or_else(|| Error::user("the time step has no output").hint("set one: set_output"))?;
        let next = |state: &StateInfo| {
            state.next.ok_or_else(|| {
                Error::user(format!("nothing says what the state \"{}\" is in the next time step", state.name))
                    .hint("say so: set_next")
            })
        };
        Ok((output, self.states.iter().map(next).collect::<Result<_>>()?))
    }
}
