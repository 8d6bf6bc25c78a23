//! Whether a state fits a network, before any of it is put back.

use super::Network;
use crate::{Error, Result};
use candle_core::Tensor;

impl Network {
    /// Checks that a state is of a network like this one: the same names, each in its shape.
    ///
    /// # Errors
    /// What is missing, what is too many, and what has another shape.
    pub(super) fn check_state(&self, state: &[(String, Tensor)]) -> Result<()> {
        let own = self.state()?;
        for (name, tensor) in &own {
            let Some((_, given)) = state.iter().find(|(known, _)| known == name) else {
                return Err(Error::user(format!("the saved network has no \"{name}\"")));
            };
            if given.dims() != tensor.dims() {
                return Err(Error::user(format!(
                    "the saved network's \"{name}\" has shape {:?}, this network's {:?}",
                    given.dims(),
                    tensor.dims()
                ))
                .hint("make the network with the same options as the one whose state it is"));
            }
        }
        match state.iter().find(|(name, _)| own.iter().all(|(known, _)| known != name)) {
            Some((name, _)) => {
                Err(Error::unknown("part of this network's state", name, own.iter().map(|(n, _)| n.as_str())))
            }
            None => Ok(()),
        }
    }
}
