//! What a plan stores, and how it is read: raw tensors, values seen through norms, views seen through activations.

use super::{ComponentId, FactorsId, LANES, Layout, NormId, RawId, StageId, StepId, SumId, ValueId};
use crate::graph::{Activation, Slot};

/// A stored tensor: `layout.blocks() × height × width × 16` floats per image.
#[derive(Clone, Debug)]
pub struct Raw {
    pub layout: Layout,
    pub height: usize,
    pub width: usize,
    /// The concatenation that this tensor is a part of, and its first block there.
    pub part_of: Option<(RawId, usize)>,
    /// The step that writes it (none for a concatenation, whose parts are written).
    pub made_by: Option<StepId>,
    /// The stage at whose end it is complete.
    pub level: StageId,
    /// The component of the network that it belongs to.
    pub component: ComponentId,
}

impl Raw {
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Floats per image.
    pub fn len(&self) -> usize {
        self.layout.blocks() * self.pixels() * LANES
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A raw tensor seen through a batch norm, or as it is.
#[derive(Clone, Debug)]
pub struct Value {
    pub raw: RawId,
    pub norm: Option<NormId>,
    pub gradient: Gradient,
}

/// Where the gradient of a value lives.
#[derive(Clone, Debug)]
pub enum Gradient {
    /// In a buffer of its own, to which every reader adds.
    Buffer,
    /// Nowhere: all readers are sums, so it is Σ factor · (the sum's gradient), computed where it is needed.
    Terms(Vec<GradientTerm>),
}

#[derive(Clone, Copy, Debug)]
pub struct GradientTerm {
    pub sum: SumId,
    pub mixing: Mixing,
}

/// What a term of a sum is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mixing {
    One,
    Slot(Slot),
    /// A factor for each lane of the term's only block.
    Lanes(FactorsId),
}

/// What one lane of a term is multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneFactor {
    Zero,
    One,
    Slot(Slot),
}

/// A value seen through an activation, or as it is. Readers load it into a plane with `pad` pixels of zeros around.
#[derive(Clone, Debug)]
pub struct View {
    pub value: ValueId,
    pub activation: Option<Activation>,
    /// The widest (vertical, horizontal) padding that a reader wants.
    pub pad: (usize, usize),
}

/// A batch norm over one raw tensor.
#[derive(Clone, Debug)]
pub struct Norm {
    pub raw: RawId,
    pub value: ValueId,
    /// By sibling: equal shares of the channels; none where a share is empty. A norm that siblings share appears once
    /// for each.
    pub parts: Vec<Option<NormPart>>,
}

impl Norm {
    pub fn is_affine(&self) -> bool {
        self.parts.iter().flatten().any(|part| part.affine.is_some())
    }
}

/// One norm of the graph.
#[derive(Clone, Copy, Debug)]
pub struct NormPart {
    /// Index into the graph's norms.
    pub info: usize,
    /// Gamma and beta as indices into the graph's weights.
    pub affine: Option<[usize; 2]>,
}

/// By sibling: indices of weights; none where a share of the channels is empty. A tensor without siblings has one
/// entry.
pub type Weights<T> = Vec<Option<T>>;
