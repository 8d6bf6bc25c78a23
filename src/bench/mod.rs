//! Speed measurements that anyone can repeat: what `candlewick bench` runs.

mod arithmetic;
mod device_profile;
mod eval;
mod language;
mod memory;
mod peaks;
mod prediction;
mod primitives;
mod profile;
mod report;
mod step;
mod steps;
mod table;

pub use arithmetic::Arithmetic;
pub use device_profile::DeviceLine;
pub use eval::{EvalResult, EvalStep};
pub use language::{LanguageResult, LanguageStep};
pub use memory::peak_rss_mb;
pub use peaks::{Crew, Peak, cache_bandwidth, multiply_add_peak, peaks};
pub use prediction::PredictedLine;
pub use primitives::{Primitive, PrimitiveResult, primitives};
pub use profile::{Profile, ProfileLine, ProfileSummary};
pub use report::{Cell, Line, median, table};
pub use step::{SearchStep, StepResult};
pub use steps::{Place, Steps, Timed, search_optimizers};
pub use table::{Grid, Growth, Row, Sizes};

/// Where the time of steps goes.
#[derive(Clone, Debug)]
pub enum Profiled {
    Cpu(Profile),
    Device(Vec<DeviceLine>),
}

/// What a measurement of steps leaves behind: its line, and a profile if one was asked for.
pub type Measured<R> = (R, Option<Profiled>);
