//! What windows of a language model take, known before any of it is taken, and the limits on it.

use super::model::{LanguageModel, Layer};
use super::recipe::LanguageRecipe;
use crate::bytes::show_bytes;
use crate::engine::{Guard, Mode, Pass, Wanted};
use crate::graph::WeightInfo;
use crate::{Error, Result};
use candle_core::DType;
use std::sync::Arc;

/// Vectors as long as the weights: weights, their parts, gradient, and what optimisers and their steps hold.
const WEIGHT_VECTORS: u128 = 8;
/// Vectors as long as each of a window's tensors outside of the layers: values, dropped ones, and their gradients.
const TOKEN_VECTORS: u128 = 4;
/// What the decoder has of a window at a time: rows of logits, and sums of rows by group of words.
const DECODER_ROWS: u128 = 256;
const DECODER_GROUPS: u128 = 16;
/// The program itself.
const PROGRAM: u128 = 32_000_000;

/// Whoever has a limit on memory that passes take a part of, such as a script.
pub trait Keeper: Send + Sync {
    /// Bytes that a pass may take.
    fn left(&self) -> u64;

    /// Counts bytes until what it gives is dropped.
    fn hold(&self, bytes: u64) -> Guard;

    /// The error for a window that takes more than is left; `fits` says what would not.
    fn full(&self, window: &str, bytes: u64, fits: &str) -> Error;
}

/// The limits on what a model's passes take.
#[derive(Clone, Default)]
pub struct Memory {
    /// The most bytes that training may take in all.
    pub limit: Option<u64>,
    /// Who counts the passes.
    pub keeper: Option<Arc<dyn Keeper>>,
}

impl Memory {
    /// Checks that a model can be trained at all, one time step of one column.
    ///
    /// # Errors
    /// A limit within which it cannot.
    pub(super) fn admit(&self, recipe: &LanguageRecipe, layers: &[Layer], table: &[WeightInfo]) -> Result<()> {
        let Some(limit) = self.limit else { return Ok(()) };
        let training = (Pass { mode: Mode::Training, ..Pass::default() }, Wanted { x: true, w: true, p: true });
        let passes = vec![training; layers.len()];
        let need = in_layers(layers, &passes, 1, 1).saturating_add(beside_layers(recipe, layers, table, 1, 1));
        match need <= limit {
            true => Ok(()),
            false => Err(Error::user(format!(
                "one time step of one column cannot be trained within {}; the least memory that would do is {}",
                show_bytes(limit),
                show_bytes(need)
            ))),
        }
    }
}

impl LanguageModel {
    /// Bytes that training on a window of so many time steps of so many columns takes: the layers' values, gradients
    /// and scratch, the tensors between them, the decoder's, eight vectors as long as the weights, and the program
    /// itself.
    pub fn training_bytes(&self, time: usize, columns: usize) -> u64 {
        let passes = self.planned_passes(self.dropouts(), Mode::Training);
        let wanted = Wanted { x: true, w: true, p: true };
        let passes: Vec<_> = passes.into_iter().map(|pass| (pass, wanted)).collect();
        self.bytes(&passes, time, columns)
    }

    fn bytes(&self, passes: &[(Pass, Wanted)], time: usize, columns: usize) -> u64 {
        let beside = beside_layers(self.recipe(), &self.layers, self.table(), time, columns);
        in_layers(&self.layers, passes, time, columns).saturating_add(beside)
    }

    /// Checks that a window fits, and counts it until what comes back is dropped.
    ///
    /// # Errors
    /// One that does not, with what would.
    pub(super) fn admit(&self, passes: &[(Pass, Wanted)], time: usize, columns: usize) -> Result<Option<Guard>> {
        let window = format!("a window of {time} time steps of {columns} columns");
        if let Some(limit) = self.memory.limit
            && passes.iter().any(|(_, wanted)| wanted.any())
        {
            let need = |time: usize, columns: usize| self.bytes(passes, time, columns);
            let bytes = need(time, columns);
            if bytes > limit {
                return Err(Error::user(format!(
                    "{window} cannot be trained within {}; it takes {}",
                    show_bytes(limit),
                    show_bytes(bytes)
                ))
                .hint(fitting(need, limit, time, columns)));
            }
        }
        let Some(keeper) = &self.memory.keeper else { return Ok(None) };
        let need = |time: usize, columns: usize| in_layers(&self.layers, passes, time, columns);
        let (bytes, left) = (need(time, columns), keeper.left());
        match bytes <= left {
            true => Ok(Some(keeper.hold(bytes))),
            false => Err(keeper.full(&window, bytes, &fitting(need, left, time, columns))),
        }
    }
}

/// Bytes of the layers' passes over a window.
fn in_layers(layers: &[Layer], passes: &[(Pass, Wanted)], time: usize, columns: usize) -> u64 {
    let layers = layers.iter().zip(passes);
    layers.fold(0, |sum, (layer, (pass, wanted))| sum.saturating_add(layer.engine.memory(time, columns, pass, *wanted)))
}

/// Bytes of everything else that training on a window takes.
fn beside_layers(recipe: &LanguageRecipe, layers: &[Layer], table: &[WeightInfo], time: usize, columns: usize) -> u64 {
    let tokens = time as u128 * columns as u128;
    let widths = |layer: &Layer| {
        let graph = layer.engine.graph();
        let states: usize = graph.states().iter().map(|state| state.width).sum();
        let output = graph.output().map_or(0, |output| graph.width(output));
        (graph.width(graph.input()) + output, states)
    };
    let between: u128 = layers.iter().map(|layer| tokens * widths(layer).0 as u128 + 2 * widths(layer).1 as u128).sum();
    let softmaxes = recipe.experts.max(1) as u128;
    // Experts' vectors are projected, activated and dropped.
    let kinds = if recipe.experts > 0 { 2 } else { 1 };
    let (rows, width) = (tokens * softmaxes, recipe.embedding as u128);
    let tile = DECODER_ROWS.min(rows) * (recipe.vocabulary as u128 + DECODER_GROUPS * width);
    let weights = table.last().map_or(0, |last| last.range().end) as u128;
    let numbers = WEIGHT_VECTORS * weights + TOKEN_VECTORS * (between + kinds * rows * width) + tile;
    let width = layers.first().map_or(DType::F32, |layer| layer.engine.dtype()).size_in_bytes() as u128;
    u64::try_from(numbers.saturating_mul(width).saturating_add(PROGRAM)).unwrap_or(u64::MAX)
}

/// Which smaller windows would fit, in words.
fn fitting(need: impl Fn(usize, usize) -> u64, room: u64, time: usize, columns: usize) -> String {
    // The largest below `count` that fits; what is larger takes more.
    let most = |count: usize, need: &dyn Fn(usize) -> u64| {
        let (mut fits, mut too_many) = (0, count);
        while too_many - fits > 1 {
            let middle = fits + (too_many - fits) / 2;
            match need(middle) <= room {
                true => fits = middle,
                false => too_many = middle,
            }
        }
        fits
    };
    let fewer = most(columns, &|columns| need(time, columns));
    let shorter = most(time, &|time| need(time, columns));
    let many = |count: usize, what: &str| format!("at most {count} {what}{}", if count == 1 { "" } else { "s" });
    match (fewer, shorter) {
        (0, 0) => format!("one time step of one column would need {}", show_bytes(need(1, 1))),
        (_, 0) => format!("{} would fit", many(fewer, "column")),
        (0, _) => format!("{} would fit", many(shorter, "time step")),
        _ => format!("{} would fit, or {}", many(fewer, "column"), many(shorter, "time step")),
    }
}
