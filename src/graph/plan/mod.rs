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
mod steps;
mod tensors;
mod ways;
mod work;

pub use geometry::{BackwardTap, Geometry};
pub use ids::{
    ComponentId, FactorsId, Id, NormId, PoolId, RawId, StageId, StepId, SumId, Table, UnitId, ValueId, ViewId,
};
pub use layout::{LANES, Layout};
pub use lives::StageOrder;
pub use placement::{Place, Placement};
pub use recompute::{Recomputed, Training};
pub use steps::{BackStage, BackStep, Dense, PoolStep, Stage, Step, Sum, SumTerm, Unit};
pub use tensors::{Gradient, GradientTerm, LaneFactor, Mixing, Norm, NormPart, Raw, Value, View, Weights};
pub use ways::Ways;

use super::{Graph, bounds};
use crate::{Error, Result};
use std::sync::Arc;

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
        plan.inference = plan.inference_placed(StageOrder::OneByOne);
        plan.training = Arc::new(recompute::cheap(&plan));
        Ok(plan)
    }

    /// A pass with gradients in which one image's region is at most `len` floats.
    ///
    /// # Errors
    /// The shortest region that would do, in floats, where none is that short.
    pub fn training_within(&self, len: usize, order: StageOrder) -> Result<Training, usize> {
        recompute::within(self, len, order)
    }

    /// A pass with gradients in which every tensor is kept until its last reading.
    pub fn training_that_keeps_all(&self, order: StageOrder) -> Training {
        recompute::nothing(self, order)
    }

    /// The places of a pass without gradients.
    pub fn inference_placed(&self, order: StageOrder) -> Placement {
        placement::place_inference(self, order)
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
            | Step::Product { output, .. }
            | Step::GlobalPool { output, .. }
            | Step::Standardise { output, .. }
            | Step::Upsample { output, .. } => *output,
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
            | Step::Product { value, .. }
            | Step::GlobalPool { value, .. }
            | Step::Standardise { value, .. }
            | Step::Upsample { value, .. } => *value,
        }
    }

    /// The values that a step reads.
    pub fn inputs_of(&self, step: StepId) -> Vec<ValueId> {
        match &self.steps[step] {
            Step::Import { .. } | Step::Noise { .. } => vec![],
            Step::Apply { input, .. } => vec![self.views[*input].value],
            Step::Gather { input, .. }
            | Step::GlobalPool { input, .. }
            | Step::Standardise { input, .. }
            | Step::Upsample { input, .. } => vec![*input],
            Step::Product { inputs, .. } => inputs.to_vec(),
            Step::Unit(unit) => vec![self.views[self.units[*unit].input].value],
            Step::Pool(pool) => vec![self.pools[*pool].input],
            Step::Sum(sum) => self.sums[*sum].terms.iter().map(|t| t.value).collect(),
        }
    }
}
