//! The engine: runs a plan as one differentiable candle operation of images, flat weights and flat mixing weights.

mod bridge;
pub mod cpu;
mod statistics;

pub use bridge::Engine;
pub use statistics::RunningStatistics;

use std::sync::Arc;

/// How one pass treats batch norms, and which mixing slots run.
#[derive(Clone, Default)]
pub struct Pass {
    pub norm: NormMode,
    /// By slot of `p`: steps all of whose uses are masked off are not run, and their slots get no gradient. None: all.
    pub active: Option<Arc<[bool]>>,
}

/// Where batch norms take mean and variance from.
#[derive(Clone, Default)]
pub enum NormMode {
    /// The batch; running statistics stay as they are (unrolled copies).
    #[default]
    Batch,
    /// The batch, and running statistics follow it (training).
    BatchUpdating(RunningStatistics),
    /// The running statistics (evaluation).
    Running(RunningStatistics),
}
