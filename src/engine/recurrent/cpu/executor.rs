//! The fast executor of recurrent networks behind the engine's seam.

use super::memory::{Extents, Pointer, Tape, Tapes, bytes};
use super::pass::{Outer, Run};
use super::plan::Plan;
use super::plan::items::Key;
use crate::engine::cpu::{CpuOptions, Isa, floats};
use crate::engine::executor::{
    Executor, Forward, Gradients, Inputs, Pass, RecurrentExecutor, Tape as EngineTape, Wanted,
};
use crate::engine::recurrent::drops;
use crate::graph::Node;
use crate::graph::recurrent::RecurrentGraph;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

/// How many plans are kept: a search alternates between a few kinds of passes.
const KINDS: usize = 8;

/// A time step with its plans and tapes. Clones share everything.
#[derive(Clone)]
pub(in crate::engine::recurrent) struct CpuRecurrent(Arc<Shared>);

struct Shared {
    graph: Arc<RecurrentGraph>,
    output: Node,
    nexts: Vec<Node>,
    isa: Isa,
    tapes: Tapes,
    /// Of recent kinds of passes, the latest last.
    plans: Mutex<Vec<Arc<Plan>>>,
}

impl CpuRecurrent {
    /// # Errors
    /// A graph without an output, or with a state that nothing says the next value of.
    pub fn new(graph: Arc<RecurrentGraph>, options: CpuOptions) -> Result<Self> {
        let (output, nexts) = graph.ends()?;
        let (isa, tapes, plans) = (options.isa, Tapes::default(), Mutex::default());
        Ok(Self(Arc::new(Shared { graph, output, nexts, isa, tapes, plans })))
    }
}

impl Shared {
    fn plan(&self, pass: &Pass, wanted: Wanted) -> Arc<Plan> {
        let active = pass.active.as_deref().filter(|active| !active.iter().all(|active| *active));
        let masks = self.graph.masks().iter().map(|mask| drops(pass.mode) && pass.dropout.of(&mask.name) > 0.0);
        let key = Key { active: active.map(<[bool]>::to_vec), masks: masks.collect(), wanted };
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = plans.iter().position(|plan| plan.key == key) {
            plans[known..].rotate_left(1);
        } else {
            if plans.len() >= KINDS {
                plans.remove(0);
            }
            plans.push(Arc::new(Plan::new(&self.graph, self.output, &self.nexts, key)));
        }
        plans[plans.len() - 1].clone()
    }
}

/// Values that a pass only reads.
fn read(values: &[f32]) -> Pointer {
    Pointer(values.as_ptr().cast_mut())
}

const NOWHERE: Pointer = Pointer(std::ptr::null_mut());

impl Executor for CpuRecurrent {
    fn dtype(&self) -> DType {
        DType::F32
    }

    fn runs_on(&self, device: &Device) -> Result<()> {
        match device.is_cpu() {
            true => Ok(()),
            false => Err(Error::user("recurrent networks run on the processor only, not on a CUDA device")
                .hint("run with --device cpu; scripts without networks may use CUDA")),
        }
    }

    fn forward(&self, inputs: Inputs<'_>, pass: &Pass, wanted: Wanted) -> Result<Forward> {
        let shared = &self.0;
        let plan = shared.plan(pass, wanted);
        let size = Extents { steps: inputs.x.dims()[0], rows: inputs.x.dims()[1] };
        let tape = shared.tapes.take(&plan, shared.isa, shared.graph.slot_count(), size)?;
        // From here on the memory goes back to the pool whatever happens.
        let tape = CpuTape { tape: Some(tape), shared: shared.clone(), plan, size, pass: pass.clone() };
        let width = shared.graph.width(shared.output);
        let mut output = vec![0.0f32; size.steps * size.rows * width];
        let mut states: Vec<Vec<f32>> =
            shared.graph.states().iter().map(|state| vec![0.0; size.rows * state.width]).collect();
        let before = inputs.states.iter().map(|state| Ok(state.flatten_all()?.to_vec1::<f32>()?));
        let before = before.collect::<Result<Vec<_>>>()?;
        tape.with(inputs, |x, run| {
            let run = Run { outer: Outer { x: read(x), output: Pointer(output.as_mut_ptr()), ..run.outer }, ..run };
            run.forward(before.iter().map(Vec::as_slice), &pass.statistics, &pass.draws, &pass.dropout)?;
            states.iter_mut().enumerate().for_each(|(state, out)| run.state(state, out));
            Ok(())
        })?;
        let device = inputs.x.device();
        let output = Tensor::from_vec(output, (size.steps, size.rows, width), device)?;
        let tensor = |(values, state): (Vec<f32>, &Tensor)| Ok(Tensor::from_vec(values, state.shape(), device)?);
        let states = states.into_iter().zip(inputs.states).map(tensor).collect::<Result<_>>()?;
        let tape = wanted.any().then(|| Box::new(tape) as Box<dyn EngineTape>);
        Ok(Forward { output, states, tape })
    }
}

