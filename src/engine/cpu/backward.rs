//! Backward: each kind of step, for one image, and what is added up over images after a stage.
//!
//! A step first forms the gradient of what it stored (through the norm, from whichever sums read it), then adds to its
//! input's gradient. All reads of the stored output come before the first write, so the plan may lay one over the other.

use super::forward::lane_at;
use super::pool::pool_backward;
use super::sums::{Slope, Write, through_activation, weighted_sum};
use super::tape::Scratch;
use super::{Image, Run, Work, shifted};
use crate::Result;
use crate::graph::Activation;
use crate::graph::plan::{BackStep, GradientTerm, LANES, RawId, Step, ValueId};
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
pub(super) struct Back<'a> {
    dy: &'a [f32],
    dx: Mutex<&'a mut [f32]>,
}

impl Run<'_> {
    /// Gradients of whatever is wanted, from the output's gradient (images × channels). Uses up the tape's activations.
    pub fn backward(&self, dy: &[f32]) -> Result<Gradients> {
        let wanted = self.work.wanted;
        let input = &self.plan().raws[self.plan().input];
        let len = |wanted: bool, len: usize| if wanted { len } else { 0 };
        let mut gradients = Gradients {
            x: vec![0.0; len(wanted.x, self.batch * input.layout.channels() * input.pixels())],
            w: vec![0.0; len(wanted.w, self.w.len())],
            p: vec![0.0; len(wanted.p, self.p.len())],
        };
        self.backward_into(dy, &mut gradients)?;
        Ok(gradients)
    }

    /// The same into vectors of zeros (those that are not wanted may be empty). Allocates nothing.
    pub fn backward_into(&self, dy: &[f32], gradients: &mut Gradients) -> Result<()> {
        rayon::scope(|_| self.backward_stages(dy, gradients))
    }

    fn backward_stages(&self, dy: &[f32], gradients: &mut Gradients) -> Result<()> {
        let mut turned = true;
        let Gradients { x: dx, w: dw, p: dp } = gradients;
        let back = Back { dy, dx: Mutex::new(dx) };
        for stage in &self.work.backward {
            if stage.steps.is_empty() {
                continue;
            }
            if stage.steps.iter().all(|step| matches!(step, BackStep::Again { .. })) {
                // The sections that sum up take the same turns as if nothing had to be made again.
                turned = !turned;
            }
            for step in &stage.steps {
                if let BackStep::Step { step, .. } = step
                    && self.work.runs(self.plan(), *step)
                {
                    self.prepare_norm(self.plan().value_made_by(*step), dw);
                } else if let BackStep::Norm { value, .. } = step {
                    self.prepare_norm(*value, dw);
                }
            }
            self.each_image(&mut turned, |image, scratch| {
                for step in &stage.steps {
                    self.back_step(step, image, scratch, &back);
                }
            })?;
            for step in &stage.steps {
                self.add_up(step, dp);
            }
            self.add_weight_gradients(&stage.units, dw);
        }
        Ok(())
    }

    pub(super) fn needs_value(&self, value: ValueId) -> bool {
        self.work.needs_value(self.plan(), value)
    }

    pub(super) fn gradient_term_is_live(&self, term: &GradientTerm) -> bool {
        self.work.live.mixing(self.plan(), term.mixing) && self.step_is_live(self.plan().sums[term.sum].output)
    }

    fn back_step(&self, step: &BackStep, image: &Image, scratch: &mut Scratch, back: &Back) {
        let plan = self.plan();
        self.profile_back_step(step);
        match step {
            BackStep::Seed => self.seed(image, back),
            BackStep::Clear { value } => self.clear(*value, image),
            BackStep::OwnSums { value } => {
                let Some(norm) = plan.values[*value].norm else { return };
                let raw = plan.values[*value].raw;
                let g = self.gradient(image, *value);
                self.add_dots(g, raw, &[raw], |_, _| true, plan.norms[norm].own_sums, image, scratch);
            }
            BackStep::Dots { sum: index } => {
                let sum = &plan.sums[*index];
                let g = self.gradient(image, sum.value);
                let Work { wanted, needs, .. } = self.work;
                let used = |dot: usize, raw: RawId| {
                    let feeds_slot = wanted.p && self.cpu.dot_feeds_slot[*index][dot];
                    let feeds_norm = self.cpu.dot_feeds_norm[*index][dot] && (needs[raw] || wanted.w);
                    self.step_is_live(raw) && (feeds_slot || feeds_norm)
                };
                self.add_dots(g, sum.output, &sum.dots, used, sum.statistics, image, scratch);
            }
            BackStep::SumTerm { sum: index, term, first } => {
                let sum = &plan.sums[*index];
                let term = &sum.terms[*term];
                if !self.work.sum_runs(plan, *index) || !self.work.live.term(plan, term) {
                    return self.clear_if(*first, term.value, image);
                }
                scratch.coefficients[0] = self.weights_of(term, image);
                let weight = scratch.coefficients[0].as_ptr();
                let n = plan.raws[sum.output].len() / LANES;
                // SAFETY: both gradients are whole tensors of one layout within the image's region.
                unsafe {
                    let (to, from) = (self.gradient(image, term.value), self.gradient(image, sum.value));
                    let terms = [shifted(0, weight)];
                    weighted_sum(self.isa, to, LANES, from, &terms, LANES, n, null(), Slope::One, write(*first));
                }
            }
            BackStep::Norm { value, into, first } => {
                let raw = plan.values[*value].raw;
                let stored = self.stored_gradient(*value, image, scratch);
                for block in 0..plan.raws[raw].layout.blocks() {
                    let plane = self.plane(raw);
                    // SAFETY: planes of one tensor.
                    unsafe {
                        let to = self.gradient(image, *into).add(block * plane);
                        stored.write(block, 0, plane / LANES, to, write(*first));
                    }
                }
            }
            BackStep::Step { step, first } => {
                let input = self.cpu.inputs[*step][0];
                if !self.work.runs(plan, *step) {
                    return self.clear_if(*first, input, image);
                }
                match &plan.steps[*step] {
                    Step::Unit(unit) => self.unit_backward(self.unit(*unit), image, scratch, *first),
                    Step::Import { .. } | Step::Noise { .. } | Step::Sum(_) => {}
                    _ => self.small_backward(*step, input, image, scratch, *first),
                }
            }
            BackStep::Again { step } => self.forward_step(*step, image, scratch, None),
            BackStep::Export => self.export(image, back),
        }
    }

    fn seed(&self, image: &Image, back: &Back) {
        let raw = &self.plan().raws[self.plan().values[self.plan().output].raw];
        let channels = raw.layout.channels();
        let to = self.gradient(image, self.plan().output);
        self.clear(self.plan().output, image);
        for (channel, &lane) in raw.layout.positions().iter().enumerate() {
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
        for (channel, &lane) in raw.layout.positions().iter().enumerate() {
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

    /// Pools, applied activations, gathers and global pools.
    fn small_backward(&self, step: usize, input: ValueId, image: &Image, scratch: &mut Scratch, first: bool) {
        let plan = self.plan();
        let (from, output) = (plan.values[input].raw, plan.output_of(step));
        let (plane, from_plane) = (self.plane(output), self.plane(from));
        let value = plan.value_made_by(step);
        let dy = scratch.strip.at(0);
        let stored = self.stored_gradient(value, image, scratch);
        for block in 0..plan.raws[output].layout.blocks() {
            // SAFETY: the strip buffer holds the largest tensor.
            unsafe { stored.write(block, 0, plane / LANES, dy.add(block * plane), Write::Over) };
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
                let Some(moves) = &self.cpu.moves[step] else { return };
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

    /// The slopes of one block of a loaded view, from its first pixel on, and the floats from row to row there.
    pub(super) fn slopes(&self, view: usize, block: usize, scratch: &Scratch) -> (Slope, usize) {
        let view = &self.plan().views[view];
        let raw = &self.plan().raws[self.plan().values[view.value].raw];
        match view.activation {
            None => (Slope::One, 0),
            Some(Activation::Relu) => {
                let width = raw.width + 2 * view.pad.1;
                let at = ((block * (raw.height + 2 * view.pad.0) + view.pad.0) * width + view.pad.1) * LANES;
                (Slope::Positive(scratch.padded.at(at)), width * LANES)
            }
            Some(_) => (Slope::Times(scratch.slopes.at(block * raw.pixels() * LANES)), raw.width * LANES),
        }
    }
}

pub(super) fn write(first: bool) -> Write {
    if first { Write::Over } else { Write::Add }
}
