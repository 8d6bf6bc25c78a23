//! Which candidates take part in a pass: those that the space has, less those that the pass leaves out.
//!
//! A candidate that does not take part has the mixing weight 0. The default relaxation shares an edge's whole weight
//! out among the others; mixing weights that a caller gives must do so themselves, and are refused where they do not.

use super::Network;
use crate::space::cell::{CellKind, incoming};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use std::sync::Arc;

/// By slot block, 1 where a candidate takes part and 0 where it does not, rows × columns; none where all do.
pub(super) type Presence = Arc<[Option<Tensor>]>;

impl Network {
    /// For every slot block, rows × columns: 1 where there is a candidate, 0 where the space's mask left it out.
    ///
    /// # Errors
    /// Those of the device.
    pub fn mask(&self) -> Result<Vec<Tensor>> {
        let blocks = self.graph().slot_blocks().iter().zip(self.presence.iter());
        let mask = blocks.map(|(block, presence)| match presence {
            Some(presence) => Ok(presence.clone()),
            None => Ok(Tensor::ones((block.rows, block.columns), self.weights.dtype(), self.weights.device())?),
        });
        mask.collect()
    }

    /// Who takes part in a pass that runs the slots of `active` only (none: all that there are). An edge all of whose
    /// candidates are left out has no edge weight either.
    ///
    /// # Errors
    /// Another number of slots than the network has; nothing that runs at all, or a node of a cell without a candidate.
    pub(super) fn present(&self, active: Option<&[bool]>) -> Result<Presence> {
        let Some(active) = active else { return Ok(self.presence.clone()) };
        let blocks = self.graph().slot_blocks();
        if active.len() != self.graph().slot_count() {
            let slots = self.graph().slot_count();
            return Err(Error::user(format!("a mask of {} entries does not fit {slots} mixing weights", active.len())));
        }
        let mut runs = active.to_vec();
        for (block, presence) in blocks.iter().zip(self.presence.iter()) {
            if let Some(presence) = presence {
                let there = values(presence)?;
                runs[block.offset..][..block.len()]
                    .iter_mut()
                    .zip(there)
                    .for_each(|(runs, there)| *runs &= there != 0.0);
            }
        }
        if !runs.is_empty() && !runs.contains(&true) {
            return Err(Error::user("the mask leaves nothing that runs: all of it is 0")
                .hint("1 (any number but 0) keeps an op"));
        }
        if let Some(space) = self.space() {
            for kind in CellKind::BOTH {
                let block = &blocks[kind as usize];
                let has_edge =
                    |edge: usize| runs[block.offset + edge * block.columns..][..block.columns].contains(&true);
                let edges: Vec<bool> = (0..block.rows).map(has_edge).collect();
                if let Some(node) = (0..space.nodes).find(|&node| !incoming(node).any(|edge| edges[edge])) {
                    return Err(Error::user(format!(
                        "the mask of the {} cells leaves node {node} without any op that runs",
                        kind.name()
                    ))
                    .hint(format!("keep at least one op on one of edges {:?}", incoming(node))));
                }
                if space.edge_weights {
                    let betas = &blocks[kind as usize + CellKind::BOTH.len()];
                    runs[betas.offset..][..betas.len()].iter_mut().zip(edges).for_each(|(runs, edge)| *runs &= edge);
                }
            }
        }
        let tensor = |block: &crate::graph::SlotBlock| {
            let flags: Vec<f32> = runs[block.offset..][..block.len()].iter().map(|&runs| f32::from(runs)).collect();
            let flags = Tensor::from_vec(flags, (block.rows, block.columns), self.weights.device())?;
            Ok(Some(flags.to_dtype(self.weights.dtype())?))
        };
        blocks.iter().map(tensor).collect()
    }

    /// Checks that the mixing weights of candidates that take no part are 0: a softmax over all would give them a
    /// share that is lost.
    ///
    /// # Errors
    /// One that is not, named.
    pub(super) fn check_left_out(&self, p: &[Tensor], present: &[Option<Tensor>]) -> Result<()> {
        for ((block, p), present) in self.graph().slot_blocks().iter().zip(p).zip(present) {
            let Some(present) = present else { continue };
            let (given, present) = (values(&p.detach())?, values(present)?);
            // What is not a number shows in the loss.
            let lost =
                |&(_, (&value, &present)): &(usize, (&f64, &f64))| present == 0.0 && value != 0.0 && !value.is_nan();
            if let Some((at, (value, _))) = given.iter().zip(&present).enumerate().find(lost) {
                let (edge, column, name) = (at / block.columns, at % block.columns, &block.name);
                let what = match self.space() {
                    Some(space) if block.columns > 1 => format!("op \"{}\"", space.operations[column]),
                    _ => format!("column {column}"),
                };
                return Err(Error::user(format!(
                    "mixing weights \"{name}\": {what} of edge {edge} has {value}, but the mask leaves it out"
                ))
                .hint(format!(
                    "share its weight out among the others, for example with softmax(alphas.{name}, 1, #{{ mask: \
                     net.mask.{name} }}); with forward's option `mask`, with that mask"
                )));
            }
        }
        Ok(())
    }
}

/// A matrix's values, row by row.
fn values(matrix: &Tensor) -> Result<Vec<f64>> {
    Ok(matrix.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}
