//! From alphas to the mixing weights of a network's blocks, and to a genotype.

use super::Network;
use crate::space::alphas::{Alphas, softmax_by_node};
use crate::space::cell::CellKind;
use crate::space::genotype::Genotype;
use crate::space::rules::Selection;
use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// The mixing weights of one block of a supernet.
#[derive(Clone, Debug)]
pub struct NamedMixing {
    /// The block: "normal", "betas_reduce".
    pub name: String,
    /// The candidates, or "edge weight".
    pub columns: Vec<String>,
    /// Edges × columns.
    pub rows: Vec<Vec<f64>>,
}

impl Network {
    /// The default relaxation: for every block the softmax over the candidates of each edge, and for edge weights that
    /// over the edges into each node; a candidate that a mask left out takes no part and gets 0, and so does an edge
    /// without candidates.
    ///
    /// # Errors
    /// As [`relax_among`](Self::relax_among).
    pub fn relax(&self, alphas: &Alphas) -> Result<Vec<Tensor>> {
        self.relax_among(alphas, None)
    }

    /// The default relaxation over the slots of `active` (none: all that there are), as a pass that runs only these
    /// takes it: each edge's weights sum to 1 over the candidates that run.
    ///
    /// # Errors
    /// Another number of slots than the network has; nothing that runs at all, or a node of a cell without a candidate.
    pub fn relax_among(&self, alphas: &Alphas, active: Option<&[bool]>) -> Result<Vec<Tensor>> {
        let present = self.present(active)?;
        let relaxed = alphas.tensors().into_iter().zip(present.iter()).enumerate().map(|(block, (alpha, present))| {
            let softmax = |alpha: &Tensor| match self.edge_weights() {
                Some(nodes) if block >= CellKind::BOTH.len() => softmax_by_node(alpha, nodes),
                _ => Ok(candle_nn::ops::softmax(alpha, 1)?),
            };
            match present {
                None => softmax(&alpha),
                Some(present) => {
                    let absent = present.affine(1e30, -1e30)?;
                    // The product clears edges that carry nothing at all, whose softmax would be uniform.
                    Ok((softmax(&(alpha + absent)?)? * present)?)
                }
            }
        });
        relaxed.collect()
    }

    /// The nodes of a cell, where its edges have weights of their own.
    fn edge_weights(&self) -> Option<usize> {
        self.space().filter(|space| space.edge_weights).map(|space| space.nodes)
    }

    /// Candidates' mixing weights, edges × operations for each kind of cell, times the edges' own where there are any;
    /// what else there is follows.
    fn weighted_by_edge(&self, p: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut p = p.to_vec();
        if self.edge_weights().is_some() {
            for kind in CellKind::BOTH {
                let (own, of_edge) = (kind as usize, kind as usize + CellKind::BOTH.len());
                p[own] = p[own].broadcast_mul(&p[of_edge])?;
            }
        }
        Ok(p)
    }

    /// Checks that there is one matrix of mixing weights for every block, in its shape.
    fn check_mixing(&self, p: &[Tensor]) -> Result<()> {
        let blocks = self.graph().slot_blocks();
        if p.len() != blocks.len() {
            return Err(Error::user(format!("{} mixing weights were given for {} slot blocks", p.len(), blocks.len())));
        }
        for (block, p) in blocks.iter().zip(p) {
            if p.dims() != [block.rows, block.columns] {
                return Err(Error::user(format!(
                    "mixing weights \"{}\" must be {} edges × {} operations, not {:?}",
                    block.name,
                    block.rows,
                    block.columns,
                    p.dims()
                )));
            }
        }
        Ok(())
    }

    /// The blocks' mixing weights as the one flat vector that the engine takes. `active`: the slots that run (none:
    /// all).
    pub(super) fn flat_mixing(&self, p: &[Tensor], active: Option<&[bool]>) -> Result<Tensor> {
        self.check_mixing(p)?;
        self.check_left_out(p, &self.present(active)?)?;
        if p.is_empty() {
            return Ok(Tensor::zeros(1, self.weights.dtype(), self.weights.device())?);
        }
        let same = |p: &Tensor| p.to_dtype(self.weights.dtype());
        let p = self.weighted_by_edge(&p.iter().map(same).collect::<candle_core::Result<Vec<_>>>()?)?;
        let flat = p.iter().map(Tensor::flatten_all).collect::<candle_core::Result<Vec<_>>>()?;
        Ok(Tensor::cat(&flat, 0)?)
    }

    /// The default relaxation's mixing weights as the flat vector that the engine takes, tracked back to the alphas.
    ///
    /// # Errors
    /// As [`relax_among`](Self::relax_among).
    pub fn mixing_weights(&self) -> Result<Tensor> {
        self.flat_mixing(&self.relax(&self.alphas)?, None)
    }

    /// The mixing weights that the alphas lead to, slot by slot; none where nothing is mixed.
    ///
    /// # Errors
    /// As [`relax_among`](Self::relax_among).
    pub fn mixing(&self) -> Result<Vec<f32>> {
        match self.graph().slot_count() {
            0 => Ok(vec![]),
            _ => Ok(self.flat_mixing(&self.relax(&self.alphas)?, None)?.detach().to_dtype(DType::F32)?.to_vec1()?),
        }
    }

    /// What a supernet mixes its candidates with, block by block.
    ///
    /// # Errors
    /// A network that is not a supernet.
    pub fn mixing_by_name(&self) -> Result<Vec<NamedMixing>> {
        let space = self.needs_space("the names of candidates")?;
        let mut all = Vec::new();
        for (name, p) in self.alphas.names().zip(self.relax(&self.alphas)?) {
            let is = |names: fn(CellKind) -> &'static str| CellKind::BOTH.into_iter().any(|kind| names(kind) == name);
            let columns = match () {
                () if is(CellKind::name) => space.operations.clone(),
                () if is(CellKind::betas_name) => vec!["edge weight".to_string()],
                () => continue,
            };
            all.push(NamedMixing { name: name.to_string(), columns, rows: p.to_dtype(DType::F64)?.to_vec2()? });
        }
        Ok(all)
    }

    /// The genotype by the published rule. `p`: the mixing weights of every block (none: the default relaxation).
    ///
    /// # Errors
    /// A network that is not a supernet; mixing weights that are not one matrix for every block in its shape, that are
    /// not finite, or that a mask leaves out and that are not 0; a node with fewer than two edges to choose from.
    pub fn derive(&self, p: Option<&[Tensor]>) -> Result<Genotype> {
        self.derive_by(p, Selection::default())
    }

    /// The genotype by another rule.
    ///
    /// # Errors
    /// As [`derive`](Self::derive) and [`Candidates::derive`](crate::space::Candidates::derive).
    pub fn derive_by(&self, p: Option<&[Tensor]>, selection: Selection) -> Result<Genotype> {
        let space = self.needs_space("derive")?;
        let relaxed;
        let p = match p {
            Some(p) => p,
            None => {
                relaxed = self.relax(&self.alphas)?;
                &relaxed
            }
        };
        self.check_mixing(p)?;
        self.check_left_out(p, &self.presence)?;
        let p = self.weighted_by_edge(p)?;
        let rows = |kind: CellKind| -> Result<Vec<Vec<f64>>> {
            Ok(p[kind as usize].detach().to_dtype(DType::F64)?.to_vec2::<f64>()?)
        };
        space.derive_by(&rows(CellKind::Normal)?, &rows(CellKind::Reduction)?, selection)
    }
}
