//! Whether a saved state fits what it is put back into, before any of it is.

use crate::{Error, Result};
use candle_core::Tensor;

/// Checks that `given` is the state of a `what` ("network") like the one with the state `own`: the same names, each in
/// its shape.
///
/// # Errors
/// What is missing, what is too many, and what has another shape.
pub(super) fn check_state(what: &str, own: &[(String, Tensor)], given: &[(String, Tensor)]) -> Result<()> {
    for (name, tensor) in own {
        let Some((_, given)) = given.iter().find(|(known, _)| known == name) else {
            return Err(Error::user(format!("the saved {what} has no \"{name}\"")));
        };
        if given.dims() != tensor.dims() {
            return Err(Error::user(format!(
                "the saved {what}'s \"{name}\" has shape {:?}, this {what}'s {:?}",
                given.dims(),
                tensor.dims()
            ))
            .hint(format!("make the {what} with the same options as the one whose state it is")));
        }
    }
    match given.iter().find(|(name, _)| own.iter().all(|(known, _)| known != name)) {
        Some((name, _)) => {
            Err(Error::unknown(&format!("part of this {what}'s state"), name, own.iter().map(|(n, _)| n.as_str())))
        }
        None => Ok(()),
    }
}
