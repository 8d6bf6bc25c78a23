//! What a pass makes: the nodes on which the output or a next state depends through terms that run.

use super::{RecurrentGraph, RecurrentOp};
use crate::graph::{Node, Slot};

impl RecurrentGraph {
    /// By node: whether the output or a next state depends on it in a pass. `active`: by slot of `p`, whether its terms
    /// run (none: all do).
    pub fn live(&self, active: Option<&[bool]>) -> Vec<bool> {
        let mut live = vec![false; self.nodes().count()];
        let nexts = self.states().iter().filter_map(|state| state.next);
        let mut stack: Vec<Node> = self.output().into_iter().chain(nexts).collect();
        while let Some(node) = stack.pop() {
            if std::mem::replace(&mut live[node.index()], true) {
                continue;
            }
            match self.op(node) {
                RecurrentOp::Sum { terms, .. } => {
                    stack.extend(terms.iter().filter(|(_, slot)| runs(*slot, active)).map(|(node, _)| *node));
                }
                op => stack.extend(op.inputs()),
            }
        }
        live
    }
}

/// Whether a term of this slot runs.
pub(crate) fn runs(slot: Option<Slot>, active: Option<&[bool]>) -> bool {
    slot.is_none_or(|slot| active.is_none_or(|active| active[slot.0 as usize]))
}
