//! A unit's depthwise part: forward, its weights' gradient, its input's gradient.

use crate::engine::cpu::kernels::dense::Strides;
use crate::engine::cpu::kernels::depthwise::{
    Rows, Target, depthwise_gradient, depthwise_gradient_row, depthwise_rows,
};
use crate::engine::cpu::kernels::sums::{Slope, Write, weighted_sum};
use crate::engine::cpu::memory::Scratch;
use crate::engine::cpu::pass::{Image, Run, UnitView, shifted, write};
use crate::graph::plan::{BackwardTap, LANES, ValueId};
use std::ptr::null;

impl Run<'_> {
    /// Sixteen weights of one tap and block.
    fn tap_weight(&self, unit: UnitView, tap: usize, block: usize) -> *const f32 {
        self.tape.packed.depthwise.at(unit.packing.depthwise + (tap * unit.shape.input_blocks + block) * LANES, LANES)
    }

    /// Some rows of the output, from the loaded plane to `to`, which must hold them in every block.
    pub(super) fn depthwise_forward(
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
        let (plane, base_row) = (padded.0 * padded.1 * LANES, geometry.stride.0 * padded.1 * LANES);
        let skipped = rows.start * base_row;
        for block in 0..blocks {
            let base = scratch.padded.at(block * plane + skipped, plane - skipped);
            // SAFETY: geometry keeps all taps of these rows within the loaded plane; `to` holds the rows.
            unsafe {
                let first = to.add(block * strides.block);
                if let Some(grids) = &unit.shape.grids {
                    let (grid, row) = (grids.forward, width * LANES);
                    let target = Target { first, row, slope: Slope::One, slope_row: 0, write: Write::Over };
                    let taps = grid.with(self.tap_weight(unit, 0, block), (blocks * LANES) as isize);
                    depthwise_rows(self.isa, target, base.add(grid.first), base_row, taps, rows.len(), width);
                    continue;
                }
                scratch.terms.clear();
                let taps = unit.shape.taps.iter().enumerate();
                scratch.terms.extend(taps.map(|(tap, &offset)| shifted(offset, self.tap_weight(unit, tap, block))));
                for i in 0..rows.len() {
                    let (to, from, terms) = (first.add(i * width * LANES), base.add(i * base_row), &scratch.terms);
                    let step = geometry.stride.1 * LANES;
                    weighted_sum(self.isa, to, LANES, from, terms, step, width, null(), Slope::One, Write::Over);
                }
            }
        }
    }

    /// The weights' gradient, from the loaded plane and the gradient plane; `gradient` holds taps × lanes.
    pub(super) fn depthwise_weights(&self, unit: UnitView, gradient: *mut f32, scratch: &Scratch) {
        let geometry = &unit.geometry;
        let (height, width) = geometry.output;
        let padded = geometry.padded();
        let blocks = unit.shape.input_blocks;
        let plane = padded.0 * padded.1 * LANES;
        for block in 0..blocks {
            let x = Rows {
                first: scratch.padded.at(block * plane, plane),
                row: geometry.stride.0 * padded.1 * LANES,
                pixel: geometry.stride.1 * LANES,
            };
            let dy = Rows {
                first: self.halo_row(unit, block, 0, scratch),
                row: geometry.with_halo().1 * LANES,
                pixel: LANES,
            };
            // SAFETY: geometry keeps all taps within the loaded plane; the gradients hold taps × lanes.
            unsafe {
                let to = gradient.add(block * LANES);
                let taps = &unit.shape.taps;
                let Some(grids) = &unit.shape.grids else {
                    depthwise_gradient(self.isa, to, blocks * LANES, x, taps, dy, height, width);
                    continue;
                };
                let (columns, spacing) = (grids.forward.columns, grids.forward.spacing);
                for first in (0..taps.len()).step_by(columns) {
                    let x = Rows { first: x.first.add(taps[first]), ..x };
                    let (to, stride) = (to.add(first * blocks * LANES), blocks * LANES);
                    depthwise_gradient_row(self.isa, to, stride, x, columns, spacing, dy, height, width);
                }
            }
        }
    }

    /// From the gradient plane through the taps and the activation into the input's gradient.
    pub(super) fn depthwise_input_gradient(
        &self,
        unit: UnitView,
        input: ValueId,
        image: &Image,
        scratch: &mut Scratch,
        first: bool,
    ) {
        let (height, width) = unit.geometry.input;
        let halo = unit.geometry.with_halo();
        let blocks = unit.shape.input_blocks;
        let dx = self.gradient(image, input);
        for block in 0..blocks {
            let (slope, slope_row) = self.slopes(unit.input, block, scratch);
            let from = self.halo_plane(unit, block, scratch);
            // SAFETY: the halo is wide enough for all taps; the input's gradient and the loaded view hold the plane.
            unsafe {
                let start = dx.add(block * height * width * LANES);
                let target = Target { first: start, row: width * LANES, slope, slope_row, write: write(first) };
                match &unit.shape.grids {
                    Some(grids) => {
                        let grid = grids.backward;
                        // The kernel is flipped: its weights are read backwards from the last tap.
                        let last = self.tap_weight(unit, unit.geometry.taps.len() - 1, block);
                        let taps = grid.with(last, -((blocks * LANES) as isize));
                        depthwise_rows(self.isa, target, from.add(grid.first), halo.1 * LANES, taps, height, width);
                    }
                    None => self.strided_input_gradient(unit, target, from, block, scratch),
                }
            }
        }
    }

    /// The same for one block of any stride: one class of pixels after another.
    ///
    /// # Safety
    /// The target must be good for the input's plane, `from` for the gradient plane.
    unsafe fn strided_input_gradient(
        &self,
        unit: UnitView,
        target: Target,
        from: *const f32,
        block: usize,
        scratch: &mut Scratch,
    ) {
        let (height, width) = unit.geometry.input;
        let (stride_r, stride_c) = unit.geometry.stride;
        let halo_row = unit.geometry.with_halo().1 * LANES;
        for (class, taps) in unit.geometry.backward.iter().enumerate() {
            let (first_row, column) = (class / stride_c, class % stride_c);
            // Where the stride is larger than the map, some classes have no pixel.
            if column >= width {
                continue;
            }
            let n = (width - column).div_ceil(stride_c);
            let offset = |tap: &BackwardTap| tap.row * halo_row + tap.column * LANES;
            scratch.terms.clear();
            scratch.terms.extend(taps.iter().map(|tap| shifted(offset(tap), self.tap_weight(unit, tap.tap, block))));
            for r in (first_row..height).step_by(stride_r) {
                // SAFETY: rows and columns of the input; taps stay within the gradient plane.
                unsafe {
                    let to = target.first.add(r * target.row + column * LANES);
                    let slope = target.slope.add(r * target.slope_row + column * LANES);
                    let (from, step) = (from.add(r / stride_r * halo_row), stride_c * LANES);
                    weighted_sum(self.isa, to, step, from, &scratch.terms, LANES, n, null(), slope, target.write);
                }
            }
        }
    }
}
