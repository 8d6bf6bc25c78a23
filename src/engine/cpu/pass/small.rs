//! Pools, applied activations, gathers, products, global pools and upsampling: each kind of step forward and backward.

use super::{Image, Run, shifted, write};
use crate::engine::cpu::kernels::pool::{PoolPlane, pool, pool_backward};
use crate::engine::cpu::kernels::sums::{Slope, Write, dots, through_activation, weighted_sum};
use crate::engine::cpu::kernels::upsample::{upsample, upsample_backward};
use crate::engine::cpu::memory::Scratch;
use crate::graph::plan::{LANES, RawId, Step, StepId, ViewId};
use std::ptr::{null, null_mut};

/// A factor of a product: a tensor of as many pixels, or of one, which is repeated.
#[derive(Clone, Copy)]
struct Factor {
    at: *mut f32,
    pixels: usize,
}

impl Run<'_> {
    pub(super) fn small_forward(&self, step: StepId, image: &Image, scratch: &mut Scratch) {
        let plan = self.plan();
        match &plan.steps[step] {
            Step::Pool(index) => {
                let step = &plan.pools[*index];
                let from = plan.values[step.input].raw;
                let (source, target) = (self.raw(image, from), self.raw(image, step.output));
                let plane = self.pool_plane(from, step.output, step.pool);
                for block in 0..plan.raws[from].layout.blocks() {
                    // SAFETY: both planes lie within their tensors.
                    unsafe {
                        let source = source.add(block * self.plane(from));
                        pool(self.isa, target.add(block * self.plane(step.output)), source, plane);
                    }
                }
            }
            Step::Apply { input, output, .. } => self.apply(*input, *output, image, scratch),
            Step::Gather { input, output, .. } => {
                let from = plan.values[*input].raw;
                let Some(moves) = &self.cpu.moves[step] else { unreachable!("every gather has its moves") };
                let (source, target) = (self.raw(image, from), self.raw(image, *output));
                // SAFETY: both are whole tensors of the moves' block counts within the image's region.
                unsafe { moves.forward(self.isa, target, source, self.plane(from) / LANES) };
            }
            Step::Product { inputs, output, .. } => {
                let [one, other] = inputs.map(|input| self.raw(image, plan.values[input].raw));
                let other = Factor { at: other, pixels: plan.raws[plan.values[inputs[1]].raw].pixels() };
                let target = self.raw(image, *output);
                // SAFETY: whole tensors of one layout within the image's region.
                unsafe { self.times(target, one, other, *output, Write::Over) };
            }
            Step::GlobalPool { input, output, .. } => {
                let from = plan.values[*input].raw;
                let pixels = plan.raws[from].pixels();
                let (source, target) = (self.raw(image, from), self.raw(image, *output));
                for block in 0..plan.raws[from].layout.blocks() {
                    // SAFETY: blocks are within the two tensors.
                    unsafe {
                        let to = target.add(block * LANES);
                        std::slice::from_raw_parts_mut(to, LANES).fill(0.0);
                        dots(self.isa, source.add(block * self.plane(from)), pixels, &[], to, &[]);
                        std::slice::from_raw_parts_mut(to, LANES).iter_mut().for_each(|v| *v /= pixels as f32);
                    }
                }
            }
            Step::Standardise { input, output, .. } => self.standardise(plan.values[*input].raw, *output, image),
            Step::Upsample { input, output, factor, .. } => {
                let from = plan.values[*input].raw;
                let size = (plan.raws[from].height, plan.raws[from].width);
                let (source, target) = (self.raw(image, from), self.raw(image, *output));
                for block in 0..plan.raws[from].layout.blocks() {
                    // SAFETY: planes of the two tensors.
                    unsafe {
                        let source = source.add(block * self.plane(from));
                        upsample(self.isa, target.add(block * self.plane(*output)), source, size, *factor);
                    }
                }
            }
            Step::Import { .. } | Step::Noise { .. } | Step::Unit(_) | Step::Sum(_) => {}
        }
    }

    pub(super) fn small_backward(
        &self,
        step: StepId,
        number: usize,
        image: &Image,
        scratch: &mut Scratch,
        first: bool,
    ) {
        let plan = self.plan();
        let input = self.cpu.inputs[step][number];
        let (from, output) = (plan.values[input].raw, plan.output_of(step));
        let (plane, from_plane) = (self.plane(output), self.plane(from));
        let dy = scratch.strip.at(0, plan.raws[output].len());
        let stored = self.stored_gradient(plan.value_made_by(step), image, scratch);
        for block in 0..plan.raws[output].layout.blocks() {
            // SAFETY: the strip buffer holds the output.
            unsafe { stored.write_over(block, 0, plane / LANES, dy.add(block * plane)) };
        }
        let dx = self.gradient(image, input);
        match &plan.steps[step] {
            Step::Pool(pool) => {
                self.clear_if(first, input, image);
                let plane_of = self.pool_plane(from, output, plan.pools[*pool].pool);
                let source = self.raw(image, from);
                for block in 0..plan.raws[from].layout.blocks() {
                    // SAFETY: planes of the two tensors.
                    unsafe {
                        let source = source.add(block * from_plane);
                        pool_backward(self.isa, dx.add(block * from_plane), source, dy.add(block * plane), plane_of);
                    }
                }
            }
            Step::Apply { input: view, .. } => {
                self.load_view(*view, image, scratch, true);
                let (height, width) = (plan.raws[from].height, plan.raws[from].width);
                for block in 0..plan.raws[from].layout.blocks() {
                    let (slopes, slope_row) = self.slopes(*view, block, scratch);
                    for r in 0..height {
                        // SAFETY: one row of planes of one size.
                        unsafe {
                            let at = (block * height + r) * width * LANES;
                            let slope = slopes.add(r * slope_row);
                            through_activation(self.isa, dx.add(at), dy.add(at), slope, width, write(first));
                        }
                    }
                }
            }
            Step::Gather { .. } => {
                let Some(moves) = &self.cpu.moves[step] else { unreachable!("every gather has its moves") };
                // SAFETY: whole tensors of the moves' block counts.
                unsafe { moves.backward(self.isa, dx, dy, plane / LANES, write(first)) };
            }
            Step::Product { inputs, .. } => {
                let other = plan.values[inputs[1 - number]].raw;
                let factor = Factor { at: self.raw(image, other), pixels: plan.raws[other].pixels() };
                if plan.raws[from].pixels() == plan.raws[output].pixels() {
                    // SAFETY: whole tensors of one layout; the gradient lies apart from what is read.
                    unsafe { self.times(dx, dy, factor, output, write(first)) };
                    return;
                }
                // A repeated pixel's gradient is a sum over all that it met.
                self.clear_if(first, input, image);
                for block in 0..plan.raws[from].layout.blocks() {
                    // SAFETY: planes of two tensors of one size, and one pixel of the gradient.
                    unsafe {
                        let (dy, other) = (dy.add(block * plane), factor.at.add(block * plane));
                        let dx = dx.add(block * LANES);
                        dots(self.isa, dy, plane / LANES, &[other.cast_const()], null_mut(), &[dx]);
                    }
                }
            }
            Step::GlobalPool { .. } => {
                let pixels = plan.raws[from].pixels();
                for block in 0..plan.raws[from].layout.blocks() {
                    // SAFETY: one pixel of the output, a plane of the input.
                    unsafe {
                        let share = dy.add(block * LANES);
                        std::slice::from_raw_parts_mut(share, LANES).iter_mut().for_each(|v| *v /= pixels as f32);
                        let to = dx.add(block * from_plane);
                        weighted_sum(self.isa, to, LANES, share, &[], LANES, pixels, share, Slope::One, write(first));
                    }
                }
            }
            Step::Standardise { .. } => self.standardise_backward(dx, from, dy, image, write(first)),
            Step::Upsample { factor, .. } => {
                let size = (plan.raws[from].height, plan.raws[from].width);
                for block in 0..plan.raws[from].layout.blocks() {
                    // SAFETY: planes of the two tensors.
                    unsafe {
                        let (dx, dy) = (dx.add(block * from_plane), dy.add(block * plane));
                        upsample_backward(self.isa, dx, dy, size, *factor, write(first));
                    }
                }
            }
            Step::Import { .. } | Step::Noise { .. } | Step::Unit(_) | Step::Sum(_) => {}
        }
    }

    /// to = or += x · factor, over a tensor of the layout and size of `like`.
    ///
    /// # Safety
    /// All must be whole tensors of that layout; `to` overlaps nothing that is read.
    unsafe fn times(&self, to: *mut f32, x: *const f32, factor: Factor, like: RawId, write: Write) {
        let (plane, blocks) = (self.plane(like), self.plan().raws[like].layout.blocks());
        for block in 0..blocks {
            // SAFETY: the caller's promise.
            unsafe {
                let (to, x, n) = (to.add(block * plane), x.add(block * plane), plane / LANES);
                let by = factor.at.add(block * factor.pixels * LANES).cast_const();
                if factor.pixels * LANES == plane {
                    through_activation(self.isa, to, x, Slope::Times(by), n, write);
                } else {
                    weighted_sum(self.isa, to, LANES, x, &[shifted(0, by)], LANES, n, null(), Slope::One, write);
                }
            }
        }
    }

    fn pool_plane(&self, from: RawId, to: RawId, pool: crate::graph::Pool) -> PoolPlane {
        let (from, to) = (&self.plan().raws[from], &self.plan().raws[to]);
        PoolPlane { pool, from: (from.height, from.width), to: (to.height, to.width) }
    }

    /// A view written out.
    fn apply(&self, input: ViewId, output: RawId, image: &Image, scratch: &mut Scratch) {
        self.load_view(input, image, scratch, false);
        let raw = &self.plan().raws[output];
        let pad = self.plan().views[input].pad;
        let width = raw.width + 2 * pad.1;
        let to = self.raw(image, output);
        for block in 0..raw.layout.blocks() {
            for r in 0..raw.height {
                let from = ((block * (raw.height + 2 * pad.0) + pad.0 + r) * width + pad.1) * LANES;
                let len = raw.width * LANES;
                // SAFETY: a row of the loaded plane's interior and of the output.
                unsafe {
                    let to = to.add((block * raw.height + r) * len);
                    std::ptr::copy_nonoverlapping(scratch.padded.at(from, len), to, len);
                }
            }
        }
    }
}
