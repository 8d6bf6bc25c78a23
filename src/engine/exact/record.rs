//! What one forward pass leaves behind, and what can be read off it.

use super::maps::Maps;
use super::norm::Moments;
use super::sum::Mixing;

/// The values of every node that ran in one pass, and what they were made with: all that the backward pass needs.
#[derive(Clone, Debug)]
pub struct Record {
    pub(super) batch: usize,
    pub(super) w: Vec<f64>,
    pub(super) mixing: Mixing,
    /// By node; none where the node did not run.
    pub(super) values: Vec<Option<Maps>>,
    /// By node: what a batch norm normalised with.
    pub(super) moments: Vec<Option<Vec<Moments>>>,
    /// Whether batch norms took the batch's moments, so that gradients flow through them.
    pub(super) of_batch: bool,
    pub(super) output: usize,
}

impl Record {
    /// The number of images.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The output: images × channels × height × width of the graph's output node.
    pub fn output(&self) -> &[f64] {
        &self.value(self.output).values
    }

    /// The values of a node that ran.
    pub(super) fn value(&self, node: usize) -> &Maps {
        self.values[node].as_ref().expect("a node that runs comes after its inputs")
    }

    /// What a batch norm that ran normalised with.
    pub(super) fn moments_of(&self, node: usize) -> &[Moments] {
        self.moments[node].as_ref().expect("a batch norm's moments come before its values")
    }
}
