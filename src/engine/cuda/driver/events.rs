//! The device's own clock: events on a stream, and the time between them.

use cudarc::driver::{DriverError, result, sys};

/// One event of the driver's.
pub(super) struct Event(sys::CUevent);

// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for Event {}

impl Event {
    /// What the device reaches after everything that was asked of the stream before.
    ///
    /// # Safety
    /// The stream must be the driver's, of the current context.
    pub unsafe fn record(stream: sys::CUstream) -> Result<Self, DriverError> {
        let event = Self(result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT)?);
        // SAFETY: the event was just made, the stream is the caller's promise.
        unsafe { result::event::record(event.0, stream)? };
        Ok(event)
    }

    /// Waits until it is reached.
    #[cfg(feature = "cuda")]
    pub fn wait(&self) -> Result<(), DriverError> {
        // SAFETY: the event was recorded and is destroyed with its value only.
        unsafe { result::event::synchronize(self.0) }
    }

    /// Seconds from this event to a later one of the same stream; both must have been reached.
    pub fn until(&self, later: &Self) -> Result<f64, DriverError> {
        // SAFETY: both were recorded and are destroyed with their values only.
        let milliseconds = unsafe { result::event::elapsed(self.0, later.0)? };
        Ok(f64::from(milliseconds) / 1e3)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event was made by the driver and is not used any more. A failure leaves nothing to do.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}
