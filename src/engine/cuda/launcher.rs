//! What kernels run on: memory of its own, copies to and from it, launches.

use crate::Result;
use candle_core::Device;
use std::sync::Arc;
use std::time::Instant;

/// A place in a launcher's memory, in bytes; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address(pub u64);

/// How much memory there is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub free: u64,
    pub total: u64,
}

/// One launch of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// What profiles call what it does.
    pub name: &'a str,
    /// The file that the kernel is in, without its ending, and the kernel's name.
    pub file: &'a str,
    pub kernel: &'a str,
    /// Blocks in each direction.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory of a block, beside what the kernel declares itself.
    pub shared: u32,
    /// The kernel's arguments in order, each as its bytes.
    pub arguments: &'a [&'a [u8]],
}

/// Bytes on their way from the device.
pub trait Arrival: Send {
    /// The bytes, once they are there.
    ///
    /// # Errors
    /// What the device reports, also of what was asked for before.
    fn wait(self: Box<Self>) -> Result<Vec<u8>>;
}

/// A GPU, or what stands in for one. Copies and launches happen in the order in which they are asked for.
pub trait Launcher: Send + Sync {
    /// What people call it.
    fn name(&self) -> String;

    /// The device of candle's on whose stream all that is asked for happens, so that its tensors can be copied from and
    /// to without the processor; the processor where there is none.
    fn tensors(&self) -> Device {
        Device::Cpu
    }

    /// How much of its memory is free.
    ///
    /// # Errors
    /// What the device reports.
    fn room(&self) -> Result<Room>;

    /// New memory, at a multiple of 256 bytes; what it holds is not defined.
    ///
    /// # Errors
    /// Too little memory, and what else the device reports.
    fn allocate(&self, bytes: usize) -> Result<Address>;

    /// Gives memory back.
    ///
    /// # Safety
    /// It must come from [`allocate`](Self::allocate), and nothing may use it any more.
    unsafe fn release(&self, at: Address);

    /// Copies bytes into the launcher's memory.
    ///
    /// # Safety
    /// `to` must be good for them.
    ///
    /// # Errors
    /// What the device reports.
    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<()>;

    /// Copies bytes out of the launcher's memory, after everything that was asked for before.
    ///
    /// # Safety
    /// `from` must be good for them.
    ///
    /// # Errors
    /// What the device reports, also of what was asked for before.
    unsafe fn download(&self, from: Address, bytes: &mut [u8]) -> Result<()>;

    /// Copies bytes within the device's memory.
    ///
    /// # Safety
    /// `to` and `from` must be the device's memory and good for them, and must not overlap.
    ///
    /// # Errors
    /// What the device reports.
    unsafe fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<()>;

    /// Begins to copy bytes out of the launcher's memory, as they are after everything that was asked for before. What
    /// is asked for later may change them there.
    ///
    /// # Safety
    /// `from` must be good for them.
    ///
    /// # Errors
    /// What the device reports.
    unsafe fn fetch(self: Arc<Self>, from: Address, bytes: usize) -> Result<Box<dyn Arrival>> {
        let mut arrived = vec![0; bytes];
        // SAFETY: the caller's promise.
        unsafe { self.download(from, &mut arrived)? };
        Ok(Box::new(Arrived(arrived)))
    }

    /// Runs a kernel.
    ///
    /// # Safety
    /// The arguments must be what the kernel takes, and good for all that it reads and writes.
    ///
    /// # Errors
    /// What the device reports; a kernel's own failure may be reported later.
    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<()>;

    /// Runs kernels one after another. `key`: equal for equal launches, so that a device may keep what it makes of them
    /// and run them again with less ado.
    ///
    /// # Safety
    /// As for [`launch`](Self::launch); launches with one key are the same to the last bit.
    ///
    /// # Errors
    /// As for [`launch`](Self::launch).
    unsafe fn launch_all(&self, key: &[u8], launches: &[Launch<'_>]) -> Result<()> {
        let _ = key;
        // SAFETY: the caller's promise.
        launches.iter().try_for_each(|launch| unsafe { self.launch(launch) })
    }

    /// Whether launches are being measured: then each does one thing.
    fn measures(&self) -> bool {
        false
    }

    /// Runs kernels one after another and measures each on the device: their seconds.
    ///
    /// # Safety
    /// As for [`launch`](Self::launch).
    ///
    /// # Errors
    /// As for [`launch`](Self::launch).
    unsafe fn time_all(&self, launches: &[Launch<'_>]) -> Result<Vec<f64>> {
        let time = |launch| {
            let start = Instant::now();
            // SAFETY: the caller's promise.
            unsafe { self.launch(launch)? };
            Ok(start.elapsed().as_secs_f64())
        };
        launches.iter().map(time).collect()
    }
}

/// Bytes that are there.
struct Arrived(Vec<u8>);

impl Arrival for Arrived {
    fn wait(self: Box<Self>) -> Result<Vec<u8>> {
        Ok(self.0)
    }
}
