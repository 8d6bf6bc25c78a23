//! The memory of passes, kept for the next one: one arena for all buffers of a plan, packed weights, norms'
//! coefficients, scratch for each thread.

use super::kernels::products::panel_width;
use super::pass::{self, ROWS};
use super::plan::storage::{Buffer, Extent};
use super::plan::{Packing, Plan};
use crate::engine::cpu::Isa;
use crate::engine::cpu::memory::Floats;
use crate::{Error, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How large a pass is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extents {
    pub steps: usize,
    /// Rows of the batch.
    pub rows: usize,
}

impl Buffer {
    /// Floats of one time step.
    pub fn slot(&self, rows: usize) -> usize {
        self.blocks * rows * self.row
    }

    /// How many time steps lie in the arena.
    pub fn slots(&self, steps: usize) -> usize {
        match self.extent {
            Extent::Window => steps,
            Extent::States => steps + 1,
            Extent::Two => 2,
            Extent::Step | Extent::Fixed => 1,
            Extent::X | Extent::Output | Extent::OutputGradient | Extent::XGradient => 0,
        }
    }
}

impl Packing {
    /// Floats of the packed matrix, and of the bias behind it.
    pub fn len(&self, isa: Isa) -> (usize, usize) {
        let columns = self.width.next_multiple_of(panel_width(isa));
        (columns * self.depth, if self.bias.is_some() { columns } else { 0 })
    }
}

/// How long each part of a tape is.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    arena: usize,
    packed: usize,
    /// Norms' lanes of one time step, and of all.
    lanes: usize,
    tables: usize,
    registers: usize,
    sums: usize,
    slots: usize,
    tasks: usize,
    threads: usize,
    /// Whether weights get gradients.
    weights: usize,
}

impl Sizes {
    /// None where a length overflows.
    fn new(plan: &Plan, isa: Isa, slots: usize, size: Extents) -> Option<Self> {
        let mut arena = 0usize;
        for buffer in &plan.buffers {
            let slot = buffer.blocks.checked_mul(size.rows)?.checked_mul(buffer.row)?;
            arena = arena.checked_add(slot.checked_mul(buffer.slots(size.steps))?.checked_next_multiple_of(16)?)?;
        }
        let packed = plan.packings.iter().map(|packing| packing.len(isa)).map(|(matrix, bias)| matrix + bias).sum();
        Some(Self {
            arena,
            packed,
            lanes: plan.lane_count,
            tables: plan.lane_count.checked_mul(size.steps)?,
            registers: plan.programs().map(|program| program.scratch()).max().unwrap_or(0),
            sums: plan.programs().map(|program| 16 * program.sums.len()).max().unwrap_or(0),
            slots,
            tasks: size.rows.div_ceil(ROWS),
            threads: rayon::current_num_threads().max(1),
            weights: usize::from(plan.key.wanted.w),
        })
    }

