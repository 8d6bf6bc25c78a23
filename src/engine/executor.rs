//! The seam between networks and what runs them.
//!
//! An [`Executor`] is one graph made ready for one kind of device and one precision. It takes and returns candle
//! tensors, so an executor may keep them on any device of candle's: [`cpu`](super::cpu) runs a fused plan in single
//! precision, [`exact`](super::exact) the graph itself in double precision, and [`recurrent`](super::recurrent) has
//! both for the graphs of recurrent networks. Nothing above this module asks which one runs.

use super::{Draws, Dropout, RunningStatistics};
use crate::Result;
use candle_core::{DType, Device, Tensor};
use std::any::Any;
use std::sync::Arc;

/// Something that is kept for as long as memory is in use, and dropped when it is free again.
pub type Guard = Arc<dyn Any + Send + Sync>;

/// What a pass does with batch norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Batch statistics; running statistics move towards them.
    Training,
    /// Batch statistics; running statistics stay as they are (a pass at weights that are not the network's own).
    #[default]
    Trial,
    /// Running statistics.
    Evaluation,
}

/// How one pass treats batch norms, which mixing slots run, and what is drawn at random.
#[derive(Clone, Default)]
pub struct Pass {
    pub mode: Mode,
    /// Read in evaluation, updated in training.
    pub statistics: RunningStatistics,
    /// By slot of `p`, whether it is used: what only masked slots use does not run, and masked slots get no gradient.
    /// None: all are used.
    pub active: Option<Arc<[bool]>>,
    pub draws: Draws,
    /// How often the masks of a recurrent network drop; in evaluation they drop nothing.
    pub dropout: Dropout,
    /// A recurrent network keeps it until the memory of the pass is free for the next one: after the backward pass, or
    /// after the forward pass where no gradient is wanted.
    pub guard: Option<Guard>,
}

/// Which of the three inputs gradients are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Wanted {
    pub x: bool,
    pub w: bool,
    pub p: bool,
}

impl Wanted {
    pub fn any(self) -> bool {
        self.x || self.w || self.p
    }
}

/// What a pass runs on: contiguous tensors of the executor's type, on its device, of the graph's shapes.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// Images × channels × height × width; for recurrent networks time × batch × width.
    pub x: &'a Tensor,
    /// All weights, flat.
    pub w: &'a Tensor,
    /// All mixing weights, flat; one dummy where there are none.
    pub p: &'a Tensor,
    /// The states before the first time step, batch × width each; networks of images have none.
    pub states: &'a [Tensor],
}

/// What a forward pass makes.
pub(crate) struct Forward {
    /// Images × outputs; for recurrent networks time × batch × width.
    pub output: Tensor,
    /// The states after the last time step, shaped like those that went in.
    pub states: Vec<Tensor>,
    /// Where gradients are wanted, what the backward pass needs.
    pub tape: Option<Box<dyn Tape>>,
}

/// The gradients that were wanted, in the shapes of the inputs.
pub(crate) struct Gradients {
    pub x: Option<Tensor>,
    pub w: Option<Tensor>,
    pub p: Option<Tensor>,
}

/// A graph made ready to run.
pub(crate) trait Executor: Send + Sync {
    /// The type of every tensor that goes in and comes out.
    fn dtype(&self) -> DType;

    /// Checks that the executor runs on a device.
    ///
    /// # Errors
    /// A device that it does not run on.
    fn runs_on(&self, device: &Device) -> Result<()>;

    /// One pass over a batch.
    ///
    /// # Errors
    /// A batch that does not fit into memory; an interruption.
    fn forward(&self, inputs: Inputs<'_>, pass: &Pass, wanted: Wanted) -> Result<Forward>;
}

/// An executor of networks of images: one that knows what a batch takes.
pub(crate) trait ImageExecutor: Executor {
    /// Bytes that a pass with gradients over a batch of this many images takes: activations, gradients, tables and
    /// scratch.
    ///
    /// # Errors
    /// A batch that does not fit within the limit.
    fn memory(&self, batch: usize) -> Result<u64>;

    /// The same executor with a limit on the memory of training. Nothing that it computes changes. For every batch that
    /// is larger than all before, `report` is called with one line on what the limit costs.
    ///
    /// # Errors
    /// A limit within which not even one image fits.
    fn within(&self, bytes: u64, report: Report) -> Result<Arc<dyn ImageExecutor>>;
}

/// An executor of recurrent networks: one that knows what a window takes.
pub(crate) trait RecurrentExecutor: Executor {
    /// Bytes that a pass over so many time steps of a batch of so many rows takes until it is over: values, gradients,
    /// tables and scratch; as many as a number holds where there are more.
    fn memory(&self, steps: usize, rows: usize, pass: &Pass, wanted: Wanted) -> u64;
}

/// What a forward pass leaves for its backward pass. It belongs to the executor that made it, and is used once.
pub(crate) trait Tape: Send {
    /// The gradients that the forward pass was asked for. `inputs`: those of the forward pass; `dy`: the output's
    /// gradient.
    ///
    /// # Errors
    /// An interruption.
    fn backward(self: Box<Self>, inputs: Inputs<'_>, dy: &Tensor) -> Result<Gradients>;
}

/// Called with one line on what a memory limit costs.
pub type Report = Arc<dyn Fn(&str) + Send + Sync>;
