//! Networks on other executors: in double precision, on a GPU.

use super::Network;
use crate::Result;
use crate::engine::cuda::Launcher;
use crate::engine::{Engine, Target};
use crate::parameter::Parameter;
use crate::space::alphas::Alphas;
use candle_core::DType;
use std::sync::Arc;

impl Network {
    /// The graph, for another executor.
    pub(crate) fn shared_graph(&self) -> Arc<crate::graph::Graph> {
        self.engine.shared_graph()
    }

    /// The same network, run on a GPU. What it holds stays on the processor.
    ///
    /// # Errors
    /// A network that does not run on CUDA yet; too little memory there.
    pub fn on_gpu(self, gpu: &Arc<dyn Launcher>) -> Result<Self> {
        let engine = Engine::compile_on(self.engine.shared_graph(), gpu.clone())?;
        Ok(Self { engine, ..self })
    }

    /// The same network with all that it holds and computes in `f64`, by the exact executor. It starts at the same
    /// values: those of single precision, widened.
    ///
    /// # Errors
    /// A network on a device on which double precision does not run.
    pub fn in_double_precision(self) -> Result<Self> {
        let engine = Engine::compile_for(self.engine.shared_graph(), Target::Exact)?;
        engine.runs_on(self.weights.device())?;
        let wide = |parameter: &Parameter| Parameter::new(&parameter.detached().to_dtype(DType::F64)?);
        let alphas = self.alphas.iter().map(|(name, alpha)| Ok((name.to_string(), wide(alpha)?)));
        let presence = self.presence.iter().map(|presence| match presence {
            Some(presence) => Ok(Some(presence.to_dtype(DType::F64)?)),
            None => Ok(None),
        });
        Ok(Self {
            weights: wide(&self.weights)?,
            alphas: Alphas::new(alphas.collect::<Result<_>>()?),
            presence: presence.collect::<Result<Vec<_>>>()?.into(),
            engine,
            ..self
        })
    }
}
