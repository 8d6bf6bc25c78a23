//! When a run's state is taken, when it is written, and when it is put back.
//!
//! The state is taken at the beginning of every epoch of the run's first loop over epochs: there the script's own
//! variables hold what its text says, or what it keeps. So a resumed script runs as ever up to that loop, its journal
//! shut; then the state is put back, and the loop goes on at the epoch that the checkpoint began.

use super::checkpoint::{Checkpoints, Header, Lasting, Snapshot};
use crate::Result;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// The share of a run's time that writing checkpoints may take …
const WRITING_SHARE: f64 = 0.02;
/// … unless the last one is older than this.
const OLD: Duration = Duration::from_secs(60);

/// Keeps the state of a run.
pub struct Keeper {
    checkpoints: Checkpoints,
    lasting: Vec<Box<dyn Lasting>>,
    /// The values that the script keeps.
    pub kept: Map<String, Value>,
    /// What is to be put back when the loop over epochs begins.
    saved: Option<Snapshot>,
    /// Taken, not yet written.
    pending: Option<Snapshot>,
    written: Instant,
    writing: Duration,
}

impl Keeper {
    /// Keeps `lasting` and the script's values `kept`; `saved` is put back when the loop begins.
    pub fn new(
        checkpoints: Checkpoints,
        lasting: Vec<Box<dyn Lasting>>,
        kept: Map<String, Value>,
        saved: Option<Snapshot>,
    ) -> Self {
        let kept = match &saved {
            // A value that the script began to keep since then has its first one.
            Some(saved) => kept.into_iter().chain(saved.header.kept.clone()).collect(),
            None => kept,
        };
        let (written, writing) = (Instant::now(), Duration::ZERO);
        Self { checkpoints, lasting, kept, saved, pending: None, written, writing }
    }

    /// Whether the loop that a checkpoint stands in is yet to begin.
    pub fn waits(&self) -> bool {
        self.saved.is_some()
    }

    /// Puts the saved state back, if one waits.
    ///
    /// # Errors
    /// As [`Snapshot::restore`].
    pub fn restore(&mut self) -> Result<Option<Header>> {
        let Some(saved) = self.saved.take() else { return Ok(None) };
        saved.restore(&self.lasting)?;
        Ok(Some(saved.header))
    }

    /// Takes the state as it is now.
    pub fn take(&mut self, header: Header) -> Result<()> {
        self.pending = Some(Snapshot::take(Header { kept: self.kept.clone(), ..header }, &self.lasting)?);
        Ok(())
    }

    /// Whether the state taken last is yet to be written.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether it should be by now: if that takes little of the run's time, which is `elapsed` so far, or was long ago.
    pub fn is_due(&self, elapsed: Duration) -> bool {
        self.writing.as_secs_f64() <= WRITING_SHARE * elapsed.as_secs_f64() || self.written.elapsed() >= OLD
    }

    /// Writes the state taken last.
    pub fn write(&mut self) -> Result<()> {
        let begun = Instant::now();
        if let Some(pending) = &self.pending {
            self.checkpoints.write(pending)?;
        }
        self.pending = None;
        self.written = Instant::now();
        self.writing += begun.elapsed();
        Ok(())
    }
}
