//! Networks on other executors: in double precision, on a GPU.

use super::Network;
use crate::engine::cuda::Launcher;
use crate::engine::{Engine, Target};
use crate::parameter::Parameter;
use crate::space::alphas::Alphas;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::sync::Arc;

impl Network {
    /// The graph, for another executor.
    pub(crate) fn shared_graph(&self) -> Arc<crate::graph::Graph> {
        self.engine.shared_graph()
    }

    /// The same network, run on a GPU. What it holds stays where it is: on the processor, or among the tensors of that
    /// GPU ([`Launcher::tensors`]).
    ///
    /// # Errors
    /// A network that does not run on CUDA yet; too little memory there.
    pub fn on_gpu(self, gpu: &Arc<dyn Launcher>) -> Result<Self> {
        let engine = Engine::compile_on(self.engine.shared_graph(), gpu.clone())?;
        let network = Self { engine, ..self };
        network.runs_where_it_is()?;
        Ok(network)
    }

    /// Checks that the network runs where its tensors are.
    ///
    /// # Errors
    /// Tensors on a GPU of a network that was not put there.
    pub fn runs_where_it_is(&self) -> Result<()> {
        self.engine.runs_on(self.weights.device())
    }

    /// The same network with all that it holds and computes in `f64`, by the exact executor, on the processor. It
    /// starts at the same values: those of single precision, widened.
    ///
    /// # Errors
    /// What the device reports that it was on.
    pub fn in_double_precision(self) -> Result<Self> {
        let engine = Engine::compile_for(self.engine.shared_graph(), Target::Exact)?;
        let wider = |values: &Tensor| Ok::<_, Error>(values.to_device(&Device::Cpu)?.to_dtype(DType::F64)?);
        let wide = |parameter: &Parameter| Parameter::new(&wider(&parameter.detached())?);
        let alphas = self.alphas.iter().map(|(name, alpha)| Ok((name.to_string(), wide(alpha)?)));
        let presence = self.presence.iter().map(|presence| match presence {
            Some(presence) => Ok(Some(wider(presence)?)),
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
