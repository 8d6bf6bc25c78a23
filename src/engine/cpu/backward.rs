//! Backward: each kind of step, for one image, and what is added up over images after a stage.
//!
//! A step first forms the gradient of what it stored (through the norm, from whichever sums read it), then adds to its
//! input's gradient. All reads of the stored output come before the first write, so the plan may lay one over the other.

use super::dense::{DenseTap, Strides, dense, dense_gradient};
use super::depthwise::{Rows, depthwise_gradient};
use super::forward::{STRIP, lane_at};
use super::pack::unpack_gradient;
use super::pool::pool_backward;
use super::sums::{Slope, Write, dots, through_activation, weighted_sum};
use super::tape::Scratch;
use super::{Image, Run, UnitView, Wanted, shifted};
use crate::Result;
use crate::graph::Activation;
use crate::graph::plan::{BackStep, Gradient, GradientTerm, LANES, RawId, Step, Unit, ValueId};
use rayon::prelude::*;
use std::ptr::null;
use std::sync::Mutex;

/// Gradients of a pass; empty where they were not wanted.
#[derive(Default)]
pub struct Gradients {
    pub x: Vec<f32>,
    pub w: Vec<f32>,
    pub p: Vec<f32>,
}

/// What backward steps need to know besides the run.
struct Back<'a> {
    wanted: Wanted,
    /// By raw tensor.
    needs: Vec<bool>,
    dy: &'a [f32],
    dx: Mutex<Vec<f32>>,
}

