//! One `CustomOp3` per pass: how candle's tape reaches an executor's.

use super::executor::{Executor, Forward, Inputs, Mode, Pass, Tape, Wanted};
use super::gathered::Part;
use crate::Result;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp3, Layout, Shape, Storage, Tensor};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A pass that has run: candle gets its output now, and asks for its gradients later.
pub(super) struct Operation {
    executor: Arc<dyn Executor>,
    pass: Pass,
    wanted: Wanted,
    /// Where the gradient of the weights goes; none: to candle.
    part: Option<Part>,
    /// The states before the first time step.
    states: Vec<Tensor>,
    output: Tensor,
    /// What the forward pass left. The first backward pass uses it up; another one runs forward again.
    tape: Mutex<Option<Box<dyn Tape>>>,
}

impl Operation {
    /// Runs a pass and puts it on candle's tape: the output, and the states after the last time step. Gradients flow to
    /// whichever of x, w and p candle tracks, that of w to `part` where it is given; none flow through states.
    pub fn run(
        executor: Arc<dyn Executor>,
        inputs: Inputs<'_>,
        pass: &Pass,
        part: Option<Part>,
    ) -> Result<(Tensor, Vec<Tensor>)> {
        let Inputs { x, w, p, states: before } = inputs;
        let wanted = Wanted { x: x.track_op(), w: w.track_op() || part.is_some(), p: p.track_op() };
        if !wanted.any() {
            let Forward { output, states, .. } = executor.forward(inputs, pass, wanted)?;
            return Ok((output, states));
        }
        let mut pass = pass.clone();
        if pass.mode == Mode::Evaluation {
            // Gradients are of the output that was computed, even if the network's statistics move on before they are.
            pass.statistics = pass.statistics.copy();
        }
        let Forward { output, states, tape } = executor.forward(inputs, &pass, wanted)?;
        // The tape has it.
        pass.guard = None;
        let (tape, before) = (Mutex::new(tape), before.to_vec());
        let operation = Self { executor, pass, wanted, part, states: before, output, tape };
        Ok((x.apply_op3(w, p, operation)?, states))
    }

    fn tape(&self) -> MutexGuard<'_, Option<Box<dyn Tape>>> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The forward pass again; running statistics do not move a second time.
    fn rerun(&self, inputs: Inputs<'_>) -> Result<Option<Box<dyn Tape>>> {
        let mode = if self.pass.mode == Mode::Training { Mode::Trial } else { self.pass.mode };
        let pass = Pass { mode, ..self.pass.clone() };
        Ok(self.executor.forward(inputs, &pass, self.wanted)?.tape)
    }
}

impl CustomOp3 for Operation {
    fn name(&self) -> &'static str {
        "network"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (storage, _) = self.output.storage_and_layout();
        match &*storage {
            Storage::Cpu(output) => Ok((output.clone(), self.output.shape().clone())),
            _ => Err(candle_core::Error::Msg("the network's output is not on the processor".into())),
        }
    }

    /// The output is made already, from tensors on the same device and in the order of its stream.
    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let (storage, layout) = self.output.storage_and_layout();
        match &*storage {
            Storage::Cuda(output) => Ok((output.try_clone(layout)?, self.output.shape().clone())),
            _ => Err(candle_core::Error::Msg("the network's output is not on the GPU".into())),
        }
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        p: &Tensor,
        _output: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        // Detached, so that candle records nothing that an executor does with them.
        let (x, w, p) = (x.detach(), w.detach(), p.detach());
        let inputs = Inputs { x: &x, w: &w, p: &p, states: &self.states };
        let kept = self.tape().take();
        let tape = match kept {
            Some(tape) => Some(tape),
            None => self.rerun(inputs)?,
        };
        let tape = tape.ok_or_else(|| {
            candle_core::Error::Msg("a forward pass without gradients cannot be followed by a backward pass".into())
        })?;
        let mut gradients = tape.backward(inputs, &gradient.detach().contiguous()?)?;
        if let (Some(part), Some(of_w)) = (&self.part, gradients.w.take_if(|_| self.part.is_some())) {
            part.put(&of_w)?;
        }
        Ok((gradients.x, gradients.w, gradients.p))
    }
}
