//! Networks that begin where another one stands: copies, and weights moved from one network to another by name.

use super::Network;
use crate::parameter::Parameter;
use crate::space::alphas::Alphas;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What [`Network::take_from`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Weights and batch norms that have the other network's values now, or begin with them where they are wider.
    pub moved: Vec<String>,
    /// Those of this network that the other one does not have.
    pub missing: Vec<String>,
    /// Those that have another shape there.
    pub other_shape: Vec<String>,
}

impl Network {
    /// The same network with weights, running statistics, alphas and draws of its own, which begin at the same values.
    ///
    /// # Errors
    /// Those of the device.
    pub fn copy(&self) -> Result<Self> {
        let own = |parameter: &Parameter| Parameter::new(&parameter.detached());
        let alphas = self.alphas.iter().map(|(name, alpha)| Ok((name.to_string(), own(alpha)?)));
        let alphas = Alphas::new(alphas.collect::<Result<_>>()?);
        let chance = Arc::new(self.chance.copy());
        Ok(Self { weights: own(&self.weights)?, statistics: self.statistics.copy(), alphas, chance, ..self.clone() })
    }

    /// Moves the weights and running statistics that another network has under the same names into this one; alphas
    /// stay. With `widen`, a weight that is larger here along any axis begins with the other's values and keeps its own
    /// beyond them; without, it stays and is listed.
    ///
    /// # Errors
    /// Networks that have no name in common.
    pub fn take_from(&self, other: &Network, widen: bool) -> Result<Moved> {
        let mut told = Moved::default();
        let mut flat = values(&self.weights.detached())?;
        let theirs = values(&other.weights.detached())?;
        for own in self.graph().weights() {
            let Some(from) = other.graph().weight(&own.name) else {
                told.missing.push(own.name.clone());
                continue;
            };
            let fits = own.shape.len() == from.shape.len() && own.shape.iter().zip(&from.shape).all(|(a, b)| a >= b);
            if own.shape != from.shape && !(widen && fits) {
                told.other_shape.push(own.name.clone());
                continue;
            }
            spread(&theirs[from.range()], &from.shape, &mut flat[own.range()], &own.shape);
            told.moved.push(own.name.clone());
        }
        let mut statistics = self.statistics.values();
        let given = other.statistics.values();
        let norms: BTreeMap<&str, _> = other.graph().norms().iter().map(|norm| (norm.name.as_str(), norm)).collect();
        for own in self.graph().norms() {
            let Some(from) = norms.get(own.name.as_str()) else {
                told.missing.push(own.name.clone());
                continue;
            };
            if own.channels != from.channels && !(widen && own.channels > from.channels) {
                told.other_shape.push(own.name.clone());
                continue;
            }
            for (to, from) in [(own.mean(), from.mean()), (own.variance(), from.variance())] {
                statistics[to][..from.len()].copy_from_slice(&given[from]);
            }
            told.moved.push(own.name.clone());
        }
        if told.moved.is_empty() {
            return Err(Error::user("the two networks have no weight in common, by name and shape")
                .hint("weights are moved between supernets whose cells, edges and ops are called the same"));
        }
        let flat = Tensor::from_vec(flat, self.weights.dims(), self.weights.device())?;
        self.weights.set(&flat.to_dtype(self.weights.dtype())?)?;
        self.statistics.set(&statistics)?;
        Ok(told)
    }

    /// The same network with copies of all that it holds, in `f64`, by the exact executor; this one stays what it is.
    ///
    /// # Errors
    /// As [`in_double_precision`](Self::in_double_precision).
    pub fn doubled(&self) -> Result<Self> {
        let copy = self.copy()?;
        match copy.engine.dtype() {
            DType::F64 => Ok(copy),
            _ => copy.in_double_precision(),
        }
    }
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_dtype(DType::F64)?.to_vec1()?)
}

/// Copies an array into the beginning of a larger one, along every axis.
fn spread(from: &[f64], small: &[usize], to: &mut [f64], large: &[usize]) {
    match (small, large) {
        ([small, inner_small @ ..], [large, inner_large @ ..]) if small * large != 0 => {
            let (a, b) = (from.len() / small, to.len() / large);
            for (from, to) in from.chunks(a).zip(to.chunks_mut(b)) {
                spread(from, inner_small, to, inner_large);
            }
        }
        _ => to[..from.len()].copy_from_slice(from),
    }
}
