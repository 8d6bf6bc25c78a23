//! The memory of a pass: activations, tables, partial sums and scratch; kept and used again by the next pass.

use super::dense::DenseTap;
use super::memory::Floats;
use super::pack::Packed;
use super::sums::Shifted;
use super::{CpuPlan, GROUPS};
use crate::graph::plan::{Memory, ViewId};
use crate::{Error, Result};
use std::sync::Mutex;

/// Everything that a pass writes.
pub struct Tape {
    arena: Floats,
    pub packed: Packed,
    /// By norm lane: what views are multiplied by and shifted by, and the batch's mean and inverse deviation.
    pub scale: Floats,
    pub shift: Floats,
    pub mean: Floats,
    pub inverse: Floats,
    /// By norm lane: the stored output's and the constant's part in the norm's backward pass.
    pub back_y: Floats,
    pub back_constant: Floats,
    /// By image group: sums for statistics, and weight gradients of the stage at work.
    pub partial: Floats,
    pub partial_len: usize,
    pub gradients: Floats,
    pub gradients_len: usize,
    /// Backward sums over the whole batch.
    pub totals: Mutex<Vec<f64>>,
    /// One for each thread.
    pub scratch: Vec<Mutex<Scratch>>,
}

impl Tape {
    fn new(cpu: &CpuPlan, memory: &Memory, batch: usize, training: bool) -> Result<Self> {
        let Some(arena) = memory.len.checked_mul(batch).and_then(Floats::try_new) else {
            let need = (memory.len * size_of::<f32>()) as f64 * batch as f64 / f64::from(1 << 30);
            // candle carries only the message: the advice is part of it.
            return Err(Error::user(format!(
                "a batch of {batch} images needs {need:.1} GiB, more than the system gives: take smaller batches"
            )));
        };
        let sizes = &cpu.plan.sizes;
        let partial_len = (2 * sizes.norm_lanes).max(sizes.backward_statistics);
        let groups = batch.min(GROUPS);
        let gradients_len = if training { sizes.stage_gradients } else { 0 };
        let table = || Floats::new(sizes.norm_lanes);
        Ok(Self {
            arena,
            packed: Packed::new(&cpu.plan),
            scale: table(),
            shift: table(),
            mean: table(),
            inverse: table(),
            back_y: table(),
            back_constant: table(),
            partial: Floats::new(partial_len * groups),
            partial_len,
            gradients: Floats::new(gradients_len * groups),
            gradients_len,
            totals: Mutex::new(vec![0.0; sizes.backward_statistics]),
            scratch: (0..rayon::current_num_threads().max(1)).map(|_| Mutex::new(Scratch::new(cpu))).collect(),
        })
    }

    /// Where an image's region begins.
    pub fn image(&self, memory: &Memory, image: usize) -> *mut f32 {
        self.arena.at(image * memory.len)
    }

    /// Whether a pass over `batch` images has room on it.
    fn fits(&self, memory: &Memory, batch: usize, training: bool) -> bool {
        let groups = batch.min(GROUPS);
        let gradients = !training || (self.gradients_len > 0 && self.gradients.len() >= self.gradients_len * groups);
        memory.len * batch <= self.arena.len() && self.partial.len() >= self.partial_len * groups && gradients
    }
}

impl CpuPlan {
    /// The bytes of a training tape besides the images' regions.
    pub fn table_bytes(&self, batch: usize) -> usize {
        let sizes = &self.plan.sizes;
        let groups = batch.min(GROUPS);
        let packed = sizes.packed_depthwise + 2 * sizes.packed_dense + sizes.packed_bias;
        let partial = (2 * sizes.norm_lanes).max(sizes.backward_statistics) * groups;
        let scratch = sizes.padded_plane + sizes.halo_plane + 4 * sizes.plane;
        let floats = packed + 6 * sizes.norm_lanes + partial + sizes.stage_gradients * groups;
        let threads = rayon::current_num_threads().max(1);
        (floats + scratch * threads) * size_of::<f32>() + sizes.backward_statistics * size_of::<f64>()
    }
}

/// One thread's small buffers; they stay in its cache.
pub struct Scratch {
    /// The loaded view, with padding.
    pub padded: Floats,
    /// Its activation's derivatives.
    pub slopes: Floats,
    /// Which view of which image is loaded, and whether with slopes.
    pub loaded: Option<(ViewId, usize, bool)>,
    /// A strip between a unit's depthwise and dense part, and the same for gradients.
    pub middle: Floats,
    pub strip: Floats,
    /// A gradient plane with its halo, and which (blocks, height, width, halo) its frame of zeros fits.
    pub halo: Floats,
    pub frame: Option<[usize; 5]>,
    /// Input gradients of one row.
    pub row: Floats,
    /// Per-lane weights and the term lists of kernels.
    pub coefficients: Vec<[f32; 16]>,
    pub terms: Vec<Shifted>,
    pub taps: Vec<DenseTap>,
    /// The same for the gradient of a stored tensor, all its blocks.
    pub gradient_coefficients: Vec<[f32; 16]>,
    pub gradient_terms: Vec<Shifted>,
    pub planes: Vec<*const f32>,
    pub products: Vec<*mut f32>,
}

// SAFETY: the pointers are only used within the call that filled them.
unsafe impl Send for Scratch {}

impl Scratch {
    fn new(cpu: &CpuPlan) -> Self {
        let sizes = &cpu.plan.sizes;
        Self {
            padded: Floats::new(sizes.padded_plane),
            slopes: Floats::new(sizes.plane),
            loaded: None,
            middle: Floats::new(sizes.plane),
            strip: Floats::new(sizes.plane),
            halo: Floats::new(sizes.halo_plane),
            frame: None,
            row: Floats::new(sizes.plane),
            coefficients: vec![[0.0; 16]; cpu.most_terms],
            terms: Vec::with_capacity(cpu.most_terms),
            taps: Vec::with_capacity(cpu.most_terms),
            gradient_coefficients: vec![[0.0; 16]; cpu.most_gradient_terms],
            gradient_terms: Vec::with_capacity(cpu.most_gradient_terms),
            planes: Vec::with_capacity(cpu.most_terms),
            products: Vec::with_capacity(cpu.most_terms),
        }
    }
}

/// Tapes not in use.
#[derive(Default)]
pub struct Pools {
    idle: Mutex<Vec<Tape>>,
}

impl Pools {
    /// An idle tape that is large enough, or a new one.
    pub fn take(&self, cpu: &CpuPlan, memory: &Memory, batch: usize, training: bool) -> Result<Tape> {
        if let Ok(mut idle) = self.idle.lock() {
            if let Some(fits) = idle.iter().position(|tape| tape.fits(memory, batch, training)) {
                return Ok(idle.swap_remove(fits));
            }
            // Too small for what is asked now: they would only lie about.
            idle.clear();
        }
        Tape::new(cpu, memory, batch, training)
    }

    pub fn give_back(&self, tape: Tape) {
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(tape);
        }
    }
}
