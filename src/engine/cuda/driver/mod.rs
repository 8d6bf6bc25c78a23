//! NVIDIA's driver: whether it is there, which GPUs it finds, and one of them made ready.
//!
//! The driver's library is loaded by name when it is first asked for. The bindings panic where the library or one of
//! its functions is missing, so both are looked for here before anything is called.

#[cfg(feature = "cuda")]
mod card;
mod events;
mod gpu;
mod graphs;
mod staging;

use super::{Gpu, Inventory, Launcher, WITHOUT};
use crate::{Error, Result};
use cudarc::driver::{DriverError, result, sys};
use std::sync::Arc;

/// The oldest CUDA that a driver must know: driver 525 does.
const OLDEST: (i32, i32) = (12, 0);

/// The oldest GPUs that kernels are compiled for, and that have the shared memory that they take: the RTX 30 series.
const CAPABILITY: (i32, i32) = (8, 0);

/// The functions of the driver that are called.
#[cfg(not(feature = "cuda"))]
const FUNCTIONS: [&str; 36] = [
    "cuInit",
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceTotalMem_v2",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxSetCurrent",
    "cuStreamCreate",
    "cuStreamSynchronize",
    "cuMemGetInfo_v2",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyDtoDAsync_v2",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuFuncSetAttribute",
    "cuLaunchKernel",
    "cuEventCreate",
    "cuEventRecord",
    "cuEventElapsedTime",
    "cuEventDestroy_v2",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
];

/// What the driver reports.
fn reported(error: DriverError) -> Error {
    let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
    let text = text.unwrap_or_else(|_| format!("error {}", error.0 as u32));
    Error::run(format!("CUDA reports: {text}"))
}

/// The same, where it keeps a device from being used at all.
fn unusable(error: DriverError) -> Error {
    unusable_because(reported(error))
}

fn unusable_because(Error { message, .. }: Error) -> Error {
    Error::user(format!("the NVIDIA driver cannot be used: {message}"))
        .hint(format!("`nvidia-smi` says more; {WITHOUT}"))
}

/// Looks for the library and for every function that is called.
#[cfg(not(feature = "cuda"))]
fn look_for_functions() -> Result<()> {
    // SAFETY: loading NVIDIA's driver runs its initialisers only.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::user("there is no NVIDIA driver on this machine: its library libcuda is not found")
            .hint(format!("install the driver, 525 or newer; {WITHOUT}")));
    }
    // SAFETY: the library is there.
    let library = unsafe { sys::culib() };
    let missing: Vec<&str> = FUNCTIONS
        .into_iter()
        .filter(|name| {
            // SAFETY: the symbol is looked up, not called.
            let found = unsafe { library.get::<unsafe extern "C" fn()>(name.as_bytes()) };
            found.is_err()
        })
        .collect();
    match missing[..] {
        [] => Ok(()),
        [first, ..] => Err(Error::user(format!("the NVIDIA driver is too old: its library lacks {first}"))
            .hint(format!("install the driver 525 or newer; {WITHOUT}"))),
    }
}

/// A build that links the driver's library does not start without it.
#[cfg(feature = "cuda")]
fn look_for_functions() -> Result<()> {
    Ok(())
}

/// The GPUs that the driver finds.
///
/// # Errors
/// No driver, and one that is too old or does not answer.
pub(super) fn inventory() -> Result<Inventory> {
    look_for_functions()?;
    match result::init() {
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => {
            return Ok(Inventory { cuda: version()?, gpus: Vec::new() });
        }
        answer => answer.map_err(unusable)?,
    }
    let cuda = version()?;
    if cuda < OLDEST {
        return Err(Error::user(format!(
            "the NVIDIA driver is too old: it knows CUDA {}.{}, and {}.{} is needed",
            cuda.0, cuda.1, OLDEST.0, OLDEST.1
        ))
        .hint(format!("install the driver 525 or newer; {WITHOUT}")));
    }
    let count = match result::device::get_count() {
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => 0,
        answer => answer.map_err(unusable)?,
    };
    let gpus = (0..count).map(|number| describe(number).map_err(unusable)).collect::<Result<_>>()?;
    Ok(Inventory { cuda, gpus })
}

fn version() -> Result<(i32, i32)> {
    let mut version = 0;
    // SAFETY: the function writes one number.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(unusable)?;
    Ok((version / 1000, version % 1000 / 10))
}

fn describe(number: i32) -> Result<Gpu, DriverError> {
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let device = result::device::get(number)?;
    // SAFETY: the device was just given by the driver.
    let (major, minor, memory) = unsafe {
        (
            result::device::get_attribute(device, MAJOR)?,
            result::device::get_attribute(device, MINOR)?,
            result::device::total_mem(device)?,
        )
    };
    let capability = (major, minor);
    let missing = (capability < CAPABILITY)
        .then(|| format!("its compute capability is {major}.{minor}, and {}.{} is needed", CAPABILITY.0, CAPABILITY.1));
    let name = result::device::get_name(device)?;
    Ok(Gpu { number: number as usize, name, memory: memory as u64, capability, missing })
}

/// Makes a GPU of the inventory ready.
///
/// # Errors
/// What the driver reports.
pub(super) fn open(gpu: &Gpu) -> Result<Arc<dyn Launcher>> {
    let opened = gpu::DriverGpu::open(gpu).map_err(|gpu::Failure(error)| unusable_because(error));
    Ok(Arc::new(opened?))
}
