//! The bridge to candle: one `CustomOp3` a pass.
//!
//! The operation keeps the tape of its forward pass. Its backward pass uses the tape's activations up and hands the tape
//! back to the engine; should candle ask for a second backward pass of the same forward, forward is run again.

use super::budget::{Budget, Report};
use super::cpu::profile;
use super::cpu::{CpuPlan, Isa, Pools, Run, Tape, Wanted, Work};
use super::{NormMode, Pass};
use crate::graph::Graph;
use crate::graph::plan::{Memory, Plan, Training};
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Shape, Storage, Tensor};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The two ways of a pass, as indices of [`Training::memory`].
const FORWARD: usize = 0;
const BACK: usize = 1;

/// A compiled graph, ready to run. Clones share everything.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
    budget: Option<Arc<Budget>>,
}

struct Inner {
    graph: Graph,
    cpu: CpuPlan,
    pools: Pools,
    /// The work of recent passes, the latest last: a search takes turns with few kinds.
    works: Mutex<Vec<(Weak<Training>, Arc<Work>)>>,
}

/// Kinds of passes whose work is kept.
const KINDS: usize = 8;

impl Inner {
    fn work(&self, training: &Arc<Training>, active: Option<&[bool]>, wanted: Wanted) -> Arc<Work> {
        let mut works = self.works.lock().unwrap_or_else(PoisonError::into_inner);
        let known = works
            .iter()
            .position(|(of, work)| std::ptr::eq(of.as_ptr(), Arc::as_ptr(training)) && work.is_for(active, wanted));
        if let Some(known) = known {
            works[known..].rotate_left(1);
        } else {
            if works.len() >= KINDS {
                works.remove(0);
            }
            let work = Work::new(&self.cpu.plan, &training.backward, active, wanted);
            works.push((Arc::downgrade(training), Arc::new(work)));
        }
        works[works.len() - 1].1.clone()
    }
}

impl Engine {
    /// Lowers a graph. Its output must be set and be a feature vector.
    pub fn compile(graph: Graph) -> Result<Engine> {
        let cpu = CpuPlan::new(Plan::new(&graph)?);
        Ok(Engine {
            inner: Arc::new(Inner { graph, cpu, pools: Pools::default(), works: Mutex::default() }),
            budget: None,
        })
    }

    /// The same engine with a limit on the memory of training: passes with gradients keep fewer tensors and compute the
    /// others again on the way back. Counted are one pass's activations and gradients, the engine's tables, the batch's
    /// images, eight vectors as long as the weights, and 32 MB for the program itself. No bit of any result changes.
    /// Whenever a larger batch than before comes, `report` hears in one line what the limit costs.
    ///
    /// # Errors
    /// Where not even one image fits; a batch that does not is an error of its forward pass.
    pub fn within(self, bytes: u64, report: Report) -> Result<Engine> {
        let budget = Budget::new(&self.inner.cpu, self.graph(), bytes, report)?;
        Ok(Engine { budget: Some(Arc::new(budget)), ..self })
    }

    /// Sees that networks can run on a device.
    ///
    /// Errors: any other than the processor.
    pub fn runs_on(device: &Device) -> Result<()> {
        match device.is_cpu() {
            true => Ok(()),
            false => Err(Error::user("networks run on the processor only, not on a CUDA device")
                .hint("run with --device cpu; scripts without networks may use CUDA")),
        }
    }

    /// How a batch of this many images is trained.
    ///
    /// # Errors
    /// A batch that does not fit into the memory.
    pub fn training(&self, batch: usize) -> Result<Arc<Training>> {
        match &self.budget {
            Some(budget) => budget.training(&self.inner.cpu, self.graph(), batch),
            None => Ok(self.plan().training.clone()),
        }
    }

    pub fn graph(&self) -> &Graph {
        &self.inner.graph
    }

    pub fn plan(&self) -> &Plan {
        &self.inner.cpu.plan
    }

    /// The network's output, images × outputs, as one candle operation.
    ///
    /// `x`: images × channels × height × width; `w`: all weights; `p`: all mixing weights (one dummy where a network has
    /// none). All f32. Gradients flow to whichever of the three candle tracks; what is detached costs nothing.
    ///
    /// Errors: shapes or types that do not fit, a device other than the processor.
    pub fn forward(&self, x: &Tensor, w: &Tensor, p: &Tensor, pass: &Pass) -> Result<Tensor> {
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
            dims => Err(Error::user(format!("the network has {len} {what}, this tensor is {dims:?}"))),
        };
        flat("weights", w, graph.parameters())?;
        flat("mixing weights", p, graph.slot_count().max(1))?;
        for (name, tensor) in [("images", x), ("weights", w), ("mixing weights", p)] {
            if tensor.dtype() != DType::F32 {
                return Err(Error::user(format!("the {name} are {:?}, networks run on f32", tensor.dtype())));
            }
            Self::runs_on(tensor.device())?;
        }
        if !(0.0..1.0).contains(&pass.draws.drop_path) {
            return Err(Error::user(format!(
                "the probability of drop path is at least 0 and below 1, not {}",
                pass.draws.drop_path
            )));
        }
        if let Some(active) = &pass.active
            && active.len() != graph.slot_count()
        {
            return Err(Error::user(format!("a mask of {} for {} mixing weights", active.len(), graph.slot_count())));
        }
        let tracked = x.track_op() || w.track_op() || p.track_op();
        let training = if tracked { self.training(x.dims()[0])? } else { self.plan().training.clone() };
        let wanted = Wanted { x: x.track_op(), w: w.track_op(), p: p.track_op() };
        let operation = Operation {
            inner: self.inner.clone(),
            work: self.inner.work(&training, pass.active.as_deref(), wanted),
            training,
            pass: pass.clone(),
            isa: Isa::choose()?,
            factors: pass.draws.path_factors(graph.drop_count(), x.dims()[0]),
            tracked,
            tape: Mutex::new(None),
        };
        let out = x.contiguous()?.apply_op3(&w.contiguous()?, &p.contiguous()?, operation);
        // candle only carries messages; an interruption keeps its meaning.
        crate::interrupt::check()?;
        Ok(out?)
    }
}

