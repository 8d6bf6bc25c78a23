//! What fits into a GPU's memory, and what to do where a batch does not.

use super::executor::Shared;
use super::memory::PassSize;
use super::program::Program;
use crate::bytes::show_bytes;
use crate::engine::Wanted;
use crate::engine::budget::{Trained, within};
use crate::graph::plan::{StageOrder, Training};
use crate::{Error, Result};
use std::sync::Arc;

impl Trained for Shared {
    /// All that a pass with every gradient takes on the GPU: activations, gradients, partial sums, the batch's images,
    /// and the weights in both orders.
    fn bytes(&self, training: &Arc<Training>, batch: usize) -> u64 {
        let program = Program::new(&self.cuda, &self.graph, training, None, Wanted { x: true, w: true, p: true });
        self.size(&program, batch).total(&self.cuda)
    }

    fn usual(&self) -> Arc<Training> {
        self.cuda.training.clone()
    }

    fn within(&self, floats: usize) -> Result<Training, usize> {
        self.cuda.plan.training_within(floats, StageOrder::SideBySide)
    }
}

impl Shared {
    /// The error of a pass that is larger than what is free.
    pub fn too_little(&self, size: &PassSize, free: u64) -> Error {
        let error = Error::user(format!(
            "{} has too little memory for a batch of {}: {} are needed, {} are free",
            self.launcher.name(),
            size.batch,
            show_bytes(size.total(&self.cuda)),
            show_bytes(free)
        ));
        let fits = |batch: &usize| PassSize { batch: *batch, ..*size }.total(&self.cuda) <= free;
        let smaller = (1..size.batch).rev().find(fits).map(|batch| format!("take batches of at most {batch} images"));
        let recomputed = (size.gradients && within(self, free, size.batch).is_ok())
            .then(|| format!("let outputs be recomputed with the option memory: \"{}MB\"", free / 1_000_000));
        match [smaller, recomputed].into_iter().flatten().collect::<Vec<String>>().join(", or ") {
            none if none.is_empty() => error.hint("not even one image fits; --device cpu runs the network"),
            ways => error.hint(ways),
        }
    }
}
