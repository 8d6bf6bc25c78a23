//! Language models as ONNX files.
//!
//! `words` go in, time × batch, with the states that the window before left; the logarithms of the probabilities of
//! every next word and the states after the window come out. Each layer is a `Scan` over time whose body is the layer's
//! time step (`step`), so a window may have any length; `decoder` is what stands behind the layers.

mod decoder;
mod source;
mod step;

pub use source::{LanguageSource, LayerSource, Rows};

use super::file::{BATCH, Dim, assemble, floats_of, integers_of};
use super::proto::ModelProto;
use super::sheet::Sheet;
use crate::Result;
use crate::graph::bounds;

/// The name of the input of word ids: int64, time × batch.
pub const WORDS: &str = "words";

/// The name of the output: time × batch × vocabulary.
pub const LOG_PROBABILITIES: &str = "log_probabilities";

/// The name of a layer's state before the window, batch × width.
pub fn state_before(layer: usize, state: &str) -> String {
    format!("hidden.{layer}.{state}")
}

/// The name of a layer's state after the window, batch × width.
pub fn state_after(layer: usize, state: &str) -> String {
    format!("hidden_out.{layer}.{state}")
}

/// How a language model is written.
#[derive(Clone, Debug, Default)]
pub struct LanguageOptions {
    /// The graph's name; empty: "language_model".
    pub name: String,
    /// Time steps of every window; none: each run chooses.
    pub length: Option<usize>,
    /// Keys and values of `metadata_props`.
    pub metadata: Vec<(String, String)>,
}

/// The model as the messages of an ONNX file.
///
/// # Errors
/// Parts that do not fit together, a time step without an output, a length of 0 or beyond its bound.
pub fn model(source: &LanguageSource<'_>, options: &LanguageOptions) -> Result<ModelProto> {
    source.check()?;
    let time = match options.length {
        Some(length) => {
            bounds::at_least_one("length", length, bounds::MOST)?;
            Dim::Is(length)
        }
        None => Dim::Any("time"),
    };
    let mut sheet = Sheet::default();
    let mut inputs = vec![integers_of(WORDS, &[time, BATCH])];
    let vocabulary = Dim::Is(source.embedding.shape[0]);
    let mut outputs = vec![floats_of(LOG_PROBABILITIES, &[time, BATCH, vocabulary])];
    for (index, layer) in source.layers.iter().enumerate() {
        for state in layer.graph.states() {
            let dims = [BATCH, Dim::Is(state.width)];
            inputs.push(floats_of(&state_before(index, &state.name), &dims));
            outputs.push(floats_of(&state_after(index, &state.name), &dims));
        }
    }
    inputs.iter().chain(&outputs).for_each(|value| sheet.reserve(&value.name));

    let embedding = source.constant(&mut sheet, source.embedding);
    let mut x = sheet.node("Gather", &[&embedding, WORDS], "vectors", vec![]);
    let mut layers = vec![];
    for index in 0..source.layers.len() {
        x = step::scan(&mut sheet, source, index, &x)?;
        layers.push(x.clone());
    }
    if source.skip && layers.len() > 1 {
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        x = sheet.node("Sum", &layers, "layers", vec![]);
    }
    let found = decoder::log_probabilities(&mut sheet, source, &embedding, &x);
    sheet.rename(&found, LOG_PROBABILITIES);
    let name = if options.name.is_empty() { "language_model" } else { &options.name };
    Ok(assemble(name, sheet, inputs, outputs, &options.metadata))
}
