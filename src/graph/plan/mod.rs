//! Plans: a graph lowered to fused steps, ordered in stages, with every buffer placed.
//!
//! What the graph says one primitive at a time, the plan says in the few forms that the engine runs:
//!
//! * A **raw** tensor is what is really stored: the output of a convolution, a pool or a sum.
//! * A **value** is a raw tensor, perhaps seen through a batch norm; a **view** is a value, perhaps seen through an
//!   activation. Norms and activations are never stored: the reader of a view applies them while loading it.
//! * A **step** makes one raw tensor: [`Step::Unit`] is activation → depthwise → pointwise (or any convolution) at
//!   once, [`Step::Sum`] is a whole node of a cell (every candidate of every edge, normalised, weighted and added).
//! * A **stage** is the steps that can run image by image without waiting for a batch statistic. The backward pass runs
//!   the stages in reverse order: by then all gradients that flow into a stage's outputs are complete.
//!
//! * **Siblings** are narrow tensors that are made by the same operations from one state for different sums, like the
//!   candidates of all edges that leave a state. They share one tensor's lanes, and a term of their sum has a mixing
//!   weight per lane.
//!
//! The plan knows no device. It is the same for any batch size: buffers are placed per image.

mod bundle;
mod components;
mod convolutions;
mod flatten;
mod geometry;
mod ids;
mod layout;
mod lives;
mod lower;
mod padding;
mod placement;
mod readers;
mod recompute;
#[cfg(test)]
mod replay;
mod schedule;
mod selection;
mod siblings;
mod ways;
mod work;

pub use geometry::{BackwardTap, Geometry};
pub use ids::{
    ComponentId, FactorsId, Id, NormId, PoolId, RawId, StageId, StepId, SumId, Table, UnitId, ValueId, ViewId,
};
pub use layout::{LANES, Layout};
pub use placement::{Place, Placement};
pub use recompute::{Recomputed, Training};
pub use ways::Ways;

use super::{Activation, Graph, Pool, Slot, bounds};
use crate::{Error, Result};
use std::sync::Arc;

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

/// Activation → (depthwise) → (dense convolution), stored before the norm.
#[derive(Clone, Debug)]
pub struct Unit {
    pub input: ViewId,
    pub output: RawId,
    /// The value through which the output is read (units have exactly one).
    pub value: ValueId,
    /// Geometry of the part that looks at neighbours: the depthwise part if there is one, else the dense part.
    pub geometry: Geometry,
    /// The weights of the depthwise part.
    pub depthwise: Option<Weights<usize>>,
    pub dense: Option<Dense>,
    pub bias: Option<Weights<usize>>,
}

/// A dense convolution's weights, one matrix per tap; between siblings there are zeros.
#[derive(Clone, Debug)]
pub enum Dense {
    /// Each weight is out × in/groups × taps.
    Conv { weights: Weights<usize>, groups: usize },
    /// Tap 0 makes the first half of the channels with the first weight, tap 1 the second half with the second.
    Halve { weights: Weights<[usize; 2]> },
}

/// A pool of a plain value.
#[derive(Clone, Debug)]
pub struct PoolStep {
    pub input: ValueId,
    pub output: RawId,
    pub value: ValueId,
    pub pool: Pool,
}

/// A weighted sum of values: Σ factor · value.
#[derive(Clone, Debug)]
pub struct Sum {
    pub terms: Vec<SumTerm>,
    pub output: RawId,
    /// The output read as it is.
    pub value: ValueId,
    /// The raw tensors of the terms that have a mixing weight or a norm, each once.
    pub dots: Vec<RawId>,
}

#[derive(Clone, Copy, Debug)]
pub struct SumTerm {
    pub value: ValueId,
    pub mixing: Mixing,
    /// The drop path that the term is on; never together with a mixing weight. Such a term's value has a gradient
    /// buffer: a sum over the batch cannot tell images, and so their factors, apart.
    pub drop: Option<u32>,
}

/// What makes a raw tensor.
#[derive(Clone, Debug)]
pub enum Step {
    /// The images, from channels first to blocks.
    Import {
        output: RawId,
    },
    /// Standard normal noise, the `id`-th of the graph.
    Noise {
        output: RawId,
        value: ValueId,
        id: usize,
    },
    Unit(UnitId),
    Pool(PoolId),
    Sum(SumId),
    /// A view written out, for readers that take plain values only.
    Apply {
        input: ViewId,
        output: RawId,
        value: ValueId,
    },
    /// Output lane ← input lane; `lanes[i]` is the input's lane of output lane i.
    Gather {
        input: ValueId,
        output: RawId,
        value: ValueId,
        lanes: Vec<Option<u32>>,
    },
    /// The mean over all pixels.
    GlobalPool {
        input: ValueId,
        output: RawId,
        value: ValueId,
    },
}

/// One step of the backward pass. Where `first` is set, the step is the first to write to the gradient buffer that it
/// adds to, and overwrites it instead (a step that does not run this time writes zeros).
#[derive(Clone, Debug)]
pub enum BackStep {
    /// The logits' gradient into the output's buffer.
    Seed,
    /// Zeros into the gradient buffer of a concatenation, before the first reader of it or of a part adds.
    Clear { value: ValueId },
    /// Σ g and Σ g·y of a value whose gradient is a buffer and that is seen through a norm.
    OwnSums { value: ValueId },
    /// Σ g and Σ g·y for all terms of a sum, once the sum's gradient is complete.
    Dots { sum: SumId },
    /// Factor · g of a sum into a term whose gradient is a buffer.
    SumTerm { sum: SumId, term: usize, first: bool },
    /// Through a norm of a tensor that has other readers too, into the tensor's own gradient.
    Norm { value: ValueId, into: ValueId, first: bool },
    /// The gradient of what a forward step made into its input (and weights).
    Step { step: StepId, first: bool },
    /// A forward step again, for readers that follow: its output was not kept.
    Recompute { step: StepId },
    /// The images' gradient, back to channels first.
    Export,
}

