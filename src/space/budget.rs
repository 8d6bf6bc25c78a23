//! A limit on the memory that training a network takes.

use super::network::Network;
use crate::Result;
use crate::engine::Report;

impl Network {
    /// The same network, whose training takes no more than `bytes`; see
    /// [`Engine::within`](crate::engine::Engine::within).
    ///
    /// # Errors
    /// Where not even one image fits; a batch that does not is an error of its forward pass.
    pub fn within(mut self, bytes: u64, report: Report) -> Result<Self> {
        self.engine = self.engine.within(bytes, report)?;
        Ok(self)
    }

    /// The bytes that training takes for a batch: activations, their gradients, the engine's tables and scratch.
    ///
    /// # Errors
    /// A batch that does not fit into the network's memory.
    pub fn training_bytes(&self, batch: usize) -> Result<u64> {
        self.engine.memory(batch)
    }
}
