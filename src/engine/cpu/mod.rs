//! Plans on the processor: kernels over sixteen lanes, run image by image in parallel.
//!
//! A pass goes stage by stage. Within a stage the batch is cut into image groups, the same for any number of threads;
//! groups run side by side, and their sums (statistics, weight gradients) are added in the groups' order afterwards. So
//! no bit depends on the number of threads.
//!
//! `executor.rs` is what the engine sees, `plan.rs` what is worked out once, `pass/` what runs, `memory/` where it all
//! lies, `kernels/` the arithmetic.

#[cfg(test)]
mod allocations;
mod executor;
pub(crate) mod kernels;
pub(crate) mod memory;
pub(super) mod pass;
pub(crate) mod plan;
mod product;
pub(crate) mod profile;
pub(super) mod vocabulary;

#[cfg(test)]
pub(super) use allocations::watch;
pub use executor::CpuOptions;
pub(super) use executor::{CpuExecutor, floats};
pub use kernels::lanes::Isa;