impl RecurrentExecutor for CpuRecurrent {
    fn memory(&self, steps: usize, rows: usize, pass: &Pass, wanted: Wanted) -> u64 {
        let shared = &self.0;
        bytes(&shared.plan(pass, wanted), shared.isa, shared.graph.slot_count(), Extents { steps, rows })
    }
}

/// What a forward pass leaves; its memory goes back to the pool when it is used or dropped.
struct CpuTape {
    tape: Option<Tape>,
    shared: Arc<Shared>,
    plan: Arc<Plan>,
    size: Extents,
    pass: Pass,
}

impl CpuTape {
    /// Calls `f` with the values of x and a run that has no tensors yet.
    fn with<R>(&self, inputs: Inputs<'_>, f: impl FnOnce(&[f32], Run<'_>) -> Result<R>) -> Result<R> {
        let Some(tape) = &self.tape else { unreachable!("a tape is there until it is dropped") };
        let Inputs { x, w, p, .. } = inputs;
        let ((x, x_layout), (w, w_layout), (p, p_layout)) =
            (x.storage_and_layout(), w.storage_and_layout(), p.storage_and_layout());
        let (x, w, p) = (floats(&x, x_layout)?, floats(&w, w_layout)?, floats(&p, p_layout)?);
        let outer = Outer { x: NOWHERE, output: NOWHERE, output_gradient: NOWHERE, x_gradient: NOWHERE };
        let (plan, graph, isa) = (&*self.plan, &*self.shared.graph, self.shared.isa);
        f(x, Run { plan, graph, isa, tape, size: self.size, w, p, mode: self.pass.mode, outer })
    }
}

impl EngineTape for CpuTape {
    fn backward(self: Box<Self>, inputs: Inputs<'_>, dy: &Tensor) -> Result<Gradients> {
        let wanted = self.plan.key.wanted;
        let zeros = |wanted: bool, like: &Tensor| vec![0.0f32; if wanted { like.elem_count() } else { 0 }];
        let (mut dx, mut dw, mut dp) =
            (zeros(wanted.x, inputs.x), zeros(wanted.w, inputs.w), zeros(wanted.p, inputs.p));
        let (dy, dy_layout) = dy.storage_and_layout();
        let dy = floats(&dy, dy_layout)?;
        self.with(inputs, |x, run| {
            let outer = Outer {
                x: read(x),
                output: NOWHERE,
                output_gradient: read(dy),
                x_gradient: if wanted.x { Pointer(dx.as_mut_ptr()) } else { NOWHERE },
            };
            Run { outer, ..run }.backward(&mut dw, &mut dp)
        })?;
        let tensor = |wanted: bool, values: Vec<f32>, like: &Tensor| {
            wanted.then(|| Tensor::from_vec(values, like.shape(), like.device())).transpose()
        };
        Ok(Gradients {
            x: tensor(wanted.x, dx, inputs.x)?,
            w: tensor(wanted.w, dw, inputs.w)?,
            p: tensor(wanted.p, dp, inputs.p)?,
        })
    }
}

impl Drop for CpuTape {
    fn drop(&mut self) {
        if let Some(tape) = self.tape.take() {
            self.shared.tapes.give_back(tape);
        }
    }
}
