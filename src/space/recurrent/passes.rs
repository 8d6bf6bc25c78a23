//! Passes of a language model: words in, hidden states carried along, the negative log-likelihood of the next words
//! out.

use super::cells::{HIDDEN_MASK, INPUT_MASK};
use super::derive::derive;
use super::dropouts::Dropouts;
use super::genotype::RecurrentGenotype;
use super::model::{BIAS, EMBEDDING, LATENT, LanguageModel, Layer, PRIOR, PROJECTION};
use super::weights::Weights;
use crate::engine::{Draws, Dropout, Mode, Pass, Wanted, embedded, log_probabilities};
use crate::random::{Rng, Seed};
use crate::space::alphas::Alphas;
use crate::space::dropout;
use crate::{Error, Result};
use candle_core::{D, DType, Device, Tensor};
use rand::Rng as _;
use std::ops::Range;

/// Keeps the logarithm of a mixture away from zero, as the reference does (Yang et al. 2018).
pub const LEAST: f64 = 1e-8;

/// What the layers carry from a window to the next: for each layer its states, batch × width. Detached.
#[derive(Clone, Debug, Default)]
pub struct Hidden(pub Vec<Vec<Tensor>>);

/// What a window gave.
pub struct Passed {
    /// The layers' output before any dropout, time × batch × width.
    pub raw: Tensor,
    /// The same after dropout: what the decoder sees.
    pub output: Tensor,
    /// The states after the window.
    pub hidden: Hidden,
    dropping: Dropping,
}

/// What a pass drops, and from which numbers.
#[derive(Clone, Copy)]
struct Dropping {
    draws: Draws,
    dropouts: Dropouts,
}

impl Dropping {
    fn rng(&self, what: &str) -> Rng {
        self.draws.seed.rng(&format!("dropout of {what}"), self.draws.pass)
    }

    /// One mask for all time steps of `x`, time × batch × width.
    fn locked(&self, what: &str, x: &Tensor, probability: f64) -> Result<Tensor> {
        dropout::locked(x, probability, &mut self.rng(what))
    }

    /// How a layer's engine runs.
    fn layer_pass(&self, layer: &Layer, index: usize, mode: Mode) -> Pass {
        // Every layer's masks are its own.
        let seed = Seed(self.draws.seed.rng("layers of a language model", index as u64).next_u64());
        let probabilities = [(INPUT_MASK, self.dropouts.x), (HIDDEN_MASK, self.dropouts.hidden)];
        Pass {
            mode,
            statistics: layer.statistics.clone(),
            draws: Draws { seed, ..self.draws },
            dropout: Dropout::new(probabilities),
            ..Pass::default()
        }
    }
}

impl LanguageModel {
    /// The mixing weights that the alphas lead to: the softmax over the activations of each edge.
    pub fn relax(&self, alphas: &Alphas) -> Result<Vec<Tensor>> {
        alphas.tensors().iter().map(|alpha| Ok(candle_nn::ops::softmax(alpha, 1)?)).collect()
    }

    /// The genotype that the alphas lead to, by the published rule. `p`: the mixing weights (none: the default
    /// relaxation).
    ///
    /// # Errors
    /// A model without a search cell, mixing weights of another shape.
    pub fn derive(&self, p: Option<&[Tensor]>) -> Result<RecurrentGenotype> {
        let (nodes, activations) = self.space()?;
        let relaxed = match p {
            Some(p) => p.to_vec(),
            None => self.relax(self.alphas())?,
        };
        let [rows] = relaxed.as_slice() else { return Err(Error::user("a search cell has one block of alphas")) };
        derive(&rows.detach().to_dtype(DType::F64)?.to_vec2()?, activations, nodes)
    }

    /// States of zeros for a batch of this many columns.
    ///
    /// # Errors
    /// Those of candle's allocation.
    pub fn zero_hidden(&self, batch: usize) -> Result<Hidden> {
        Ok(Hidden(self.layers.iter().map(|layer| layer.engine.zero_states(batch)).collect::<Result<_>>()?))
    }

