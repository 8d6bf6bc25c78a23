//! The flat weights of a language model, cut into what its passes use.
//!
//! Candle's gradient of a slice is as long as the whole. So whoever wants gradients of the flat vector of a large model
//! takes [`Weights::gathering`]: the long parts' gradients are gathered beside candle's tape, and the short parts are
//! variables of their own.

use super::model::{BIAS, EMBEDDING, LanguageModel};
use crate::engine::{Gathered, Part};
use crate::graph::WeightInfo;
use crate::{Error, Result};
use candle_core::{Tensor, Var};
use std::ops::Range;

/// Parts of the flat vector, one after another without gaps.
pub struct Weights {
    parts: Vec<Cut>,
    gathered: Option<Gathered>,
}

struct Cut {
    range: Range<usize>,
    values: Tensor,
    /// Whether candle does not track it and its gradient is gathered.
    beside: bool,
}

impl Weights {
    /// Slices of a flat vector, through which gradients flow back into it.
    ///
    /// # Errors
    /// A vector of another length.
    pub fn slices(model: &LanguageModel, flat: &Tensor) -> Result<Self> {
        let parts = Self::cut(model, flat, |_, values| Ok((values.clone(), false)))?;
        Ok(Self { parts, gathered: None })
    }

    /// The values of a flat vector in single precision, cut so that [`gradient`](Self::gradient) can tell its gradient.
    ///
    /// # Errors
    /// A vector of another length.
    pub fn gathering(model: &LanguageModel, flat: &Tensor) -> Result<Self> {
        // A thinned layer is a tensor of its own, through which gradients flow as candle has them flow.
        let thinned = model.dropouts().weights > 0.0;
        let parts = Self::cut(model, &flat.detach(), |name, values| {
            let beside = match name {
                Some(name) => name == EMBEDDING || name == BIAS,
                None => !thinned,
            };
            match beside {
                true => Ok((values.clone(), true)),
                false => Ok((Var::from_tensor(values)?.as_tensor().clone(), false)),
            }
        })?;
        Ok(Self { parts, gathered: Some(Gathered::new(flat.elem_count())) })
    }

    /// `made` gets the name of what stands before the layers, none for a layer.
    fn cut(
        model: &LanguageModel,
        flat: &Tensor,
        made: impl Fn(Option<&str>, &Tensor) -> Result<(Tensor, bool)>,
    ) -> Result<Vec<Cut>> {
        if flat.dims() != model.weights().dims() {
            return Err(Error::user(format!("weights have shape {:?}, not {:?}", model.weights().dims(), flat.dims())));
        }
        let before_layers = model.table().iter().map(|info: &WeightInfo| (Some(info.name.as_str()), info.range()));
        let first = model.layers.first().map_or(usize::MAX, |layer| layer.range.start);
        let of_layers = model.layers.iter().map(|layer| (None, layer.range.clone()));
        let all = before_layers.take_while(|(_, range)| range.start < first).chain(of_layers);
        let part = |(name, range): (Option<&str>, Range<usize>)| {
            let (values, beside) = made(name, &flat.narrow(0, range.start, range.len())?)?;
            Ok(Cut { range, values, beside })
        };
        all.map(part).collect()
    }

    /// A range of the flat vector, within one part.
    ///
    /// # Errors
    /// A range that no part holds.
    pub fn range(&self, range: Range<usize>) -> Result<Tensor> {
        let Cut { range: part, values, .. } = self.holding(&range)?;
        match *part == range {
            true => Ok(values.clone()),
            false => Ok(values.narrow(0, range.start - part.start, range.len())?),
        }
    }

    /// Where the gradient of a range goes; none: to candle's tape.
    ///
    /// # Errors
    /// A range that no part holds.
    pub fn beside(&self, range: &Range<usize>) -> Result<Option<Part>> {
        let beside = self.holding(range)?.beside;
        Ok(self.gathered.as_ref().filter(|_| beside).map(|gathered| gathered.part(range.start)))
    }

    fn holding(&self, range: &Range<usize>) -> Result<&Cut> {
        let holds = |cut: &&Cut| cut.range.start <= range.start && range.end <= cut.range.end;
        let missing = || Error::run(format!("weights {} to {} lie in no part", range.start, range.end));
        self.parts.iter().find(holds).ok_or_else(missing)
    }

    /// The parts that candle tracks.
    pub fn tracked(&self) -> impl Iterator<Item = &Tensor> {
        self.parts.iter().filter(|cut| !cut.beside).map(|cut| &cut.values)
    }

    /// The gradient of the flat vector, after a backward pass that gave those of the [`tracked`](Self::tracked) parts.
    ///
    /// # Errors
    /// Weights that are slices.
    pub fn gradient(&self, tracked: Vec<Tensor>) -> Result<Tensor> {
        let gathered = self.gathered.as_ref().ok_or_else(|| Error::run("the gradients of slices are candle's"))?;
        for (cut, gradient) in self.parts.iter().filter(|cut| !cut.beside).zip(tracked) {
            gathered.part(cut.range.start).put(&gradient)?;
        }
        gathered.take()
    }
}
