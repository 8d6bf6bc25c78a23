//! What is exported: a graph with its numbers, and the names of what goes in and comes out.

use crate::graph::{Graph, Node};

/// The name of the graph's input, images × channels × height × width.
pub const INPUT: &str = "images";

/// The name of the graph's output, images × classes.
pub const OUTPUT: &str = "logits";

/// A network as it is exported: a graph and all numbers that its logits depend on.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub graph: &'a Graph,
    /// Whose channels are the logits: classes × 1 × 1. What it does not depend on is left out.
    pub logits: Node,
    /// All weights, flat, as [`Graph::weights`] lays them out.
    pub weights: &'a [f32],
    /// Running statistics, flat, as [`Graph::norms`] lays them out.
    pub statistics: &'a [f32],
    /// The mixing weights by slot; empty for a graph without slots.
    pub mixing: &'a [f32],
}
