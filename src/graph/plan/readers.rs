//! The nodes that an output depends on, and how many readers each of them has.

use crate::graph::{Graph, Node, Op};

/// The readers of one node.
#[derive(Clone, Copy, Default)]
pub(super) struct Readers {
    pub all: usize,
    /// How many of them are norms.
    pub norms: usize,
    /// How many of them only select channels.
    pub selections: usize,
    pub last: Option<Node>,
}

impl Readers {
    /// Whether all readers only select channels.
    pub fn only_selected(&self) -> bool {
        self.all == self.selections
    }
}

/// By node: whether the output depends on it. The images always count.
pub(super) fn live_nodes(graph: &Graph, output: Node) -> Vec<bool> {
    let mut live = vec![false; graph.nodes().count()];
    let mut stack = vec![output];
    while let Some(node) = stack.pop() {
        if !std::mem::replace(&mut live[node.index()], true) {
            stack.extend(graph.op(node).inputs());
        }
    }
    live[graph.input().index()] = true;
    live
}

/// By node: its readers among the live nodes. The output has one more: the caller.
pub(super) fn count_readers(graph: &Graph, live: &[bool], output: Node) -> Vec<Readers> {
    let mut readers = vec![Readers::default(); live.len()];
    for node in graph.nodes().filter(|n| live[n.index()]) {
        for input in graph.op(node).inputs() {
            let readers = &mut readers[input.index()];
            readers.all += 1;
            readers.norms += usize::from(matches!(graph.op(node), Op::Norm { .. }));
            readers.selections += usize::from(matches!(graph.op(node), Op::Select { .. }));
            readers.last = Some(node);
        }
    }
    readers[output.index()].all += 1;
    readers
}
