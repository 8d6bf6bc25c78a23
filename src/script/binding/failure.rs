//! The library's errors as scripts meet them, and back.
//!
//! Inside rhai an error travels as `ErrorRuntime` with a [`Failure`] as its value: that kind has a position, and a
//! script can catch it and look at `message` and `hint`. Ctrl-C travels as `ErrorTerminated`, which no script can
//! catch.

use super::value::ScriptType;
use crate::Error;
use crate::error::Blame;
use rhai::{Dynamic, EvalAltResult, Position};
use std::fmt;

/// What `catch (error)` gives a script: `error.message`, `error.hint`.
#[derive(Clone, Debug)]
pub struct Failure(pub Error);

impl ScriptType for Failure {
    const NAME: &'static str = "failure";
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Wraps an error for rhai, which adds the position of the call.
pub fn into_rhai(error: Error) -> Box<EvalAltResult> {
    match error.blame {
        Blame::Interrupt => EvalAltResult::ErrorTerminated(Dynamic::from(Failure(error)), Position::NONE).into(),
        _ => EvalAltResult::ErrorRuntime(Dynamic::from(Failure(error)), Position::NONE).into(),
    }
}

/// The innermost error of a chain of calls and modules.
pub fn innermost(error: &EvalAltResult) -> &EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            innermost(inner)
        }
        other => other,
    }
}

/// The library error inside a rhai error, if one is inside.
pub fn carried(error: &EvalAltResult) -> Option<Error> {
    match innermost(error) {
        EvalAltResult::ErrorRuntime(value, _) | EvalAltResult::ErrorTerminated(value, _) => {
            value.read_lock::<Failure>().map(|failure| failure.0.clone())
        }
        _ => None,
    }
}
