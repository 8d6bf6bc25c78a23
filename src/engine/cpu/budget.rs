//! A limit on the memory of training, and the passes that keep within it.

use super::plan::CpuPlan;
use crate::bytes::show_bytes;
use crate::engine::executor::Report;
use crate::graph::Graph;
use crate::graph::plan::{Recomputed, Training};
use crate::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Vectors as long as the weights: weights, gradient, and what optimisers and their steps hold.
const WEIGHT_VECTORS: u64 = 8;

/// The program itself.
const PROGRAM: u64 = 32_000_000;

/// How many bytes training may take. Counted are one pass's activations and gradients, the engine's tables and scratch,
/// the batch's images, eight vectors as long as the weights, and the program itself.
pub(super) struct Budget {
    bytes: u64,
    report: Report,
    /// Passes chosen so far, with the largest batch that each is for.
    chosen: Mutex<Vec<(usize, Arc<Training>)>>,
}

impl Budget {
    /// # Errors
    /// A limit within which not even one image fits.
    pub fn new(cpu: &CpuPlan, graph: &Graph, bytes: u64, report: Report) -> Result<Self> {
        let budget = Self { bytes, report, chosen: Mutex::default() };
        budget.find(cpu, graph, 1)?;
        Ok(budget)
    }

    /// The pass for a batch: that of a larger one, if there has been one.
    ///
    /// # Errors
    /// A batch that cannot be trained with so little memory.
    pub fn training(&self, cpu: &CpuPlan, graph: &Graph, batch: usize) -> Result<Arc<Training>> {
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, training)) = chosen.iter().filter(|(most, _)| batch <= *most).min_by_key(|(most, _)| most) {
            return Ok(training.clone());
        }
        let training = self.find(cpu, graph, batch)?;
        (self.report)(&self.cost(cpu, graph, batch, &training));
        chosen.push((batch, training.clone()));
        Ok(training)
    }

    fn find(&self, cpu: &CpuPlan, graph: &Graph, batch: usize) -> Result<Arc<Training>> {
        if bytes_of(cpu, graph, &cpu.plan.training, batch) <= self.bytes {
            return Ok(cpu.plan.training.clone());
        }
        let fixed = fixed_bytes(cpu, graph, batch);
        let image = size_of::<f32>() as u64 * batch as u64;
        let len = self.bytes.saturating_sub(fixed) / image;
        cpu.plan.training_within(len as usize).map(Arc::new).map_err(|least| {
            let need = fixed + least as u64 * image;
            let images = if batch == 1 { "one image".into() } else { format!("a batch of {batch} images") };
            let error = Error::user(format!(
                "{images} cannot be trained within {}; the least memory that would do is {}",
                show_bytes(self.bytes),
                show_bytes(need)
            ));
            match self.bytes.saturating_sub(fixed) / (least as u64 * size_of::<f32>() as u64) {
                0 => error,
                fit => error.hint(format!("or take batches of at most {fit} images")),
            }
        })
    }

    /// What keeping within the limit costs, as one line.
    fn cost(&self, cpu: &CpuPlan, graph: &Graph, batch: usize, training: &Training) -> String {
        let usual = &cpu.plan.training;
        let before = show_bytes(bytes_of(cpu, graph, usual, batch));
        let after = show_bytes(bytes_of(cpu, graph, training, batch));
        let limit = show_bytes(self.bytes);
        let recomputed = &training.recomputed;
        if recomputed == &usual.recomputed {
            return format!("memory: {batch} images take {after}, within {limit} at no extra cost");
        }
        format!(
            "memory: {batch} images take {after} instead of {before}, within {limit}; {} are recomputed, {:.1} % more \
             multiply-adds per step",
            tensors(recomputed),
            100.0 * (recomputed.share() - usual.recomputed.share()).max(0.0)
        )
    }
}

/// "84 convolutions, 20 pools and 3 copies".
fn tensors(of: &Recomputed) -> String {
    let counts = [(of.convolutions, "convolution"), (of.pools, "pool"), (of.copies, "copy")];
    let words: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| match (count, *what) {
            (1, what) => format!("1 {what}"),
            (count, "copy") => format!("{count} copies"),
            (count, what) => format!("{count} {what}s"),
        })
        .collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "no outputs".into(),
    }
}

fn bytes_of(cpu: &CpuPlan, graph: &Graph, training: &Training, batch: usize) -> u64 {
    fixed_bytes(cpu, graph, batch) + (training.placement.forward.len * size_of::<f32>()) as u64 * batch as u64
}

/// Everything that is counted except the images' regions.
fn fixed_bytes(cpu: &CpuPlan, graph: &Graph, batch: usize) -> u64 {
    let shape = graph.shape(graph.input());
    let images = (batch * shape.channels * shape.pixels() * size_of::<f32>()) as u64;
    let weights = (graph.parameters() * size_of::<f32>()) as u64;
    PROGRAM + cpu.table_bytes(batch) as u64 + images + WEIGHT_VECTORS * weights
}
