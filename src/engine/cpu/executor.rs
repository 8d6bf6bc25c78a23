//! The executor on the processor: the fused plan in single precision.

use super::kernels::lanes::Isa;
use super::memory::{Tape, Tapes};
use super::pass::Run;
use super::pass::agenda::Agenda;
use super::plan::CpuPlan;
use super::profile;
use crate::engine::budget::{Budget, Trained, training};
use crate::engine::executor::{
    Executor, Forward, Gradients, ImageExecutor, Inputs, Pass, Report, Tape as EngineTape, Wanted,
};
use crate::graph::Graph;
use crate::graph::plan::{Placement, Plan, StageOrder, Training};
use crate::{Error, Result};
use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// How passes run on the processor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuOptions {
    pub isa: Isa,
    /// Floats of a whole batch that a stage may write and still find in the cache afterwards; larger stages write past
    /// it.
    pub cache: usize,
}

impl CpuOptions {
    /// The best instruction set, or the one that `CANDLEWICK_SIMD` names.
    ///
    /// # Errors
    /// A name that is not known, or an instruction set that this processor does not have.
    pub fn choose() -> Result<Self> {
        Ok(Self::on(Isa::choose()?))
    }

    pub fn on(isa: Isa) -> Self {
        Self { isa, cache: 6 << 20 }
    }
}

/// A plan with its tapes and the agendas of its passes. Clones share everything except the memory limit.
#[derive(Clone)]
pub(in crate::engine) struct CpuExecutor {
    shared: Arc<Shared>,
    budget: Option<Arc<Budget>>,
}

struct Shared {
    graph: Arc<Graph>,
    cpu: CpuPlan,
    options: CpuOptions,
    tapes: Tapes,
    /// The agendas of recent passes, the latest last: a search alternates between a few kinds of passes.
    agendas: Mutex<Vec<(Weak<Training>, Arc<Agenda>)>>,
}

/// How many agendas are kept.
const KINDS: usize = 8;

impl CpuExecutor {
    /// Lowers a graph.
    ///
    /// # Errors
    /// A graph whose output is not set or is not a feature vector.
    pub fn new(graph: Arc<Graph>, options: CpuOptions) -> Result<Self> {
        let cpu = CpuPlan::new(Plan::new(&graph)?);
        let shared = Shared { graph, cpu, options, tapes: Tapes::default(), agendas: Mutex::default() };
        Ok(Self { shared: Arc::new(shared), budget: None })
    }

    /// How a batch of this many images is trained.
    ///
    /// # Errors
    /// A batch that does not fit within the limit.
    fn training(&self, batch: usize) -> Result<Arc<Training>> {
        training(self.budget.as_deref(), &*self.shared, batch)
    }
}

impl Shared {
    fn agenda(&self, training: &Arc<Training>, active: Option<&[bool]>, wanted: Wanted) -> Arc<Agenda> {
        let mut agendas = self.agendas.lock().unwrap_or_else(PoisonError::into_inner);
        let known = agendas
            .iter()
            .position(|(of, agenda)| std::ptr::eq(of.as_ptr(), Arc::as_ptr(training)) && agenda.is_for(active, wanted));
        if let Some(known) = known {
            agendas[known..].rotate_left(1);
        } else {
            if agendas.len() >= KINDS {
                agendas.remove(0);
            }
            let agenda = Agenda::new(&self.cpu.plan, &self.graph, &training.backward, active, wanted);
            agendas.push((Arc::downgrade(training), Arc::new(agenda)));
        }
        agendas[agendas.len() - 1].1.clone()
    }
}

/// Vectors as long as the weights: weights, gradient, and what optimisers and their steps hold.
const WEIGHT_VECTORS: u64 = 8;

/// The program itself.
const PROGRAM: u64 = 32_000_000;

impl Trained for Shared {
    /// One pass's activations and gradients, the engine's tables and scratch, the batch's images, eight vectors as long
    /// as the weights, and the program itself.
    fn bytes(&self, training: &Arc<Training>, batch: usize) -> u64 {
        let Self { cpu, graph, .. } = self;
        let shape = graph.shape(graph.input());
        let images = (batch * shape.channels * shape.pixels() * size_of::<f32>()) as u64;
        let weights = (graph.parameters() * size_of::<f32>()) as u64;
        let regions = (batch * training.placement.forward.len * size_of::<f32>()) as u64;
        PROGRAM + cpu.table_bytes(batch) as u64 + images + WEIGHT_VECTORS * weights + regions
    }

    fn usual(&self) -> Arc<Training> {
        self.cpu.plan.training.clone()
    }

    fn within(&self, floats: usize) -> Result<Training, usize> {
        self.cpu.plan.training_within(floats, StageOrder::OneByOne)
    }
}

impl Executor for CpuExecutor {
    fn dtype(&self) -> DType {
        DType::F32
    }

    fn runs_on(&self, device: &Device) -> Result<()> {
        match device.is_cpu() {
            true => Ok(()),
            false => Err(Error::user("with tensors on a CUDA device, networks run on the processor only")
                .hint("run with --device cpu; `Network::on_gpu` puts a network on the GPU of its tensors")),
        }
    }