    /// What a tape of these sizes takes.
    fn bytes(&self) -> u64 {
        let Self { arena, packed, lanes, tables, registers, sums, slots, tasks, threads, weights } = *self;
        let scratch = registers + sums + weights * (pass::weights::VALUES + pass::weights::GRADIENT);
        let floats = arena as u128 + (packed + 5 * lanes + threads * scratch) as u128 + 4 * tables as u128;
        let bytes = size_of::<f32>() as u128 * floats + (size_of::<f64>() * slots * tasks) as u128;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn parts(&self) -> [usize; 10] {
        let Self { arena, packed, lanes, tables, registers, sums, slots, tasks, threads, weights } = *self;
        [arena, packed, lanes, tables, registers, sums, slots, tasks, threads, weights]
    }

    fn fits(&self, into: &Self) -> bool {
        self.parts().into_iter().zip(into.parts()).all(|(need, have)| need <= have)
    }

    fn max(&self, other: &Self) -> Self {
        let mut most = self.parts();
        most.iter_mut().zip(other.parts()).for_each(|(most, other)| *most = (*most).max(other));
        let [arena, packed, lanes, tables, registers, sums, slots, tasks, threads, weights] = most;
        Self { arena, packed, lanes, tables, registers, sums, slots, tasks, threads, weights }
    }
}

/// Bytes that a pass of this kind over a window takes, as many as a number holds where there are more. `slots`: mixing
/// weights.
pub fn bytes(plan: &Plan, isa: Isa, slots: usize, size: Extents) -> u64 {
    Sizes::new(plan, isa, slots, size).map_or(u64::MAX, |sizes| sizes.bytes())
}

/// A place in memory that several threads use, each in a range of its own.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Pointer(pub *mut f32);

// SAFETY: whoever follows it promises not to share what is written there; see the passes.
unsafe impl Send for Pointer {}
// SAFETY: the same.
unsafe impl Sync for Pointer {}

/// One thread's scratch.
pub struct Scratch {
    pub registers: Floats,
    pub sums: Floats,
    pub pointers: Vec<Pointer>,
    /// Packed operands of weights' gradients.
    pub values: Floats,
    pub gradient: Floats,
}

/// All memory that a pass writes to.
pub struct Tape {
    pub arena: Floats,
    /// By buffer, where it begins in the arena.
    pub offsets: Vec<usize>,
    pub packed: Floats,
    /// By packing, where it begins.
    pub packings: Vec<usize>,
    /// By time step and lane: coefficients of norms and what they were made of.
    pub scale: Floats,
    pub shift: Floats,
    pub mean: Floats,
    pub variance: Floats,
    /// By lane: coefficients of norms' gradients, and sums on the way to them.
    pub back: [Floats; 3],
    /// By lane: running means and variances.
    pub running: [Floats; 2],
    scratch: Vec<Mutex<Scratch>>,
    /// By task of rows, then by slot.
    pub dots: Vec<Mutex<Vec<f64>>>,
    sizes: Sizes,
}

impl Tape {
    fn try_new(sizes: Sizes) -> Option<Self> {
        let tables = || Floats::try_new(sizes.tables);
        let lanes = || Floats::try_new(sizes.lanes);
        let scratch = || {
            Some(Mutex::new(Scratch {
                registers: Floats::try_new(sizes.registers)?,
                sums: Floats::try_new(sizes.sums)?,
                pointers: Vec::new(),
                values: Floats::try_new(sizes.weights * pass::weights::VALUES)?,
                gradient: Floats::try_new(sizes.weights * pass::weights::GRADIENT)?,
            }))
        };
        Some(Self {
            arena: Floats::try_new(sizes.arena)?,
            offsets: Vec::new(),
            packed: Floats::try_new(sizes.packed)?,
            packings: Vec::new(),
            scale: tables()?,
            shift: tables()?,
            mean: tables()?,
            variance: tables()?,
            back: [lanes()?, lanes()?, lanes()?],
            running: [lanes()?, lanes()?],
            scratch: (0..sizes.threads).map(|_| scratch()).collect::<Option<_>>()?,
            dots: (0..sizes.tasks).map(|_| Mutex::new(vec![0.0; sizes.slots])).collect(),
            sizes,
        })
    }

    /// Lays a plan's buffers and packed weights out.
    fn lay_out(&mut self, plan: &Plan, isa: Isa, size: Extents) {
        let mut at = 0;
        self.offsets.clear();
        for buffer in &plan.buffers {
            self.offsets.push(at);
            at += (buffer.slot(size.rows) * buffer.slots(size.steps)).next_multiple_of(16);
        }
        let mut at = 0;
        self.packings.clear();
        for packing in &plan.packings {
            self.packings.push(at);
            let (matrix, bias) = packing.len(isa);
            at += matrix + bias;
        }
        for scratch in &mut self.scratch {
            let pointers = &mut scratch.get_mut().unwrap_or_else(PoisonError::into_inner).pointers;
            pointers.resize(2 * plan.buffers.len(), Pointer(std::ptr::null_mut()));
        }
    }

    /// The scratch of the thread that asks.
    pub fn scratch(&self) -> MutexGuard<'_, Scratch> {
        let thread = rayon::current_thread_index().unwrap_or(0) % self.scratch.len();
        self.scratch[thread].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tapes of one engine that are not in use, whatever kind of pass they were for.
#[derive(Default)]
pub struct Tapes {
    idle: Mutex<Vec<Tape>>,
}

impl Tapes {
    /// An idle tape that is large enough, or a new one, laid out for a plan. `slots`: mixing weights.
    pub fn take(&self, plan: &Plan, isa: Isa, slots: usize, size: Extents) -> Result<Tape> {
        let too_much = |floats: f64| {
            Error::user(format!(
                "a window of {} time steps of a batch of {} needs {:.1} GiB, which is more than the system has",
                size.steps,
                size.rows,
                floats * size_of::<f32>() as f64 / f64::from(1 << 30)
            ))
            .hint("take smaller batches or shorter windows")
        };
        let floats = |buffer: &Buffer| {
            buffer.slots(size.steps) as f64 * buffer.blocks as f64 * size.rows as f64 * buffer.row as f64
        };
        let all = plan.buffers.iter().map(floats).sum();
        let sizes = Sizes::new(plan, isa, slots, size).ok_or_else(|| too_much(all))?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = idle.iter().position(|tape| sizes.fits(&tape.sizes));
        let mut tape = match fits.map(|fits| idle.swap_remove(fits)) {
            Some(tape) => tape,
            None => {
                // Too small for this pass: dropped, and replaced by one that would do for both.
                let most = idle.drain(..).fold(sizes, |most, tape| most.max(&tape.sizes));
                drop(idle);
                Tape::try_new(most).or_else(|| Tape::try_new(sizes)).ok_or_else(|| too_much(all))?
            }
        };
        tape.lay_out(plan, isa, size);
        Ok(tape)
    }

    pub fn give_back(&self, tape: Tape) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(tape);
    }
}
