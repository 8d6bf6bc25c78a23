//! The engine: runs a network as one differentiable candle operation on images, flat weights and flat mixing weights.

mod bridge;
mod budget;
pub(crate) mod cpu;
pub mod cuda;
mod draws;
pub mod exact;
mod executor;
mod gathered;
mod operation;
pub mod recurrent;
mod statistics;
mod vocabulary;

pub use bridge::{Engine, Target};
pub use cpu::{CpuOptions, Isa};
pub use draws::{Draws, Dropout};
pub use executor::{Guard, Mode, Pass, Report, Wanted};
pub use gathered::{Gathered, Part};
pub use statistics::{RunningStatistics, STATISTICS_MOMENTUM};
pub use vocabulary::{DecoderLoss, embedded, log_probabilities};
