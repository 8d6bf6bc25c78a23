//! Units: activation → depthwise part → dense part in one step, forward and backward.
//!
//! `views.rs` loads its input; `depthwise.rs` and `dense.rs` hold each part's forward and backward; `gradient_plane.rs`
//! computes the gradient of what the unit's taps made, in a plane surrounded by enough zeros that going back through
//! the taps never leaves it.

mod dense;
mod depthwise;
mod gradient_plane;
mod views;

use super::{Image, Run, UnitView};
use crate::engine::cpu::kernels::dense::{DenseTap, Store, Strides};
use crate::engine::cpu::kernels::prefetch;
use crate::engine::cpu::memory::Scratch;
use crate::graph::plan::{LANES, UnitId};

impl Run<'_> {
    /// What else a unit's dense part does: it gathers a single norm's statistics while the results are in registers,
    /// and writes past the cache in stages whose outputs the cache cannot hold.
    pub(super) fn unit_store(&self, unit: UnitId, image: &Image, gathers: bool) -> Store {
        let unit = &self.plan().units[unit];
        let [(norm, lane)] = self.cpu.statistics_of[unit.output][..] else { return Store::PLAIN };
        if unit.dense.is_none() || !gathers {
            return Store::PLAIN;
        }
        let raw = &self.plan().raws[unit.output];
        Store {
            moments: Some(self.moments_at(norm, lane, raw.layout.len(), image)),
            past_cache: self.batch * self.cpu.stage_len[raw.level] > self.cache,
        }
    }

    pub(super) fn unit_forward(&self, unit: UnitView, mut store: Store, image: &Image, scratch: &mut Scratch) {
        self.load_view(unit.input, image, scratch, false);
        let (height, width) = unit.geometry.output;
        let y = self.raw(image, unit.output);
        let plane = self.plane(unit.output);
        let to = Strides { pixel: LANES, block: plane };
        if unit.depthwise.is_none() {
            self.dense_forward(unit, y, to, store, scratch);
            return;
        }
        if unit.dense.is_none() {
            self.depthwise_forward(unit, 0..height, y, to, scratch);
            return;
        }
        for first in (0..height).step_by(unit.shape.strip_rows) {
            let strip = first..(first + unit.shape.strip_rows).min(height);
            let pixels = strip.len() * width;
            for block in (0..unit.shape.output_blocks).filter(|_| !store.past_cache) {
                prefetch::to_write(y.wrapping_add(block * plane + first * width * LANES), pixels * LANES);
            }
            let middle = scratch.middle.at(0, unit.shape.input_blocks * pixels * LANES);
            let from = Strides { pixel: LANES, block: pixels * LANES };
            self.depthwise_forward(unit, strip, middle, from, scratch);
            // SAFETY: the strip lies within the output's planes, the middle holds it.
            unsafe {
                let y = y.add(first * width * LANES);
                self.set_taps(unit, &[0], scratch);
                self.dense_row(unit, y, to, middle, from, pixels, store, scratch);
            }
            store = store.following();
        }
    }

    /// Adds to the weights' gradients and writes the input's gradient. `first`: whether it is the first to write there.
    pub(super) fn unit_backward(&self, unit: UnitView, image: &Image, scratch: &mut Scratch, first: bool) {
        let input = self.plan().views[unit.input].value;
        let needs_input = self.needs_value(input);
        self.load_view(unit.input, image, scratch, needs_input);
        let weights = self.agenda.wanted.w.then(|| {
            let len = unit.packing.gradient_len();
            let gradient = self.tape.group_gradients(image.group, unit.packing.gradient, len);
            if image.first {
                // SAFETY: this group's gradients of this unit.
                unsafe { std::slice::from_raw_parts_mut(gradient, len).fill(0.0) };
            }
            gradient
        });
        self.clear_frame(unit, scratch);
        if unit.depthwise.is_some() && unit.dense.is_some() {
            self.pointwise_backward(unit, weights, image, scratch);
        } else {
            self.plain_gradient_plane(unit, image, scratch);
        }
        if let Some(gradient) = weights {
            match unit.depthwise {
                Some(_) => self.depthwise_weights(unit, gradient, scratch),
                None => self.dense_weights(unit, gradient, scratch),
            }
        }
        if needs_input {
            match unit.depthwise {
                Some(_) => self.depthwise_input_gradient(unit, input, image, scratch, first),
                None => self.dense_input_gradient(unit, input, image, scratch, first),
            }
        }
    }

    /// The dense part of a fused unit backward: from the stored output's gradient to the depthwise output's, strip by
    /// strip; the depthwise output is recomputed where the weights' gradient needs it.
    fn pointwise_backward(&self, unit: UnitView, weights: Option<*mut f32>, image: &Image, scratch: &mut Scratch) {
        let shape = unit.shape;
        let (height, width) = unit.geometry.output;
        let weight = self.tape.packed.transposed.at(unit.packing.dense, unit.packing.dense_len);
        let transposed = [DenseTap { offset: 0, weight }];
        let stored = self.stored_gradient(unit.value, image, scratch);
        for start in (0..height).step_by(shape.strip_rows) {
            let strip = start..(start + shape.strip_rows).min(height);
            let pixels = strip.len() * width;
            let strides = Strides { pixel: LANES, block: pixels * LANES };
            let dy = scratch.strip.at(0, shape.output_blocks * strides.block);
            for block in 0..shape.output_blocks {
                // SAFETY: the strip buffer holds the strip; the scratch has not been asked for another gradient.
                unsafe {
                    stored.write_over(block, start * width, pixels, dy.add(block * strides.block));
                    if start + shape.strip_rows < height {
                        let rows = shape.strip_rows.min(height - start - shape.strip_rows);
                        stored.prefetch(block, (start + shape.strip_rows) * width, rows * width);
                    }
                }
            }
            if let Some(gradient) = weights {
                let middle = scratch.middle.at(0, shape.input_blocks * strides.block);
                self.depthwise_forward(unit, strip.clone(), middle, strides, scratch);
                // SAFETY: the dense gradients follow the depthwise ones; both strips are whole.
                unsafe {
                    let to = gradient.add(unit.packing.depthwise_len);
                    self.pointwise_weights(unit, to, middle, dy, strides, pixels);
                    if unit.bias.is_some() {
                        self.bias_gradient(unit, to.add(unit.packing.dense_len), dy, strides, pixels);
                    }
                }
            }
            // SAFETY: `dy` is good for the strip.
            unsafe { self.fill_halo(unit, dy, strides, strip, &transposed, scratch) };
        }
    }
}
