//! Language models as ONNX files with all that their users need to know: what `net.save_onnx` writes.

use super::SMALL;
use crate::export::encode;
use crate::export::proto::ModelProto;
use crate::export::recurrent::{self, LanguageOptions, LanguageSource, LayerSource, Rows};
use crate::script::binding::{Library, List, Options};
use crate::script::nouns::network::saved::about;
use crate::space::recurrent::{BIAS, CellRecipe, EMBEDDING, LATENT, LEAST, LanguageModel, PRIOR, PROJECTION};
use crate::{Error, Result, files};
use rhai::Map;
use serde_json::{Value, json};
use std::path::Path;

/// A language model to be exported, and how.
pub struct ExportedLanguage<'a> {
    pub model: &'a LanguageModel,
    /// Its vocabulary, by id.
    pub words: Option<&'a [String]>,
    /// Time steps of every window; none: each run chooses.
    pub length: Option<usize>,
    /// What its maker noted.
    pub about: &'a serde_json::Map<String, Value>,
}

impl ExportedLanguage<'_> {
    /// Writes the file, and gives its size in bytes. The graph is called like the file.
    ///
    /// # Errors
    /// As [`onnx`](Self::onnx); a model too large for the format; a folder that cannot be written.
    pub fn write(&self, path: &Path) -> Result<usize> {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes = encode(&self.onnx(name)?)?;
        files::replace(path, &bytes)?;
        Ok(bytes.len())
    }

    /// The messages of the file. A supernet is written with its mixing weights as they are.
    ///
    /// # Errors
    /// Another number of words than the model's, a length of 0.
    pub fn onnx(&self, name: String) -> Result<ModelProto> {
        let Self { model, words, length, .. } = *self;
        let recipe = model.recipe();
        if let Some(words) = words
            && words.len() != recipe.vocabulary
        {
            return Err(Error::user(format!(
                "{} words were given for a model with a vocabulary of {}",
                words.len(),
                recipe.vocabulary
            ))
            .hint("give `words` of the text that the model was made for"));
        }
        let weights = model.weights().detached().to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?;
        let single = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
        let layers = model.parts()?.into_iter().map(|layer| LayerSource {
            graph: layer.graph,
            table: layer.table,
            statistics: single(layer.statistics),
            mixing: single(layer.mixing),
        });
        let rows = match recipe.experts {
            0 if recipe.width() == recipe.embedding => Rows::Plain,
            0 => Rows::Projected(model.weight(PROJECTION)?),
            experts => Rows::Mixed {
                experts,
                weight: model.weight(LATENT[0])?,
                bias: model.weight(LATENT[1])?,
                prior: model.weight(PRIOR)?,
                least: LEAST as f32,
            },
        };
        let source = LanguageSource {
            weights: &weights,
            embedding: model.weight(EMBEDDING)?,
            layers: layers.collect(),
            skip: recipe.skip,
            rows,
            bias: if recipe.bias { Some(model.weight(BIAS)?) } else { None },
        };
        recurrent::model(&source, &LanguageOptions { name, length, metadata: self.metadata() })
    }

    /// What the file says about itself, for whoever runs it; lists are JSON.
    fn metadata(&self) -> Vec<(String, String)> {
        let recipe = self.model.recipe();
        let mut entries =
            vec![("candlewick_version", env!("CARGO_PKG_VERSION").to_string()), ("network", recipe.to_string())];
        if let CellRecipe::Genotype { .. } | CellRecipe::Tree { .. } = &recipe.cell {
            entries.push(("genotype", recipe.cell.to_string()));
        }
        let input = "words: ids, time × batch; hidden.LAYER.STATE: zeros where a text begins, then what \
                     hidden_out.LAYER.STATE gave for the window before";
        entries.push(("input", input.to_string()));
        entries.extend(self.words.map(|words| ("words", json!(words).to_string())));
        if !self.about.is_empty() {
            entries.push(("about", json!(self.about).to_string()));
        }
        entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
    }
}

pub fn declare(library: &mut Library) {
    let host = library.host();
    library
        .method("save_onnx", &["net", "file", "options"], move |net: LanguageModel, file: String, options: Options| {
            let words = options.find::<List<String>>("words")?;
            let exported = ExportedLanguage {
                model: &net,
                words: words.as_ref().map_or(net.words(), |words| Some(words.0.as_slice())),
                length: options.find("length")?,
                about: &about(&options)?,
            };
            exported.write(&host.writable(&file)?).map(drop)
        })
        .doc(
            r#"
            Writes the model into the run folder as an ONNX file for onnxruntime and other runtimes: inputs `words`
            (ids, time × batch) and, for each layer's states, `hidden.LAYER.STATE` (batch × width; zeros where a text
            begins); outputs `log_probabilities` of every next word (time × batch × vocabulary) and
            `hidden_out.LAYER.STATE`, which the next window begins with. Nothing is dropped; a supernet is written with
            its mixing weights as they are. `candlewick export` does the same with what `net.save` wrote.
            "#,
        )
        .optional::<usize>("length", "each run chooses", "time steps of every window, for runtimes that need to know")
        .optional::<List<String>>(
            "words",
            "those of the text that it was made for",
            "the vocabulary for the file's metadata, by id",
        )
        .optional::<Map>("about", "nothing", "anything worth keeping in the file's metadata")
        .example_after(SMALL, r#"net.save_onnx("lm.onnx", #{ about: #{ epoch: 3 } });"#);
}
