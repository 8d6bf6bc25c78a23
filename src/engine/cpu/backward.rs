//! Backward: each kind of step, for one image, and what is added up over images after a stage.
//!
//! A step first forms the gradient of what it stored (through the norm, from whichever sums read it), then adds to its
//! input's gradient. All reads of the stored output come before the first write, so the plan may lay one over the other.

use super::forward::lane_at;
use super::pool::pool_backward;
use super::sums::{Slope, Write, through_activation, weighted_sum};
use super::tape::Scratch;
use super::{Crew, Image, Run, Section, Wanted, shifted};
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
    pub wanted: Wanted,
    /// By raw tensor.
    pub needs: Vec<bool>,
    dy: &'a [f32],
    dx: Mutex<Vec<f32>>,
}

impl Run<'_> {
    /// Gradients of whatever is wanted, from the output's gradient (images × channels). Uses up the tape's activations.
    pub fn backward(&self, dy: &[f32], wanted: Wanted) -> Result<Gradients> {
        Crew::with(|crew| self.backward_stages(dy, wanted, Section::new(crew)))
    }

    fn backward_stages(&self, dy: &[f32], wanted: Wanted, mut section: Section) -> Result<Gradients> {
        let plan = self.plan();
        let mut result = Gradients {
            x: Vec::new(),
            w: vec![0.0; if wanted.w { self.w.len() } else { 0 }],
            p: vec![0.0; if wanted.p { self.p.len() } else { 0 }],
        };
        let input = &plan.raws[plan.input];
        let dx_len = if wanted.x { self.batch * input.layout.channels() * input.pixels() } else { 0 };
        let back = Back { wanted, needs: self.live.needs(plan, wanted), dy, dx: Mutex::new(vec![0.0; dx_len]) };
        for steps in self.work(&back) {
            if steps.is_empty() {
                continue;
            }
            if steps.iter().all(|step| matches!(step, BackStep::Again { .. })) {
                // The sections that sum up take the same turns as if nothing had to be made again.
                section.turned = !section.turned;
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
            self.each_image(&mut section, |image, scratch| {
                for step in &steps {
                    self.back_step(step, image, scratch, &back);
                }
            })?;
            for step in &steps {
                self.add_up(step, &back, &mut result.p);
            }
            if wanted.w {
                self.add_weight_gradients(&section, &steps, &back, &mut result.w);
            }
        }
        result.x = back.dx.into_inner().unwrap_or_default();
        Ok(result)
    }

    pub(super) fn needs_value(&self, value: ValueId, back: &Back) -> bool {
        let value = &self.plan().values[value];
        back.needs[value.raw] || (back.wanted.w && value.norm.is_some_and(|n| self.plan().norms[n].is_affine()))
    }

    /// Whether a forward step has a gradient to pass on.
    pub(super) fn runs(&self, step: usize, back: &Back) -> bool {
        self.live.steps[step] && self.needs_value(self.value_made_by(step), back)
    }

    pub(super) fn value_made_by(&self, step: usize) -> ValueId {
        match &self.plan().steps[step] {
            Step::Import { output } => self.plan().values.iter().position(|v| v.raw == *output).unwrap_or(0),
            Step::Noise { value, .. } => *value,
            Step::Unit(unit) => self.plan().units[*unit].value,
            Step::Pool(pool) => self.plan().pools[*pool].value,
            Step::Sum(sum) => self.plan().sums[*sum].value,
            Step::Apply { value, .. } | Step::Gather { value, .. } | Step::GlobalPool { value, .. } => *value,
        }
    }

    /// By stage of the way back: the steps that have work this time.
    fn work(&self, back: &Back) -> Vec<Vec<&BackStep>> {
        let mut read = vec![false; self.plan().raws.len()];
        let mut stages = Vec::new();
        for stage in self.backward.iter().rev() {
            let mut steps = Vec::new();
            for step in stage.steps.iter().rev() {
                let has_work = match step {
                    BackStep::Again { step } => {
                        self.live.steps[*step] && std::mem::take(&mut read[self.plan().output_of(*step)])
                    }
                    step => self.has_work(step, back),
                };
                if has_work {
                    self.plan().raws_read_back(step).into_iter().for_each(|raw| read[raw] = true);
                    steps.push(step);
                }
            }
            steps.reverse();
            stages.push(steps);
        }
        stages.reverse();
        stages
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
            BackStep::Again { .. } => true,
            BackStep::Export => back.wanted.x && self.step_is_live(self.plan().input),
        }
    }

    pub(super) fn sum_runs(&self, sum: usize, back: &Back) -> bool {
        let output = self.plan().sums[sum].output;
        back.needs[output] && self.step_is_live(output)
    }

    pub(super) fn gradient_term_is_live(&self, term: &GradientTerm) -> bool {
        self.live.mixing(self.plan(), term.mixing) && self.step_is_live(self.plan().sums[term.sum].output)
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
                self.add_dots(g, raw, &[raw], plan.norms[norm].own_sums, image, scratch);
            }
            BackStep::Dots { sum: index } => {
                let sum = &plan.sums[*index];
                let g = self.gradient(image, sum.value);
                let mut wanted: Vec<RawId> = sum.dots.clone();
                for (dot, raw) in wanted.iter_mut().enumerate() {
                    let used = self.step_is_live(*raw)
                        && ((back.wanted.p && self.cpu.dot_feeds_slot[*index][dot])
                            || (self.cpu.dot_feeds_norm[*index][dot] && (back.needs[*raw] || back.wanted.w)));
                    if !used {
                        *raw = usize::MAX;
                    }
                }
                self.add_dots(g, sum.output, &wanted, sum.statistics, image, scratch);
            }
            BackStep::SumTerm { sum: index, term, first } => {
                let sum = &plan.sums[*index];
                let term = &sum.terms[*term];
                if !self.sum_runs(*index, back) || !self.live.term(plan, term) {
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
            BackStep::Again { step } => self.forward_step(*step, image, scratch, None),
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

    /// Pools, applied activations, gathers and global pools.
    fn small_backward(&self, step: usize, input: ValueId, image: &Image, scratch: &mut Scratch, first: bool) {
        let plan = self.plan();
        let (from, output) = (plan.values[input].raw, plan.output_of(step));
        let (plane, from_plane) = (self.plane(output), self.plane(from));
        let value = self.value_made_by(step);
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
