//! The engine: runs a plan as one differentiable candle operation of images, flat weights and flat mixing weights.

mod bridge;
mod budget;
pub mod cpu;
mod draws;
mod statistics;

pub use bridge::Engine;
pub use budget::Report;
pub use draws::Draws;
pub use statistics::RunningStatistics;

use std::sync::Arc;

/// How one pass treats batch norms, which mixing slots run, and what is drawn at random.
#[derive(Clone, Default)]
pub struct Pass {
    pub norm: NormMode,
    /// By slot of `p`: steps all of whose uses are masked off are not run, and their slots get no gradient. None: all.
    pub active: Option<Arc<[bool]>>,
    pub draws: Draws,
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
