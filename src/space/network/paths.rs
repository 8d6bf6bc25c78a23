//! One cell of a supernet: the gates that choose it, and what runs and costs where only some candidates do.

use super::Network;
use crate::space::cell::{CellKind, edge_count, incoming};
use crate::space::genotype::Genotype;
use crate::{Error, Result};
use candle_core::Tensor;

impl Network {
    /// The mixing weights that make a supernet this genotype's network: for every slot block 1 where the genotype has
    /// the operation on the edge, 2 where a node has it there twice, and 0 elsewhere, edges × operations; an edge
    /// weight is 1 where the edge carries one.
    ///
    /// # Errors
    /// A network that is not a supernet; a genotype outside of its space: the edge and the operation.
    pub fn gates(&self, genotype: &Genotype) -> Result<Vec<Tensor>> {
        let space = self.needs_space("a path")?;
        let columns = space.operations.len();
        let mut blocks = Vec::new();
        for kind in CellKind::BOTH {
            let mut gates = vec![0f32; edge_count(space.nodes) * columns];
            for (index, edge) in genotype.edges(kind).iter().enumerate() {
                let outside = |why: String| {
                    Error::user(format!(
                        "edge {index} of the genotype's {} cell, \"{}\" from state {} to {}, is outside of this \
                         supernet's space: {why}",
                        kind.name(),
                        edge.operation,
                        edge.input,
                        edge.node
                    ))
                };
                let node = edge.node - 2;
                if node >= space.nodes {
                    return Err(outside(format!("its cells have states 0 to {}", space.nodes + 1)));
                }
                let Some(column) = space.operations.iter().position(|name| *name == edge.operation) else {
                    let known = space.operations.iter().map(String::as_str);
                    let hint = Error::unknown("op", &edge.operation, known).hint;
                    let error = outside(format!("its ops are {}", space.operations.join(", ")));
                    return Err(Error { hint, ..error });
                };
                let row = incoming(node).start + edge.input;
                if space.masks.of(kind).is_some_and(|mask| !mask[row][column]) {
                    return Err(outside("the mask leaves that op out there".into()));
                }
                gates[row * columns + column] += 1.0;
            }
            blocks.push(gates);
        }
        if space.edge_weights {
            for kind in 0..blocks.len() {
                let edges = blocks[kind].chunks(columns).map(|row| f32::from(row.iter().any(|&gate| gate > 0.0)));
                blocks.push(edges.collect());
            }
        }
        let blocks = self.graph().slot_blocks().iter().zip(blocks);
        let tensor = |(block, gates): (&crate::graph::SlotBlock, Vec<f32>)| {
            let tensor = Tensor::from_vec(gates, (block.rows, block.columns), self.weights.device())?;
            Ok(tensor.to_dtype(self.weights.dtype())?)
        };
        blocks.map(tensor).collect()
    }

    /// Multiply-adds of one image in a pass that runs the slots of `active` only (none: all); an auxiliary head's count
    /// where there is one.
    ///
    /// # Errors
    /// As [`relax_among`](Self::relax_among).
    pub fn macs_running(&self, active: Option<&[bool]>) -> Result<usize> {
        self.present(active)?;
        Ok(self.graph().macs_running(active))
    }

    /// 1 for every weight on which a pass that runs the slots of `active` only depends, 0 for the others; of the type
    /// u8 and the shape `[parameters]`.
    ///
    /// # Errors
    /// Those of the device.
    pub fn weights_running(&self, active: &[bool]) -> Result<Tensor> {
        let running = self.graph().weights_running(Some(active));
        let mut flags = vec![0u8; self.graph().parameters()];
        for (weight, _) in self.graph().weights().iter().zip(running).filter(|(_, running)| *running) {
            flags[weight.range()].fill(1);
        }
        Ok(Tensor::from_vec(flags, self.graph().parameters(), self.weights.device())?)
    }
}