impl Run<'_> {
    /// Gradients of whatever is wanted, from the output's gradient (images × channels). Uses up the tape's activations.
    pub fn backward(&self, dy: &[f32], wanted: Wanted) -> Result<Gradients> {
        let plan = self.plan();
        let mut result = Gradients {
            x: Vec::new(),
            w: vec![0.0; if wanted.w { self.w.len() } else { 0 }],
            p: vec![0.0; if wanted.p { self.p.len() } else { 0 }],
        };
        let input = &plan.raws[plan.input];
        let dx_len = if wanted.x { self.batch * input.layout.channels() * input.pixels() } else { 0 };
        let back = Back { wanted, needs: self.live.needs(plan, wanted), dy, dx: Mutex::new(vec![0.0; dx_len]) };
        for stage in &plan.backward {
            let steps: Vec<&BackStep> = stage.steps.iter().filter(|s| self.has_work(s, &back)).collect();
            if steps.is_empty() {
                continue;
            }
            for step in &steps {
                if let BackStep::Step { step, .. } = step
                    && self.runs(*step, &back)
                {
                    self.prepare_norm(self.value_made_by(*step), wanted, &mut result.w);
                } else if let BackStep::Norm { value, .. } = step {
                    self.prepare_norm(*value, wanted, &mut result.w);
                }
            }
            self.each_image(|image, scratch| {
                for step in &steps {
                    self.back_step(step, image, scratch, &back);
                }
            })?;
            for step in &steps {
                self.add_up(step, &back, &mut result.p);
            }
            if wanted.w {
                self.add_weight_gradients(&steps, &back, &mut result.w);
            }
        }
        result.x = back.dx.into_inner().unwrap_or_default();
        Ok(result)
    }

    fn needs_value(&self, value: ValueId, back: &Back) -> bool {
        let value = &self.plan().values[value];
        back.needs[value.raw] || (back.wanted.w && value.norm.is_some_and(|n| self.plan().norms[n].affine.is_some()))
    }

    /// Whether a forward step has a gradient to pass on.
    fn runs(&self, step: usize, back: &Back) -> bool {
        self.live.steps[step] && self.needs_value(self.value_made_by(step), back)
    }

    fn value_made_by(&self, step: usize) -> ValueId {
        match &self.plan().steps[step] {
            Step::Import { output } => self.plan().values.iter().position(|v| v.raw == *output).unwrap_or(0),
            Step::Noise { value, .. } => *value,
            Step::Unit(unit) => self.plan().units[*unit].value,
            Step::Pool(pool) => self.plan().pools[*pool].value,
            Step::Sum(sum) => self.plan().sums[*sum].value,
            Step::Apply { value, .. } | Step::Gather { value, .. } | Step::GlobalPool { value, .. } => *value,
        }
    }

    fn has_work(&self, step: &BackStep, back: &Back) -> bool {
        match step {
            BackStep::Seed => self.needs_value(self.plan().output, back),
            BackStep::Clear { value } | BackStep::OwnSums { value } => {
                self.needs_value(*value, back) && self.step_is_live(self.plan().values[*value].raw)
            }
            BackStep::Dots { sum } => self.sum_runs(*sum, back),
            BackStep::SumTerm { sum, term, .. } => self.needs_value(self.plan().sums[*sum].terms[*term].value, back),
            BackStep::Norm { value, .. } => {
                self.needs_value(*value, back) && self.step_is_live(self.plan().values[*value].raw)
            }
            BackStep::Step { step, .. } => {
                self.runs(*step, back) || self.plan().inputs_of(*step).iter().any(|&v| self.needs_value(v, back))
            }
            BackStep::Export => back.wanted.x && self.step_is_live(self.plan().input),
        }
    }

    fn sum_runs(&self, sum: usize, back: &Back) -> bool {
        let output = self.plan().sums[sum].output;
        back.needs[output] && self.step_is_live(output)
    }

    pub(super) fn gradient_term_is_live(&self, term: &GradientTerm) -> bool {
        self.live.slot(term.slot) && self.step_is_live(self.plan().sums[term.sum].output)
    }

    fn back_step(&self, step: &BackStep, image: &Image, scratch: &mut Scratch, back: &Back) {
        let plan = self.plan();
        match step {
            BackStep::Seed => self.seed(image, back),
            BackStep::Clear { value } => self.clear(*value, image),
            BackStep::OwnSums { value } => {
                let Some(norm) = plan.values[*value].norm else { return };
                let raw = plan.values[*value].raw;
                let g = self.gradient(image, *value);
                self.add_dots(g, raw, &[raw], plan.norms[norm].own_sums, image, scratch);
            }
            BackStep::Dots { sum: index } => {
                let sum = &plan.sums[*index];
                let g = self.gradient(image, sum.value);
                let mut wanted: Vec<RawId> = sum.dots.clone();
                for (dot, raw) in wanted.iter_mut().enumerate() {
                    let used = self.step_is_live(*raw)
                        && (back.wanted.p || (self.cpu.dot_feeds_norm[*index][dot] && back.needs[*raw]));
                    if !used {
                        *raw = usize::MAX;
                    }
                }
                self.add_dots(g, sum.output, &wanted, sum.statistics, image, scratch);
            }
            BackStep::SumTerm { sum: index, term, first } => {
                let sum = &plan.sums[*index];
                let term = &sum.terms[*term];
                if !self.sum_runs(*index, back) || !self.live.term(term) {
                    return self.clear_if(*first, term.value, image);
                }
                scratch.coefficients[0].fill(self.weight_of(term, image));
                let weight = scratch.coefficients[0].as_ptr();
                let n = plan.raws[sum.output].len() / LANES;
                // SAFETY: both gradients are whole tensors of one layout within the image's region.
                unsafe {
                    let (to, from) = (self.gradient(image, term.value), self.gradient(image, sum.value));
                    weighted_sum(self.isa, to, LANES, from, &[shifted(0, weight)], LANES, n, null(), write(*first));
                }
            }
            BackStep::Norm { value, into, first } => {
                let raw = plan.values[*value].raw;
                for block in 0..plan.raws[raw].layout.blocks() {
                    let plane = self.plane(raw);
                    // SAFETY: planes of one tensor.
                    unsafe {
                        let to = self.gradient(image, *into).add(block * plane);
                        self.stored_gradient(*value, block, 0, plane / LANES, to, write(*first), image, scratch);
                    }
                }
            }
            BackStep::Step { step, first } => {
                let input = plan.inputs_of(*step)[0];
                if !self.runs(*step, back) {
                    return self.clear_if(*first, input, image);
                }
                match &plan.steps[*step] {
                    Step::Unit(unit) => self.unit_backward(self.unit(*unit), image, scratch, back, *first),
                    Step::Import { .. } | Step::Noise { .. } | Step::Sum(_) => {}
                    _ => self.small_backward(*step, input, image, scratch, *first),
                }
            }
            BackStep::Export => self.export(image, back),
        }
    }

    fn seed(&self, image: &Image, back: &Back) {
        let raw = &self.plan().raws[self.plan().values[self.plan().output].raw];
        let channels = raw.layout.channels();
        let to = self.gradient(image, self.plan().output);
        self.clear(self.plan().output, image);
        for (channel, lane) in raw.layout.positions().into_iter().enumerate() {
            // SAFETY: the output's gradient is one pixel within the image's region.
            unsafe { *to.add(lane) = back.dy[image.index * channels + channel] };
        }
    }

    fn export(&self, image: &Image, back: &Back) {
        let raw = &self.plan().raws[self.plan().input];
        let value = self.plan().values.iter().position(|v| v.raw == self.plan().input && v.norm.is_none());
        let (Some(value), Ok(mut dx)) = (value, back.dx.lock()) else { return };
        let (pixels, channels) = (raw.pixels(), raw.layout.channels());
        let from = self.gradient(image, value);
        for (channel, lane) in raw.layout.positions().into_iter().enumerate() {
            for pixel in 0..pixels {
                // SAFETY: within the input's gradient.
                let value = unsafe { *from.add(lane_at(lane, pixel, pixels)) };
                dx[(image.index * channels + channel) * pixels + pixel] = value;
            }
        }
    }

    fn clear(&self, value: ValueId, image: &Image) {
        let len = self.plan().raws[self.plan().values[value].raw].len();
        // SAFETY: a whole gradient buffer within the image's region.
        unsafe { std::slice::from_raw_parts_mut(self.gradient(image, value), len).fill(0.0) };
    }

    fn clear_if(&self, first: bool, value: ValueId, image: &Image) {
        if first {
            self.clear(value, image);
        }
    }

    /// Adds Σ g and Σ g·y (y: the tensors named, MAX for none) to the group's sums from `at` on.
    fn add_dots(&self, g: *const f32, like: RawId, ys: &[RawId], at: usize, image: &Image, scratch: &mut Scratch) {
        let raw = &self.plan().raws[like];
        let (plane, lanes) = (self.plane(like), raw.layout.len());
        let base = image.group * self.tape.partial_len + at;
        if image.first {
            // SAFETY: this group's sums.
            unsafe { std::slice::from_raw_parts_mut(self.tape.partial.at(base), (1 + ys.len()) * lanes).fill(0.0) };
        }
        for block in 0..raw.layout.blocks() {
            scratch.planes.clear();
            scratch.products.clear();
            for (k, &y) in ys.iter().enumerate().filter(|(_, y)| **y != usize::MAX) {
                // SAFETY: a plane within the image's region.
                scratch.planes.push(unsafe { self.raw(image, y).add(block * plane) });
                scratch.products.push(self.tape.partial.at(base + (1 + k) * lanes + block * LANES));
            }
            let total = self.tape.partial.at(base + block * LANES);
            // SAFETY: planes of one size; this group's sums.
            unsafe { dots(self.isa, g.add(block * plane), plane / LANES, &scratch.planes, total, &scratch.products) };
        }
    }

    /// The gradient of what is stored behind a value: n pixels of one block from pixel `from` on, into `to`.
    ///
    /// # Safety
    /// `to` must be good for n pixels.
    #[allow(clippy::too_many_arguments)]
    unsafe fn stored_gradient(
        &self,
        value: ValueId,
        block: usize,
        from: usize,
        n: usize,
        to: *mut f32,
        write: Write,
        image: &Image,
        scratch: &mut Scratch,
    ) {
        self.gradient_terms(value, block, scratch);
        let norm = self.plan().values[value].norm.filter(|_| self.batch_norms());
        let bias = match norm {
            Some(norm) => self.tape.back_constant.at(self.plan().norms[norm].offset + block * LANES),
            None => std::ptr::null_mut(),
        };
        // SAFETY: all terms are planes within the image's region.
        unsafe {
            weighted_sum(self.isa, to, LANES, image.base.add(from * LANES), &scratch.terms, LANES, n, bias, write);
        }
    }

    /// Fills the scratch's terms: gradients times mixing weight and scale, and the stored output times its coefficient.
    fn gradient_terms(&self, value: ValueId, block: usize, scratch: &mut Scratch) {
        let what = &self.plan().values[value];
        let offset = block * self.plane(what.raw);
        let (scale, _) = self.norm_block(value, block);
        scratch.terms.clear();
        let mut push = |gradient: ValueId, p: f32| {
            let coefficients = &mut scratch.coefficients[scratch.terms.len()];
            for (lane, c) in coefficients.iter_mut().enumerate() {
                // SAFETY: a norm's tables hold whole blocks.
                *c = if scale.is_null() { p } else { unsafe { p * *scale.add(lane) } };
            }
            scratch.terms.push(shifted(self.memory.gradients[gradient] + offset, coefficients.as_ptr()));
        };
        match &what.gradient {
            Gradient::Buffer => push(value, 1.0),
            Gradient::Terms(terms) => {
                for term in terms.iter().filter(|t| self.gradient_term_is_live(t)) {
                    push(self.plan().sums[term.sum].value, self.mixing(term.slot));
                }
            }
        }
        if let Some(norm) = what.norm.filter(|_| self.batch_norms()) {
            let weight = self.tape.back_y.at(self.plan().norms[norm].offset + block * LANES);
            scratch.terms.push(shifted(self.memory.raws[what.raw] + offset, weight));
        }
    }

    /// Pools, applied activations, gathers and global pools.
    fn small_backward(&self, step: usize, input: ValueId, image: &Image, scratch: &mut Scratch, first: bool) {
        let plan = self.plan();
        let (from, output) = (plan.values[input].raw, plan.output_of(step));
        let (plane, from_plane) = (self.plane(output), self.plane(from));
        let value = self.value_made_by(step);
        let dy = scratch.strip.at(0);
        for block in 0..plan.raws[output].layout.blocks() {
            // SAFETY: the strip buffer holds the largest tensor.
            unsafe {
                let to = dy.add(block * plane);
                self.stored_gradient(value, block, 0, plane / LANES, to, Write::Over, image, scratch);
            }
        }
        let dx = self.gradient(image, input);
        match &plan.steps[step] {
            Step::Pool(pool) => {
                self.clear_if(first, input, image);
                let plane_of = self.pool_plane(from, output, plan.pools[*pool].pool);
                for block in 0..plan.raws[from].layout.blocks() {
                    // SAFETY: planes of the two tensors.
                    unsafe {
                        let source = self.raw(image, from).add(block * from_plane);
                        pool_backward(self.isa, dx.add(block * from_plane), source, dy.add(block * plane), plane_of);
                    }
                }
            }
            Step::Apply { input: view, .. } => {
                self.load_view(*view, image, scratch, true);
                let (height, width) = (plan.raws[from].height, plan.raws[from].width);
                for block in 0..plan.raws[from].layout.blocks() {
                    for r in 0..height {
                        // SAFETY: one row of planes of one size.
                        unsafe {
                            let at = (block * height + r) * width * LANES;
                            let slope = self.slope(*view, block, r, scratch);
                            through_activation(self.isa, dx.add(at), dy.add(at), slope, width, write(first));
                        }
                    }
                }
            }
            Step::Gather { lanes, .. } => {
                self.clear_if(first, input, image);
                let pixels = plan.raws[from].pixels();
                for (lane, source) in lanes.iter().enumerate() {
                    let Some(source) = source else { continue };
                    for pixel in 0..pixels {
                        // SAFETY: lanes and pixels are within the two tensors.
                        unsafe {
                            *dx.add(lane_at(*source as usize, pixel, pixels)) += *dy.add(lane_at(lane, pixel, pixels));
                        }
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
                        weighted_sum(self.isa, to, LANES, share, &[], LANES, pixels, share, write(first));
                    }
                }
            }
            Step::Import { .. } | Step::Noise { .. } | Step::Unit(_) | Step::Sum(_) => {}
        }
    }

    /// The slope of one row of a loaded view.
    fn slope(&self, view: usize, block: usize, row: usize, scratch: &Scratch) -> Slope {
        let view = &self.plan().views[view];
        let raw = &self.plan().raws[self.plan().values[view.value].raw];
        match view.activation {
            None => Slope::One,
            Some(Activation::Relu) => {
                let width = raw.width + 2 * view.pad.1;
                let at = ((block * (raw.height + 2 * view.pad.0) + view.pad.0 + row) * width + view.pad.1) * LANES;
                Slope::Positive(scratch.padded.at(at))
            }
            Some(_) => Slope::Times(scratch.slopes.at((block * raw.height + row) * raw.width * LANES)),
        }
    }

    fn unit_backward(&self, unit: UnitView, image: &Image, scratch: &mut Scratch, back: &Back, first: bool) {
        let plan = self.plan();
        let input = plan.views[unit.input].value;
        let needs_input = self.needs_value(input, back);
        self.load_view(unit.input, image, scratch, needs_input);
        let gradient = self.tape.gradients.at(if back.wanted.w {
            image.group * self.tape.gradients_len + unit.packing.gradient
        } else {
            0
        });
        if back.wanted.w && image.first {
            // SAFETY: this group's gradients of this unit.
            unsafe { std::slice::from_raw_parts_mut(gradient, unit.packing.gradient_len).fill(0.0) };
        }
        // The gradient plane, with zeros around, is of what the geometry's taps made.
        let blocks = if unit.depthwise.is_some() { unit.shape.input_blocks } else { unit.shape.output_blocks };
        self.clear_frame(unit, blocks, scratch);
        if unit.depthwise.is_some() && unit.dense.is_some() {
            self.pointwise_backward(unit, gradient, image, scratch, back.wanted.w);
        } else {
            self.plain_gradient_plane(unit, image, scratch);
        }
        if back.wanted.w {
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
        // SAFETY: the scratch plane holds the largest halo plane of the plan.
        unsafe { std::slice::from_raw_parts_mut(scratch.halo.at(0), blocks * height * width * LANES).fill(0.0) };
        scratch.frame = Some(frame);
    }

    /// The float at which an output row's gradients begin in the halo plane.
    fn halo_row(&self, unit: UnitView, block: usize, row: usize) -> usize {
        let (height, width) = unit.geometry.with_halo();
        ((block * height + unit.geometry.halo.0 + row) * width + unit.geometry.halo.1) * LANES
    }

    fn plain_gradient_plane(&self, unit: UnitView, image: &Image, scratch: &mut Scratch) {
        let (height, width) = unit.geometry.output;
        for block in 0..unit.shape.output_blocks {
            for r in 0..height {
                let to = scratch.halo.at(self.halo_row(unit, block, r));
                // SAFETY: a row of the halo plane's interior.
                unsafe { self.stored_gradient(unit.value, block, r * width, width, to, Write::Over, image, scratch) };
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
        let halo_plane = geometry.with_halo().0 * geometry.with_halo().1 * LANES;
        let rows = (STRIP / width).clamp(1, height);
        let transposed = [DenseTap { offset: 0, weight: self.tape.packed.transposed.at(unit.packing.dense) }];
        for start in (0..height).step_by(rows) {
            let strip = start..(start + rows).min(height);
            let pixels = strip.len() * width;
            let strides = Strides { pixel: LANES, block: pixels * LANES };
            let dy = scratch.strip.at(0);
            for block in 0..layouts.output_blocks {
                // SAFETY: the strip buffer holds the largest tensor.
                unsafe {
                    let to = dy.add(block * strides.block);
                    self.stored_gradient(unit.value, block, start * width, pixels, to, Write::Over, image, scratch);
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
            let to_strides = Strides { pixel: LANES, block: halo_plane };
            for (i, r) in strip.enumerate() {
                let to = scratch.halo.at(self.halo_row(unit, 0, r));
                // SAFETY: a row of the halo plane's interior and of the strip, in every block.
                unsafe {
                    let dy = dy.add(i * width * LANES);
                    let (blocks, filled) = (layouts.input_blocks, &layouts.output_filled);
                    dense(
                        self.isa,
                        to,
                        to_strides,
                        blocks,
                        dy,
                        strides,
                        &transposed,
                        filled,
                        width,
                        null(),
                        Write::Over,
                    );
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
                depthwise_gradient(self.isa, to, blocks * LANES, x, &unit.shape.taps, dy, height, width);
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

    /// From the halo plane through the taps and the activation into the input's gradient, row by row, one class of
    /// columns after another.
    fn input_gradient(&self, unit: UnitView, input: ValueId, image: &Image, scratch: &mut Scratch, first: bool) {
        let (geometry, layouts) = (&unit.geometry, unit.shape);
        let (height, width) = geometry.input;
        let (stride_r, stride_c) = geometry.stride;
        let halo = geometry.with_halo();
        let halo_plane = halo.0 * halo.1 * LANES;
        let dx = self.gradient(image, input);
        let row = scratch.row.at(0);
        for r in 0..height {
            let classes = &geometry.backward[(r % stride_r) * stride_c..][..stride_c];
            let base = (r / stride_r) * halo.1 * LANES;
            for (first_column, taps) in classes.iter().enumerate() {
                let n = if first_column < width { (width - first_column).div_ceil(stride_c) } else { 0 };
                if unit.depthwise.is_some() {
                    for block in 0..layouts.input_blocks {
                        scratch.terms.clear();
                        for tap in taps {
                            let weight = unit.packing.depthwise + (tap.tap * layouts.input_blocks + block) * LANES;
                            let offset = (tap.row * halo.1 + tap.column) * LANES;
                            scratch.terms.push(shifted(offset, self.tape.packed.depthwise.at(weight)));
                        }
                        // SAFETY: the halo is wide enough for all taps; the row buffer holds a row of every block.
                        unsafe {
                            let to = row.add((block * width + first_column) * LANES);
                            let from = scratch.halo.at(block * halo_plane + base);
                            let (step, terms) = (stride_c * LANES, &scratch.terms);
                            weighted_sum(self.isa, to, step, from, terms, LANES, n, null(), Write::Over);
                        }
                    }
                } else {
                    scratch.taps.clear();
                    scratch.taps.extend(taps.iter().map(|tap| DenseTap {
                        offset: (tap.row * halo.1 + tap.column) * LANES,
                        weight: self.tape.packed.transposed.at(unit.packing.dense + tap.tap * layouts.matrix),
                    }));
                    let taps = &scratch.taps;
                    let to_strides = Strides { pixel: stride_c * LANES, block: width * LANES };
                    let from_strides = Strides { pixel: LANES, block: halo_plane };
                    // SAFETY: as above.
                    unsafe {
                        let to = row.add(first_column * LANES);
                        let from = scratch.halo.at(base);
                        let (blocks, filled) = (layouts.input_blocks, &layouts.output_filled);
                        dense(
                            self.isa,
                            to,
                            to_strides,
                            blocks,
                            from,
                            from_strides,
                            &taps,
                            filled,
                            n,
                            null(),
                            Write::Over,
                        );
                    }
                }
            }
            for block in 0..layouts.input_blocks {
                let slope = self.slope(unit.input, block, r, scratch);
                // SAFETY: a row of the row buffer and of the gradient.
                unsafe {
                    let to = dx.add((block * height + r) * width * LANES);
                    through_activation(self.isa, to, row.add(block * width * LANES), slope, width, write(first));
                }
            }
        }
    }

    /// After a stage: the groups' sums of a step into the totals, and the mixing weights' gradients.
    fn add_up(&self, step: &BackStep, back: &Back, dp: &mut [f32]) {
        let plan = self.plan();
        let Ok(mut totals) = self.tape.totals.lock() else { return };
        let mut total = |from: usize, len: usize| {
            for at in from..from + len {
                // SAFETY: within the groups' tables; the parallel section that wrote them is over.
                let parts =
                    (0..self.groups()).map(|g| unsafe { *self.tape.partial.at(g * self.tape.partial_len + at) });
                totals[at] = parts.map(f64::from).sum();
            }
        };
        match step {
            BackStep::OwnSums { value } => {
                if let Some(norm) = plan.values[*value].norm {
                    total(plan.norms[norm].own_sums, 2 * plan.raws[plan.norms[norm].raw].layout.len());
                }
            }
            BackStep::Dots { sum } if self.sum_runs(*sum, back) => {
                let sum = &plan.sums[*sum];
                let lanes = plan.raws[sum.output].layout.len();
                total(sum.statistics, lanes * (1 + sum.dots.len()));
                if !back.wanted.p {
                    return;
                }
                for term in sum.terms.iter().filter(|t| self.live.term(t)) {
                    let Some(slot) = term.slot else { continue };
                    let raw = plan.values[term.value].raw;
                    let dot = sum.dots.iter().position(|&r| r == raw).unwrap_or(0);
                    let (g, gy) =
                        (&totals[sum.statistics..][..lanes], &totals[sum.statistics + (1 + dot) * lanes..][..lanes]);
                    let gradient: f64 = match plan.values[term.value].norm {
                        None => gy.iter().sum(),
                        Some(norm) => {
                            let at = plan.norms[norm].offset;
                            let (scale, shift) = (&self.tape.scale.slice()[at..], &self.tape.shift.slice()[at..]);
                            (0..lanes).map(|l| f64::from(scale[l]) * gy[l] + f64::from(shift[l]) * g[l]).sum()
                        }
                    };
                    dp[slot.0 as usize] += gradient as f32;
                }
            }
            _ => {}
        }
    }

    /// After a stage: the groups' weight gradients, in the groups' order, into the flat vector.
    fn add_weight_gradients(&self, steps: &[&BackStep], back: &Back, dw: &mut [f32]) {
        let units: Vec<&Unit> = steps
            .iter()
            .filter_map(|step| match step {
                BackStep::Step { step, .. } if self.runs(*step, back) => self.unit_of(*step),
                _ => None,
            })
            .collect();
        units.par_iter().for_each(|unit| {
            let len = unit.packing.gradient_len;
            let group = |g: usize| self.tape.gradients.at(g * self.tape.gradients_len + unit.packing.gradient);
            // SAFETY: this unit's gradients, nobody else's; the parallel section that wrote them is over.
            let total = unsafe { std::slice::from_raw_parts_mut(group(0), len) };
            for g in 1..self.groups() {
                // SAFETY: as above, another group's.
                let part = unsafe { std::slice::from_raw_parts(group(g), len) };
                total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
            }
        });
        for unit in units {
            let len = unit.packing.gradient_len;
            // SAFETY: as above; the sums are complete.
            let packed = unsafe { std::slice::from_raw_parts(self.tape.gradients.at(unit.packing.gradient), len) };
            unpack_gradient(self.plan(), self.graph, unit, packed, |at, value| dw[at] += value);
        }
    }
}

fn write(first: bool) -> Write {
    if first { Write::Over } else { Write::Add }
}
