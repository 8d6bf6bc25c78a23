//! Batch norm (Ioffe & Szegedy 2015): from statistics to coefficients, and its backward pass.
//!
//! With mean m and inverse deviation s over the batch, a norm is y·scale + shift, scale = γs, shift = β − γsm.
//! Backward, with S1 = Σ g and S2 = Σ g·y for each channel over n values: Σ g·x̂ = s(S2 − m·S1) and
//! dy = scale·g + B·y + D, B = −scale·s²·(S2 − m·S1)/n, D = −scale·S1/n − B·m. So nothing is stored but y.

use super::{Image, Run, locked, write};
use crate::engine::Mode;
use crate::engine::cpu::kernels::moments::{Moments, add_moments};
use crate::engine::cpu::memory::Scratch;
use crate::engine::cpu::memory::tables::MOMENTS;
use crate::engine::statistics::{NORM_EPSILON, move_towards};
use crate::graph::plan::{Gradient, LANES, NormId, NormPart, RawId, StageId, ValueId};

impl Run<'_> {
    /// Where an image's group sums a norm's lanes from `lane` on, `len` of them.
    pub(super) fn moments_at(&self, norm: NormId, lane: usize, len: usize, image: &Image) -> Moments {
        let at = MOMENTS * self.cpu.tables.norms[norm] + lane;
        let lanes = self.plan().raws[self.plan().norms[norm].raw].layout.len();
        let sums = |which: usize| self.tape.group_sums(image.group, at + which * lanes, len);
        Moments { pivot: sums(0), total: sums(1), square: sums(2), begin: image.first }
    }

    /// Adds a tensor that has just been written to its group's sums, for each norm that it feeds.
    pub(super) fn gather_statistics(&self, raw: RawId, image: &Image) {
        let tensor = &self.plan().raws[raw];
        for &(norm, lane) in &self.cpu.statistics_of[raw] {
            let moments = self.moments_at(norm, lane, tensor.layout.len(), image);
            let y = self.raw(image, raw);
            for block in 0..tensor.layout.blocks() {
                // SAFETY: this group's entries of this norm; the plane is within the tensor.
                unsafe { add_moments(self.isa, y.add(block * self.plane(raw)), tensor.pixels(), moments.block(block)) };
            }
        }
    }

    /// Coefficients of all norms from running statistics.
    pub(super) fn load_running_statistics(&self) {
        self.statistics.update(|values| {
            for index in self.plan().norms.ids() {
                self.set_norm(index, |channel| {
                    let Some((part, within)) = self.norm_part(index, channel) else { return (0.0, 1.0) };
                    let info = &self.graph.norms()[part.info];
                    (values[info.mean()][within], values[info.variance()][within])
                });
            }
        });
    }

    /// Coefficients of the norms that a stage completes, from the batch; the groups are combined in their order.
    pub(super) fn finish_statistics(&self, stage: StageId) {
        for &index in &self.cpu.norms_of_stage[stage] {
            let norm = &self.plan().norms[index];
            if !self.step_is_live(norm.raw) {
                continue;
            }
            let raw = &self.plan().raws[norm.raw];
            let n = (self.batch * raw.pixels()) as f64;
            let positions = raw.layout.positions();
            let moments = |channel: usize| self.batch_moments(index, positions[channel]);
            self.set_norm(index, moments);
            if self.mode == Mode::Training {
                let unbiased = n / (n - 1.0).max(1.0);
                self.statistics.update(|values| {
                    for channel in 0..positions.len() {
                        let Some((part, within)) = self.norm_part(index, channel) else { continue };
                        // Siblings run together, those that a mask leaves out too; a tensor may have other readers.
                        if !self.agenda.norms[part.info] {
                            continue;
                        }
                        // The statistics of a norm that siblings share move once.
                        let first = norm.parts.iter().flatten().find(|p| p.info == part.info);
                        if first.is_some_and(|p| !std::ptr::eq(p, part)) {
                            continue;
                        }
                        let (mean, variance) = moments(channel);
                        let info = &self.graph.norms()[part.info];
                        move_towards(&mut values[info.mean()][within], mean);
                        move_towards(&mut values[info.variance()][within], variance * unbiased);
                    }
                });
            }
        }
    }

    /// Mean and (biased) variance of one lane over the batch, combined group by group (Chan, Golub and LeVeque 1983).
    fn batch_moments(&self, norm: NormId, lane: usize) -> (f64, f64) {
        let raw = &self.plan().raws[self.plan().norms[norm].raw];
        let at = MOMENTS * self.cpu.tables.norms[norm] + lane;
        let (mut n, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for group in 0..self.groups() {
            let count = (self.images(group).len() * raw.pixels()) as f64;
            let [pivot, total, square] = [0, 1, 2].map(|which| {
                let at = self.tape.group_sums(group, at + which * raw.layout.len(), 1);
                // SAFETY: within the groups' sums; the parallel section that wrote them is over.
                f64::from(unsafe { *at })
            });
            let own = pivot + total / count;
            let apart = own - mean;
            let all = n + count;
            squares += (square - total * total / count).max(0.0) + apart * apart * n * count / all;
            mean += apart * count / all;
            n = all;
        }
        (mean, squares / n)
    }

    /// The norm of the graph that a channel belongs to, and which of that norm's channels it is.
    fn norm_part(&self, norm: NormId, channel: usize) -> Option<(&NormPart, usize)> {
        let norm = &self.plan().norms[norm];
        let share = (self.plan().raws[norm.raw].layout.channels() / norm.parts.len()).max(1);
        Some((norm.parts[channel / share].as_ref()?, channel % share))
    }

    fn set_norm(&self, index: NormId, moments: impl Fn(usize) -> (f64, f64)) {
        let weights = self.graph.weights();
        let norm = &self.plan().norms[index];
        for (channel, &lane) in self.plan().raws[norm.raw].layout.positions().iter().enumerate() {
            let (mean, variance) = moments(channel);
            let inverse = 1.0 / (variance + NORM_EPSILON).sqrt();
            let (gamma, beta) = match self.norm_part(index, channel) {
                Some((NormPart { affine: Some([gamma, beta]), .. }, within)) => {
                    let of = |weight: usize| f64::from(self.w[weights[weight].offset + within]);
                    (of(*gamma), of(*beta))
                }
                _ => (1.0, 0.0),
            };
            let at = self.cpu.tables.norms[index] + lane;
            let scale = (gamma * inverse) as f32;
            // SAFETY: within the tables, which no other thread writes to between parallel sections.
            unsafe {
                *self.tape.mean.at(at, 1) = mean as f32;
                *self.tape.inverse.at(at, 1) = inverse as f32;
                *self.tape.scale.at(at, 1) = scale;
                // From the rounded scale: otherwise its rounding error would show, multiplied by a large mean.
                *self.tape.shift.at(at, 1) = (beta - f64::from(scale) * mean) as f32;
            }
        }
    }

    /// Backward: Σ g and Σ g·y of a value whose gradient g is a buffer and that is seen through a norm.
    pub(super) fn own_sums(&self, value: ValueId, image: &Image, scratch: &mut Scratch) {
        let Some(norm) = self.plan().values[value].norm else { unreachable!("only norms have sums of their own") };
        let raw = self.plan().values[value].raw;
        let g = self.gradient(image, value);
        self.add_dots(g, raw, &[raw], |_, _| true, self.cpu.tables.own_sums[norm], image, scratch);
    }

    /// Backward coefficients of a value's norm, once Σ g and Σ g·y are known; gamma's and beta's gradients into `dw`.
    pub(super) fn prepare_norm(&self, value: ValueId, dw: &mut [f32]) {
        let wanted = self.agenda.wanted;
        let Some(index) = self.plan().values[value].norm else { return };
        if !self.batch_norms() && !wanted.w {
            return;
        }
        let tables = &self.cpu.tables;
        let norm = &self.plan().norms[index];
        let raw = &self.plan().raws[norm.raw];
        let n = (self.batch * raw.pixels()) as f64;
        let totals = locked(&self.tape.totals);
        for (channel, &lane) in raw.layout.positions().iter().enumerate() {
            let (mut s1, mut s2) = (0.0, 0.0);
            match &self.plan().values[value].gradient {
                Gradient::Buffer => {
                    s1 = totals[tables.own_sums[index] + lane];
                    s2 = totals[tables.own_sums[index] + raw.layout.len() + lane];
                }
                Gradient::Terms(terms) => {
                    for term in terms.iter().filter(|t| self.gradient_term_is_live(t)) {
                        let p = f64::from(self.mixing(term.mixing, lane));
                        let at = self.dot_at(term.sum, norm.raw);
                        s1 += p * totals[tables.dots[term.sum] + lane];
                        s2 += p * totals[at + lane];
                    }
                }
            }
            let at = tables.norms[index] + lane;
            // SAFETY: within the tables, which no other thread uses between parallel sections.
            unsafe {
                let (mean, inverse) = (f64::from(*self.tape.mean.at(at, 1)), f64::from(*self.tape.inverse.at(at, 1)));
                let scale = f64::from(*self.tape.scale.at(at, 1));
                let centred = s2 - mean * s1;
                let back_y = (-scale * inverse * inverse * centred / n) as f32;
                *self.tape.back_y.at(at, 1) = back_y;
                *self.tape.back_constant.at(at, 1) = (-scale * s1 / n - f64::from(back_y) * mean) as f32;
                if let (true, Some((NormPart { affine: Some([gamma, beta]), .. }, within))) =
                    (wanted.w, self.norm_part(index, channel))
                {
                    dw[self.graph.weights()[*gamma].offset + within] += (inverse * centred) as f32;
                    dw[self.graph.weights()[*beta].offset + within] += s1 as f32;
                }
            }
        }
    }

    /// Backward through a norm of a tensor that has other readers too, into the tensor's own gradient.
    pub(super) fn norm_backward(
        &self,
        value: ValueId,
        into: ValueId,
        image: &Image,
        scratch: &mut Scratch,
        first: bool,
    ) {
        let raw = self.plan().values[value].raw;
        let stored = self.stored_gradient(value, image, scratch);
        let (to, plane) = (self.gradient(image, into), self.plane(raw));
        for block in 0..self.plan().raws[raw].layout.blocks() {
            // SAFETY: planes of one tensor.
            unsafe { stored.write(block, 0, plane / LANES, to.add(block * plane), write(first)) };
        }
    }

    /// A norm's table entries of one block of a value, or null.
    pub(super) fn norm_block(&self, value: ValueId, block: usize) -> (*const f32, *const f32) {
        match self.plan().values[value].norm {
            None => (std::ptr::null(), std::ptr::null()),
            Some(norm) => {
                let at = self.cpu.tables.norms[norm] + block * LANES;
                (self.tape.scale.at(at, LANES), self.tape.shift.at(at, LANES))
            }
        }
    }
}
