//! A language model as a file: safetensors, so that other tools read its weights too.
//!
//! The tensors are all weights by name, for every batch norm `NAME.running_mean` and `NAME.running_var`, and the alphas
//! of a search cell; where there are several layers, the names of a layer's begin with its index. The metadata say how
//! to build the model, what its words are, the version that wrote it, and whatever the writer had to say.

use super::activations::Activations;
use super::model::{LanguageModel, Layer};
use super::recipe::{CellRecipe, LanguageRecipe};
use crate::engine::Target;
use crate::graph::WeightInfo;
use crate::random::Seed;
use crate::space::file::{self, File, Part};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// What the metadata call this kind of network.
pub(in crate::space) const LANGUAGE_KIND: &str = "language";

/// How the metadata describe a model.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Kind {
    Language(LanguageRecipe),
}

/// What the ids mean, where that is known.
#[derive(Serialize, Deserialize)]
struct Vocabulary {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    words: Option<Vec<String>>,
}

type Header = file::Header<Kind, Vocabulary>;

/// A language model that was read from a file.
pub struct SavedLanguage {
    /// Built, with its weights, running statistics and alphas; it knows its words if the file does.
    pub model: LanguageModel,
    /// What the writer noted: epoch, perplexity …
    pub about: Map<String, Value>,
    /// The version of candlewick that wrote the file.
    pub version: String,
}

impl SavedLanguage {
    /// Writes a model to a new file and renames it to `path`; what stood there is whole until then.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn write(path: &Path, model: &LanguageModel, about: &Map<String, Value>) -> Result<()> {
        let words = model.words().map(<[String]>::to_vec);
        let header = Header::new(Kind::Language(model.recipe().clone()), Vocabulary { words }, about.clone());
        let single = |tensor: &Tensor| Ok::<_, Error>(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?);
        let mut numbers = single(&model.weights().detached())?;
        for layer in model.layers.iter() {
            numbers.extend(layer.statistics.values().iter().map(|&value| value as f32));
        }
        for (_, alpha) in model.alphas().iter() {
            numbers.extend(single(&alpha.detached())?);
        }
        file::write(path, &header, &parts(&model.layers, model.table()), &numbers)
    }

    /// Whether a file says that it holds a language model.
    ///
    /// # Errors
    /// A file that cannot be read, or that does not say what it holds.
    pub fn is_one(path: &Path) -> Result<bool> {
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, &e))?;
        Ok(File::open(path, &bytes)?.kind()? == LANGUAGE_KIND)
    }

    /// Reads a model made of the built-in activations, to be run in single precision.
    ///
    /// # Errors
    /// As [`read_with`](Self::read_with).
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_with(path, &Activations::new(), Seed(0), Target::best()?)
    }

    /// Reads a model. `seed` is for what its further training draws at random.
    ///
    /// # Errors
    /// A file that is not a saved language model or is damaged, one of a later version, activations that are not in
    /// `activations`, tensors that are missing or of other shapes than the model that the file describes.
    pub fn read_with(path: &Path, activations: &Activations<'_>, seed: Seed, target: Target) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, &e))?;
        let file = File::open(path, &bytes)?;
        let Header { network: Kind::Language(recipe), legend, about, version, .. } = header(path, &file)?;
        let inside = |error: Error| Error { message: format!("{}: {}", path.display(), error.message), ..error };
        let known = |name: &&str| activations.names().any(|known| known == *name);
        if let Some(unknown) = recipe.cell.activations().into_iter().find(|name| !known(name)) {
            return Err(inside(Error::user(format!(
                "its cell has the activation \"{unknown}\", which is not built in"
            )))
            .hint("the script that made it defines it: there, net.save_onnx(…) and load_language_model(…) do"));
        }
        let admit = |layers: &[Layer], table: &[WeightInfo]| file.check(&parts(layers, table));
        let mut model = LanguageModel::admitted(recipe, activations, seed, target, admit).map_err(inside)?;
        if let Some(words) = legend.words {
            model = model.with_words(words).map_err(inside)?;
        }
        fill(&file, &model)?;
        Ok(Self { model, about, version })
    }

    /// Puts a file's weights, running statistics and alphas into a model that is built already.
    ///
    /// # Errors
    /// As [`read_with`](Self::read_with), and a file of another model, both named. The model is unchanged then.
    pub fn load_into(path: &Path, model: &LanguageModel) -> Result<()> {
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, &e))?;
        let file = File::open(path, &bytes)?;
        let Header { network: Kind::Language(recipe), .. } = header(path, &file)?;
        if recipe != *model.recipe() {
            return Err(Error::user(format!(
                "{} holds another model than this one: {recipe}, not {}",
                path.display(),
                model.recipe()
            ))
            .hint("load_language_model(file) builds the model that the file holds"));
        }
        file.check(&parts(&model.layers, model.table()))?;
        fill(&file, model)
    }
}