struct Operation {
    inner: Arc<Inner>,
    training: Arc<Training>,
    pass: Pass,
    isa: Isa,
    work: Arc<Work>,
    /// By path and image, see [`Draws::path_factors`](super::Draws::path_factors).
    factors: Vec<f32>,
    tracked: bool,
    tape: Mutex<Option<Tape>>,
}

impl Operation {
    fn forward(&self, x: &[f32], w: &[f32], p: &[f32], batch: usize, norm: &NormMode) -> Result<Vec<f32>> {
        let Inner { cpu, graph, pools, .. } = &*self.inner;
        let mut tape = pools.take(cpu, self.memory(FORWARD), batch, self.tracked)?;
        let packing = profile::span(profile::PACKING);
        tape.packed.fill(&cpu.plan, graph, w, self.tracked);
        drop(packing);
        let _profiled = profile::span(profile::PASSES);
        let out = self.run(&tape, FORWARD, w, p, batch, norm).forward(x);
        match self.tracked && out.is_ok() {
            true => *self.tape.lock().unwrap_or_else(PoisonError::into_inner) = Some(tape),
            false => pools.give_back(tape),
        }
        out
    }

    /// Where buffers lie on one way.
    fn memory(&self, way: usize) -> &Memory {
        if self.tracked { &self.training.memory[way] } else { &self.inner.cpu.plan.inference }
    }

    fn run<'a>(
        &'a self,
        tape: &'a Tape,
        way: usize,
        w: &'a [f32],
        p: &'a [f32],
        batch: usize,
        norm: &'a NormMode,
    ) -> Run<'a> {
        let Inner { cpu, graph, .. } = &*self.inner;
        let (memory, work) = (self.memory(way), &*self.work);
        let (draws, factors) = (&self.pass.draws, &self.factors);
        Run { cpu, graph, isa: self.isa, tape, memory, work, draws, factors, batch, w, p, norm }
    }

    /// What backward runs with: running statistics are not updated a second time.
    fn quiet_norm(&self) -> NormMode {
        match &self.pass.norm {
            NormMode::Running(running) => NormMode::Running(running.clone()),
            _ => NormMode::Batch,
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(tape) = self.tape.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.inner.pools.give_back(tape);
        }
    }
}

impl CustomOp3 for Operation {
    fn name(&self) -> &'static str {
        "network"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        p: &CpuStorage,
        p_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, w, p) = (floats(x, x_layout)?, floats(w, w_layout)?, floats(p, p_layout)?);
        let batch = x_layout.dims()[0];
        let out = self.forward(x, w, p, batch, &self.pass.norm)?;
        let shape = Shape::from((batch, out.len() / batch));
        Ok((CpuStorage::F32(out), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        p: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let wanted = self.work.wanted;
        // The weights are long: they are borrowed, not copied.
        let (w_storage, w_layout) = w.storage_and_layout();
        let Storage::Cpu(w_storage) = &*w_storage else {
            return Err(candle_core::Error::Msg("the network's inputs lie on the processor".into()));
        };
        let w_values = floats(w_storage, w_layout)?;
        let (p_values, dy) = (values(p)?, values(gradient)?);
        let batch = x.dims()[0];
        let norm = self.quiet_norm();
        let kept = self.tape.lock().unwrap_or_else(PoisonError::into_inner).take();
        let tape = match kept {
            Some(tape) => tape,
            None => {
                self.forward(&values(x)?, w_values, &p_values, batch, &norm)?;
                let again = self.tape.lock().unwrap_or_else(PoisonError::into_inner).take();
                again
                    .ok_or_else(|| candle_core::Error::Msg("a forward pass without gradients has no backward".into()))?
            }
        };
        let gradients = {
            let _profiled = profile::span(profile::PASSES);
            self.run(&tape, BACK, w_values, &p_values, batch, &norm).backward(&dy)
        };
        self.inner.pools.give_back(tape);
        let gradients = gradients?;
        let tensor = |wanted: bool, values: Vec<f32>, like: &Tensor| {
            wanted.then(|| Tensor::from_vec(values, like.shape(), like.device())).transpose()
        };
        Ok((tensor(wanted.x, gradients.x, x)?, tensor(wanted.w, gradients.w, w)?, tensor(wanted.p, gradients.p, p)?))
    }
}

fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let all = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&all[from..to]),
        None => Err(candle_core::Error::Msg("the network's inputs must be contiguous".into())),
    }
}

fn values(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.detach().flatten_all()?.to_vec1::<f32>()
}
