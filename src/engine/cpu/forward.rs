//! Forward: each kind of step, for one image.

use super::dense::{DenseTap, Store, Strides, dense};
use super::depthwise::{Target, depthwise_rows};
use super::load::{LoadPlane, load};
use super::pool::{PoolPlane, pool};
use super::sums::{Slope, Write, dots, weighted_sum};
use super::tape::Scratch;
use super::{Image, Run, UnitShape, UnitView, prefetch, shifted};
use crate::Result;
use crate::graph::Activation;
use crate::graph::plan::{LANES, RawId, Step, Unit, ViewId};
use std::ptr::null;

/// Floats of a whole batch that one stage may write and still find in the cache afterwards.
const CACHE: usize = 6 << 20;

/// Pixels that a unit takes through its depthwise and dense part at a time: they stay in the first cache.
pub(super) const STRIP: usize = 64;

impl Run<'_> {
    /// The output (images × channels) of a batch (images × channels × height × width).
    pub fn forward(&self, x: &[f32]) -> Result<Vec<f32>> {
        let mut out = vec![0.0; self.batch * self.plan().raws[self.output()].layout.channels()];
        self.forward_into(x, &mut out)?;
        Ok(out)
    }

    /// The same into a vector of that length. Allocates nothing.
    pub fn forward_into(&self, x: &[f32], out: &mut [f32]) -> Result<()> {
        // On a thread of the pool, so that no section has to be handed over.
        rayon::scope(|_| self.forward_stages(x))?;
        self.read_output(out);
        Ok(())
    }

    fn forward_stages(&self, x: &[f32]) -> Result<()> {
        let mut turned = true;
        self.load_running_statistics();
        for (index, steps) in self.work.forward.iter().enumerate().filter(|(_, steps)| !steps.is_empty()) {
            self.each_image(&mut turned, |image, scratch| {
                for &step in steps {
                    self.forward_step(step, image, scratch, Some(x));
                }
            })?;
            if self.batch_norms() {
                self.finish_statistics(index);
            }
        }
        Ok(())
    }

    fn output(&self) -> RawId {
        self.plan().values[self.plan().output].raw
    }

    fn read_output(&self, out: &mut [f32]) {
        let positions = self.plan().raws[self.output()].layout.positions();
        for (image, out) in out.chunks_exact_mut(positions.len()).enumerate() {
            let base = self.tape.image(self.memory, image);
            for (out, &lane) in out.iter_mut().zip(positions) {
                // SAFETY: the output is one pixel within the image's region.
                *out = unsafe { *base.add(self.memory.raws[self.output()] + lane) };
            }
        }
    }

    /// Writes a step's output and gathers its statistics. Without the images `x` it is run again: the output is the same,
    /// and its statistics are known.
    pub(super) fn forward_step(&self, step: usize, image: &Image, scratch: &mut Scratch, x: Option<&[f32]>) {
        self.profile_step(step);
        match &self.plan().steps[step] {
            Step::Import { output } => self.import(*output, image, x.unwrap_or_default()),
            Step::Noise { output, id, .. } => self.noise(*output, *id, image),
            Step::Unit(unit) => {
                let store = x.map_or(Store::PLAIN, |_| self.unit_store(&self.plan().units[*unit], image));
                self.unit_forward(self.unit(*unit), store, image, scratch);
                if !store.total.is_null() {
                    return;
                }
            }
            Step::Pool(index) => {
                let step = &self.plan().pools[*index];
                let from = self.plan().values[step.input].raw;
                let (source, target) = (self.raw(image, from), self.raw(image, step.output));
                for block in 0..self.plan().raws[from].layout.blocks() {
                    // SAFETY: both planes lie within the image's region.
                    unsafe {
                        let source = source.add(block * self.plane(from));
                        let target = target.add(block * self.plane(step.output));
                        pool(self.isa, target, source, self.pool_plane(from, step.output, step.pool));
                    }
                }
            }
            Step::Sum(sum) => self.sum(*sum, image, scratch),
            Step::Apply { input, output, .. } => self.apply(*input, *output, image, scratch),
            Step::Gather { input, output, .. } => {
                let from = self.plan().values[*input].raw;
                let Some(moves) = &self.cpu.moves[step] else { return };
                let (source, target) = (self.raw(image, from), self.raw(image, *output));
                // SAFETY: both are whole tensors of the moves' block counts within the image's region.
                unsafe { moves.forward(self.isa, target, source, self.plane(from) / LANES) };
            }
            Step::GlobalPool { input, output, .. } => {
                let from = self.plan().values[*input].raw;
                let pixels = self.plan().raws[from].pixels();
                let (source, target) = (self.raw(image, from), self.raw(image, *output));
                for block in 0..self.plan().raws[from].layout.blocks() {
                    // SAFETY: blocks are within the two tensors.
                    unsafe {
                        let to = target.add(block * LANES);
                        std::slice::from_raw_parts_mut(to, LANES).fill(0.0);
                        dots(self.isa, source.add(block * self.plane(from)), pixels, &[], to, &[]);
                        std::slice::from_raw_parts_mut(to, LANES).iter_mut().for_each(|v| *v /= pixels as f32);
                    }
                }
            }
        }
        if x.is_some() && self.batch_norms() {
            self.gather_statistics(self.plan().output_of(step), image);
        }
    }

    fn import(&self, output: RawId, image: &Image, x: &[f32]) {
        let raw = &self.plan().raws[output];
        let (pixels, channels) = (raw.pixels(), raw.layout.channels());
        let x = &x[image.index * channels * pixels..(image.index + 1) * channels * pixels];
        let to = self.raw(image, output);
        // SAFETY: the tensor is `raw.len()` floats within the image's region.
        let to = unsafe { std::slice::from_raw_parts_mut(to, raw.len()) };
        to.fill(0.0);
        for (channel, &lane) in raw.layout.positions().iter().enumerate() {
            for pixel in 0..pixels {
                to[lane_at(lane, pixel, pixels)] = x[channel * pixels + pixel];
            }
        }
    }

    fn noise(&self, output: RawId, id: usize, image: &Image) {
        let raw = &self.plan().raws[output];
        let pixels = raw.pixels();
        // SAFETY: the tensor is `raw.len()` floats within the image's region.
        let to = unsafe { std::slice::from_raw_parts_mut(self.raw(image, output), raw.len()) };
        to.fill(0.0);
        let places = raw.layout.positions().iter().flat_map(|&lane| (0..pixels).map(move |pixel| (lane, pixel)));
        for ((lane, pixel), value) in places.zip(self.draws.noise(id, image.index)) {
            to[lane_at(lane, pixel, pixels)] = value;
        }
    }

    /// Loads a view into the scratch plane, unless it is there already.
    pub(super) fn load_view(&self, id: ViewId, image: &Image, scratch: &mut Scratch, slopes: bool) {
        let view = &self.plan().views[id];
        let slopes = slopes && view.activation.is_some_and(|a| a != Activation::Relu);
        if scratch.loaded.is_some_and(|(v, i, s)| v == id && i == image.index && (s || !slopes)) {
            return;
        }
        let from = self.plan().values[view.value].raw;
        let raw = &self.plan().raws[from];
        let padded = (raw.height + 2 * view.pad.0) * (raw.width + 2 * view.pad.1) * LANES;
        let source = self.raw(image, from);
        for (block, &filled) in raw.layout.filled().iter().enumerate() {
            let (scale, shift) = self.norm_block(view.value, block);
            let plane =
                LoadPlane { size: (raw.height, raw.width), pad: view.pad, scale, shift, activation: view.activation };
            let to = if slopes { scratch.slopes.at(block * self.plane(from)) } else { std::ptr::null_mut() };
            // SAFETY: the scratch planes hold the largest view of the plan.
            unsafe {
                let source = source.add(block * self.plane(from));
                load(self.isa, scratch.padded.at(block * padded), source, to, plane, filled);
            }
        }
        scratch.loaded = Some((id, image.index, slopes));
    }

    /// What a unit's dense part does besides: a single norm's statistics are gathered while the results are in registers, and
    /// outputs of stages that no cache holds go past it.
    fn unit_store(&self, unit: &Unit, image: &Image) -> Store {
        let Some(&(norm, lane)) = self.cpu.statistics_of[unit.output].first() else { return Store::PLAIN };
        if unit.dense.is_none() || !self.batch_norms() || self.cpu.statistics_of[unit.output].len() > 1 {
            return Store::PLAIN;
        }
        let (total, square) = self.statistics_at(norm, lane, image);
        if image.first {
            let len = self.plan().raws[unit.output].layout.len();
            // SAFETY: this group's entries of this norm.
            unsafe {
                std::slice::from_raw_parts_mut(total, len).fill(0.0);
                std::slice::from_raw_parts_mut(square, len).fill(0.0);
            }
        }
        let level = self.plan().raws[unit.output].level;
        Store { total, square, past_cache: self.batch * self.cpu.stage_len[level] > CACHE }
    }

    fn unit_forward(&self, unit: UnitView, store: Store, image: &Image, scratch: &mut Scratch) {
        self.load_view(unit.input, image, scratch, false);
        let geometry = &unit.geometry;
        let (height, width) = geometry.output;
        let y = self.raw(image, unit.output);
        let plane = self.plane(unit.output);
        if unit.depthwise.is_some() {
            if unit.dense.is_none() {
                let to = Strides { pixel: LANES, block: plane };
                self.depthwise_rows(unit, 0..height, y, to, scratch);
                return;
            }
            let rows = (STRIP / width).clamp(1, height);
            for first in (0..height).step_by(rows) {
                let strip = first..(first + rows).min(height);
                let pixels = strip.len() * width;
                for block in (0..unit.shape.output_blocks).filter(|_| !store.past_cache) {
                    prefetch::to_write(y.wrapping_add(block * plane + first * width * LANES), pixels * LANES);
                }
                let middle = scratch.middle.at(0);
                let from = Strides { pixel: LANES, block: pixels * LANES };
                self.depthwise_rows(unit, strip, middle, from, scratch);
                // SAFETY: the strip lies within the output's planes, the middle holds it.
                unsafe {
                    let to = y.add(first * width * LANES);
                    self.set_taps(unit, &[0], scratch);
                    let strides = Strides { pixel: LANES, block: plane };
                    self.dense_row(unit, to, strides, middle, from, pixels, store, scratch);
                }
            }
            return;
        }
        self.set_taps(unit, &unit.shape.taps, scratch);
        let padded = geometry.padded();
        let from = Strides { pixel: geometry.stride.1 * LANES, block: padded.0 * padded.1 * LANES };
        let to = Strides { pixel: LANES, block: plane };
        let source = scratch.padded.at(0);
        // SAFETY: geometry keeps all taps within the loaded plane, rows within the output.
        unsafe {
            if unit.shape.taps.len() == 1 && geometry.pad == (0, 0) && geometry.stride == (1, 1) {
                self.dense_row(unit, y, to, source, from, height * width, store, scratch);
                return;
            }
            for r in 0..height {
                let source = source.add(r * geometry.stride.0 * padded.1 * LANES);
                self.dense_row(unit, y.add(r * width * LANES), to, source, from, width, store, scratch);
            }
        }
    }

    /// The dense part's taps at these offsets.
    fn set_taps(&self, unit: UnitView, offsets: &[usize], scratch: &mut Scratch) {
        scratch.taps.clear();
        scratch.taps.extend(offsets.iter().enumerate().map(|(tap, &offset)| DenseTap {
            offset,
            weight: self.tape.packed.dense.at(unit.packing.dense + tap * unit.shape.matrix),
        }));
    }

    /// The depthwise part of some rows, from the loaded plane to `to`.
    pub(super) fn depthwise_rows(
        &self,
        unit: UnitView,
        rows: std::ops::Range<usize>,
        to: *mut f32,
        strides: Strides,
        scratch: &mut Scratch,
    ) {
        let geometry = &unit.geometry;
        let padded = geometry.padded();
        let width = geometry.output.1;
        let blocks = unit.shape.input_blocks;
        for block in 0..blocks {
            let weight =
                |tap: usize| self.tape.packed.depthwise.at(unit.packing.depthwise + (tap * blocks + block) * LANES);
            let base_row = geometry.stride.0 * padded.1 * LANES;
            let base = scratch.padded.at(block * padded.0 * padded.1 * LANES + rows.start * base_row);
            // SAFETY: geometry keeps all taps of these rows within the loaded plane; `to` holds the rows.
            unsafe {
                let first = to.add(block * strides.block);
                if let Some([grid, _]) = unit.shape.grids {
                    let row = width * LANES;
                    let target = Target { first, row, slope: Slope::One, slope_row: 0, write: Write::Over };
                    let taps = grid.with(weight(0), (blocks * LANES) as isize);
                    depthwise_rows(self.isa, target, base.add(grid.first), base_row, taps, rows.len(), width);
                    continue;
                }
                scratch.terms.clear();
                let taps = unit.shape.taps.iter().enumerate();
                scratch.terms.extend(taps.map(|(tap, &offset)| shifted(offset, weight(tap))));
                for i in 0..rows.len() {
                    let (to, from, terms) = (first.add(i * width * LANES), base.add(i * base_row), &scratch.terms);
                    let step = geometry.stride.1 * LANES;
                    weighted_sum(self.isa, to, LANES, from, terms, step, width, null(), Slope::One, Write::Over);
                }
            }
        }
    }

    /// The dense part (and bias) of n pixels, through the scratch's taps.
    ///
    /// # Safety
    /// `source` shifted by each tap must be good for n pixels, `to` as well.
    #[allow(clippy::too_many_arguments)]
    unsafe fn dense_row(
        &self,
        unit: UnitView,
        to: *mut f32,
        to_strides: Strides,
        source: *const f32,
        from: Strides,
        n: usize,
        store: Store,
        scratch: &Scratch,
    ) {
        let UnitShape { output_blocks, input_filled, .. } = unit.shape;
        let bias = if unit.bias.is_some() { self.tape.packed.bias.at(unit.packing.bias) } else { std::ptr::null_mut() };
        let taps = &scratch.taps;
        // SAFETY: the caller's promise; weights are packed for these layouts.
        unsafe {
            dense(self.isa, to, to_strides, *output_blocks, source, from, taps, input_filled, n, bias, store);
        }
    }

    pub(super) fn pool_plane(&self, from: RawId, to: RawId, pool: crate::graph::Pool) -> PoolPlane {
        let (from, to) = (&self.plan().raws[from], &self.plan().raws[to]);
        PoolPlane { pool, from: (from.height, from.width), to: (to.height, to.width) }
    }

    /// A weighted sum of values: norms and mixing weights become one coefficient a term and lane.
    fn sum(&self, index: usize, image: &Image, scratch: &mut Scratch) {
        let sum = &self.plan().sums[index];
        let plane = self.plane(sum.output);
        for block in 0..self.plan().raws[sum.output].layout.blocks() {
            let mut bias = [0.0f32; LANES];
            scratch.terms.clear();
            let terms = sum.terms.iter().filter(|t| self.work.live.term(self.plan(), t));
            for (term, coefficients) in terms.zip(&mut scratch.coefficients) {
                *coefficients = self.weights_of(term, image);
                let (scale, shift) = self.norm_block(term.value, block);
                if !scale.is_null() {
                    for (lane, c) in coefficients.iter_mut().enumerate() {
                        // SAFETY: a norm's tables hold whole blocks.
                        unsafe {
                            bias[lane] += *c * *shift.add(lane);
                            *c *= *scale.add(lane);
                        }
                    }
                }
                let offset = self.memory.raws[self.plan().values[term.value].raw] + block * plane;
                scratch.terms.push(shifted(offset, coefficients.as_ptr()));
            }
            // SAFETY: all terms are planes of the output's size within the image's region, none of them the output.
            unsafe {
                let to = self.raw(image, sum.output).add(block * plane);
                let n = plane / LANES;
                let (base, terms) = (image.base, &scratch.terms);
                weighted_sum(self.isa, to, LANES, base, terms, LANES, n, bias.as_ptr(), Slope::One, Write::Over);
            }
        }
    }

    fn apply(&self, input: ViewId, output: RawId, image: &Image, scratch: &mut Scratch) {
        self.load_view(input, image, scratch, false);
        let raw = &self.plan().raws[output];
        let pad = self.plan().views[input].pad;
        let width = raw.width + 2 * pad.1;
        for block in 0..raw.layout.blocks() {
            for r in 0..raw.height {
                let from = ((block * (raw.height + 2 * pad.0) + pad.0 + r) * width + pad.1) * LANES;
                // SAFETY: a row of the loaded plane's interior and of the output.
                unsafe {
                    let to = self.raw(image, output).add((block * raw.height + r) * raw.width * LANES);
                    std::ptr::copy_nonoverlapping(scratch.padded.at(from), to, raw.width * LANES);
                }
            }
        }
    }

    /// Where an image's group adds Σ y and Σ y² for a norm, from this lane on.
    fn statistics_at(&self, norm: usize, lane: usize, image: &Image) -> (*mut f32, *mut f32) {
        let norm = &self.plan().norms[norm];
        let at = image.group * self.tape.partial_len + 2 * norm.offset + lane;
        (self.tape.partial.at(at), self.tape.partial.at(at + self.plan().raws[norm.raw].layout.len()))
    }

    /// Adds Σ y and Σ y² of a fresh tensor to its group's sums, for each norm that it feeds.
    fn gather_statistics(&self, raw: RawId, image: &Image) {
        let tensor = &self.plan().raws[raw];
        for &(norm, lane) in &self.cpu.statistics_of[raw] {
            let (total, square) = self.statistics_at(norm, lane, image);
            for block in 0..tensor.layout.blocks() {
                // SAFETY: this group's entries of this norm; the plane is within the image's region.
                unsafe {
                    let (total, square) = (total.add(block * LANES), square.add(block * LANES));
                    if image.first {
                        std::slice::from_raw_parts_mut(total, LANES).fill(0.0);
                        std::slice::from_raw_parts_mut(square, LANES).fill(0.0);
                    }
                    let y = self.raw(image, raw).add(block * self.plane(raw));
                    dots(self.isa, y, tensor.pixels(), &[y], total, &[square]);
                }
            }
        }
    }
}

/// A lane's float of a pixel in a tensor of this many pixels a block.
pub(super) fn lane_at(lane: usize, pixel: usize, pixels: usize) -> usize {
    (lane / LANES * pixels + pixel) * LANES + lane % LANES
}
