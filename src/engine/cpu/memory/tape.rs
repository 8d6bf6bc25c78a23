//! The memory of a pass: activations, tables, sums and scratch, kept for the next pass.

use super::pack::Packed;
use super::scratch::ScratchSizes;
use super::{Floats, Scratch};
use crate::engine::cpu::plan::{CpuPlan, GROUPS};
use crate::graph::plan::Placement;
use crate::{Error, Result};
use std::sync::{Mutex, PoisonError};

/// How long each part of a tape is, in floats: what is allocated, and what a memory limit counts.
#[derive(Clone, Copy)]
struct TapeSizes {
    packed_depthwise: usize,
    packed_dense: usize,
    packed_bias: usize,
    norm_lanes: usize,
    /// Sums of one image group, and its weight gradients of the largest stage.
    sums: usize,
    gradients: usize,
    groups: usize,
    totals: usize,
    scratch: ScratchSizes,
    threads: usize,
    training: bool,
}

impl TapeSizes {
    fn new(cpu: &CpuPlan, batch: usize, training: bool) -> Self {
        let tables = &cpu.tables;
        Self {
            packed_depthwise: tables.packed_depthwise,
            packed_dense: tables.packed_dense,
            packed_bias: tables.packed_bias,
            norm_lanes: tables.norm_lanes,
            sums: tables.group_sums(),
            gradients: if training { tables.stage_gradients } else { 0 },
            groups: batch.min(GROUPS),
            totals: tables.backward_sums,
            scratch: cpu.scratch,
            threads: rayon::current_num_threads().max(1),
            training,
        }
    }

    /// Bytes of everything but the images' regions.
    fn bytes(&self) -> usize {
        let packed = self.packed_depthwise + 2 * self.packed_dense + self.packed_bias;
        let groups = (self.sums + self.gradients) * self.groups;
        size_of::<f32>() * (packed + COEFFICIENTS * self.norm_lanes + groups)
            + size_of::<f64>() * self.totals
            + self.scratch.bytes() * self.threads
    }
}

/// Tables of one float per norm lane that a tape holds.
const COEFFICIENTS: usize = 6;

/// All memory that a pass writes to.
pub(in crate::engine::cpu) struct Tape {
    arena: Floats,
    pub packed: Packed,
    /// By norm lane: what views are multiplied by and shifted by, and the batch's mean and inverse deviation.
    pub scale: Floats,
    pub shift: Floats,
    pub mean: Floats,
    pub inverse: Floats,
    /// By norm lane: the stored output's coefficient and the constant of the norm's backward pass.
    pub back_y: Floats,
    pub back_constant: Floats,
    /// By image group: sums for statistics, and weight gradients of the stage at work.
    sums: Floats,
    gradients: Floats,
    sizes: TapeSizes,
    /// Backward sums over the whole batch.
    pub totals: Mutex<Vec<f64>>,
    /// One for each thread.
    scratch: Vec<Mutex<Scratch>>,
}

impl Tape {
    fn new(cpu: &CpuPlan, region: usize, batch: usize, training: bool) -> Result<Self> {
        let sizes = TapeSizes::new(cpu, batch, training);
        Self::try_new(&sizes, region, batch).ok_or_else(|| {
            let bytes = region as f64 * batch as f64 * size_of::<f32>() as f64 + sizes.bytes() as f64;
            Error::user(format!(
                "a batch of {batch} images needs {:.1} GiB, which is more than the system has",
                bytes / f64::from(1 << 30)
            ))
            .hint("take smaller batches")
        })
    }

    fn try_new(sizes: &TapeSizes, region: usize, batch: usize) -> Option<Self> {
        let coefficients = || Floats::try_new(sizes.norm_lanes);
        Some(Self {
            arena: region.checked_mul(batch).and_then(Floats::try_new)?,
            packed: Packed {
                depthwise: Floats::try_new(sizes.packed_depthwise)?,
                dense: Floats::try_new(sizes.packed_dense)?,
                transposed: Floats::try_new(sizes.packed_dense)?,
                bias: Floats::try_new(sizes.packed_bias)?,
            },
            scale: coefficients()?,
            shift: coefficients()?,
            mean: coefficients()?,
            inverse: coefficients()?,
            back_y: coefficients()?,
            back_constant: coefficients()?,
            sums: sizes.sums.checked_mul(sizes.groups).and_then(Floats::try_new)?,
            gradients: sizes.gradients.checked_mul(sizes.groups).and_then(Floats::try_new)?,
            totals: Mutex::new(vec![0.0; sizes.totals]),
            scratch: (0..sizes.threads).map(|_| Scratch::new(&sizes.scratch).map(Mutex::new)).collect::<Option<_>>()?,
            sizes: *sizes,
        })
    }

    /// Where an image's region begins.
    pub fn image(&self, placement: &Placement, image: usize) -> *mut f32 {
        self.arena.at(image * placement.len, placement.len)
    }

    /// `len` floats of an image group's sums, from `at` on.
    pub fn group_sums(&self, group: usize, at: usize, len: usize) -> *mut f32 {
        debug_assert!(at + len <= self.sizes.sums && group < self.sizes.groups);
        self.sums.at(group * self.sizes.sums + at, len)
    }

    /// `len` floats of an image group's weight gradients, from `at` on.
    pub fn group_gradients(&self, group: usize, at: usize, len: usize) -> *mut f32 {
        debug_assert!(at + len <= self.sizes.gradients && group < self.sizes.groups);
        self.gradients.at(group * self.sizes.gradients + at, len)
    }

    /// The buffers of the thread of this number.
    pub fn scratch(&self, thread: usize) -> &Mutex<Scratch> {
        &self.scratch[thread % self.scratch.len()]
    }

    /// Whether a pass over `batch` images fits on it.
    fn fits(&self, region: usize, batch: usize, training: bool) -> bool {
        let room = region.checked_mul(batch).is_some_and(|floats| floats <= self.arena.len());
        room && batch.min(GROUPS) <= self.sizes.groups && (self.sizes.training || !training)
    }
}

impl CpuPlan {
    /// The bytes of a training tape without the images' regions.
    pub fn table_bytes(&self, batch: usize) -> usize {
        TapeSizes::new(self, batch, true).bytes()
    }
}

/// The tapes of one plan that are not in use.
#[derive(Default)]
pub(in crate::engine::cpu) struct Tapes {
    idle: Mutex<Vec<Tape>>,
}

impl Tapes {
    /// An idle tape that is large enough, or a new one. `region`: floats per image.
    pub fn take(&self, cpu: &CpuPlan, region: usize, batch: usize, training: bool) -> Result<Tape> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fits) = idle.iter().position(|tape| tape.fits(region, batch, training)) {
            return Ok(idle.swap_remove(fits));
        }
        // Too small for this pass: dropped rather than kept idle.
        idle.clear();
        drop(idle);
        Tape::new(cpu, region, batch, training)
    }

    pub fn give_back(&self, tape: Tape) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(tape);
    }
}
