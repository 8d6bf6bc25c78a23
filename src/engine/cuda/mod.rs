//! NVIDIA GPUs: what there is, and what kernels run on.
//!
//! `launcher.rs` is everything that an executor asks of a GPU: memory, copies, launches. `driver/` does it with
//! NVIDIA's driver, which is loaded when it is first asked for: builds need no toolkit, and the program starts without
//! a driver. Tests do it with the kernels' sources compiled by a C++ compiler.

mod door;
#[cfg(feature = "gpu")]
mod driver;
mod executor;
mod launcher;
mod limits;
mod memory;
mod plan;
mod prediction;
mod profiler;
mod program;
mod statistics;
mod told;

pub(super) use executor::CudaExecutor;
pub use launcher::{Address, Arrival, Launch, Launcher, Room};
pub use prediction::{Card, Predicted, predict};
pub use profiler::{Profiler, Spending, Spent};

use crate::{Error, Result};
use std::sync::Arc;

/// The GPUs that the driver finds.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// The newest CUDA that the driver knows, (major, minor).
    pub cuda: (i32, i32),
    pub gpus: Vec<Gpu>,
}

/// One GPU.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// As CUDA counts them, from 0.
    pub number: usize,
    pub name: String,
    /// Bytes.
    pub memory: u64,
    /// Its compute capability, (major, minor).
    pub capability: (i32, i32),
    /// Why it cannot be used, if it cannot.
    pub missing: Option<String>,
}

/// What to do where there is no GPU to use.
const WITHOUT: &str = "--device cpu always works";

/// The GPUs that there are, usable or not.
///
/// # Errors
/// A build without the feature `gpu`, no driver, and a driver that is too old or does not answer.
pub fn inventory() -> Result<Inventory> {
    #[cfg(feature = "gpu")]
    return driver::inventory();
    #[cfg(not(feature = "gpu"))]
    return Err(Error::user("this build of candlewick leaves NVIDIA GPUs out")
        .hint(format!("build it with the feature `gpu`, which is on by default; {WITHOUT}")));
}

/// Makes a GPU ready. In a build with the feature `cuda` candle's tensors can live there too, on the device that
/// [`Launcher::tensors`] gives.
///
/// # Errors
/// As for [`inventory`]; a number that no GPU has; a GPU that is too old or does not answer.
pub fn open(number: usize) -> Result<Arc<dyn Launcher>> {
    let inventory = inventory()?;
    let Some(gpu) = inventory.gpus.iter().find(|gpu| gpu.number == number) else {
        return Err(match inventory.gpus.len() {
            0 => Error::user(format!("there is no cuda:{number}: the driver finds no NVIDIA GPU"))
                .hint(format!("CUDA_VISIBLE_DEVICES may hide one; {WITHOUT}")),
            count => Error::user(format!("there is no cuda:{number}: the driver finds {}", counted(count)))
                .hint("`candlewick devices` lists what there is"),
        });
    };
    if let Some(missing) = &gpu.missing {
        return Err(Error::user(format!("cuda:{number} ({}) cannot be used: {missing}", gpu.name)).hint(WITHOUT));
    }
    #[cfg(feature = "gpu")]
    return driver::open(gpu);
    #[cfg(not(feature = "gpu"))]
    unreachable!("a build without GPUs finds none")
}

/// "1 GPU, cuda:0".
fn counted(count: usize) -> String {
    match count {
        1 => "1 GPU, cuda:0".into(),
        2 => "2 GPUs, cuda:0 and cuda:1".into(),
        _ => format!("{count} GPUs, cuda:0 to cuda:{}", count - 1),
    }
}
