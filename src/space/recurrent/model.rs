//! A language model: embedded words, layers of recurrent cells, a decoder over the vocabulary that is tied to the
//! embedding.
//!
//! All weights are one flat parameter: the embedding, the decoder's bias, what stands between the last layer and the
//! decoder, then each layer's. Alphas, running statistics and the count of passes belong to it as they do to a network
//! of images.

use super::activations::Activations;
use super::cells::HIDDEN_WEIGHT;
use super::dropouts::Dropouts;
use super::memory::{Keeper, Memory};
use super::recipe::{CellRecipe, LanguageRecipe};
use crate::engine::recurrent::RecurrentEngine;
use crate::engine::{DecoderLoss, Draws, Mode, RunningStatistics, Target};
use crate::graph::recurrent::RecurrentGraph;
use crate::graph::{Init, WeightInfo};
use crate::random::Seed;
use crate::space::alphas::{Alphas, alpha};
use crate::space::chance::Chance;
use crate::space::state::check_state;
use crate::{Error, Parameter, Result};
use candle_core::{DType, Device, Tensor};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// The embedding, vocabulary × width; the decoder's matrix too.
pub const EMBEDDING: &str = "embedding";
/// The decoder's bias.
pub const BIAS: &str = "bias";
/// From the last layer's width down to the embedding's, where they differ.
pub const PROJECTION: &str = "projection.weight";
/// From the last layer's width to all experts' vectors.
pub const LATENT: [&str; 2] = ["latent.weight", "latent.bias"];
/// From the last layer's width to the experts' shares.
pub const PRIOR: &str = "prior.weight";

/// The embedding starts uniform within this bound (`docs/darts.md` B2).
const BOUND: Init = Init::Uniform(0.04);

/// One layer, and where its weights lie in the flat vector.
#[derive(Clone)]
pub(super) struct Layer {
    pub engine: RecurrentEngine,
    pub range: Range<usize>,
    pub statistics: RunningStatistics,
}

impl Layer {
    /// Where the matrices between states lie within the layer's weights: what DropConnect thins.
    pub fn hidden_weights(&self) -> Vec<Range<usize>> {
        let weights = self.engine.graph().weights().iter();
        weights.filter(|weight| weight.name == HIDDEN_WEIGHT).map(WeightInfo::range).collect()
    }
}

/// A language model with everything that learning changes. Clones share it.
#[derive(Clone)]
pub struct LanguageModel {
    recipe: Arc<LanguageRecipe>,
    pub(super) layers: Arc<[Layer]>,
    pub(super) decoder: DecoderLoss,
    table: Arc<[WeightInfo]>,
    weights: Parameter,
    alphas: Alphas,
    chance: Arc<Chance>,
    dropouts: Arc<Mutex<Dropouts>>,
    words: Option<Arc<[String]>>,
    pub(super) memory: Memory,
}

impl LanguageModel {
    /// A freshly initialised model: weights as each cell says, alphas 1e-3 · N(0, 1), all keyed by `seed`.
    ///
    /// # Errors
    /// Sizes beyond their bounds, widths that do not fit together, unknown activations.
    pub fn new(recipe: LanguageRecipe, activations: &Activations<'_>, seed: Seed, target: Target) -> Result<Self> {
        Self::within(recipe, activations, seed, target, Memory::default())
    }

    /// As [`new`](Self::new), with limits on what its passes take.
    ///
    /// # Errors
    /// As for [`new`](Self::new); a limit within which not even one word can be trained on. Windows that are too large
    /// are errors of their passes.
    pub fn within(
        recipe: LanguageRecipe,
        activations: &Activations<'_>,
        seed: Seed,
        target: Target,
        memory: Memory,
    ) -> Result<Self> {
        let own = recipe.clone();
        let admit = |layers: &[Layer], table: &[WeightInfo]| memory.admit(&own, layers, table);
        let model = Self::admitted(recipe, activations, seed, target, admit)?;
        Ok(Self { memory, ..model })
    }

    /// The same model, whose passes are counted by `keeper` too.
    pub fn kept_by(mut self, keeper: Arc<dyn Keeper>) -> Self {
        self.memory.keeper = Some(keeper);
        self
    }

