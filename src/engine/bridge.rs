//! The engine as everything above it sees it: a compiled graph that runs as one candle operation.

use super::cpu::{CpuExecutor, CpuOptions};
use super::cuda::{CudaExecutor, Launcher};
use super::exact::Exact;
use super::executor::{ImageExecutor, Inputs, Pass, Report};
use super::operation::Operation;
use crate::graph::Graph;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::sync::Arc;

/// What a graph is made ready for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// The fused engine on the processor, in single precision.
    Cpu(CpuOptions),
    /// The graph itself on the processor, primitive by primitive, in double precision.
    Exact,
}

impl Target {
    /// The fastest target of this machine.
    ///
    /// # Errors
    /// `CANDLEWICK_SIMD` names an unknown instruction set, or one that this processor does not have.
    pub fn best() -> Result<Self> {
        Ok(Target::Cpu(CpuOptions::choose()?))
    }
}

/// A compiled graph, ready to run. Clones share everything.
#[derive(Clone)]
pub struct Engine {
    graph: Arc<Graph>,
    executor: Arc<dyn ImageExecutor>,
}

impl Engine {
    /// Makes a graph ready for the fastest target of this machine.
    ///
    /// # Errors
    /// A graph whose output is not set or is not a feature vector.
    pub fn compile(graph: Graph) -> Result<Engine> {
        Self::compile_for(Arc::new(graph), Target::best()?)
    }

    /// Makes a graph ready for a target.
    ///
    /// # Errors
    /// As for [`compile`](Self::compile).
    pub fn compile_for(graph: Arc<Graph>, target: Target) -> Result<Engine> {
        let executor: Arc<dyn ImageExecutor> = match target {
            Target::Cpu(options) => Arc::new(CpuExecutor::new(graph.clone(), options)?),
            Target::Exact => Arc::new(Exact::new(graph.clone())?),
        };
        Ok(Engine { graph, executor })
    }

    /// Makes a graph ready for a GPU. Tensors that go in are the processor's or those of [`Launcher::tensors`], and
    /// what comes out is where they are.
    ///
    /// # Errors
    /// As for [`compile`](Self::compile); a graph that does not run on CUDA yet; too little memory.
    pub fn compile_on(graph: Arc<Graph>, launcher: Arc<dyn Launcher>) -> Result<Engine> {
        let executor = Arc::new(CudaExecutor::new(graph.clone(), launcher)?);
        Ok(Engine { graph, executor })
    }

    /// The same engine with a limit on the memory of training: passes with gradients keep fewer tensors and recompute
    /// the others in the backward pass. Counted are one pass's activations and gradients, the engine's tables, the
    /// batch's images, eight vectors as long as the weights, and 32 MB for the program itself; on a GPU all that a pass
    /// takes there, and nothing else. No bit of any result changes. For every batch that is larger than all before,
    /// `report` is called with one line on what the limit costs.
    ///
    /// # Errors
    /// Where not even one image fits; a batch that does not is an error of its forward pass.
    pub fn within(self, bytes: u64, report: Report) -> Result<Engine> {
        Ok(Engine { executor: self.executor.within(bytes, report)?, ..self })
    }

    /// Checks that networks can run on a device.
    ///
    /// # Errors
    /// A device that the engine does not run on.
    pub fn runs_on(&self, device: &Device) -> Result<()> {
        self.executor.runs_on(device)
    }

    /// The type of every tensor that goes in and comes out.
    pub fn dtype(&self) -> DType {
        self.executor.dtype()
    }

    /// Bytes that a pass with gradients over a batch of this many images takes.
    ///
    /// # Errors
    /// A batch that does not fit within the memory limit.
    pub fn memory(&self, batch: usize) -> Result<u64> {
        self.executor.memory(batch)
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The graph, to make it ready for another target.
    pub fn shared_graph(&self) -> Arc<Graph> {
        self.graph.clone()
    }

    /// The network's output, images × outputs, as one candle operation.
    ///
    /// `x`: images × channels × height × width; `w`: all weights; `p`: all mixing weights (one dummy where the network
    /// has none). All are of [`dtype`](Self::dtype). Gradients flow to whichever of the three candle tracks; what is
    /// detached costs nothing.
    ///
    /// # Errors
    /// Shapes, types or devices that do not fit, a mask or running statistics of the wrong length, a batch that does
    /// not fit into memory, an interruption.
    pub fn forward(&self, x: &Tensor, w: &Tensor, p: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.check(x, w, p, pass)?;
        let (x, w, p) = (x.contiguous()?, w.contiguous()?, p.contiguous()?);
        Ok(Operation::run(self.executor.clone(), Inputs { x: &x, w: &w, p: &p, states: &[] }, pass, None)?.0)
    }

    fn check(&self, x: &Tensor, w: &Tensor, p: &Tensor, pass: &Pass) -> Result<()> {
        let graph = self.graph();
        let from = graph.shape(graph.input());
        let fits =
            matches!(x.dims(), &[n, c, h, width] if n > 0 && (c, h, width) == (from.channels, from.height, from.width));
        if !fits {
            return Err(Error::user(format!(
                "the network takes images × {} × {} × {}, not {:?}",
                from.channels,
                from.height,
                from.width,
                x.dims()
            )));
        }
        let flat = |what: &str, tensor: &Tensor, len: usize| match tensor.dims() {
            [own] if *own == len => Ok(()),
            dims => Err(Error::user(format!("the network has {len} {what}; the tensor given has shape {dims:?}"))),
        };
        flat("weights", w, graph.parameters())?;
        flat("mixing weights", p, graph.slot_count().max(1))?;
        for (name, tensor) in [("images", x), ("weights", w), ("mixing weights", p)] {
            self.runs_on(tensor.device())?;
            if tensor.dtype() != self.dtype() {
                return Err(Error::user(format!(
                    "the {name} are {}; the network runs on {}",
                    tensor.dtype().as_str(),
                    self.dtype().as_str()
                )));
            }
        }
        if !(0.0..1.0).contains(&pass.draws.drop_path) {
            return Err(Error::user(format!(
                "the probability of drop path must be at least 0 and below 1, not {}",
                pass.draws.drop_path
            )));
        }
        if let Some(active) = &pass.active
            && active.len() != graph.slot_count()
        {
            return Err(Error::user(format!(
                "the mask has {} entries; the network has {} mixing weights",
                active.len(),
                graph.slot_count()
            )));
        }
        let kept = pass.statistics.len();
        match pass.mode == super::Mode::Trial || kept == graph.statistics_len() {
            true => Ok(()),
            false => Err(Error::user(format!(
                "the running statistics given are {kept} numbers; the network has {}",
                graph.statistics_len()
            ))),
        }
    }
}
