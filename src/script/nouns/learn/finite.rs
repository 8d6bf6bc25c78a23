//! Losses that are not numbers: the script ends where the first one comes up, whether it logs its losses or not.

use crate::run::{Entry, number};
use crate::script::host::Host;
use crate::{Error, Result};

/// Checks that a loss is finite; it is a number on the processor anyway. In a run, what it came to is the journal's
/// last line.
///
/// # Errors
/// A loss that is NaN or infinite, with the step where a run counts steps.
pub fn finite(host: &Host, name: &str, loss: f64) -> Result<f64> {
    if loss.is_finite() {
        return Ok(loss);
    }
    if let Some(run) = host.notes.run() {
        run.log(&Entry::from_iter([(name.to_string(), number(loss))]))?;
    }
    Err(Error::user(format!("{name} is {loss}")).hint("a smaller learning rate or clipping may help"))
}

/// An error with the step at which it came up, where a run counts steps.
pub fn at_step(host: &Host, error: Error) -> Error {
    match host.notes.run() {
        Some(run) => {
            Error { message: format!("{} (step {} of epoch {})", error.message, run.step(), run.epoch()), ..error }
        }
        None => error,
    }
}
