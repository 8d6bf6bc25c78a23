//! Pinned memory on the way between the processor and the GPU. What is copied straight from or to other memory goes
//! through a buffer of the driver's, by one thread; here all threads copy to or from a buffer that the GPU reads and
//! writes by itself.

use cudarc::driver::{DriverError, result, sys};
use rayon::prelude::*;
use std::ptr::NonNull;

/// Bytes of the buffer.
const BYTES: usize = 16 << 20;

/// Bytes that a thread copies at a time.
const SHARE: usize = 256 << 10;

/// Copies of fewer bytes go the driver's way.
pub(super) const LONG: usize = 1 << 20;

/// A pinned buffer of a context.
pub(super) struct Staging(NonNull<u8>);

impl Staging {
    /// None where no pinned memory is to be had.
    pub fn new() -> Option<Self> {
        // SAFETY: the memory is written before it is read.
        let at = unsafe { result::malloc_host(BYTES, 0) }.ok()?;
        let at = NonNull::new(at.cast::<u8>())?;
        // SAFETY: the memory was just given, all of it.
        unsafe { at.write_bytes(0, BYTES) };
        Some(Self(at))
    }

    /// The first bytes of the buffer.
    fn first(&mut self, len: usize) -> &mut [u8] {
        assert!(len <= BYTES);
        // SAFETY: the buffer is as long, its bytes were written, and it is borrowed as long as they are.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), len) }
    }

    /// Copies bytes to the GPU, in the stream's order.
    ///
    /// # Safety
    /// `to` must be the GPU's memory, as long; the stream must be the current context's, and nobody else may use it
    /// meanwhile.
    pub unsafe fn upload(&mut self, to: u64, bytes: &[u8], stream: sys::CUstream) -> Result<(), DriverError> {
        for (number, part) in bytes.chunks(BYTES).enumerate() {
            let buffer = self.first(part.len());
            // SAFETY: the caller's promise. Nothing that was asked for before still reads the buffer once the stream
            // has come to an end, and whoever writes it next waits in the same way.
            unsafe {
                result::stream::synchronize(stream)?;
                copy(part, buffer);
                result::memcpy_htod_async(to + (number * BYTES) as u64, buffer, stream)?;
            }
        }
        Ok(())
    }

    /// Copies bytes from the GPU, after all that was asked of the stream before.
    ///
    /// # Safety
    /// As for [`upload`](Self::upload).
    pub unsafe fn download(&mut self, from: u64, bytes: &mut [u8], stream: sys::CUstream) -> Result<(), DriverError> {
        for (number, part) in bytes.chunks_mut(BYTES).enumerate() {
            let buffer = self.first(part.len());
            // SAFETY: the caller's promise; the buffer is read when the stream has come to an end.
            unsafe {
                result::memcpy_dtoh_async(buffer, from + (number * BYTES) as u64, stream)?;
                result::stream::synchronize(stream)?;
            }
            copy(buffer, part);
        }
        Ok(())
    }

    /// Gives the memory back.
    ///
    /// # Safety
    /// Its context must be the current one, and nothing that was asked of a stream may still use it.
    pub unsafe fn free(self) {
        // SAFETY: it was given by the driver; the rest is the caller's promise. A failure leaves nothing to do.
        let _ = unsafe { result::free_host(self.0.as_ptr().cast()) };
    }
}

/// Copies bytes with all threads.
fn copy(from: &[u8], to: &mut [u8]) {
    to.par_chunks_mut(SHARE).zip(from.par_chunks(SHARE)).for_each(|(to, from)| to.copy_from_slice(from));
}
