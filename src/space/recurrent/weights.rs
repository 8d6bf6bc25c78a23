//! The flat weights of a language model, cut into what its passes use.
//!
//! Candle's gradient of a slice is as long as the whole. So whoever wants gradients of the flat vector of a large model
//! takes [`Weights::leaves`]: parts that are variables of their own, whose gradients are put together once.

use super::model::LanguageModel;
use crate::graph::WeightInfo;
use crate::{Error, Result};
use candle_core::{Tensor, Var};
use std::ops::Range;

/// Parts of the flat vector, one after another without gaps.
pub struct Weights {
    parts: Vec<(Range<usize>, Tensor)>,
}

impl Weights {
    /// Slices of a flat vector, through which gradients flow back into it.
    ///
    /// # Errors
    /// A vector of another length.
    pub fn slices(model: &LanguageModel, flat: &Tensor) -> Result<Self> {
        Self::cut(model, flat, |part| Ok(part.clone()))
    }

    /// Variables with the values of a flat vector.
    ///
    /// # Errors
    /// A vector of another length.
    pub fn leaves(model: &LanguageModel, flat: &Tensor) -> Result<Self> {
        Self::cut(model, &flat.detach(), |part| Ok(Var::from_tensor(part)?.as_tensor().clone()))
    }

    fn cut(model: &LanguageModel, flat: &Tensor, made: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        if flat.dims() != model.weights().dims() {
            return Err(Error::user(format!("weights have shape {:?}, not {:?}", model.weights().dims(), flat.dims())));
        }
        let before_layers = model.table().iter().map(WeightInfo::range);
        let first = model.layers.first().map_or(usize::MAX, |layer| layer.range.start);
        let of_layers = model.layers.iter().map(|layer| layer.range.clone());
        let ranges = before_layers.take_while(|range| range.start < first).chain(of_layers);
        let part = |range: Range<usize>| {
            let tensor = made(&flat.narrow(0, range.start, range.len())?)?;
            Ok((range, tensor))
        };
        Ok(Self { parts: ranges.map(part).collect::<Result<_>>()? })
    }

    /// A range of the flat vector, within one part.
    ///
    /// # Errors
    /// A range that no part holds.
    pub fn range(&self, range: Range<usize>) -> Result<Tensor> {
        let holds = |(part, _): &&(Range<usize>, Tensor)| part.start <= range.start && range.end <= part.end;
        let (part, tensor) = self
            .parts
            .iter()
            .find(holds)
            .ok_or_else(|| Error::run(format!("weights {} to {} lie in no part", range.start, range.end)))?;
        match *part == range {
            true => Ok(tensor.clone()),
            false => Ok(tensor.narrow(0, range.start - part.start, range.len())?),
        }
    }

    /// All parts, in the order of the flat vector.
    pub fn parts(&self) -> impl Iterator<Item = &Tensor> {
        self.parts.iter().map(|(_, part)| part)
    }
}
