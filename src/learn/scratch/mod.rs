//! Cells scored by training their networks from scratch: what every search that trains its candidates asks for.
//!
//! `images` and `text` say how one network is trained, `crew` spreads many over the cores, `cache` keeps what
//! was trained before. A score depends on the cell, the settings, the data and the seed alone, not on how many cells
//! were scored beside it or on how many cores: each trains on one thread, with random numbers keyed by the seed.

pub mod cache;
mod crew;
pub mod images;
pub mod text;

pub use cache::ScoreCache;
pub use images::ImageTraining;
pub use text::TextTraining;

use crate::{Error, Result, interrupt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// How good a cell is, and what it took to find out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellScore {
    /// Mean cross-entropy on the held-out data, of an image or of a token.
    pub loss: f64,
    /// Share of the held-out images that are classified correctly; none for text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// e to the loss, for text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    /// The network's weights.
    pub parameters: usize,
    /// Multiply-adds of one image or token.
    pub macs: usize,
    /// Multiply-adds of the training and the scoring: three passes' worth for whatever was trained on (one forward, two
    /// for the gradients of weights and inputs), one for whatever was scored.
    pub cost: f64,
}

/// A cell that is to be scored.
pub struct Task<'a> {
    /// The cell, as messages name it.
    pub cell: String,
    /// Everything that the score depends on.
    pub key: Value,
    /// Multiply-adds that it takes, by which the longest are begun first.
    pub cost: f64,
    /// Trains and scores the network.
    pub train: Box<dyn Fn() -> Result<CellScore> + Send + Sync + 'a>,
}

/// How far the scoring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scored {
    /// Cells that have been trained.
    pub trained: usize,
    /// Cells that have to be: those neither known nor given twice.
    pub of: usize,
}

/// The scores of all tasks, in their order. What the cache holds is not trained, nor is what is given twice. On
/// `threads` threads each network trains on one; on 1 they train one after another on all. `told` is called after each.
///
/// # Errors
/// Ctrl-C; a training that fails, with the cell that it was; a cache of another form. What was scored until then is in
/// the cache.
pub fn score_all(
    tasks: &[Task<'_>],
    cache: &ScoreCache,
    threads: usize,
    mut told: impl FnMut(Scored),
) -> Result<Vec<CellScore>> {
    let mut known: BTreeMap<String, Option<CellScore>> = BTreeMap::new();
    let names: Vec<String> = tasks.iter().map(|task| task.key.to_string()).collect();
    let mut waiting = Vec::new();
    for (task, name) in tasks.iter().zip(&names) {
        interrupt::check()?;
        if !known.contains_key(name) {
            let found = cache.find(&task.key)?;
            if found.is_none() {
                waiting.push((task, name));
            }
            known.insert(name.clone(), found);
        }
    }
    waiting.sort_by(|(one, _), (other, _)| other.cost.total_cmp(&one.cost));
    let of = waiting.len();
    let mut trained = 0;
    crew::spread(
        threads,
        of,
        |index| (waiting[index].0.train)(),
        |index, result| {
            let (task, name) = waiting[index];
            let score = result.map_err(|error| Error { message: told_of(&task.cell, &error), ..error })?;
            cache.keep(&task.key, &score)?;
            known.insert(name.clone(), Some(score));
            trained += 1;
            told(Scored { trained, of });
            Ok(())
        },
    )?;
    let missing = || Error::run("a cell was not scored");
    names.iter().map(|name| known.get(name).cloned().flatten().ok_or_else(missing)).collect()
}

/// An error's message with the cell that it happened to.
fn told_of(cell: &str, error: &Error) -> String {
    match error.blame {
        crate::error::Blame::Interrupt => error.message.clone(),
        _ => format!("{cell}: {}", error.message),
    }
}

/// The error of a training whose loss is NaN or infinite.
fn diverged(loss: f64, epoch: usize) -> Error {
    let loss = if loss.is_nan() { "NaN" } else { "infinite" };
    Error::run(format!("the loss became {loss} in epoch {epoch}, so the cell has no score"))
        .hint("a smaller learning rate (lr) or stronger clipping (clip) keeps trainings from diverging")
}

/// What [`CellScore::cost`] counts, of `train` images or tokens an epoch and `valid` to be judged by.
fn cost(macs: usize, epochs: usize, train: usize, valid: usize) -> f64 {
    macs as f64 * (3.0 * epochs as f64 * train as f64 + valid as f64)
}

/// Checks settings that have to be at least 1.
fn at_least_one(settings: &[(&str, usize)]) -> Result<()> {
    match settings.iter().find(|(_, value)| *value == 0) {
        Some((name, _)) => Err(Error::user(format!("{name} must be at least 1, not 0"))),
        None => Ok(()),
    }
}