    /// As [`new`](Self::new); `admit` sees the layers and all weights before anything of their size is allocated.
    pub(super) fn admitted(
        recipe: LanguageRecipe,
        activations: &Activations<'_>,
        seed: Seed,
        target: Target,
        admit: impl FnOnce(&[Layer], &[WeightInfo]) -> Result<()>,
    ) -> Result<Self> {
        recipe.check()?;
        let mut table: Vec<WeightInfo> = Vec::new();
        let mut add = |name: String, shape: Vec<usize>, init: Init| {
            let offset = table.last().map_or(0, |last| last.range().end);
            table.push(WeightInfo { name, shape, offset, init });
        };
        let (vocabulary, embedding, width) = (recipe.vocabulary, recipe.embedding, recipe.width());
        add(EMBEDDING.into(), vec![vocabulary, embedding], BOUND);
        if recipe.bias {
            add(BIAS.into(), vec![vocabulary], Init::Constant(0.0));
        }
        let linear = Init::Uniform(1.0 / (width as f32).sqrt());
        match recipe.experts {
            0 if width != embedding => add(PROJECTION.into(), vec![width, embedding], linear),
            0 => {}
            experts => {
                add(LATENT[0].into(), vec![width, experts * embedding], linear);
                add(LATENT[1].into(), vec![experts * embedding], linear);
                add(PRIOR.into(), vec![width, experts], linear);
            }
        }
        let mut layers = Vec::new();
        let mut inputs = embedding;
        for (index, &width) in recipe.widths.iter().enumerate() {
            let graph = Arc::new(recipe.cell.build(inputs, width, activations)?);
            let start = table.last().map_or(0, |last| last.range().end);
            table.extend(graph.weights().iter().map(|weight| WeightInfo {
                name: if recipe.widths.len() == 1 { weight.name.clone() } else { format!("{index}.{}", weight.name) },
                offset: start + weight.offset,
                ..weight.clone()
            }));
            let engine = RecurrentEngine::compile(graph, target)?;
            let (range, statistics) = (start..start + engine.graph().parameters(), engine.statistics());
            layers.push(Layer { engine, range, statistics });
            inputs = width;
        }
        admit(&layers, &table)?;
        let length = table.last().map_or(0, |last| last.range().end);
        let mut flat = vec![0f32; length];
        table.iter().for_each(|weight| weight.initialise(seed, &mut flat[weight.range()]));
        let dtype = layers[0].engine.dtype();
        let typed = |parameter: Parameter| match dtype {
            DType::F32 => Ok(parameter),
            _ => Parameter::new(&parameter.detached().to_dtype(dtype)?),
        };
        let blocks = layers.iter().flat_map(|layer| layer.engine.graph().slot_blocks());
        let alphas = blocks.map(|block| alpha(block, seed, &Device::Cpu));
        let alphas = alphas.map(|alpha| alpha.and_then(|(name, alpha)| Ok((name, typed(alpha)?))));
        Ok(Self {
            weights: typed(Parameter::from_vec(flat, length, &Device::Cpu)?)?,
            alphas: Alphas::new(alphas.collect::<Result<_>>()?),
            recipe: Arc::new(recipe),
            layers: layers.into(),
            decoder: DecoderLoss::new()?,
            table: table.into(),
            chance: Arc::new(Chance::new(seed)),
            dropouts: Arc::default(),
            words: None,
            memory: Memory::default(),
        })
    }

    /// The same model, which knows its vocabulary: the word of every id.
    ///
    /// # Errors
    /// Another number of words than it was made for.
    pub fn with_words(mut self, words: impl Into<Arc<[String]>>) -> Result<Self> {
        let words = words.into();
        if words.len() != self.recipe.vocabulary {
            return Err(Error::user(format!(
                "{} words were given for a model with a vocabulary of {}",
                words.len(),
                self.recipe.vocabulary
            ))
            .hint("give `words` of the text that the model was made for"));
        }
        self.words = Some(words);
        Ok(self)
    }

    /// The word of every id, where it knows them.
    pub fn words(&self) -> Option<&[String]> {
        self.words.as_deref()
    }

    pub fn recipe(&self) -> &LanguageRecipe {
        &self.recipe
    }

    /// All weights, flat: shape `[parameters]`.
    pub fn weights(&self) -> &Parameter {
        &self.weights
    }

    pub fn alphas(&self) -> &Alphas {
        &self.alphas
    }

    /// Names, shapes and places of all weights.
    pub fn table(&self) -> &[WeightInfo] {
        &self.table
    }

    /// One time step of each layer.
    pub fn steps(&self) -> impl Iterator<Item = &RecurrentGraph> {
        self.layers.iter().map(|layer| layer.engine.graph())
    }

    /// The number of weights; alphas do not count, and the tied embedding counts once.
    pub fn parameters(&self) -> usize {
        self.weights.dims()[0]
    }

    /// Multiply-adds of one token: the cells' products and the decoder's.
    pub fn macs(&self) -> usize {
        let cells: usize = self.layers.iter().map(|layer| layer.engine.graph().macs()).sum();
        let LanguageRecipe { vocabulary, embedding, experts, .. } = *self.recipe;
        let softmaxes = experts.max(1);
        let between = self
            .table
            .iter()
            .filter(|weight| weight.name == PROJECTION || weight.name == LATENT[0] || weight.name == PRIOR);
        cells + between.map(WeightInfo::len).sum::<usize>() + softmaxes * vocabulary * embedding
    }

    /// The type of its weights and of every tensor that it computes.
    pub fn dtype(&self) -> DType {
        self.weights.dtype()
    }

