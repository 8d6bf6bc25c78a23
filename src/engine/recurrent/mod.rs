//! The engine of recurrent networks: a whole window as one differentiable candle operation on token vectors, flat
//! weights and flat mixing weights.
//!
//! It stands behind the same seam as the engine of images (`engine/executor.rs`): `exact/` runs the graph of a time
//! step primitive by primitive in double precision, `cpu/` a fused program in single precision. Both go through the
//! window forward, then backward through time; nothing flows back into the states before its first step.

mod cpu;
mod exact;

use self::cpu::CpuRecurrent;
use self::exact::ExactRecurrent;
use super::executor::{Inputs, Pass, RecurrentExecutor, Wanted};
use super::gathered::Part;
use super::operation::Operation;
use super::{Mode, RunningStatistics, Target};
use crate::graph::recurrent::RecurrentGraph;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::sync::Arc;

/// A compiled time step, ready to run over windows. Clones share everything.
#[derive(Clone)]
pub struct RecurrentEngine {
    graph: Arc<RecurrentGraph>,
    executor: Arc<dyn RecurrentExecutor>,
}

impl RecurrentEngine {
    /// Makes a time step ready for a target.
    ///
    /// # Errors
    /// A graph without an output, or with a state that nothing says the next value of.
    pub fn compile(graph: Arc<RecurrentGraph>, target: Target) -> Result<Self> {
        graph.ends()?;
        let executor: Arc<dyn RecurrentExecutor> = match target {
            Target::Cpu(options) => Arc::new(CpuRecurrent::new(graph.clone(), options)?),
            Target::Exact => Arc::new(ExactRecurrent::new(graph.clone())?),
        };
        Ok(Self { graph, executor })
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

    pub fn graph(&self) -> &RecurrentGraph {
        &self.graph
    }

    /// The graph, to make it ready for another target.
    pub fn shared_graph(&self) -> Arc<RecurrentGraph> {
        self.graph.clone()
    }

    /// Running statistics as they are before any training.
    pub fn statistics(&self) -> RunningStatistics {
        RunningStatistics::of(self.graph.norms())
    }

    /// Bytes that a pass over a window of so many time steps of a batch of so many rows takes until it is over, its
    /// backward pass included: values, gradients, tables and scratch. As many as a number holds where there are more.
    pub fn memory(&self, steps: usize, rows: usize, pass: &Pass, wanted: Wanted) -> u64 {
        self.executor.memory(steps, rows, pass, wanted)
    }

    /// States of zeros for a batch of this many rows.
    ///
    /// # Errors
    /// Those of candle's allocation.
    pub fn zero_states(&self, batch: usize) -> Result<Vec<Tensor>> {
        let zeros = |width: usize| Ok(Tensor::zeros((batch, width), self.dtype(), &Device::Cpu)?);
        self.graph.states().iter().map(|state| zeros(state.width)).collect()
    }

    /// The outputs of a window, time × batch × width, as one candle operation, and the states after it.
    ///
    /// `x`: token vectors, time × batch × width; `states`: those before the first time step, batch × width each, in the
    /// graph's order; `w`: all weights; `p`: all mixing weights (one dummy where the graph has none). All are of
    /// [`dtype`](Self::dtype). Gradients flow to whichever of x, w and p candle tracks; what is detached costs nothing.
    /// States go in and come out detached: backward through time ends at the window's first step.
    ///
    /// # Errors
    /// Shapes, types or devices that do not fit, an unknown mask or a probability that is none, a mask of slots or
    /// running statistics of the wrong length, a window that does not fit into memory, an interruption.
    pub fn forward(
        &self,
        x: &Tensor,
        states: &[Tensor],
        w: &Tensor,
        p: &Tensor,
        pass: &Pass,
    ) -> Result<(Tensor, Vec<Tensor>)> {
        self.gathering(x, states, w, p, pass, None)
    }

    /// The same, where the gradient of `w` may go elsewhere than to candle's tape. That needs an `x` or a `p` that
    /// candle tracks, or no backward pass comes here.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn gathering(
        &self,
        x: &Tensor,
        states: &[Tensor],
        w: &Tensor,
        p: &Tensor,
        pass: &Pass,
        part: Option<Part>,
    ) -> Result<(Tensor, Vec<Tensor>)> {
        self.check(x, states, w, p)?;
        self.check_pass(pass)?;
        let (x, w, p) = (x.contiguous()?, w.contiguous()?, p.contiguous()?);
        let states: Vec<Tensor> = states.iter().map(|state| Ok(state.detach().contiguous()?)).collect::<Result<_>>()?;
        Operation::run(self.executor.clone(), Inputs { x: &x, w: &w, p: &p, states: &states }, pass, part)
    }

    fn check(&self, x: &Tensor, states: &[Tensor], w: &Tensor, p: &Tensor) -> Result<()> {
        let graph = self.graph();
        let width = graph.width(graph.input());
        let rows = match *x.dims() {
            [time, rows, wide] if time > 0 && rows > 0 && wide == width => rows,
            _ => {
                return Err(Error::user(format!(
                    "the network takes token vectors of time × batch × {width}, not {:?}",
                    x.dims()
                )));
            }
        };
        if states.len() != graph.states().len() {
            return Err(Error::user(format!(
                "the network has {} states; {} were given",
                graph.states().len(),
                states.len()
            )));
        }
        for (info, state) in graph.states().iter().zip(states) {
            if state.dims() != [rows, info.width] {
                return Err(Error::user(format!(
                    "the state \"{}\" is batch × width, here {rows} × {}; the tensor given has shape {:?}",
                    info.name,
                    info.width,
                    state.dims()
                ))
                .hint("a state belongs to a batch of one size: begin with zeros where that changes"));
            }
        }
        let flat = |what: &str, tensor: &Tensor, len: usize| match tensor.dims() {
            [own] if *own == len => Ok(()),
            dims => Err(Error::user(format!("the network has {len} {what}; the tensor given has shape {dims:?}"))),
        };
        flat("weights", w, graph.parameters())?;
        flat("mixing weights", p, graph.slot_count().max(1))?;
        let named = [("token vectors", x), ("weights", w), ("mixing weights", p)];
        for (name, tensor) in named.into_iter().chain(states.iter().map(|state| ("states", state))) {
            self.runs_on(tensor.device())?;
            if tensor.dtype() != self.dtype() {
                return Err(Error::user(format!(
                    "the {name} are {}; the network runs on {}",
                    tensor.dtype().as_str(),
                    self.dtype().as_str()
                )));
            }
        }
        Ok(())
    }

    fn check_pass(&self, pass: &Pass) -> Result<()> {
        let graph = self.graph();
        for (name, q) in pass.dropout.named() {
            if !graph.masks().iter().any(|mask| mask.name == *name) {
                return Err(Error::unknown("mask", name, graph.masks().iter().map(|mask| mask.name.as_str())));
            }
            if !(0.0..1.0).contains(q) {
                return Err(Error::user(format!(
                    "the probability with which the mask \"{name}\" drops must be at least 0 and below 1, not {q}"
                )));
            }
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
        match pass.mode == Mode::Trial || kept == graph.statistics_len() {
            true => Ok(()),
            false => Err(Error::user(format!(
                "the running statistics given are {kept} numbers; the network has {}",
                graph.statistics_len()
            ))),
        }
    }
}

/// Whether a pass draws masks.
fn drops(mode: Mode) -> bool {
    mode != Mode::Evaluation
}
