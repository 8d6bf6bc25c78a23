//! What a plan runs: forward steps, backward steps, and the stages that they run in.

use super::{Geometry, Mixing, PoolId, RawId, StepId, SumId, UnitId, ValueId, ViewId, Weights};
use crate::graph::{NoiseKind, Pool};

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
    /// Random numbers, the `id`-th of the graph.
    Noise {
        output: RawId,
        value: ValueId,
        id: usize,
        kind: NoiseKind,
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
    /// The product of two values; the second may have one pixel, which is repeated.
    Product {
        inputs: [ValueId; 2],
        output: RawId,
        value: ValueId,
    },
    /// The mean over all pixels.
    GlobalPool {
        input: ValueId,
        output: RawId,
        value: ValueId,
    },
    /// Each image's numbers less their mean, over their standard deviation.
    Standardise {
        input: ValueId,
        output: RawId,
        value: ValueId,
    },
    /// Every pixel, `factor` times in both directions.
    Upsample {
        input: ValueId,
        output: RawId,
        value: ValueId,
        factor: usize,
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
    /// The gradient of what a forward step made into one of its inputs (and the weights): the `input`-th of
    /// [`Plan::inputs_of`](super::Plan::inputs_of).
    Step { step: StepId, input: usize, first: bool },
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
