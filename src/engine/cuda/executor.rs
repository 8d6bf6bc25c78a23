//! The executor on a GPU: the fused plan in single precision. Tensors that go in and come out are the processor's or
//! the GPU's own (`door.rs`); the weights stay on the GPU until they change.

use super::Launcher;
use super::door::{receive, send};
use super::launcher::Launch;
use super::memory::{Buffer, PassMemory, PassSize, Use};
use super::plan::CudaPlan;
use super::program::{Program, Round, Step, When};
use super::statistics;
use super::told::Told;
use crate::engine::Mode;
use crate::engine::budget::{Budget, Trained, training};
use crate::engine::executor::{
    Executor, Forward, Gradients, ImageExecutor, Inputs, Pass, Report, Tape as EngineTape, Wanted,
};
use crate::graph::Graph;
use crate::graph::plan::Training;
use crate::{Error, Result, interrupt};
use candle_core::{DType, Device, Tensor};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A plan on a GPU, with its programs and its memory. Clones share everything except the memory limit.
#[derive(Clone)]
pub(in crate::engine) struct CudaExecutor {
    shared: Arc<Shared>,
    budget: Option<Arc<Budget>>,
}

pub(super) struct Shared {
    pub graph: Arc<Graph>,
    pub cuda: CudaPlan,
    pub launcher: Arc<dyn Launcher>,
    packing: Buffer,
    /// Programs of recent passes, the latest last: a search alternates between a few kinds of passes.
    programs: Mutex<Vec<Arc<Loaded>>>,
    idle: Mutex<Vec<PassMemory>>,
}

/// A program, its table on the GPU.
struct Loaded {
    /// No two programs of a process have the same.
    number: u64,
    training: Arc<Training>,
    active: Option<Vec<bool>>,
    program: Program,
    table: Buffer,
}

/// How many programs are kept.
const KINDS: usize = 8;

/// What every kernel takes first; the struct `Pass` of the kernels' common.cuh.
#[repr(C)]
#[derive(Clone, Copy)]
struct PassArguments {
    arena: u64,
    x: u64,
    dx: u64,
    w: u64,
    dw: u64,
    p: u64,
    dp: u64,
    packed: u64,
    packing: u64,
    norms: u64,
    moments: u64,
    parts: u64,
    totals: u64,
    noise: u64,
    factors: u64,
    out: u64,
    dout: u64,
    table: u64,
    counters: u64,
    region: i64,
    batch: i32,
    norm_lanes: i32,
    batch_norms: i32,
    unused: i32,
}