    fn forward(&self, inputs: Inputs<'_>, pass: &Pass, wanted: Wanted) -> Result<Forward> {
        let shared = &self.shared;
        let Shared { cpu, graph, tapes, .. } = &**shared;
        let batch = inputs.x.dims()[0];
        let training = if wanted.any() { self.training(batch)? } else { cpu.plan.training.clone() };
        let agenda = shared.agenda(&training, pass.active.as_deref(), wanted);
        let factors = pass.draws.path_factors(graph.drop_count(), batch);
        let placement = if wanted.any() { &training.placement.forward } else { &cpu.plan.inference };
        let mut tape = tapes.take(cpu, placement.len, batch, wanted.any())?;
        let output = with_floats(inputs, |x, w, p| {
            let packing = profile::span(profile::PACKING);
            tape.packed.fill(cpu, graph, w, wanted.any());
            drop(packing);
            let _profiled = profile::span(profile::PASSES);
            let run = PassRun { shared, pass, agenda: &agenda, factors: &factors, batch };
            run.on(&tape, placement, w, p).forward(x)
        });
        let output = match output {
            Ok(output) => output,
            Err(error) => {
                tapes.give_back(tape);
                return Err(error);
            }
        };
        let shape = (batch, output.len() / batch);
        let output = Tensor::from_vec(output, shape, inputs.x.device())?;
        if !wanted.any() {
            tapes.give_back(tape);
            return Ok(Forward { output, states: Vec::new(), tape: None });
        }
        let (shared, pass) = (shared.clone(), pass.clone());
        let tape = CpuTape { tape: Some(tape), shared, training, agenda, pass, factors };
        Ok(Forward { output, states: Vec::new(), tape: Some(Box::new(tape)) })
    }
}

impl ImageExecutor for CpuExecutor {
    fn memory(&self, batch: usize) -> Result<u64> {
        let images = self.training(batch)?.placement.forward.len * size_of::<f32>() * batch;
        Ok((images + self.shared.cpu.table_bytes(batch)) as u64)
    }

    fn within(&self, bytes: u64, report: Report) -> Result<Arc<dyn ImageExecutor>> {
        let budget = Some(Arc::new(Budget::new(&*self.shared, bytes, report)?));
        Ok(Arc::new(Self { shared: self.shared.clone(), budget }))
    }
}

/// What both directions of a pass have in common.
struct PassRun<'a> {
    shared: &'a Shared,
    pass: &'a Pass,
    agenda: &'a Agenda,
    factors: &'a [f32],
    batch: usize,
}

impl<'a> PassRun<'a> {
    fn on(self, tape: &'a Tape, placement: &'a Placement, w: &'a [f32], p: &'a [f32]) -> Run<'a> {
        let Shared { cpu, graph, options, .. } = self.shared;
        Run {
            cpu,
            graph,
            isa: options.isa,
            cache: options.cache,
            tape,
            placement,
            agenda: self.agenda,
            draws: &self.pass.draws,
            factors: self.factors,
            batch: self.batch,
            w,
            p,
            mode: self.pass.mode,
            statistics: &self.pass.statistics,
        }
    }
}

/// What a forward pass leaves; its memory goes back to the pool when it is used or dropped.
struct CpuTape {
    tape: Option<Tape>,
    shared: Arc<Shared>,
    training: Arc<Training>,
    agenda: Arc<Agenda>,
    pass: Pass,
    /// By path and image, see [`Draws::path_factors`](crate::engine::Draws::path_factors).
    factors: Vec<f32>,
}

impl EngineTape for CpuTape {
    fn backward(self: Box<Self>, inputs: Inputs<'_>, dy: &Tensor) -> Result<Gradients> {
        let Some(tape) = &self.tape else { unreachable!("a tape is there until it is dropped") };
        let gradients = with_floats(inputs, |_, w, p| {
            let dy = dy.flatten_all()?.to_vec1::<f32>()?;
            let _profiled = profile::span(profile::PASSES);
            let batch = inputs.x.dims()[0];
            let run =
                PassRun { shared: &self.shared, pass: &self.pass, agenda: &self.agenda, factors: &self.factors, batch };
            run.on(tape, &self.training.placement.backward, w, p).backward(&dy)
        })?;
        let wanted = self.agenda.wanted;
        let tensor = |wanted: bool, values: Vec<f32>, like: &Tensor| {
            wanted.then(|| Tensor::from_vec(values, like.shape(), like.device())).transpose()
        };
        Ok(Gradients {
            x: tensor(wanted.x, gradients.x, inputs.x)?,
            w: tensor(wanted.w, gradients.w, inputs.w)?,
            p: tensor(wanted.p, gradients.p, inputs.p)?,
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

/// Calls `f` with the values of x, w and p, borrowed from the tensors.
fn with_floats<R>(inputs: Inputs<'_>, f: impl FnOnce(&[f32], &[f32], &[f32]) -> Result<R>) -> Result<R> {
    let Inputs { x, w, p, .. } = inputs;
    let ((x, x_layout), (w, w_layout), (p, p_layout)) =
        (x.storage_and_layout(), w.storage_and_layout(), p.storage_and_layout());
    f(floats(&x, x_layout)?, floats(&w, w_layout)?, floats(&p, p_layout)?)
}

/// The values of a contiguous tensor in the processor's memory.
pub(in crate::engine) fn floats<'a>(storage: &'a Storage, layout: &candle_core::Layout) -> Result<&'a [f32]> {
    let (Storage::Cpu(CpuStorage::F32(all)), Some((from, to))) = (storage, layout.contiguous_offsets()) else {
        return Err(Error::run("the network's inputs are not contiguous floats on the processor"));
    };
    Ok(&all[from..to])
}
