//! What is exported of a language model: its parts with their numbers.

use crate::export::sheet::Sheet;
use crate::graph::WeightInfo;
use crate::graph::recurrent::RecurrentGraph;
use crate::{Error, Result};

/// A language model as it is exported.
pub struct LanguageSource<'a> {
    /// All weights, flat: what the tables below point into.
    pub weights: &'a [f32],
    /// Vocabulary × width; the decoder's matrix too.
    pub embedding: &'a WeightInfo,
    /// From the first: each reads the output of the one before.
    pub layers: Vec<LayerSource<'a>>,
    /// The outputs of all layers are added; otherwise the last one's counts.
    pub skip: bool,
    /// What the decoder's matrix multiplies.
    pub rows: Rows<'a>,
    /// Of the decoder: a number a word.
    pub bias: Option<&'a WeightInfo>,
}

/// One layer of a language model.
pub struct LayerSource<'a> {
    /// One time step.
    pub graph: &'a RecurrentGraph,
    /// The weights of `graph`, in its order: what they are called in the model and where they lie in its flat vector.
    pub table: &'a [WeightInfo],
    /// Running statistics, flat, as the graph lays them out.
    pub statistics: Vec<f32>,
    /// The mixing weights by slot; empty for a graph without slots.
    pub mixing: Vec<f32>,
}

/// What becomes of the layers' output y (width W) before the decoder's matrix (width E) multiplies it.
pub enum Rows<'a> {
    /// Nothing: W = E.
    Plain,
    /// y · projection; W × E.
    Projected(&'a WeightInfo),
    /// A mixture of softmaxes (Yang et al. 2018): expert k's row is the k-th part of tanh(y · weight + bias), W × KE
    /// and KE; the experts' shares are softmax(y · prior), W × K. `least` is added to every probability before its
    /// logarithm is taken.
    Mixed { experts: usize, weight: &'a WeightInfo, bias: &'a WeightInfo, prior: &'a WeightInfo, least: f32 },
}

impl LanguageSource<'_> {
    /// A weight as a constant, written once. Gives its name.
    pub(super) fn constant(&self, sheet: &mut Sheet, info: &WeightInfo) -> String {
        sheet.share(&format!("weight at {}", info.offset), |sheet| {
            sheet.floats(&info.name, &info.shape, self.weights[info.range()].iter().copied())
        })
    }

    pub(super) fn check(&self) -> Result<()> {
        let [vocabulary, embedding] = self.embedding.shape[..] else {
            return Err(Error::user(format!("an embedding is vocabulary × width, not {:?}", self.embedding.shape)));
        };
        if self.layers.is_empty() {
            return Err(Error::user("the model has no layers"));
        }
        let mut needed = vec![(self.embedding, self.embedding.shape.clone())];
        let mut width = embedding;
        let mut widths = vec![];
        for (index, layer) in self.layers.iter().enumerate() {
            let reads = layer.graph.width(layer.graph.input());
            if reads != width {
                return Err(Error::user(format!("layer {index} reads vectors of width {reads}, not {width}")));
            }
            width = layer.graph.width(layer.graph.ends()?.0);
            widths.push(width);
            layer.check(index)?;
            let shapes = layer.graph.weights().iter().map(|weight| weight.shape.clone());
            needed.extend(layer.table.iter().zip(shapes));
        }
        if self.skip && widths.iter().any(|&other| other != width) {
            return Err(Error::user(format!("layers of widths {widths:?} cannot be added to one another")));
        }
        needed.extend(self.bias.map(|bias| (bias, vec![vocabulary])));
        match self.rows {
            Rows::Plain if width == embedding => {}
            Rows::Plain => {
                return Err(Error::user(format!("the decoder takes rows of width {embedding}, not {width}")));
            }
            Rows::Projected(projection) => needed.push((projection, vec![width, embedding])),
            Rows::Mixed { experts, weight, bias, prior, .. } => needed.extend([
                (weight, vec![width, experts * embedding]),
                (bias, vec![experts * embedding]),
                (prior, vec![width, experts]),
            ]),
        }
        if let Some((info, shape)) = needed.iter().find(|(info, shape)| info.shape != *shape) {
            return Err(Error::user(format!("weight \"{}\" is {:?}, not {shape:?}", info.name, info.shape)));
        }
        match needed.iter().map(|(info, _)| info.range().end).max() {
            Some(end) if end > self.weights.len() => {
                Err(Error::user(format!("the model has {end} weights, not {}", self.weights.len())))
            }
            _ => Ok(()),
        }
    }
}

impl LayerSource<'_> {
    fn check(&self, index: usize) -> Result<()> {
        let lengths = [
            ("named weights", self.table.len(), self.graph.weights().len()),
            ("running statistics", self.statistics.len(), self.graph.statistics_len()),
            ("mixing weights", self.mixing.len(), self.graph.slot_count()),
        ];
        match lengths.into_iter().find(|(_, given, needed)| given != needed) {
            Some((what, given, needed)) => Err(Error::user(format!("layer {index} has {needed} {what}, not {given}"))),
            None => Ok(()),
        }
    }
}