// SAFETY: numbers only, without gaps between them.
unsafe impl bytemuck::NoUninit for PassArguments {}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CudaExecutor {
    /// Lowers a graph.
    ///
    /// # Errors
    /// A graph whose output is not set or is not a feature vector; one that does not run on CUDA yet; too little
    /// memory.
    pub fn new(graph: Arc<Graph>, launcher: Arc<dyn Launcher>) -> Result<Self> {
        let cuda = CudaPlan::new(&graph)?;
        let packing = Buffer::of(&launcher, &cuda.packing)?;
        let shared = Shared { graph, cuda, launcher, packing, programs: Mutex::default(), idle: Mutex::default() };
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
    fn program(&self, training: &Arc<Training>, active: Option<&[bool]>, wanted: Wanted) -> Result<Arc<Loaded>> {
        let mut programs = locked(&self.programs);
        let is = |loaded: &Arc<Loaded>| {
            loaded.active.as_deref() == active
                && loaded.program.agenda.wanted == wanted
                && Arc::ptr_eq(&loaded.training, training)
        };
        if let Some(known) = programs.iter().position(is) {
            programs[known..].rotate_left(1);
        } else {
            if programs.len() >= KINDS {
                programs.remove(0);
            }
            let program = Program::new(&self.cuda, &self.graph, training, active, wanted);
            let table = Buffer::of(&self.launcher, &program.table)?;
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let (training, active) = (training.clone(), active.map(<[bool]>::to_vec));
            programs.push(Arc::new(Loaded { number, training, active, program, table }));
        }
        Ok(programs[programs.len() - 1].clone())
    }

    pub fn size(&self, program: &Program, batch: usize) -> PassSize {
        let graph = &self.graph;
        let input = graph.shape(graph.input());
        PassSize {
            batch,
            region: program.region,
            parts: program.parts,
            gradients: program.agenda.wanted.any(),
            image: input.channels * input.pixels(),
            weights: graph.parameters(),
            mixing: graph.slot_count().max(1),
            factors: graph.drop_count(),
            noise: program.noises.iter().map(|(.., len)| len).sum(),
            output: graph.output().map_or(0, |output| graph.shape(output).channels),
        }
    }

    /// Runs launches. `key`: the number of the program that they belong to, and which of its lists they are.
    fn run(&self, key: (u64, u8), steps: &[Step], arguments: &PassArguments) -> Result<()> {
        interrupt::check()?;
        let batch_norms = arguments.batch_norms != 0;
        let runs = |round: &&Round| match round.when {
            When::Always => true,
            When::Batch => batch_norms,
            When::Running => !batch_norms,
        };
        let mut told = Vec::new();
        for step in steps {
            match step {
                Step::Rounds(rounds) => {
                    let rounds: Vec<&Round> = rounds.iter().filter(runs).collect();
                    // Measured rounds run alone.
                    let together = if self.launcher.measures() { 1 } else { rounds.len().max(1) };
                    told.extend(rounds.chunks(together).map(|rounds| Told::rounds(rounds, arguments.batch as usize)));
                }
                Step::Flat { kernel, first, count } => told.push(Told::flat(kernel, *first, *count)),
            }
        }
        let pass = bytemuck::bytes_of(arguments);
        let words: Vec<Vec<&[u8]>> = told.iter().map(|told| told.after(pass)).collect();
        let launches: Vec<Launch<'_>> = told.iter().zip(&words).map(|(told, words)| told.launch(words)).collect();
        let key = [&key.0.to_ne_bytes()[..], &[key.1], pass].concat();
        // SAFETY: the program keeps every place within the buffers, which were made large enough for it and the batch.
        // The key holds the program and all addresses.
        unsafe { self.launcher.launch_all(&key, &launches) }
    }

    fn arguments(&self, memory: &PassMemory, loaded: &Loaded, mode: Mode, batch: usize, drops: bool) -> PassArguments {
        let at = |of: Use| memory.address(of);
        PassArguments {
            arena: at(Use::Arena),
            x: at(Use::Images),
            dx: at(Use::ImagesGradient),
            w: at(Use::Weights),
            dw: at(Use::WeightsGradient),
            p: at(Use::Mixing),
            dp: at(Use::MixingGradient),
            packed: at(Use::Packed),
            packing: self.packing.address(),
            norms: at(Use::Norms),
            moments: at(Use::Moments),
            parts: at(Use::Parts),
            totals: at(Use::Totals),
            noise: at(Use::Noise),
            factors: if drops { at(Use::Factors) } else { 0 },
            out: at(Use::Output),
            dout: at(Use::OutputGradient),
            table: loaded.table.address(),
            counters: at(Use::Counters),
            region: loaded.program.region as i64,
            batch: batch as i32,
            norm_lanes: self.cuda.tables.norm_lanes as i32,
            batch_norms: i32::from(mode != Mode::Evaluation),
            unused: 0,
        }
    }

    /// Sends what has changed and runs the forward pass: the output, and the arguments for the backward pass.
    fn forward(
        self: &Arc<Self>,
        memory: &mut PassMemory,
        loaded: &Arc<Loaded>,
        inputs: Inputs<'_>,
        pass: &Pass,
    ) -> Result<(Tensor, PassArguments)> {
        let batch = inputs.x.dims()[0];
        let size = self.size(&loaded.program, batch);
        memory.fit(&self.launcher, &self.cuda, &size, |free| self.too_little(&size, free))?;
        send(memory.buffer(Use::Images), inputs.x)?;
        send(memory.buffer(Use::Mixing), inputs.p)?;
        let factors = pass.draws.path_factors(size.factors, batch);
        memory.buffer(Use::Factors).write(&factors)?;
        let mut noise = Vec::with_capacity(batch * size.noise);
        for (kind, id, len) in &loaded.program.noises {
            (0..batch).for_each(|image| noise.extend(pass.draws.noise(*kind, *id, image).take(*len)));
        }
        memory.buffer(Use::Noise).write(&noise)?;
        if pass.mode == Mode::Evaluation {
            let moments = statistics::given(&self.cuda, &self.graph, &pass.statistics);
            memory.buffer(Use::Moments).write(&moments)?;
        }
        let arguments = self.arguments(memory, loaded, pass.mode, batch, !factors.is_empty());
        // A tensor's values never change, so its id says what the GPU holds already.
        if memory.resident != Some(inputs.w.id()) {
            send(memory.buffer(Use::Weights), inputs.w)?;
            self.pack(loaded.number, &arguments)?;
            memory.resident = Some(inputs.w.id());
        }
        self.run((loaded.number, 0), &loaded.program.forward, &arguments)?;
        let output = receive(memory.buffer(Use::Output), &(batch, size.output).into(), inputs.x.device())?;
        if pass.mode == Mode::Training {
            let bytes = size_of::<f64>() * 2 * self.cuda.tables.norm_lanes;
            let arrival = memory.buffer(Use::Moments).fetch(bytes)?;
            let (shared, loaded) = (self.clone(), loaded.clone());
            pass.statistics.later(Box::new(move |running| {
                let moments = bytemuck::pod_collect_to_vec(&arrival.wait()?);
                statistics::follow(&shared.cuda, &shared.graph, &loaded.program.agenda, running, &moments, batch);
                Ok(())
            }))?;
        }
        Ok((output, arguments))
    }

    /// Weights into the kernels' order.
    fn pack(&self, number: u64, arguments: &PassArguments) -> Result<()> {
        let count = self.cuda.packing.len();
        let pack = Step::Flat { kernel: "pack", first: 0, count: count as i32 };
        self.run((number, 2), if count == 0 { &[] } else { std::slice::from_ref(&pack) }, arguments)
    }
}

impl Executor for CudaExecutor {
    fn dtype(&self) -> DType {
        DType::F32
    }

