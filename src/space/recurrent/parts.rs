//! A language model taken apart, for whoever runs it elsewhere.

use super::model::LanguageModel;
use crate::Result;
use crate::graph::WeightInfo;
use crate::graph::recurrent::RecurrentGraph;
use candle_core::DType;

/// One layer with all numbers of its own but the weights, as they are now.
pub struct LayerParts<'a> {
    /// One time step.
    pub graph: &'a RecurrentGraph,
    /// The layer's part of the model's table of weights, in the graph's order.
    pub table: &'a [WeightInfo],
    /// Running statistics, flat, as the graph lays them out.
    pub statistics: Vec<f64>,
    /// The mixing weights that the alphas lead to, by slot; empty where nothing is mixed.
    pub mixing: Vec<f64>,
}

impl LanguageModel {
    /// The layers, from the first.
    ///
    /// # Errors
    /// Those of candle.
    pub fn parts(&self) -> Result<Vec<LayerParts<'_>>> {
        let relaxed = self.relax(self.alphas())?;
        let (mut blocks, mut parts) = (relaxed.iter(), Vec::new());
        for layer in self.layers.iter() {
            let graph = layer.engine.graph();
            let own = |weight: &&WeightInfo| layer.range.contains(&weight.offset);
            let first = self.table().iter().take_while(|weight| !own(weight)).count();
            let mut mixing = Vec::new();
            for p in blocks.by_ref().take(graph.slot_blocks().len()) {
                mixing.extend(p.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?);
            }
            parts.push(LayerParts {
                graph,
                table: &self.table()[first..][..graph.weights().len()],
                statistics: layer.statistics.values(),
                mixing,
            });
        }
        Ok(parts)
    }
}