    /// Runs a window. `words`: time × batch, u32; `w`: all weights; `p`: the mixing weights of the search cell.
    /// Gradients flow to whichever of `w` and `p` candle tracks, and back through time to the window's first step.
    ///
    /// # Errors
    /// Words beyond the vocabulary, hidden states of another model or batch, tensors of the wrong shape, an
    /// interruption.
    pub fn pass(&self, words: &Tensor, hidden: &Hidden, w: &Weights, p: &[Tensor], mode: Mode) -> Result<Passed> {
        let recipe = self.recipe();
        let [time, batch] = *words.dims() else {
            return Err(Error::user(format!("a window of words is time × batch, not {:?}", words.dims())));
        };
        self.check_words(words)?;
        self.check_hidden(hidden, batch)?;
        // Nothing is dropped in evaluation.
        let dropouts = if mode == Mode::Evaluation { Dropouts::default() } else { self.dropouts() };
        let guard = self.admit(&self.planned(dropouts, mode, w, p)?, time, batch)?;
        let dropping = Dropping { draws: self.draws(mode), dropouts };

        let (embedding, flat) = (self.part(w, EMBEDDING)?, words.flatten_all()?);
        let vectors = match w.beside(&self.weight(EMBEDDING)?.range())? {
            Some(part) => embedded(&flat, &embedding, &part)?,
            None => embedding.index_select(&flat, 0)?,
        };
        let mut rng = dropping.rng("words");
        let vectors = dropout::of_words(&vectors, &flat, recipe.vocabulary, dropouts.words, &mut rng)?;
        let vectors = vectors.reshape((time, batch, recipe.embedding))?;
        let mut x = dropping.locked("input", &vectors, dropouts.input)?;
        let mut after = Vec::new();
        let mut outputs = Vec::new();
        let mut p = p.iter();
        for (index, (layer, states)) in self.layers.iter().zip(&hidden.0).enumerate() {
            if index > 0 {
                x = dropping.locked(&format!("layer {index}"), &x, dropouts.between)?;
            }
            let p = match layer.engine.graph().slot_blocks() {
                [] => Tensor::zeros(1, self.dtype(), &Device::Cpu)?,
                [block] => self.mixing(p.next(), [block.rows, block.columns])?,
                _ => return Err(Error::run("a cell has one block of alphas")),
            };
            let own = w.range(layer.range.clone())?;
            let mut rng = dropping.rng(&format!("weights of layer {index}"));
            let own = dropout::connections(&own, &layer.hidden_weights(), dropouts.weights, &mut rng)?;
            let pass = Pass { guard: guard.clone(), ..dropping.layer_pass(layer, index, mode) };
            let part = w.beside(&layer.range)?;
            let (y, next) = layer.engine.gathering(&x, states, &own, &p, &pass, part)?;
            after.push(next);
            outputs.push(y.clone());
            x = y;
        }
        let raw = match recipe.skip {
            true => outputs.iter().skip(1).try_fold(outputs[0].clone(), |sum, output| sum + output)?,
            false => x,
        };
        let output = dropping.locked("output", &raw, dropouts.output)?;
        Ok(Passed { raw, output, hidden: Hidden(after), dropping })
    }

    /// How each layer runs but for what it draws, and which gradients it will be asked for.
    fn planned(&self, dropouts: Dropouts, mode: Mode, w: &Weights, p: &[Tensor]) -> Result<Vec<(Pass, Wanted)>> {
        let wants =
            |range: Range<usize>| Ok::<_, Error>(w.range(range.clone())?.track_op() || w.beside(&range)?.is_some());
        let mut x = wants(self.weight(EMBEDDING)?.range())?;
        let mut p = p.iter();
        let layers = self.layers.iter().zip(self.planned_passes(dropouts, mode)).map(|(layer, pass)| {
            let mixed = !layer.engine.graph().slot_blocks().is_empty();
            let p = mixed && p.next().is_some_and(Tensor::track_op);
            let wanted = Wanted { x, w: wants(layer.range.clone())?, p };
            x = wanted.any();
            Ok((pass, wanted))
        });
        layers.collect()
    }

    /// How each layer runs but for what it draws.
    pub(super) fn planned_passes(&self, dropouts: Dropouts, mode: Mode) -> Vec<Pass> {
        let dropping = Dropping { draws: Draws::default(), dropouts };
        self.layers.iter().enumerate().map(|(index, layer)| dropping.layer_pass(layer, index, mode)).collect()
    }

    /// The negative log-likelihood of each next word, [time · batch]. `next`: time × batch, u32.
    ///
    /// # Errors
    /// Words beyond the vocabulary, another number of them than the window has.
    pub fn surprise(&self, passed: &Passed, next: &Tensor, w: &Weights) -> Result<Tensor> {
        let targets = next.flatten_all()?;
        let (e, b) = (self.part(w, EMBEDDING)?, self.decoder_bias(w)?);
        let of_bias = if self.recipe().bias { w.beside(&self.weight(BIAS)?.range())? } else { None };
        let parts = [w.beside(&self.weight(EMBEDDING)?.range())?, of_bias];
        match self.shares(passed, w)? {
            None => self.decoder.gathering(&self.decoded(passed, w)?, &e, &b, &targets, parts),
            Some(shares) => {
                // Of every expert only the target's probability is needed.
                let experts = self.recipe().experts;
                let each = targets.unsqueeze(1)?.repeat((1, experts))?.flatten_all()?;
                let surprise = self.decoder.gathering(&self.decoded(passed, w)?, &e, &b, &each, parts)?;
                let likelihood = (shares * surprise.reshape(((), experts))?.neg()?.exp()?)?.sum(1)?;
                Ok((likelihood + LEAST)?.log()?.neg()?)
            }
        }
    }

