//! The primitives that a time step is made of.

use crate::graph::{Node, Slot};

/// Non-linearities, element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    Tanh,
    /// max(x, 0); its slope at 0 is 0.
    Relu,
}

impl Function {
    /// All of them with the names that scripts use.
    pub const ALL: [(&'static str, Function); 3] =
        [("sigmoid", Function::Sigmoid), ("tanh", Function::Tanh), ("relu", Function::Relu)];
}

/// A primitive with its inputs. Weights, states, masks and norms are indices into the graph's tables.
#[derive(Clone, Debug, PartialEq)]
pub enum RecurrentOp {
    /// The token vector.
    Input,
    /// What the time step before left.
    State { state: usize },
    /// [input₀ | input₁ | …] · weight + bias; weight: Σ widths × width of the product.
    Product { inputs: Vec<Node>, weight: usize, bias: Option<usize> },
    /// a + b.
    Add { inputs: [Node; 2] },
    /// a − b.
    Subtract { inputs: [Node; 2] },
    /// a · b.
    Multiply { inputs: [Node; 2] },
    /// from + gate · (to − from).
    Blend { from: Node, to: Node, gate: Node },
    /// f(input).
    Apply { input: Node, function: Function },
    /// scale · input + shift.
    Affine { input: Node, scale: f64, shift: f64 },
    /// min(input, most); its slope at `most` is 0.
    AtMost { input: Node, most: f64 },
    /// Columns of the input from `start` on, as many as the node is wide.
    Slice { input: Node, start: usize },
    /// The input times a mask that is drawn once a pass.
    Mask { input: Node, mask: usize },
    /// Batch norm without affine parameters over the rows of this time step.
    Norm { input: Node, norm: usize },
    /// scale · Σ p_slot · node; a term without a slot has factor 1.
    Sum { terms: Vec<(Node, Option<Slot>)>, scale: f64 },
}

impl RecurrentOp {
    /// The nodes that this primitive reads, in this time step.
    pub fn inputs(&self) -> Vec<Node> {
        match self {
            Self::Input | Self::State { .. } => vec![],
            Self::Product { inputs, .. } => inputs.clone(),
            Self::Add { inputs } | Self::Subtract { inputs } | Self::Multiply { inputs } => inputs.to_vec(),
            Self::Blend { from, to, gate } => vec![*from, *to, *gate],
            Self::Apply { input, .. }
            | Self::Affine { input, .. }
            | Self::AtMost { input, .. }
            | Self::Slice { input, .. }
            | Self::Mask { input, .. }
            | Self::Norm { input, .. } => vec![*input],
            Self::Sum { terms, .. } => terms.iter().map(|(node, _)| *node).collect(),
        }
    }
}

/// One state: what a row carries from a time step to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateInfo {
    /// For example `h` or `c`.
    pub name: String,
    pub width: usize,
    /// The node that reads it.
    pub node: Node,
    /// The node that makes the next one; none until it is set.
    pub next: Option<Node>,
}

/// One mask: rows × width factors, 0 with the mask's probability q and 1/(1 − q) otherwise, the same at every time step
/// of a pass (variational dropout, Gal & Ghahramani 2016).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskInfo {
    pub name: String,
    pub width: usize,
    /// The stream that its factors are drawn from.
    pub(crate) stream: String,
}