    pub fn dropouts(&self) -> Dropouts {
        *self.dropouts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how often training passes drop.
    pub fn set_dropouts(&self, dropouts: Dropouts) {
        *self.dropouts.lock().unwrap_or_else(PoisonError::into_inner) = dropouts;
    }

    /// The candidates of every edge and the nodes of its search cell.
    ///
    /// # Errors
    /// A model of another cell.
    pub fn space(&self) -> Result<(usize, &[String])> {
        match &self.recipe.cell {
            CellRecipe::Search { nodes, activations } => Ok((*nodes, activations)),
            _ => Err(Error::user("only a recurrent supernet has candidates").hint("recurrent_supernet(…) makes one")),
        }
    }

    pub(super) fn draws(&self, mode: Mode) -> Draws {
        self.chance.draws(mode)
    }

    /// One weight's part of a flat vector (weights, a gradient), in its shape.
    ///
    /// # Errors
    /// An unknown name, with the closest one; a vector of another length.
    pub fn slice_of(&self, flat: &Tensor, name: &str) -> Result<Tensor> {
        let info = self.weight(name)?;
        if flat.dims() != self.weights.dims() {
            return Err(Error::user(format!(
                "a flat vector of this model has shape {:?}, not {:?}",
                self.weights.dims(),
                flat.dims()
            )));
        }
        Ok(flat.narrow(0, info.offset, info.len())?.reshape(info.shape.as_slice())?)
    }

    /// Name, shape and place of one weight.
    ///
    /// # Errors
    /// An unknown name, with the closest one.
    pub fn weight(&self, name: &str) -> Result<&WeightInfo> {
        let found = self.table.iter().find(|weight| weight.name == name);
        found.ok_or_else(|| Error::unknown("weight", name, self.table.iter().map(|weight| weight.name.as_str())))
    }

    /// Everything that learning changes, by name: "weights", "statistics.LAYER", "alphas.NAME", "draws".
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut state = vec![("weights".to_string(), self.weights.detached())];
        for (index, layer) in self.layers.iter().enumerate() {
            let values = layer.statistics.values();
            let length = values.len();
            if length > 0 {
                state.push((format!("statistics.{index}"), Tensor::from_vec(values, length, &Device::Cpu)?));
            }
        }
        for (name, alpha) in self.alphas.iter() {
            state.push((format!("alphas.{name}"), alpha.detached()));
        }
        state.push(("draws".to_string(), self.chance.state()?));
        Ok(state)
    }

    /// Puts back what [`state`](Self::state) gave.
    ///
    /// # Errors
    /// The state of another model; this one is unchanged then.
    pub fn restore(&self, state: &[(String, Tensor)]) -> Result<()> {
        check_state("model", &self.state()?, state)?;
        let find = |name: &str| state.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor);
        let get = |name: &str| find(name).ok_or_else(|| Error::user(format!("the saved model has no \"{name}\"")));
        self.set_weights(get("weights")?)?;
        for (index, layer) in self.layers.iter().enumerate() {
            if let Some(values) = find(&format!("statistics.{index}")) {
                layer.statistics.set(&values.to_dtype(DType::F64)?.to_vec1()?)?;
            }
        }
        for (name, alpha) in self.alphas.iter() {
            alpha.set(&get(&format!("alphas.{name}"))?.to_dtype(alpha.dtype())?)?;
        }
        self.chance.restore(get("draws")?)
    }

    /// Moves all weights to the values of a flat vector.
    ///
    /// # Errors
    /// Another length.
    pub fn set_weights(&self, flat: &Tensor) -> Result<()> {
        if flat.dims() != self.weights.dims() {
            return Err(Error::user(format!("weights have shape {:?}, not {:?}", self.weights.dims(), flat.dims())));
        }
        self.weights.set(&flat.detach().to_dtype(self.weights.dtype())?.to_device(self.weights.device())?)
    }

    /// Moves the named weights, each given in its own shape; the others stay.
    ///
    /// # Errors
    /// An unknown name, with the closest one; another shape than the weight's.
    pub fn set_named(&self, named: &[(String, Tensor)]) -> Result<()> {
        let mut flat = self.weights.detached().to_dtype(DType::F64)?.to_vec1::<f64>()?;
        for (name, value) in named {
            let info = self.weight(name)?;
            if value.dims() != info.shape {
                return Err(Error::user(format!("weight \"{name}\" is {:?}, not {:?}", info.shape, value.dims())));
            }
            let values = value.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
            flat[info.range()].copy_from_slice(&values);
        }
        let length = flat.len();
        self.weights.set(&Tensor::from_vec(flat, length, &Device::Cpu)?.to_dtype(self.weights.dtype())?)
    }
}

impl fmt::Display for LanguageModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "language model of {} weights: {}", self.parameters(), self.recipe)
    }
}
