//! Ctrl-C, heard everywhere: a flag that the signal handler sets and every long loop asks.

use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Marks that the user asked to stop.
pub fn request() {
    REQUESTED.store(true, Ordering::SeqCst);
}

/// Whether the user asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// An error once the user asked to stop; long host loops call this between units of work.
pub fn check() -> Result<()> {
    if requested() { Err(Error::interrupted()) } else { Ok(()) }
}
