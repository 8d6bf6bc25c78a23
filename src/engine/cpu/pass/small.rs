//! Pools, applied activations, gathers and global pools: each kind of step forward and backward.

use super::{Image, Run, write};
use crate::engine::cpu::kernels::pool::{PoolPlane, pool, pool_backward};
use crate::engine::cpu::kernels::sums::{Slope, dots, through_activation, weighted_sum};
use crate::engine::cpu::memory::Scratch;
use crate::graph::plan::{LANES, RawId, Step, StepId, ValueId, ViewId};

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
            Step::Import { .. } | Step::Noise { .. } | Step::Unit(_) | Step::Sum(_) => {}
        }
    }

    pub(super) fn small_backward(
        &self,
        step: StepId,
        input: ValueId,
        image: &Image,
        scratch: &mut Scratch,
        first: bool,
    ) {
        let plan = self.plan();
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
            Step::Import { .. } | Step::Noise { .. } | Step::Unit(_) | Step::Sum(_) => {}
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
