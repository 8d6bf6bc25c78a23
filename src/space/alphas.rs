//! Architecture parameters: what a search learns besides weights.

use super::cell::incoming;
use crate::graph::SlotBlock;
use crate::random::Seed;
use crate::{Error, Parameter, Result};
use candle_core::{Device, Tensor};
use rand_distr::{Distribution, StandardNormal};

/// Standard deviation of the alphas' first values (`docs/darts.md` A3).
const ALPHA_SCALE: f32 = 1e-3;

/// Architecture parameters: one named parameter for every slot block, in the graph's order.
#[derive(Clone, Debug)]
pub struct Alphas {
    named: Vec<(String, Parameter)>,
}

impl Alphas {
    pub fn new(named: Vec<(String, Parameter)>) -> Self {
        Self { named }
    }

    /// The parameter of this name.
    ///
    /// # Errors
    /// An unknown name, with the closest one.
    pub fn get(&self, name: &str) -> Result<&Parameter> {
        let found = self.named.iter().find(|(known, _)| known == name);
        found.map(|(_, parameter)| parameter).ok_or_else(|| Error::unknown("alpha", name, self.names()))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|(name, _)| name.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.named.iter().map(|(name, parameter)| (name.as_str(), parameter))
    }

    /// The parameters in order, as optimisers take them.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.named.iter().map(|(_, parameter)| parameter.clone()).collect()
    }

    /// The current values in order, tracked: edges × operations for each block of candidates.
    pub fn tensors(&self) -> Vec<Tensor> {
        self.named.iter().map(|(_, parameter)| parameter.tensor()).collect()
    }

    pub fn len(&self) -> usize {
        self.named.len()
    }

    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }
}

/// The alphas of one block, 1e-3 · N(0, 1).
pub(super) fn alpha(block: &SlotBlock, seed: Seed, device: &Device) -> Result<(String, Parameter)> {
    let mut rng = seed.rng(&format!("alphas.{}", block.name), 0);
    let normal = |_| {
        let z: f32 = StandardNormal.sample(&mut rng);
        ALPHA_SCALE * z
    };
    let values: Vec<f32> = (0..block.len()).map(normal).collect();
    Ok((block.name.clone(), Parameter::from_vec(values, (block.rows, block.columns), device)?))
}

/// The softmax of edge weights over the edges into each node; edges × 1.
pub(super) fn softmax_by_node(betas: &Tensor, nodes: usize) -> Result<Tensor> {
    let of_node = |node: usize| {
        let edges = incoming(node);
        candle_nn::ops::softmax(&betas.narrow(0, edges.start, edges.len())?, 0)
    };
    let all = (0..nodes).map(of_node).collect::<candle_core::Result<Vec<_>>>()?;
    Ok(Tensor::cat(&all, 0)?)
}