    /// The logarithms of the probabilities of every next word, [time · batch] × vocabulary: for prediction, a few rows
    /// at a time.
    ///
    /// # Errors
    /// Those of candle.
    pub fn log_probabilities(&self, passed: &Passed, w: &Weights) -> Result<Tensor> {
        let (e, b) = (self.part(w, EMBEDDING)?, self.decoder_bias(w)?);
        let each = log_probabilities(&self.decoded(passed, w)?, &e, &b)?;
        match self.shares(passed, w)? {
            None => Ok(each),
            Some(shares) => {
                let (rows, experts) = shares.dims2()?;
                let likelihood = each.exp()?.reshape((rows, experts, ()))?.broadcast_mul(&shares.unsqueeze(2)?)?;
                Ok((likelihood.sum(1)? + LEAST)?.log()?)
            }
        }
    }

    /// The rows that the decoder's matrix multiplies: the output's, projected, or those of every expert.
    fn decoded(&self, passed: &Passed, w: &Weights) -> Result<Tensor> {
        let recipe = self.recipe();
        let (time, batch, width) = passed.output.dims3()?;
        let rows = passed.output.reshape((time * batch, width))?;
        if recipe.experts == 0 {
            return match width == recipe.embedding {
                true => Ok(rows),
                false => Ok(rows.matmul(&self.part(w, PROJECTION)?)?),
            };
        }
        let latent = rows.matmul(&self.part(w, LATENT[0])?)?.broadcast_add(&self.part(w, LATENT[1])?)?.tanh()?;
        let latent = latent.reshape((time, batch, recipe.experts * recipe.embedding))?;
        let latent = passed.dropping.locked("latent", &latent, passed.dropping.dropouts.latent)?;
        Ok(latent.reshape((time * batch * recipe.experts, recipe.embedding))?)
    }

    /// The experts' shares, rows × experts; none without a mixture.
    fn shares(&self, passed: &Passed, w: &Weights) -> Result<Option<Tensor>> {
        if self.recipe().experts == 0 {
            return Ok(None);
        }
        let (time, batch, width) = passed.output.dims3()?;
        let logits = passed.output.reshape((time * batch, width))?.matmul(&self.part(w, PRIOR)?)?;
        Ok(Some(candle_nn::ops::softmax(&logits, D::Minus1)?))
    }

    fn decoder_bias(&self, w: &Weights) -> Result<Tensor> {
        match self.recipe().bias {
            true => self.part(w, BIAS),
            false => Ok(Tensor::zeros(self.recipe().vocabulary, self.dtype(), &Device::Cpu)?),
        }
    }

    /// One weight in its shape.
    fn part(&self, w: &Weights, name: &str) -> Result<Tensor> {
        let info = self.weight(name)?;
        Ok(w.range(info.range())?.reshape(info.shape.as_slice())?)
    }

    fn mixing(&self, p: Option<&Tensor>, shape: [usize; 2]) -> Result<Tensor> {
        let p = p.ok_or_else(|| Error::user("the search cell's mixing weights are missing"))?;
        match p.dims() == shape {
            true => Ok(p.to_dtype(self.dtype())?.flatten_all()?),
            false => Err(Error::user(format!(
                "mixing weights \"alphas\" must be {} edges × {} activations, not {:?}",
                shape[0],
                shape[1],
                p.dims()
            ))),
        }
    }

    fn check_words(&self, words: &Tensor) -> Result<()> {
        let vocabulary = self.recipe().vocabulary;
        if words.dtype() != DType::U32 {
            return Err(Error::user(format!("words are ids of type u32, not {}", words.dtype().as_str())));
        }
        match words.flatten_all()?.to_vec1::<u32>()?.into_iter().find(|&word| word as usize >= vocabulary) {
            None => Ok(()),
            Some(word) => Err(Error::user(format!("word {word} is beyond the model's vocabulary of {vocabulary}"))
                .hint("was the model made for another text?")),
        }
    }

    fn check_hidden(&self, hidden: &Hidden, batch: usize) -> Result<()> {
        let own: Vec<Vec<[usize; 2]>> = self
            .layers
            .iter()
            .map(|layer| layer.engine.graph().states().iter().map(|state| [batch, state.width]).collect())
            .collect();
        let fits = hidden.0.len() == own.len()
            && hidden.0.iter().zip(&own).all(|(given, own)| {
                given.len() == own.len() && given.iter().zip(own).all(|(given, own)| given.dims() == own)
            });
        match fits {
            true => Ok(()),
            false => {
                let given: Vec<Vec<&[usize]>> =
                    hidden.0.iter().map(|states| states.iter().map(Tensor::dims).collect()).collect();
                Err(Error::user(format!(
                    "the hidden states are {given:?}, where the window and the model take {own:?}"
                ))
                .hint("hidden states belong to one model and one number of columns"))
            }
        }
    }
}