impl CellRecipe {
    /// The activations that it names.
    fn activations(&self) -> Vec<&str> {
        match self {
            Self::Search { activations, .. } => activations.iter().map(String::as_str).collect(),
            Self::Genotype { genotype } => genotype.nodes().map(|(name, _)| name).collect(),
            Self::Tree { tree } => tree.activations().collect(),
            Self::Lstm | Self::CappedLstm | Self::Highway { .. } | Self::Nas => vec![],
        }
    }
}

/// The header of a file that holds a language model.
fn header(path: &Path, file: &File<'_>) -> Result<Header> {
    match file.kind()? == LANGUAGE_KIND {
        true => file.header(),
        false => Err(Error::user(format!("{} holds a network of images, not a language model", path.display()))
            .hint("load_network(file) reads it")),
    }
}

/// All that a file holds of a model: the weights, the running statistics, the alphas, layer by layer.
fn parts(layers: &[Layer], table: &[WeightInfo]) -> Vec<Part> {
    let weight =
        |weight: &WeightInfo| Part { name: weight.name.clone(), shape: weight.shape.clone(), range: weight.range() };
    let mut parts: Vec<Part> = table.iter().map(weight).collect();
    let mut end = table.last().map_or(0, |last| last.range().end);
    let mut add = |name: String, shape: Vec<usize>| {
        let range = end..end + shape.iter().product::<usize>();
        end = range.end;
        parts.push(Part { name, shape, range });
    };
    let named = |index: usize, name: String| if layers.len() == 1 { name } else { format!("{index}.{name}") };
    for (index, layer) in layers.iter().enumerate() {
        // In the order of the flat vector: a norm's means, then its variances.
        for norm in layer.engine.graph().norms() {
            for what in ["running_mean", "running_var"] {
                add(named(index, format!("{}.{what}", norm.name)), vec![norm.channels]);
            }
        }
    }
    for (index, layer) in layers.iter().enumerate() {
        for block in layer.engine.graph().slot_blocks() {
            add(named(index, block.name.clone()), vec![block.rows, block.columns]);
        }
    }
    parts
}

fn fill(file: &File<'_>, model: &LanguageModel) -> Result<()> {
    let numbers = file.numbers(&parts(&model.layers, model.table()))?;
    let mut rest = numbers.as_slice();
    let mut next = |count: usize| {
        let (taken, left) = rest.split_at(count);
        rest = left;
        taken
    };
    let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu);
    let weights = model.parameters();
    model.set_weights(&tensor(next(weights), &[weights])?)?;
    for layer in model.layers.iter() {
        let values = next(layer.engine.graph().statistics_len());
        layer.statistics.set(&values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>())?;
    }
    for (_, alpha) in model.alphas().iter() {
        let dims = alpha.dims();
        alpha.set(&tensor(next(dims.iter().product()), dims)?.to_dtype(alpha.dtype())?)?;
    }
    Ok(())
}
