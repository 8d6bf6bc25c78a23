//! One search cell: every node is the weighted sum of all candidates on all edges from the states before it.
//!
//! States 0 and 1 are the cell's inputs, node i makes state i + 2 (`darts.md` A2). Edges run node by node, predecessors
//! in order, so node i owns a contiguous run of rows in the slot block that all cells of its kind share.

use super::operations::{NormStyle, Operation, Place, factorized_reduce, relu_conv_norm};
use crate::graph::{Graph, Node, Slot, SlotBlock};
use crate::{Error, Result};
use std::ops::Range;

/// Cells come in two kinds; all cells of a kind share their mixing weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellKind {
    Normal,
    /// Halves height and width and doubles the channels.
    Reduction,
}

impl CellKind {
    pub const BOTH: [CellKind; 2] = [CellKind::Normal, CellKind::Reduction];

    /// The name of the kind's slot block, alphas and genotype field.
    pub fn name(self) -> &'static str {
        match self {
            CellKind::Normal => "normal",
            CellKind::Reduction => "reduce",
        }
    }
}

/// Which candidates each edge carries: edges × operations.
pub type Mask = Vec<Vec<bool>>;

/// The rows of node `node`'s incoming edges: `node + 2` of them.
pub fn incoming(node: usize) -> Range<usize> {
    let first = node * (node + 3) / 2;
    first..first + node + 2
}

/// The number of edges in a cell of `nodes` nodes.
pub fn edge_count(nodes: usize) -> usize {
    nodes * (nodes + 3) / 2
}

/// A search cell's shape, everything but its inputs.
pub struct SearchCell<'a> {
    pub nodes: usize,
    pub channels: usize,
    pub kind: CellKind,
    /// The input two cells back has twice the resolution because the cell between was a reduction.
    pub after_reduction: bool,
    pub operations: &'a [Operation<'a>],
    pub mask: Option<&'a Mask>,
    /// Edges × operations.
    pub slots: &'a SlotBlock,
}

impl SearchCell<'_> {
    /// Builds the cell on the outputs of the cell before the previous one and of the previous one; gives its output, the
    /// concatenation of all nodes (`nodes · channels` channels). Call it inside the cell's scope.
    pub fn build(&self, graph: &mut Graph, before_previous: Node, previous: Node) -> Result<Node> {
        let norms = NormStyle::Search;
        let first = graph.scope("pre0", |g| match self.after_reduction {
            true => factorized_reduce(g, before_previous, self.channels, norms),
            false => relu_conv_norm(g, before_previous, self.channels, norms),
        })?;
        let second = graph.scope("pre1", |g| relu_conv_norm(g, previous, self.channels, norms))?;
        let mut states = vec![first, second];
        for node in 0..self.nodes {
            let mut terms = Vec::new();
            for (input, edge) in incoming(node).enumerate() {
                self.edge(graph, states[input], input, edge, &mut terms)?;
            }
            if terms.is_empty() {
                return Err(Error::user(format!(
                    "the mask of the {} cells leaves node {node} without any operation",
                    self.kind.name()
                ))
                .hint(format!("keep at least one operation on one of edges {:?}", incoming(node))));
            }
            // One flat sum over all edges: the engine accumulates every candidate straight into the node's map.
            states.push(graph.mixed(&terms)?);
        }
        graph.concat(&states[2..])
    }

    /// Adds the candidates of one edge to the node's terms.
    fn edge(
        &self,
        graph: &mut Graph,
        from: Node,
        input: usize,
        edge: usize,
        terms: &mut Vec<(Node, Slot)>,
    ) -> Result<()> {
        let halves = self.kind == CellKind::Reduction && input < 2;
        let place = Place { channels: self.channels, stride: if halves { 2 } else { 1 }, norms: NormStyle::Search };
        for (column, operation) in self.operations.iter().enumerate() {
            if self.mask.is_some_and(|mask| !mask[edge][column]) {
                continue;
            }
            let scope = format!("edges.{edge}.ops.{column}");
            let node = graph.scope(scope, |g| operation.apply(g, from, place))?;
            terms.push((node, self.slots.slot(edge, column)));
        }
        Ok(())
    }
}
