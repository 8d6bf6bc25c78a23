//! One thread's small buffers, and how large they must be, worked out from the very numbers that the loops over them
//! run to.

use super::Floats;
use crate::engine::cpu::kernels::dense::DenseTap;
use crate::engine::cpu::kernels::sums::Shifted;
use crate::engine::cpu::plan::UnitShape;
use crate::graph::Activation;
use crate::graph::plan::{Gradient, LANES, Plan, Step, Table, UnitId, Value, ViewId};

/// Lengths of the buffers in floats (terms and taps in entries).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine::cpu) struct ScratchSizes {
    padded: usize,
    slopes: usize,
    middle: usize,
    strip: usize,
    halo: usize,
    row: usize,
    terms: usize,
    gradient_terms: usize,
}

impl ScratchSizes {
    pub fn new(plan: &Plan, shapes: &Table<UnitId, UnitShape>) -> Self {
        let mut sizes = Self::default();
        for view in &plan.views {
            let raw = &plan.raws[plan.values[view.value].raw];
            let pixels = (raw.height + 2 * view.pad.0) * (raw.width + 2 * view.pad.1);
            sizes.padded = sizes.padded.max(raw.layout.len() * pixels);
            if view.activation.is_some_and(|activation| activation != Activation::Relu) {
                sizes.slopes = sizes.slopes.max(raw.len());
            }
        }
        for (unit, shape) in plan.units.iter().zip(shapes) {
            let halo = unit.geometry.with_halo();
            // The blocks of what the geometry's taps make: for a depthwise part, the input's.
            let blocks = if unit.depthwise.is_some() { shape.input_blocks } else { shape.output_blocks };
            sizes.halo = sizes.halo.max(blocks * halo.0 * halo.1 * LANES);
            let row = shape.input_blocks * LANES;
            if unit.depthwise.is_some() && unit.dense.is_some() {
                let pixels = shape.strip_pixels;
                sizes.middle = sizes.middle.max(row * pixels);
                sizes.strip = sizes.strip.max(shape.output_blocks * LANES * pixels);
                sizes.row = sizes.row.max(row * pixels);
            } else {
                sizes.row = sizes.row.max(row * unit.geometry.input.1);
            }
            sizes.terms = sizes.terms.max(unit.geometry.taps.len());
        }
        for (id, step) in plan.steps.pairs() {
            match step {
                Step::Pool(_)
                | Step::Apply { .. }
                | Step::Gather { .. }
                | Step::Product { .. }
                | Step::GlobalPool { .. }
                | Step::Standardise { .. }
                | Step::Upsample { .. } => {
                    sizes.strip = sizes.strip.max(plan.raws[plan.output_of(id)].len());
                }
                Step::Sum(sum) => sizes.terms = sizes.terms.max(plan.sums[*sum].terms.len()),
                Step::Import { .. } | Step::Noise { .. } | Step::Unit(_) => {}
            }
        }
        // A single term of a sum needs a coefficient too.
        sizes.terms = sizes.terms.max(1);
        let gradient_terms = |value: &Value| {
            let each = match &value.gradient {
                Gradient::Buffer => 1,
                Gradient::Terms(terms) => terms.len(),
            };
            // The norm's backward pass adds a term for the stored tensor itself.
            (each + 1) * plan.raws[value.raw].layout.blocks()
        };
        sizes.gradient_terms = plan.values.iter().map(gradient_terms).max().unwrap_or(0);
        sizes
    }

    /// Bytes of one thread's buffers.
    pub fn bytes(&self) -> usize {
        let floats = self.padded + self.slopes + self.middle + self.strip + self.halo + self.row;
        let terms = self.terms + self.gradient_terms;
        size_of::<f32>() * floats + terms * (size_of::<[f32; LANES]>() + size_of::<Shifted>() + size_of::<DenseTap>())
    }
}

/// One thread's small buffers; they stay in its cache.
pub(in crate::engine::cpu) struct Scratch {
    /// The loaded view, with padding.
    pub padded: Floats,
    /// The derivatives of its activation, where that is not ReLU.
    pub slopes: Floats,
    /// Which view of which image is loaded, and whether the slopes are too.
    pub loaded: Option<(ViewId, usize, bool)>,
    /// A strip between a unit's depthwise and dense part.
    pub middle: Floats,
    /// The gradient of a strip, or of the whole output of a step that is not a unit.
    pub strip: Floats,
    /// A gradient plane with its halo, and which (blocks, height, width, halo) its frame of zeros fits.
    pub halo: Floats,
    pub frame: Option<[usize; 5]>,
    /// Input gradients of one row or strip.
    pub row: Floats,
    /// Per-lane weights and the term lists of kernels.
    pub coefficients: Vec<[f32; LANES]>,
    pub terms: Vec<Shifted>,
    pub taps: Vec<DenseTap>,
    /// The same for the gradient of a stored tensor, all its blocks.
    pub gradient_coefficients: Vec<[f32; LANES]>,
    pub gradient_terms: Vec<Shifted>,
    pub planes: Vec<*const f32>,
    pub products: Vec<*mut f32>,
}

// SAFETY: the pointers are only used within the call that filled them.
unsafe impl Send for Scratch {}

impl Scratch {
    /// None where the system does not have that much memory.
    pub fn new(sizes: &ScratchSizes) -> Option<Self> {
        Some(Self {
            padded: Floats::try_new(sizes.padded)?,
            slopes: Floats::try_new(sizes.slopes)?,
            loaded: None,
            middle: Floats::try_new(sizes.middle)?,
            strip: Floats::try_new(sizes.strip)?,
            halo: Floats::try_new(sizes.halo)?,
            frame: None,
            row: Floats::try_new(sizes.row)?,
            coefficients: vec![[0.0; LANES]; sizes.terms],
            terms: Vec::with_capacity(sizes.terms),
            taps: Vec::with_capacity(sizes.terms),
            gradient_coefficients: vec![[0.0; LANES]; sizes.gradient_terms],
            gradient_terms: Vec::with_capacity(sizes.gradient_terms),
            planes: Vec::with_capacity(sizes.terms),
            products: Vec::with_capacity(sizes.terms),
        })
    }
}
