//! One search cell: every node is the weighted sum of all candidates on all edges from the states before it.
//!
//! States 0 and 1 are the cell's inputs, node i makes state i + 2 (`docs/darts.md` A2). Edges run node by node,
//! predecessors in order, so node i owns a contiguous run of rows in the slot block that all cells of its kind share.

use super::operations::{NormStyle, Operation, Target, factorized_reduce, relu_conv_norm};
use crate::graph::{Graph, Node, Pool, PoolKind, Slot, SlotBlock};
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

    /// The name of the kind's edge weights.
    pub fn betas_name(self) -> &'static str {
        match self {
            CellKind::Normal => "betas_normal",
            CellKind::Reduction => "betas_reduce",
        }
    }

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
    /// Candidates see the first of this many equal parts of the channels; the others pass by (PC-DARTS, Xu et al.
    /// 2020).
    pub partial: usize,
    /// Edges × 1: what the channels that pass by are weighted with; none: 1. The candidates' weights have it in them.
    pub edge_weights: Option<&'a SlotBlock>,
}

/// Checks that channels can be divided between candidates and what passes by.
///
/// # Errors
/// A number of parts that does not divide them.
pub fn check_partial(channels: usize, partial: usize) -> Result<()> {
    match partial > 0 && channels.is_multiple_of(partial) {
        true => Ok(()),
        false => Err(Error::user(format!("partial: {partial} does not divide the {channels} channels evenly"))
            .hint("candidates see channels / partial channels; the paper takes partial: 4")),
    }
}

impl SearchCell<'_> {
    /// Builds the cell on the outputs of the cell before the previous one and of the previous one; gives its output,
    /// the concatenation of all nodes (`nodes · channels` channels). Call it inside the cell's scope.
    ///
    /// # Errors
    /// A mask that leaves a node without operations; an odd size where an edge or an input has to be halved; operations
    /// that do not give the shape that their edge needs.
    pub fn build(&self, graph: &mut Graph, before_previous: Node, previous: Node) -> Result<Node> {
        let norms = NormStyle::Search;
        let first = graph.scope("pre0", |g| match self.after_reduction {
            true => factorized_reduce(g, before_previous, self.channels, norms),
            false => relu_conv_norm(g, before_previous, self.channels, norms),
        })?;
        let second = graph.scope("pre1", |g| relu_conv_norm(g, previous, self.channels, norms))?;
        let mut states = vec![first, second];
        for node in 0..self.nodes {
            let (mut terms, mut passing) = (Vec::new(), Vec::new());
            for (input, edge) in incoming(node).enumerate() {
                let before = terms.len();
                self.edge(graph, states[input], input, edge, &mut terms)?;
                // An edge whose candidates are all masked off is not there at all.
                if self.partial > 1 && terms.len() > before {
                    passing.push((self.pass_by(graph, states[input], input)?, edge));
                }
            }
            if terms.is_empty() {
                return Err(Error::user(format!(
                    "the mask of the {} cells leaves node {node} without any operation",
                    self.kind.name()
                ))
                .hint(format!("keep at least one operation on one of edges {:?}", incoming(node))));
            }
            // One flat sum over all edges: the engine accumulates every candidate straight into the node's map.
            let mixed = graph.mixed(&terms)?;
            states.push(match self.partial {
                1 => mixed,
                _ => self.with_passing(graph, mixed, &passing)?,
            });
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
        let channels = self.channels / self.partial;
        let stride = if self.halves(input) { 2 } else { 1 };
        let target = Target { channels, stride, norms: NormStyle::Search };
        let from = if self.partial > 1 { graph.slice(from, 0, channels)? } else { from };
        for (column, operation) in self.operations.iter().enumerate() {
            if self.mask.is_some_and(|mask| !mask[edge][column]) {
                continue;
            }
            let scope = format!("edges.{edge}.ops.{column}");
            let node = graph.scope(scope, |g| operation.apply(g, from, target))?;
            terms.push((node, self.slots.slot(edge, column)));
        }
        Ok(())
    }

    fn halves(&self, input: usize) -> bool {
        self.kind == CellKind::Reduction && input < 2
    }

    /// A state as it passes by an edge's candidates, at the size that they make.
    fn pass_by(&self, graph: &mut Graph, state: Node, input: usize) -> Result<Node> {
        match self.halves(input) {
            true => graph.pool(state, Pool { kind: PoolKind::Max, kernel: 2, stride: 2, padding: 0 }),
            false => Ok(state),
        }
    }

    /// A node of partial channels: what is mixed beside what passes by, shuffled. All edges of a node shuffle alike, so
    /// the sum over edges comes first; it is taken of whole states and cut afterwards.
    fn with_passing(&self, graph: &mut Graph, mixed: Node, passing: &[(Node, usize)]) -> Result<Node> {
        let whole = match self.edge_weights {
            Some(betas) => {
                let weighted: Vec<(Node, Slot)> =
                    passing.iter().map(|&(state, edge)| (state, betas.slot(edge, 0))).collect();
                graph.mixed(&weighted)?
            }
            None => graph.add(&passing.iter().map(|&(state, _)| state).collect::<Vec<_>>())?,
        };
        let part = self.channels / self.partial;
        let rest = graph.slice(whole, part, self.channels - part)?;
        let both = graph.concat(&[mixed, rest])?;
        graph.shuffle(both, self.partial)
    }
}
