//! What a pass makes: the nodes on which the output depends through terms that run.

use super::{Graph, Node, Op, Term};

impl Graph {
    /// By node: whether the output depends on its values in a pass. `active`: by slot of `p`, whether its terms run
    /// (none: all do). Zeros have their input's size, not its values.
    pub fn live(&self, active: Option<&[bool]>) -> Vec<bool> {
        let runs = |term: &&Term| term.slot.is_none_or(|slot| active.is_none_or(|active| active[slot.0 as usize]));
        let mut live = vec![false; self.nodes().count()];
        let mut stack: Vec<Node> = self.output().into_iter().collect();
        while let Some(node) = stack.pop() {
            if std::mem::replace(&mut live[node.index()], true) {
                continue;
            }
            match self.op(node) {
                Op::Sum { terms } => stack.extend(terms.iter().filter(runs).map(|term| term.node)),
                Op::Zero { .. } => {}
                Op::Select { input, channels } => stack.extend(self.parts_read(*input, channels)),
                op => stack.extend(op.inputs()),
            }
        }
        live
    }

    /// The nodes behind a selection: of a concatenation only the parts that have a selected channel.
    fn parts_read(&self, input: Node, channels: &[u32]) -> Vec<Node> {
        let Op::Concat { inputs } = self.op(input) else { return vec![input] };
        let mut first = 0;
        let mut read = Vec::new();
        for &part in inputs {
            let end = first + self.shape(part).channels;
            if channels.iter().any(|&channel| (first..end).contains(&(channel as usize))) {
                read.push(part);
            }
            first = end;
        }
        read
    }
}
