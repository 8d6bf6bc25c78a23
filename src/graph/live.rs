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

    /// Multiply-adds of one image in a pass that runs the terms of `active` only (none: all).
    pub fn macs_running(&self, active: Option<&[bool]>) -> usize {
        let live = self.live(active);
        self.nodes().filter(|node| live[node.index()]).map(|node| self.macs_of(node)).sum()
    }

    /// By weight, in their order: whether the output depends on it in a pass that runs the terms of `active` only.
    pub fn weights_running(&self, active: Option<&[bool]>) -> Vec<bool> {
        let live = self.live(active);
        let mut running = vec![false; self.weights().len()];
        for node in self.nodes().filter(|node| live[node.index()]) {
            self.op(node).weights().into_iter().for_each(|weight| running[weight] = true);
        }
        running
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