    fn runs_on(&self, device: &Device) -> Result<()> {
        match device.is_cpu() || device.same_device(&self.shared.launcher.tensors()) {
            true => Ok(()),
            false => Err(Error::user(format!(
                "a network on {} takes tensors of the processor or of that GPU, not of another device",
                self.shared.launcher.name()
            ))
            .hint("make its inputs on the device that the script runs on")),
        }
    }

    fn forward(&self, inputs: Inputs<'_>, pass: &Pass, wanted: Wanted) -> Result<Forward> {
        let shared = &self.shared;
        let batch = inputs.x.dims()[0];
        let training = if wanted.any() { self.training(batch)? } else { shared.cuda.training.clone() };
        let loaded = shared.program(&training, pass.active.as_deref(), wanted)?;
        let mut memory = locked(&shared.idle).pop().unwrap_or_default();
        let ran = shared.forward(&mut memory, &loaded, inputs, pass);
        let (output, arguments) = match ran {
            Ok(ran) => ran,
            Err(error) => {
                locked(&shared.idle).push(memory);
                return Err(error);
            }
        };
        if !wanted.any() {
            locked(&shared.idle).push(memory);
            return Ok(Forward { output, states: Vec::new(), tape: None });
        }
        let tape = CudaTape { memory: Some(memory), shared: shared.clone(), loaded, arguments };
        Ok(Forward { output, states: Vec::new(), tape: Some(Box::new(tape)) })
    }
}

impl ImageExecutor for CudaExecutor {
    fn memory(&self, batch: usize) -> Result<u64> {
        Ok(self.shared.bytes(&self.training(batch)?, batch))
    }

    fn within(&self, bytes: u64, report: Report) -> Result<Arc<dyn ImageExecutor>> {
        let budget = Some(Arc::new(Budget::new(&*self.shared, bytes, report)?));
        Ok(Arc::new(Self { shared: self.shared.clone(), budget }))
    }
}

/// What a forward pass leaves; its memory goes back when it is used or dropped.
struct CudaTape {
    memory: Option<PassMemory>,
    shared: Arc<Shared>,
    loaded: Arc<Loaded>,
    arguments: PassArguments,
}

impl EngineTape for CudaTape {
    fn backward(mut self: Box<Self>, inputs: Inputs<'_>, dy: &Tensor) -> Result<Gradients> {
        let Some(memory) = &mut self.memory else { unreachable!("a tape's memory is there until it is dropped") };
        send(memory.buffer(Use::OutputGradient), dy)?;
        let program = &self.loaded.program;
        self.shared.run((self.loaded.number, 1), &program.backward, &self.arguments)?;
        let wanted = program.agenda.wanted;
        let mut gradient = |wanted: bool, of: Use, like: &Tensor| {
            wanted.then(|| receive(memory.buffer(of), like.shape(), like.device())).transpose()
        };
        let flows = program.flows_to_images();
        let x = match flows {
            true => gradient(wanted.x, Use::ImagesGradient, inputs.x)?,
            // No gradient flows back to the images.
            false => wanted.x.then(|| inputs.x.zeros_like()).transpose()?,
        };
        let w = gradient(wanted.w, Use::WeightsGradient, inputs.w)?;
        let p = gradient(wanted.p, Use::MixingGradient, inputs.p)?;
        Ok(Gradients { x, w, p })
    }
}

impl Drop for CudaTape {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            locked(&self.shared.idle).push(memory);
        }
    }
}
