//! The gradient of what a unit's taps made, in a plane with a halo of zeros.

use crate::engine::cpu::kernels::dense::{DenseTap, Store, Strides, dense};
use crate::engine::cpu::memory::Scratch;
use crate::engine::cpu::pass::{Image, Run, UnitView};
use crate::graph::plan::LANES;
use std::ptr::null;

impl Run<'_> {
    /// Blocks of the gradient plane, which is that of what the geometry's taps made.
    fn halo_blocks(&self, unit: UnitView) -> usize {
        if unit.depthwise.is_some() { unit.shape.input_blocks } else { unit.shape.output_blocks }
    }

    /// The whole gradient plane of a block.
    pub(super) fn halo_plane(&self, unit: UnitView, block: usize, scratch: &Scratch) -> *mut f32 {
        let (height, width) = unit.geometry.with_halo();
        scratch.halo.at(block * height * width * LANES, height * width * LANES)
    }

    /// A row's gradients within a block's plane, and what follows them.
    pub(super) fn halo_row(&self, unit: UnitView, block: usize, row: usize, scratch: &Scratch) -> *mut f32 {
        let (height, width) = unit.geometry.with_halo();
        let at = ((unit.geometry.halo.0 + row) * width + unit.geometry.halo.1) * LANES;
        let plane = height * width * LANES;
        scratch.halo.at(block * plane + at, plane - at)
    }

    /// Writes the zeros around the gradient plane, unless the last unit's plane had the same frame.
    pub(super) fn clear_frame(&self, unit: UnitView, scratch: &mut Scratch) {
        let geometry = &unit.geometry;
        let blocks = self.halo_blocks(unit);
        let (height, width) = geometry.with_halo();
        let frame = [blocks, height, width, geometry.halo.0, geometry.halo.1];
        if scratch.frame == Some(frame) {
            return;
        }
        let (above, beside) = (geometry.halo.0 * width * LANES, geometry.halo.1 * LANES);
        for block in 0..blocks {
            // SAFETY: a whole plane of the scratch buffer; between its frames lie whole rows.
            let plane = unsafe {
                std::slice::from_raw_parts_mut(self.halo_plane(unit, block, scratch), height * width * LANES)
            };
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

    /// The stored output's gradient itself, where no dense part follows a depthwise one.
    pub(super) fn plain_gradient_plane(&self, unit: UnitView, image: &Image, scratch: &mut Scratch) {
        let (height, width) = unit.geometry.output;
        let stored = self.stored_gradient(unit.value, image, scratch);
        for block in 0..unit.shape.output_blocks {
            for r in 0..height {
                // SAFETY: a row of the plane's interior.
                unsafe { stored.write_over(block, r * width, width, self.halo_row(unit, block, r, scratch)) };
            }
        }
    }

    /// Writes the dense part's input gradient of a strip into the gradient plane: row by row, or through a buffer where
    /// rows are too short for the kernel's tiles.
    ///
    /// # Safety
    /// `dy` must be good for the strip.
    pub(super) unsafe fn fill_halo(
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
        // SAFETY: the caller's promise; rows of the plane's interior in every block; the row buffer holds a strip.
        unsafe {
            if width >= 16 {
                for (i, r) in strip.enumerate() {
                    let to = self.halo_row(unit, 0, r, scratch);
                    let dy = dy.add(i * width * LANES);
                    dense(self.isa, to, to_strides, blocks, dy, strides, transposed, filled, width, null(), store);
                }
                return;
            }
            let pixels = strip.len() * width;
            let rows = scratch.row.at(0, blocks * strides.block);
            dense(self.isa, rows, strides, blocks, dy, strides, transposed, filled, pixels, null(), store);
            for block in 0..blocks {
                for (i, r) in strip.clone().enumerate() {
                    let from = rows.add(block * strides.block + i * width * LANES);
                    std::ptr::copy_nonoverlapping(from, self.halo_row(unit, block, r, scratch), width * LANES);
                }
            }
        }
    }
}
