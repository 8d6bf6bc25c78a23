//! A unit's dense part (any convolution that is not depthwise): forward, its weights' gradient, its input's gradient.

use crate::engine::cpu::kernels::dense::{DenseTap, Store, Strides, dense, dense_gradient};
use crate::engine::cpu::kernels::sums::{dots, through_activation};
use crate::engine::cpu::memory::Scratch;
use crate::engine::cpu::pass::{Image, Run, UnitView, write};
use crate::graph::plan::{LANES, ValueId};
use std::ptr::null;

impl Run<'_> {
    /// A convolution of the loaded plane, where there is no depthwise part.
    pub(super) fn dense_forward(
        &self,
        unit: UnitView,
        y: *mut f32,
        to: Strides,
        mut store: Store,
        scratch: &mut Scratch,
    ) {
        let geometry = &unit.geometry;
        let (height, width) = geometry.output;
        let padded = geometry.padded();
        let plane = padded.0 * padded.1 * LANES;
        self.set_taps(unit, &unit.shape.taps, scratch);
        let from = Strides { pixel: geometry.stride.1 * LANES, block: plane };
        let source = scratch.padded.at(0, unit.shape.input_blocks * plane);
        // SAFETY: geometry keeps all taps within the loaded plane, rows within the output.
        unsafe {
            if unit.shape.taps.len() == 1 && geometry.pad == (0, 0) && geometry.stride == (1, 1) {
                self.dense_row(unit, y, to, source, from, height * width, store, scratch);
                return;
            }
            for r in 0..height {
                let source = source.add(r * geometry.stride.0 * padded.1 * LANES);
                self.dense_row(unit, y.add(r * width * LANES), to, source, from, width, store, scratch);
                store = store.following();
            }
        }
    }

    /// Sets the scratch's taps to the dense part's, at these offsets.
    pub(super) fn set_taps(&self, unit: UnitView, offsets: &[usize], scratch: &mut Scratch) {
        scratch.taps.clear();
        scratch.taps.extend(offsets.iter().enumerate().map(|(tap, &offset)| DenseTap {
            offset,
            weight: self.tape.packed.dense.at(unit.packing.dense + tap * unit.shape.matrix, unit.shape.matrix),
        }));
    }

    /// The dense part (and bias) of n pixels, through the scratch's taps.
    ///
    /// # Safety
    /// `source` shifted by each tap must be good for n pixels, `to` as well.
    #[allow(clippy::too_many_arguments)]
    pub(super) unsafe fn dense_row(
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
        let bias = match unit.packing.bias_len {
            0 => null(),
            len => self.tape.packed.bias.at(unit.packing.bias, len).cast_const(),
        };
        let (blocks, filled, taps) = (unit.shape.output_blocks, &unit.shape.input_filled, &scratch.taps);
        // SAFETY: the caller's promise; weights are packed for these layouts.
        unsafe { dense(self.isa, to, to_strides, blocks, source, from, taps, filled, n, bias, store) };
    }

    /// The weights' and the bias's gradients, from the loaded plane and the gradient plane; `gradient` holds taps ×
    /// matrix, then the bias.
    pub(super) fn dense_weights(&self, unit: UnitView, gradient: *mut f32, scratch: &Scratch) {
        let (geometry, shape) = (&unit.geometry, unit.shape);
        let (height, width) = geometry.output;
        let padded = geometry.padded();
        let halo = geometry.with_halo();
        let plane = padded.0 * padded.1 * LANES;
        let from = Strides { pixel: geometry.stride.1 * LANES, block: plane };
        let dy_strides = Strides { pixel: LANES, block: halo.0 * halo.1 * LANES };
        let source = scratch.padded.at(0, shape.input_blocks * plane);
        for (tap, &offset) in shape.taps.iter().enumerate() {
            for r in 0..height {
                // SAFETY: geometry keeps the tap within the loaded plane; the gradients hold taps × matrix.
                unsafe {
                    let x = source.add(r * geometry.stride.0 * padded.1 * LANES + offset);
                    let dy = self.halo_row(unit, 0, r, scratch);
                    let (to, filled) = (gradient.add(tap * shape.matrix), &shape.input_filled);
                    dense_gradient(self.isa, to, x, from, filled, dy, dy_strides, shape.output_blocks, width);
                }
            }
        }
        if unit.bias.is_some() {
            for r in 0..height {
                // SAFETY: a row of the gradient plane in every block; bias gradients follow the matrices.
                unsafe {
                    let to = gradient.add(unit.packing.dense_len);
                    self.bias_gradient(unit, to, self.halo_row(unit, 0, r, scratch), dy_strides, width);
                }
            }
        }
    }

    /// The gradient of a pointwise part's weights, over n pixels of its input and its output's gradient.
    ///
    /// # Safety
    /// `gradient` must be good for the matrix, `x` and `dy` for n pixels in each of their blocks.
    pub(super) unsafe fn pointwise_weights(
        &self,
        unit: UnitView,
        gradient: *mut f32,
        x: *const f32,
        dy: *const f32,
        strides: Strides,
        n: usize,
    ) {
        let (blocks, filled) = (unit.shape.output_blocks, &unit.shape.input_filled);
        // SAFETY: the caller's promise.
        unsafe { dense_gradient(self.isa, gradient, x, strides, filled, dy, strides, blocks, n) };
    }

    /// Adds the bias's gradient over n pixels of the output's gradient.
    ///
    /// # Safety
    /// `gradient` must be good for a float per output lane, `dy` for n pixels in each output block.
    pub(super) unsafe fn bias_gradient(
        &self,
        unit: UnitView,
        gradient: *mut f32,
        dy: *const f32,
        strides: Strides,
        n: usize,
    ) {
        for block in 0..unit.shape.output_blocks {
            // SAFETY: the caller's promise.
            unsafe { dots(self.isa, dy.add(block * strides.block), n, &[], gradient.add(block * LANES), &[]) };
        }
    }

    /// From the gradient plane through the taps and the activation into the input's gradient, row by row, one class of
    /// columns after another.
    pub(super) fn dense_input_gradient(
        &self,
        unit: UnitView,
        input: ValueId,
        image: &Image,
        scratch: &mut Scratch,
        first: bool,
    ) {
        let (geometry, shape) = (&unit.geometry, unit.shape);
        let (height, width) = geometry.input;
        let (stride_r, stride_c) = geometry.stride;
        let halo = geometry.with_halo();
        let (blocks, filled) = (shape.input_blocks, &shape.output_filled);
        let dx = self.gradient(image, input);
        let row = scratch.row.at(0, blocks * width * LANES);
        let to_strides = Strides { pixel: stride_c * LANES, block: width * LANES };
        let from_strides = Strides { pixel: LANES, block: halo.0 * halo.1 * LANES };
        let planes = scratch.halo.at(0, shape.output_blocks * from_strides.block);
        for r in 0..height {
            let classes = &geometry.backward[(r % stride_r) * stride_c..][..stride_c];
            for (column, taps) in classes.iter().enumerate().take(width) {
                let n = (width - column).div_ceil(stride_c);
                scratch.taps.clear();
                scratch.taps.extend(taps.iter().map(|tap| {
                    let at = unit.packing.dense + tap.tap * shape.matrix;
                    let weight = self.tape.packed.transposed.at(at, shape.matrix);
                    DenseTap { offset: (tap.row * halo.1 + tap.column) * LANES, weight }
                }));
                // SAFETY: the halo is wide enough for all taps; the row buffer holds a row of every block.
                unsafe {
                    let from = planes.add((r / stride_r) * halo.1 * LANES);
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
                    through_activation(self.isa, to, row.add(block * width * LANES), slope, width, write(first));
                }
            }
        }
    }
}
