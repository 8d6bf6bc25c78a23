//! Speed measurements that anyone can repeat: what `candlewick bench` runs.

mod memory;
mod step;

pub use memory::peak_rss_mb;
pub use step::{SearchStep, StepResult};
