//! What tells graphs apart.

use super::Graph;
use crate::fingerprint::Fingerprint;

impl Graph {
    /// The same for graphs that compute the same and start the same: primitives with their shapes, weights with their
    /// names and how they start, mixing weights, the output.
    pub fn fingerprint(&self) -> Fingerprint {
        let nodes = self.nodes().fold(Fingerprint::default(), |hash, node| {
            hash.and_text(&format!("{:?} {:?}", self.op(node), self.shape(node)))
        });
        let weights = self.weights().iter().fold(nodes, |hash, weight| hash.and_text(&format!("{weight:?}")));
        weights.and_text(&format!("{:?} {:?}", self.slot_blocks(), self.output()))
    }
}
