//! Counts the bytes of the tensors a script holds, and refuses those that would not fit.
//!
//! An estimate with a purpose: a slip of a shape (`zeros([100000, 100000])`) or a list that only grows ends with an
//! error page instead of a machine that swaps. What the passes of language models take is counted for as long as they
//! need it; what an engine allocates inside any other operation is not.

use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The count and its limit, both in bytes.
#[derive(Debug)]
pub struct Meter {
    limit: u64,
    held: AtomicU64,
}

impl Meter {
    pub fn new(limit: u64) -> Self {
        Self { limit, held: AtomicU64::new(0) }
    }

    /// Bytes held now.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// The most bytes that may be held.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes that may be held besides.
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.held())
    }

    /// Asks for room for a tensor of `dims` with `width` bytes per element, before it is made.
    ///
    /// # Errors
    /// Where it would pass the limit, or its size passes any number.
    pub fn admit(&self, dims: &[usize], width: usize) -> Result<()> {
        let bytes = dims.iter().try_fold(width as u64, |bytes, &dim| bytes.checked_mul(dim as u64));
        let total = bytes.and_then(|bytes| bytes.checked_add(self.held()));
        if total.is_some_and(|total| total <= self.limit) {
            return Ok(());
        }
        let size = bytes.map_or("more bytes than can be counted".to_string(), |b| format!("{} MiB", b >> 20));
        Err(Error::user(format!("a tensor of shape {dims:?} needs {size}, more than is left of the script's memory"))
            .hint(format!(
                "the script's tensors hold {} MiB and may hold {} MiB; --memory raises the limit",
                self.held() >> 20,
                self.limit >> 20
            )))
    }

    /// Counts `bytes` until the returned guard is dropped.
    pub fn hold(self: &Arc<Self>, bytes: u64) -> Held {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Held { meter: self.clone(), bytes }
    }
}

/// Bytes counted as long as this lives.
#[derive(Debug)]
pub struct Held {
    meter: Arc<Meter>,
    bytes: u64,
}

impl Held {
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.meter.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
