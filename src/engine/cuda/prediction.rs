//! What a network's passes would take on a GPU, worked out without one: bytes and operations of every launch, and from
//! them the time by roofline.

use super::plan::CudaPlan;
use super::program::{Program, When};
use crate::Result;
use crate::engine::Wanted;
use crate::graph::Graph;
use std::collections::BTreeMap;

/// A card by its limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    pub name: &'static str,
    /// Bytes a second between its memory and its multiprocessors, as a copy of a large buffer shows it.
    pub bandwidth: f64,
    /// Operations a second in single precision without tensor cores; a multiply-add is two.
    pub arithmetic: f64,
    /// Seconds from one launch to the next, in a graph.
    pub launch: f64,
}

impl Card {
    pub const H100: Self = Self { name: "H100", bandwidth: 3.0e12, arithmetic: 60e12, launch: 1e-6 };
}

/// What the launches of one kernel take together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predicted {
    pub kernel: &'static str,
    pub launches: usize,
    pub bytes: u64,
    pub flops: u64,
    pub seconds: f64,
}

/// Training passes over batches of a graph's images, each with the gradients that it is asked for: by kernel, in
/// alphabetical order.
///
/// # Errors
/// A graph that does not run on CUDA yet.
pub fn predict(graph: &Graph, batch: usize, passes: &[Wanted], card: Card) -> Result<Vec<Predicted>> {
    let cuda = CudaPlan::new(graph)?;
    let mut kernels: BTreeMap<&'static str, Predicted> = BTreeMap::new();
    for wanted in passes {
        let program = Program::new(&cuda, graph, &cuda.training, None, *wanted);
        let steps = program.forward.iter().chain(&program.backward).filter(|step| step.when != When::Running);
        for step in steps {
            let (bytes, flops) = (step.work.bytes * batch as u64, step.work.flops * batch as u64);
            let kernel = kernels.entry(step.kernel).or_default();
            kernel.kernel = step.kernel;
            kernel.launches += 1;
            kernel.bytes += bytes;
            kernel.flops += flops;
            // Each launch ends before the next begins.
            kernel.seconds += (bytes as f64 / card.bandwidth).max(flops as f64 / card.arithmetic) + card.launch;
        }
    }
    Ok(kernels.into_values().collect())
}
