//! Backward through a unit: its stored output's gradient, the weights' gradients, the input's gradient.
//!
//! The gradient of what the unit's taps made lies in a plane with zeros around, wide enough that the way back through the
//! taps never asks whether it is still inside.

use super::backward::write;
use super::dense::{DenseTap, Store, Strides, dense, dense_gradient};
use super::depthwise::{Rows, Target, depthwise_gradient, depthwise_gradient_row, depthwise_rows};
use super::forward::STRIP;
use super::sums::{Write, dots, through_activation, weighted_sum};
use super::tape::Scratch;
use super::{Image, Run, UnitView, shifted};
use crate::graph::plan::{BackwardTap, LANES, ValueId};
use std::ptr::null;

impl Run<'_> {
    pub(super) fn unit_backward(&self, unit: UnitView, image: &Image, scratch: &mut Scratch, first: bool) {
        let plan = self.plan();
        let input = plan.views[unit.input].value;
        let needs_input = self.needs_value(input);
        self.load_view(unit.input, image, scratch, needs_input);
        let gradient = self.tape.gradients.at(if self.work.wanted.w {
            image.group * self.tape.gradients_len + unit.packing.gradient
        } else {
            0
        });
        if self.work.wanted.w && image.first {
            // SAFETY: this group's gradients of this unit.
            unsafe { std::slice::from_raw_parts_mut(gradient, unit.packing.gradient_len).fill(0.0) };
        }
        // The gradient plane, with zeros around, is of what the geometry's taps made.
        let blocks = if unit.depthwise.is_some() { unit.shape.input_blocks } else { unit.shape.output_blocks };
        self.clear_frame(unit, blocks, scratch);
        if unit.depthwise.is_some() && unit.dense.is_some() {
            self.pointwise_backward(unit, gradient, image, scratch, self.work.wanted.w);
        } else {
            self.plain_gradient_plane(unit, image, scratch);
        }
        if self.work.wanted.w {
            match unit.depthwise {
                Some(_) => self.depthwise_weights(unit, gradient, scratch),
                None => self.dense_weights(unit, gradient, scratch),
            }
        }
        if needs_input {
            self.input_gradient(unit, input, image, scratch, first);
        }
    }

    /// Zeros around the gradient plane, unless the last unit's plane had the same frame.
    fn clear_frame(&self, unit: UnitView, blocks: usize, scratch: &mut Scratch) {
        let geometry = &unit.geometry;
        let (height, width) = geometry.with_halo();
        let frame = [blocks, height, width, geometry.halo.0, geometry.halo.1];
        if scratch.frame == Some(frame) {
            return;
        }
        let (above, beside) = (geometry.halo.0 * width * LANES, geometry.halo.1 * LANES);
        for block in 0..blocks {
            let plane = scratch.halo.at(block * height * width * LANES);
            // SAFETY: the scratch plane holds the largest halo plane of the plan; between its frames lie whole rows.
            let plane = unsafe { std::slice::from_raw_parts_mut(plane, height * width * LANES) };
            plane[..above].fill(0.0);
            let below = plane.len() - above;
            plane[below..].fill(0.0);
            for row in plane[above..below].chunks_exact_mut(width * LANES) {
                row[..beside].fill(0.0);
                let right = row.len() - beside;
                row[right..].fill(0.0);
            }
        }
        scratch.frame = Some(frame);
    }

    /// The float at which an output row's gradients begin in the halo plane.
    fn halo_row(&self, unit: UnitView, block: usize, row: usize) -> usize {
        let (height, width) = unit.geometry.with_halo();
        ((block * height + unit.geometry.halo.0 + row) * width + unit.geometry.halo.1) * LANES
    }

    fn plain_gradient_plane(&self, unit: UnitView, image: &Image, scratch: &mut Scratch) {
        let (height, width) = unit.geometry.output;
        let stored = self.stored_gradient(unit.value, image, scratch);
        for block in 0..unit.shape.output_blocks {
            for r in 0..height {
                let to = scratch.halo.at(self.halo_row(unit, block, r));
                // SAFETY: a row of the halo plane's interior.
                unsafe { stored.write(block, r * width, width, to, Write::Over) };
            }
        }
    }

    /// The dense part of a fused unit: from the stored output's gradient to the depthwise output's, strip by strip; the
    /// depthwise output is computed again where the weights' gradient needs it.
    fn pointwise_backward(
        &self,
        unit: UnitView,
        gradient: *mut f32,
        image: &Image,
        scratch: &mut Scratch,
        weights: bool,
    ) {
        let (geometry, layouts) = (&unit.geometry, unit.shape);
        let (height, width) = geometry.output;
        let rows = (STRIP / width).clamp(1, height);
        let transposed = [DenseTap { offset: 0, weight: self.tape.packed.transposed.at(unit.packing.dense) }];
        let stored = self.stored_gradient(unit.value, image, scratch);
        for start in (0..height).step_by(rows) {
            let strip = start..(start + rows).min(height);
            let pixels = strip.len() * width;
            let strides = Strides { pixel: LANES, block: pixels * LANES };
            let dy = scratch.strip.at(0);
            for block in 0..layouts.output_blocks {
                // SAFETY: the strip buffer holds the largest tensor.
                unsafe {
                    stored.write(block, start * width, pixels, dy.add(block * strides.block), Write::Over);
                    if start + rows < height {
                        stored.prefetch(block, (start + rows) * width, pixels);
                    }
                }
            }
            if weights {
                let middle = scratch.middle.at(0);
                self.depthwise_rows(unit, strip.clone(), middle, strides, scratch);
                // SAFETY: the dense gradients follow the depthwise ones; strips as above.
                unsafe {
                    let to = gradient.add(geometry.taps.len() * layouts.input_blocks * LANES);
                    let filled = &layouts.input_filled;
                    dense_gradient(self.isa, to, middle, strides, filled, dy, strides, layouts.output_blocks, pixels);
                }
            }
            // SAFETY: rows of the halo plane's interior and of the strip, in every block; the row buffer holds a strip.
            unsafe { self.fill_halo(unit, dy, strides, strip, &transposed, scratch) };
        }
    }

    /// The dense part's input gradient of a strip into the halo plane: row by row, or by way of a buffer where rows are too
    /// short for the kernel's tiles.
    ///
    /// # Safety
    /// `dy` must be good for the strip.
    unsafe fn fill_halo(
        &self,
        unit: UnitView,
        dy: *const f32,
        strides: Strides,
        strip: std::ops::Range<usize>,
        transposed: &[DenseTap],
        scratch: &mut Scratch,
    ) {
        let width = unit.geometry.output.1;
        let (blocks, filled) = (unit.shape.input_blocks, &unit.shape.output_filled);
        let (halo, store) = (unit.geometry.with_halo(), Store::PLAIN);
        let to_strides = Strides { pixel: LANES, block: halo.0 * halo.1 * LANES };
        // SAFETY: the caller's promise; the halo plane and the row buffer are the plan's largest.
        unsafe {
            if width >= 16 {
                for (i, r) in strip.enumerate() {
                    let to = scratch.halo.at(self.halo_row(unit, 0, r));
                    let dy = dy.add(i * width * LANES);
                    dense(self.isa, to, to_strides, blocks, dy, strides, transposed, filled, width, null(), store);
                }
                return;
            }
            let (rows, pixels) = (scratch.row.at(0), strip.len() * width);
            dense(self.isa, rows, strides, blocks, dy, strides, transposed, filled, pixels, null(), store);
            for block in 0..blocks {
                for (i, r) in strip.clone().enumerate() {
                    let from = rows.add(block * strides.block + i * width * LANES);
                    std::ptr::copy_nonoverlapping(from, scratch.halo.at(self.halo_row(unit, block, r)), width * LANES);
                }
            }
        }
    }

    fn depthwise_weights(&self, unit: UnitView, gradient: *mut f32, scratch: &Scratch) {
        let geometry = &unit.geometry;
        let (height, width) = geometry.output;
        let padded = geometry.padded();
        let blocks = unit.shape.input_blocks;
        for block in 0..blocks {
            let x = Rows {
                first: scratch.padded.at(block * padded.0 * padded.1 * LANES),
                row: geometry.stride.0 * padded.1 * LANES,
                pixel: geometry.stride.1 * LANES,
            };
            let dy = Rows {
                first: scratch.halo.at(self.halo_row(unit, block, 0)),
                row: geometry.with_halo().1 * LANES,
                pixel: LANES,
            };
            // SAFETY: geometry keeps all taps within the loaded plane; the gradients hold taps × lanes.
            unsafe {
                let to = gradient.add(block * LANES);
                let taps = &unit.shape.taps;
                let Some([grid, _]) = unit.shape.grids else {
                    depthwise_gradient(self.isa, to, blocks * LANES, x, taps, dy, height, width);
                    continue;
                };
                for first in (0..taps.len()).step_by(grid.columns) {
                    let x = Rows { first: x.first.add(taps[first]), ..x };
                    let (to, stride) = (to.add(first * blocks * LANES), blocks * LANES);
                    let (columns, spacing) = (grid.columns, grid.spacing);
                    depthwise_gradient_row(self.isa, to, stride, x, columns, spacing, dy, height, width);
                }
            }
        }
    }

    fn dense_weights(&self, unit: UnitView, gradient: *mut f32, scratch: &Scratch) {
        let (geometry, layouts) = (&unit.geometry, unit.shape);
        let (height, width) = geometry.output;
        let padded = geometry.padded();
        let halo = geometry.with_halo();
        let from = Strides { pixel: geometry.stride.1 * LANES, block: padded.0 * padded.1 * LANES };
        let dy_strides = Strides { pixel: LANES, block: halo.0 * halo.1 * LANES };
        for (tap, &offset) in layouts.taps.iter().enumerate() {
            for r in 0..height {
                // SAFETY: geometry keeps the tap within the loaded plane; the gradients hold taps × matrix.
                unsafe {
                    let x = scratch.padded.at(r * geometry.stride.0 * padded.1 * LANES + offset);
                    let dy = scratch.halo.at(self.halo_row(unit, 0, r));
                    let (to, filled) = (gradient.add(tap * layouts.matrix), &layouts.input_filled);
                    dense_gradient(self.isa, to, x, from, filled, dy, dy_strides, layouts.output_blocks, width);
                }
            }
        }
        if unit.bias.is_some() {
            let to = geometry.taps.len() * layouts.matrix;
            for block in 0..layouts.output_blocks {
                for r in 0..height {
                    // SAFETY: a row of the halo plane; bias gradients follow the matrices.
                    unsafe {
                        let dy = scratch.halo.at(self.halo_row(unit, block, r));
                        dots(self.isa, dy, width, &[], gradient.add(to + block * LANES), &[]);
                    }
                }
            }
        }
    }

    /// From the halo plane through the taps and the activation into the input's gradient.
    fn input_gradient(&self, unit: UnitView, input: ValueId, image: &Image, scratch: &mut Scratch, first: bool) {
        let write = write(first);
        if unit.depthwise.is_none() {
            self.dense_input_gradient(unit, input, image, scratch, write);
            return;
        }
        let (height, width) = unit.geometry.input;
        let halo = unit.geometry.with_halo();
        let blocks = unit.shape.input_blocks;
        for block in 0..blocks {
            let weight =
                |tap: usize| self.tape.packed.depthwise.at(unit.packing.depthwise + (tap * blocks + block) * LANES);
            let (slope, slope_row) = self.slopes(unit.input, block, scratch);
            let from = scratch.halo.at(block * halo.0 * halo.1 * LANES);
            // SAFETY: the halo is wide enough for all taps; the input's gradient and the loaded view hold the plane.
            unsafe {
                let first = self.gradient(image, input).add(block * height * width * LANES);
                match unit.shape.grids {
                    Some([_, grid]) => {
                        let target = Target { first, row: width * LANES, slope, slope_row, write };
                        // The kernel is turned round.
                        let taps = grid.with(weight(unit.geometry.taps.len() - 1), -((blocks * LANES) as isize));
                        depthwise_rows(self.isa, target, from.add(grid.first), halo.1 * LANES, taps, height, width);
                    }
                    None => {
                        let target = Target { first, row: width * LANES, slope, slope_row, write };
                        self.strided_input_gradient(unit, target, from, weight, scratch);
                    }
                }
            }
        }
    }

    /// The same for one block of a depthwise part of any stride: one class of pixels after another.
    ///
    /// # Safety
    /// The target must be good for the input's plane, `from` for the halo plane.
    unsafe fn strided_input_gradient(
        &self,
        unit: UnitView,
        target: Target,
        from: *const f32,
        weight: impl Fn(usize) -> *mut f32,
        scratch: &mut Scratch,
    ) {
        let (height, width) = unit.geometry.input;
        let (stride_r, stride_c) = unit.geometry.stride;
        let halo_row = unit.geometry.with_halo().1 * LANES;
        for (class, taps) in unit.geometry.backward.iter().enumerate() {
            let (first_row, column) = (class / stride_c, class % stride_c);
            let n = if column < width { (width - column).div_ceil(stride_c) } else { 0 };
            let offset = |tap: &BackwardTap| tap.row * halo_row + tap.column * LANES;
            scratch.terms.clear();
            scratch.terms.extend(taps.iter().map(|tap| shifted(offset(tap), weight(tap.tap))));
            for r in (first_row..height).step_by(stride_r) {
                // SAFETY: rows and columns of the input; taps stay within the halo plane.
                unsafe {
                    let to = target.first.add(r * target.row + column * LANES);
                    let slope = target.slope.add(r * target.slope_row + column * LANES);
                    let (from, step) = (from.add(r / stride_r * halo_row), stride_c * LANES);
                    weighted_sum(self.isa, to, step, from, &scratch.terms, LANES, n, null(), slope, target.write);
                }
            }
        }
    }

    /// The same for a dense convolution, row by row, one class of columns after another.
    fn dense_input_gradient(&self, unit: UnitView, input: ValueId, image: &Image, scratch: &mut Scratch, write: Write) {
        let (geometry, layouts) = (&unit.geometry, unit.shape);
        let (height, width) = geometry.input;
        let (stride_r, stride_c) = geometry.stride;
        let halo = geometry.with_halo();
        let dx = self.gradient(image, input);
        let row = scratch.row.at(0);
        let to_strides = Strides { pixel: stride_c * LANES, block: width * LANES };
        let from_strides = Strides { pixel: LANES, block: halo.0 * halo.1 * LANES };
        let (blocks, filled) = (layouts.input_blocks, &layouts.output_filled);
        for r in 0..height {
            let classes = &geometry.backward[(r % stride_r) * stride_c..][..stride_c];
            let from = scratch.halo.at((r / stride_r) * halo.1 * LANES);
            for (column, taps) in classes.iter().enumerate().filter(|(column, _)| *column < width) {
                let n = (width - column).div_ceil(stride_c);
                scratch.taps.clear();
                scratch.taps.extend(taps.iter().map(|tap| DenseTap {
                    offset: (tap.row * halo.1 + tap.column) * LANES,
                    weight: self.tape.packed.transposed.at(unit.packing.dense + tap.tap * layouts.matrix),
                }));
                // SAFETY: the halo is wide enough for all taps; the row buffer holds a row of every block.
                unsafe {
                    let (to, taps) = (row.add(column * LANES), &scratch.taps);
                    dense(self.isa, to, to_strides, blocks, from, from_strides, taps, filled, n, null(), Store::PLAIN);
                }
            }
            for block in 0..blocks {
                let (slopes, slope_row) = self.slopes(unit.input, block, scratch);
                // SAFETY: a row of the row buffer and of the gradient.
                unsafe {
                    let to = dx.add((block * height + r) * width * LANES);
                    let slope = slopes.add(r * slope_row);
                    through_activation(self.isa, to, row.add(block * width * LANES), slope, width, write);
                }
            }
        }
    }
}
