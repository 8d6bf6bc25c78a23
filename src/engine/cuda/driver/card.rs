//! candle's device on a GPU, and what arrives from there without anybody waiting: in a build with the feature `cuda`.
//!
//! Everything is asked of one stream, which candle's device makes and the launcher takes over: candle's own kernels,
//! its memory, which it takes and gives back in the stream's order, and the networks' passes. So what is asked for
//! first has happened before the next thing begins, and neither events nor waits are needed between the two. The
//! context is the device's primary one for both; each call of the launcher's and of candle's makes it its thread's own.

use super::events::Event;
use super::gpu::{DriverGpu, Failure};
use super::reported;
use crate::engine::cuda::Arrival;
use crate::{Error, Result};
use candle_core::{CudaDevice, Device};
use cudarc::driver::{DriverError, result, sys};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// candle's device, and pinned memory that waits for its next use.
pub(super) struct Card {
    device: CudaDevice,
    idle: Mutex<Vec<Block>>,
}

impl Card {
    pub fn open(number: usize) -> Result<Self, Failure> {
        let device = CudaDevice::new_with_stream(number).map_err(|error| Failure(error.into()))?;
        // SAFETY: all that touches candle's tensors is asked of this one stream: candle's kernels and products, whose
        // handles were made for it, the copies of `door.rs`, and what is copied to and from the processor.
        unsafe { device.disable_event_tracking() };
        Ok(Self { device, idle: Mutex::default() })
    }

    pub fn tensors(&self) -> Device {
        Device::Cuda(self.device.clone())
    }

    /// The stream, for as long as the card is held.
    pub fn stream(&self) -> sys::CUstream {
        self.device.cuda_stream().cu_stream()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Block>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives all pinned memory back, whose context must be the current one.
    pub fn free(&self) {
        for block in self.idle().drain(..) {
            // SAFETY: it was given by the driver, and nothing is on its way there any more. A failure leaves nothing to
            // do.
            let _ = unsafe { result::free_host(block.at.as_ptr().cast()) };
        }
    }
}

/// Some pinned memory.
struct Block {
    at: NonNull<u8>,
    bytes: usize,
}

// SAFETY: pinned memory may be used from any thread.
unsafe impl Send for Block {}

/// Bytes on their way to pinned memory.
pub(super) struct Pinned {
    gpu: Arc<DriverGpu>,
    /// None once it has gone back.
    block: Option<Block>,
    /// Reached when they are there.
    event: Event,
    bytes: usize,
}

impl Pinned {
    /// Begins to copy bytes from the GPU, in the stream's order.
    ///
    /// # Safety
    /// `from` must be the GPU's memory, as long; the stream must be its own, of the current context.
    ///
    /// # Errors
    /// What the driver reports.
    pub unsafe fn fetch(gpu: Arc<DriverGpu>, from: u64, bytes: usize, stream: sys::CUstream) -> Result<Self> {
        let known = {
            let mut idle = gpu.card.idle();
            let fitting = idle.iter().position(|block| block.bytes >= bytes);
            fitting.map(|at| idle.swap_remove(at))
        };
        let mut block = match known {
            Some(block) => block,
            None => Block::new(bytes.max(1)).map_err(reported)?,
        };
        // SAFETY: the block is as long and borrowed by nobody; it is kept until the event is reached. The rest is the
        // caller's promise.
        let event = unsafe {
            let asked = result::memcpy_dtoh_async(block.first(bytes), from, stream);
            asked.and_then(|()| Event::record(stream))
        };
        match event {
            Ok(event) => Ok(Self { gpu, block: Some(block), event, bytes }),
            Err(error) => {
                // The copy may have begun: the block is given up only when the stream has come to an end.
                // SAFETY: the stream is the caller's promise.
                let _ = unsafe { result::stream::synchronize(stream) };
                gpu.card.idle().push(block);
                Err(reported(error))
            }
        }
    }
}

impl Block {
    fn new(bytes: usize) -> Result<Self, DriverError> {
        // SAFETY: the memory is written before it is read.
        let at = unsafe { result::malloc_host(bytes, 0)? };
        let at = NonNull::new(at.cast::<u8>()).ok_or(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY))?;
        // SAFETY: the memory was just given, all of it.
        unsafe { at.write_bytes(0, bytes) };
        Ok(Self { at, bytes })
    }

    fn first(&mut self, bytes: usize) -> &mut [u8] {
        assert!(bytes <= self.bytes);
        // SAFETY: the block is as long, its bytes were written, and it is borrowed as long as they are.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), bytes) }
    }
}

impl Arrival for Pinned {
    fn wait(mut self: Box<Self>) -> Result<Vec<u8>> {
        self.gpu.enter()?;
        self.event.wait().map_err(reported)?;
        let bytes = self.bytes;
        match &mut self.block {
            Some(block) => Ok(block.first(bytes).to_vec()),
            None => Err(Error::run("bytes that arrived are read once")),
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // The copy must be over before the block is used again. Where waiting fails the device is lost, and so is what
        // was on its way.
        let _ = self.gpu.enter().map(|()| self.event.wait());
        if let Some(block) = self.block.take() {
            self.gpu.card.idle().push(block);
        }
    }
}
