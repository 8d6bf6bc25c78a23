//! The plan's stages, forward and backward.
//!
//! A backward step first computes the gradient of what it stored (through the norm, from the sums that read it), then
//! adds to its input's gradient. All reads of the stored output come before the first write, so the plan may put both
//! in one place.

use super::{Image, Run, locked};
use crate::Result;
use crate::engine::cpu::memory::Scratch;
use crate::engine::{Mode, Wanted};
use crate::graph::NoiseKind;
use crate::graph::plan::{BackStep, RawId, Step, StepId, ValueId};
use std::sync::Mutex;

/// Gradients of a pass; empty where they were not wanted.
#[derive(Default)]
pub(in crate::engine::cpu) struct Flat {
    pub x: Vec<f32>,
    pub w: Vec<f32>,
    pub p: Vec<f32>,
}

/// What backward steps need apart from the run.
pub(super) struct Back<'a> {
    pub dy: &'a [f32],
    pub dx: Mutex<&'a mut [f32]>,
}

impl Run<'_> {
    /// The output (images × channels) of a batch (images × channels × height × width).
    pub fn forward(&self, x: &[f32]) -> Result<Vec<f32>> {
        let mut out = vec![0.0; self.batch * self.plan().raws[self.output()].layout.channels()];
        self.forward_into(x, &mut out)?;
        Ok(out)
    }

    /// The same into a vector of that length. Allocates nothing.
    pub fn forward_into(&self, x: &[f32], out: &mut [f32]) -> Result<()> {
        // On a thread of the pool, so that no section has to be passed to one.
        rayon::scope(|_| self.forward_stages(x))?;
        self.read_output(out);
        Ok(())
    }

    fn forward_stages(&self, x: &[f32]) -> Result<()> {
        let mut turned = true;
        if self.mode == Mode::Evaluation {
            self.load_running_statistics();
        }
        for (stage, steps) in self.agenda.forward.pairs().filter(|(_, steps)| !steps.is_empty()) {
            self.each_image(&mut turned, |image, scratch| {
                for &step in steps {
                    self.forward_step(step, image, scratch, Some(x));
                }
            })?;
            if self.batch_norms() {
                self.finish_statistics(stage);
            }
        }
        Ok(())
    }

    fn output(&self) -> RawId {
        self.plan().values[self.plan().output].raw
    }

    fn read_output(&self, out: &mut [f32]) {
        let output = &self.plan().raws[self.output()];
        let positions = output.layout.positions();
        for (image, out) in out.chunks_exact_mut(positions.len()).enumerate() {
            let base = self.tape.image(self.placement, image);
            for (out, &lane) in out.iter_mut().zip(positions) {
                // SAFETY: the output is one pixel within the image's region.
                *out = unsafe { *base.add(self.placement.raws[self.output()] + lane) };
            }
        }
    }

    /// Writes a step's output and gathers its statistics. Without the images `x` it recomputes the output, whose
    /// statistics are already known.
    pub(super) fn forward_step(&self, step: StepId, image: &Image, scratch: &mut Scratch, x: Option<&[f32]>) {
        self.profile_step(step);
        let gathers = x.is_some() && self.batch_norms();
        match &self.plan().steps[step] {
            Step::Import { output } => self.import(*output, image, x.unwrap_or_default()),
            Step::Noise { output, id, kind, .. } => self.noise(*output, *kind, *id, image),
            Step::Unit(unit) => {
                let store = self.unit_store(*unit, image, gathers);
                self.unit_forward(self.unit(*unit), store, image, scratch);
                if store.moments.is_some() {
                    return;
                }
            }
            Step::Sum(sum) => self.sum(*sum, image, scratch),
            Step::Pool(_)
            | Step::Apply { .. }
            | Step::Gather { .. }
            | Step::Product { .. }
            | Step::GlobalPool { .. }
            | Step::Standardise { .. }
            | Step::Upsample { .. } => {
                self.small_forward(step, image, scratch);
            }
        }
        if gathers {
            self.gather_statistics(self.plan().output_of(step), image);
        }
    }

    /// The gradients that are wanted, from the output's gradient (images × channels). Uses up the tape's activations.
    pub fn backward(&self, dy: &[f32]) -> Result<Flat> {
        let Wanted { x, w, p } = self.agenda.wanted;
        let input = &self.plan().raws[self.plan().input];
        let zeros = |wanted: bool, len: usize| vec![0.0; if wanted { len } else { 0 }];
        let mut gradients = Flat {
            x: zeros(x, self.batch * input.layout.channels() * input.pixels()),
            w: zeros(w, self.w.len()),
            p: zeros(p, self.p.len()),
        };
        self.backward_into(dy, &mut gradients)?;
        Ok(gradients)
    }

    /// The same into vectors of zeros (those that are not wanted may be empty). Allocates nothing.
    pub fn backward_into(&self, dy: &[f32], gradients: &mut Flat) -> Result<()> {
        rayon::scope(|_| self.backward_stages(dy, gradients))
    }

    fn backward_stages(&self, dy: &[f32], gradients: &mut Flat) -> Result<()> {
        let mut turned = true;
        let Flat { x: dx, w: dw, p: dp } = gradients;
        let back = Back { dy, dx: Mutex::new(dx) };
        for stage in &self.agenda.backward {
            if stage.steps.is_empty() {
                continue;
            }
            if stage.steps.iter().all(|step| matches!(step, BackStep::Recompute { .. })) {
                // The sections that sum up then alternate as if nothing had to be recomputed.
                turned = !turned;
            }
            for step in &stage.steps {
                // Once for a step, however many inputs it has.
                if let BackStep::Step { step, input: 0, .. } = step
                    && self.agenda.runs(self.plan(), *step)
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

    fn back_step(&self, step: &BackStep, image: &Image, scratch: &mut Scratch, back: &Back) {
        let plan = self.plan();
        self.profile_back_step(step);
        match step {
            BackStep::Seed => self.seed(image, back),
            BackStep::Clear { value } => self.clear(*value, image),
            BackStep::OwnSums { value } => self.own_sums(*value, image, scratch),
            BackStep::Dots { sum } => self.sum_dots(*sum, image, scratch),
            BackStep::SumTerm { sum, term, first } => self.sum_term(*sum, *term, image, scratch, *first),
            BackStep::Norm { value, into, first } => self.norm_backward(*value, *into, image, scratch, *first),
            BackStep::Step { step, input: number, first } => {
                let input = self.cpu.inputs[*step][*number];
                if !self.agenda.runs(plan, *step) {
                    return self.clear_if(*first, input, image);
                }
                match &plan.steps[*step] {
                    Step::Unit(unit) => self.unit_backward(self.unit(*unit), image, scratch, *first),
                    Step::Import { .. } | Step::Noise { .. } | Step::Sum(_) => {}
                    Step::Pool(_)
                    | Step::Apply { .. }
                    | Step::Gather { .. }
                    | Step::Product { .. }
                    | Step::GlobalPool { .. }
                    | Step::Standardise { .. }
                    | Step::Upsample { .. } => {
                        self.small_backward(*step, *number, image, scratch, *first);
                    }
                }
            }
            BackStep::Recompute { step } => self.forward_step(*step, image, scratch, None),
            BackStep::Export => self.export(image, back),
        }
    }

    pub(super) fn clear(&self, value: ValueId, image: &Image) {
        let len = self.plan().raws[self.plan().values[value].raw].len();
        // SAFETY: a whole gradient buffer within the image's region.
        unsafe { std::slice::from_raw_parts_mut(self.gradient(image, value), len).fill(0.0) };
    }

    pub(super) fn clear_if(&self, first: bool, value: ValueId, image: &Image) {
        if first {
            self.clear(value, image);
        }
    }

    /// The images, from channels first to blocks.
    fn import(&self, output: RawId, image: &Image, x: &[f32]) {
        let raw = &self.plan().raws[output];
        let (pixels, channels) = (raw.pixels(), raw.layout.channels());
        let x = &x[image.index * channels * pixels..(image.index + 1) * channels * pixels];
        // SAFETY: the tensor is `raw.len()` floats within the image's region.
        let to = unsafe { std::slice::from_raw_parts_mut(self.raw(image, output), raw.len()) };
        to.fill(0.0);
        for (channel, &lane) in raw.layout.positions().iter().enumerate() {
            for pixel in 0..pixels {
                to[super::lane_at(lane, pixel, pixels)] = x[channel * pixels + pixel];
            }
        }
    }

    /// The images' gradient, back to channels first.
    fn export(&self, image: &Image, back: &Back) {
        let raw = &self.plan().raws[self.plan().input];
        let value = self.plan().values.position(|v| v.raw == self.plan().input && v.norm.is_none());
        // All readers of the images except norms read this value; where there is none, no gradient flows back.
        let Some(value) = value else { return };
        let mut dx = locked(&back.dx);
        let (pixels, channels) = (raw.pixels(), raw.layout.channels());
        let from = self.gradient(image, value);
        for (channel, &lane) in raw.layout.positions().iter().enumerate() {
            for pixel in 0..pixels {
                // SAFETY: within the input's gradient.
                let value = unsafe { *from.add(super::lane_at(lane, pixel, pixels)) };
                dx[(image.index * channels + channel) * pixels + pixel] = value;
            }
        }
    }

    /// The output's gradient into its buffer.
    fn seed(&self, image: &Image, back: &Back) {
        let raw = &self.plan().raws[self.output()];
        let channels = raw.layout.channels();
        let to = self.gradient(image, self.plan().output);
        self.clear(self.plan().output, image);
        for (channel, &lane) in raw.layout.positions().iter().enumerate() {
            // SAFETY: the output's gradient is one pixel within the image's region.
            unsafe { *to.add(lane) = back.dy[image.index * channels + channel] };
        }
    }

    fn noise(&self, output: RawId, kind: NoiseKind, id: usize, image: &Image) {
        let raw = &self.plan().raws[output];
        let pixels = raw.pixels();
        // SAFETY: the tensor is `raw.len()` floats within the image's region.
        let to = unsafe { std::slice::from_raw_parts_mut(self.raw(image, output), raw.len()) };
        to.fill(0.0);
        let lanes = raw.layout.positions().iter().flat_map(|&lane| (0..pixels).map(move |pixel| (lane, pixel)));
        for ((lane, pixel), value) in lanes.zip(self.draws.noise(kind, id, image.index)) {
            to[super::lane_at(lane, pixel, pixels)] = value;
        }
    }
}