/// Steps that run image by image; the batch statistics of their outputs are complete at the end.
#[derive(Clone, Debug, Default)]
pub struct Stage {
    pub steps: Vec<StepId>,
}

#[derive(Clone, Debug, Default)]
pub struct BackStage {
    pub steps: Vec<BackStep>,
}

/// A lowered graph.
pub struct Plan {
    /// The network's components by name: a cell ("cells.3"), the stem; "" for what lies outside all scopes.
    pub components: Table<ComponentId, String>,
    pub raws: Table<RawId, Raw>,
    pub values: Table<ValueId, Value>,
    pub views: Table<ViewId, View>,
    pub norms: Table<NormId, Norm>,
    pub lane_factors: Table<FactorsId, [LaneFactor; LANES]>,
    pub units: Table<UnitId, Unit>,
    pub pools: Table<PoolId, PoolStep>,
    pub sums: Table<SumId, Sum>,
    pub steps: Table<StepId, Step>,
    pub forward: Table<StageId, Stage>,
    /// The backward pass with every tensor kept.
    pub backward: Vec<BackStage>,
    pub input: RawId,
    pub output: ValueId,
    /// The pass with gradients where no memory limit is set, and the places of a pass without gradients.
    pub training: Arc<Training>,
    pub inference: Placement,
}

impl Plan {
    /// Lowers a graph.
    ///
    /// # Errors
    /// Images that are too large, no output, or an output that is not a feature vector.
    pub fn new(graph: &Graph) -> Result<Plan> {
        bounds::of_shape(graph.shape(graph.input()), (0, 0))?;
        let Some(output) = graph.output() else {
            return Err(Error::user("the network has no output"));
        };
        let shape = graph.shape(output);
        if shape.pixels() != 1 {
            return Err(Error::user(format!("the network's output must be a feature vector, not {shape}"))
                .hint("end with global_pool and linear"));
        }
        let mut plan = lower::lower(graph, output)?;
        schedule::schedule(&mut plan);
        plan.inference = placement::place_inference(&plan);
        plan.training = Arc::new(recompute::cheap(&plan));
        Ok(plan)
    }

    /// A pass with gradients in which one image's region is at most `len` floats.
    ///
    /// # Errors
    /// The shortest region that would do, in floats, where none is that short.
    pub fn training_within(&self, len: usize) -> Result<Training, usize> {
        recompute::within(self, len)
    }

    /// The tensor that holds `raw`'s floats, and the offset (floats) within it.
    pub fn root(&self, raw: RawId) -> (RawId, usize) {
        let mut at = (raw, 0);
        while let Some((parent, block)) = self.raws[at.0].part_of {
            at = (parent, at.1 + block * self.raws[parent].pixels() * LANES);
        }
        at
    }

    /// Whether the norm of one of a sum's tensors needs their Σ g·y.
    pub fn dot_feeds_norm(&self, sum: SumId, raw: RawId) -> bool {
        self.sums[sum]
            .terms
            .iter()
            .map(|term| &self.values[term.value])
            .any(|value| value.raw == raw && value.norm.is_some() && matches!(value.gradient, Gradient::Terms(_)))
    }

    /// Whether a mixing weight's gradient needs the Σ g·y of a sum and one of its tensors.
    pub fn dot_feeds_slot(&self, sum: SumId, raw: RawId) -> bool {
        let mixes = |mixing: Mixing| match mixing {
            Mixing::One => false,
            Mixing::Slot(_) => true,
            Mixing::Lanes(lanes) => self.lane_factors[lanes].iter().any(|f| matches!(f, LaneFactor::Slot(_))),
        };
        self.sums[sum].terms.iter().any(|term| self.values[term.value].raw == raw && mixes(term.mixing))
    }

    /// The raw tensor that a step makes.
    pub fn output_of(&self, step: StepId) -> RawId {
        match &self.steps[step] {
            Step::Import { output }
            | Step::Noise { output, .. }
            | Step::Apply { output, .. }
            | Step::Gather { output, .. }
            | Step::GlobalPool { output, .. } => *output,
            Step::Unit(unit) => self.units[*unit].output,
            Step::Pool(pool) => self.pools[*pool].output,
            Step::Sum(sum) => self.sums[*sum].output,
        }
    }

    /// The value through which a step's output is read (for the images, which may have several, the first).
    pub fn value_made_by(&self, step: StepId) -> ValueId {
        match &self.steps[step] {
            Step::Import { output } => self.values.position(|v| v.raw == *output).unwrap_or_default(),
            Step::Unit(unit) => self.units[*unit].value,
            Step::Pool(pool) => self.pools[*pool].value,
            Step::Sum(sum) => self.sums[*sum].value,
            Step::Noise { value, .. }
            | Step::Apply { value, .. }
            | Step::Gather { value, .. }
            | Step::GlobalPool { value, .. } => *value,
        }
    }

    /// The values that a step reads.
    pub fn inputs_of(&self, step: StepId) -> Vec<ValueId> {
        match &self.steps[step] {
            Step::Import { .. } | Step::Noise { .. } => vec![],
            Step::Apply { input, .. } => vec![self.views[*input].value],
            Step::Gather { input, .. } | Step::GlobalPool { input, .. } => vec![*input],
            Step::Unit(unit) => vec![self.views[self.units[*unit].input].value],
            Step::Pool(pool) => vec![self.pools[*pool].input],
            Step::Sum(sum) => self.sums[*sum].terms.iter().map(|t| t.value).collect(),
        }
    }
}
