//! A limit on the memory of training, and the passes that keep within it.

use super::executor::Report;
use crate::bytes::show_bytes;
use crate::graph::plan::{Recomputed, Training};
use crate::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// What a limit holds: training one network on one device.
pub(super) trait Trained {
    /// Bytes of training on a batch.
    fn bytes(&self, training: &Arc<Training>, batch: usize) -> u64;

    /// The pass without a limit.
    fn usual(&self) -> Arc<Training>;

    /// A pass in which one image's region is at most so many floats.
    ///
    /// # Errors
    /// The shortest region that would do, in floats, where none is that short.
    fn within(&self, floats: usize) -> Result<Training, usize>;
}

/// How many bytes training may take.
pub(super) struct Budget {
    bytes: u64,
    report: Report,
    /// Passes chosen so far, with the largest batch that each is for.
    chosen: Mutex<Vec<(usize, Arc<Training>)>>,
}

impl Budget {
    /// # Errors
    /// A limit within which not even one image fits.
    pub fn new(trained: &dyn Trained, bytes: u64, report: Report) -> Result<Self> {
        within(trained, bytes, 1)?;
        Ok(Self { bytes, report, chosen: Mutex::default() })
    }

    /// The pass for a batch: that of a larger one, if there has been one.
    ///
    /// # Errors
    /// A batch that cannot be trained with so little memory.
    fn training(&self, trained: &dyn Trained, batch: usize) -> Result<Arc<Training>> {
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, training)) = chosen.iter().filter(|(most, _)| batch <= *most).min_by_key(|(most, _)| most) {
            return Ok(training.clone());
        }
        let training = within(trained, self.bytes, batch)?;
        (self.report)(&self.cost(trained, batch, &training));
        chosen.push((batch, training.clone()));
        Ok(training)
    }

    /// What keeping within the limit costs, as one line.
    fn cost(&self, trained: &dyn Trained, batch: usize, training: &Arc<Training>) -> String {
        let usual = trained.usual();
        let before = show_bytes(trained.bytes(&usual, batch));
        let after = show_bytes(trained.bytes(training, batch));
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

/// How a batch is trained, with or without a limit.
///
/// # Errors
/// A batch that does not fit within the limit.
pub(super) fn training(budget: Option<&Budget>, trained: &dyn Trained, batch: usize) -> Result<Arc<Training>> {
    match budget {
        Some(budget) => budget.training(trained, batch),
        None => Ok(trained.usual()),
    }
}

/// A pass over a batch that takes at most so many bytes.
///
/// # Errors
/// The least memory that would do, where it is more, and the batch that would fit.
pub(super) fn within(trained: &dyn Trained, bytes: u64, batch: usize) -> Result<Arc<Training>> {
    let usual = trained.usual();
    let usually = trained.bytes(&usual, batch);
    if usually <= bytes {
        return Ok(usual);
    }
    let float = size_of::<f32>() as u64;
    let fixed = usually - usual.placement.forward.len as u64 * float * batch as u64;
    let len = bytes.saturating_sub(fixed) / (float * batch as u64);
    trained.within(len as usize).map(Arc::new).map_err(|least| {
        let need = fixed + least as u64 * float * batch as u64;
        let images = if batch == 1 { "one image".into() } else { format!("a batch of {batch} images") };
        let error = Error::user(format!(
            "{images} cannot be trained within {}; the least memory that would do is {}",
            show_bytes(bytes),
            show_bytes(need)
        ));
        match bytes.saturating_sub(fixed) / (least as u64 * float) {
            0 => error,
            fit => error.hint(format!("or take batches of at most {fit} images")),
        }
    })
}
