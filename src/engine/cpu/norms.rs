//! Batch norm (Ioffe & Szegedy 2015): statistics into coefficients, and its backward pass.
//!
//! With mean m and inverse deviation s over the batch, a norm is y·scale + shift, scale = γs, shift = β − γsm. Backward,
//! with S1 = Σ g and S2 = Σ g·y a channel over n values: Σ g·x̂ = s(S2 − m·S1) and
//! dy = scale·g + B·y + D, B = −scale·s²·(S2 − m·S1)/n, D = −scale·S1/n − B·m. So nothing is stored but y.

use super::Run;
use crate::engine::NormMode;
use crate::graph::plan::{Gradient, LANES, NormPart, ValueId};

/// Added to the variance.
const EPSILON: f64 = 1e-5;
/// How far running statistics move towards the batch's.
const MOMENTUM: f32 = 0.1;

impl Run<'_> {
    /// Coefficients of all norms from running statistics.
    pub(super) fn load_running_statistics(&self) {
        let NormMode::Running(running) = self.norm else { return };
        running.update(|values| {
            for index in 0..self.plan().norms.len() {
                self.set_norm(index, |channel| {
                    let Some((part, within)) = self.norm_place(index, channel) else { return (0.0, 1.0) };
                    let info = &self.graph.norms()[part.info];
                    let (mean, variance) = (values[info.mean()][within], values[info.variance()][within]);
                    (f64::from(mean), f64::from(variance))
                });
            }
        });
    }

    /// Coefficients of the norms that a stage completes, from the batch; the groups' sums are added in their order.
    pub(super) fn finish_statistics(&self, stage: usize) {
        for &index in &self.cpu.norms_of_stage[stage] {
            let norm = &self.plan().norms[index];
            if !self.step_is_live(norm.raw) {
                continue;
            }
            let raw = &self.plan().raws[norm.raw];
            let n = (self.batch * raw.pixels()) as f64;
            let positions = raw.layout.positions();
            let sum = |at: usize| -> f64 {
                // SAFETY: within the groups' tables; the parallel section that wrote them is over.
                (0..self.groups())
                    .map(|g| f64::from(unsafe { *self.tape.partial.at(g * self.tape.partial_len + at) }))
                    .sum()
            };
            let moments = |channel: usize| {
                let mean = sum(2 * norm.offset + positions[channel]) / n;
                let square = sum(2 * norm.offset + raw.layout.len() + positions[channel]) / n;
                (mean, (square - mean * mean).max(0.0))
            };
            self.set_norm(index, moments);
            if let NormMode::BatchUpdating(running) = self.norm {
                let unbiased = n / (n - 1.0).max(1.0);
                running.update(|values| {
                    for channel in 0..positions.len() {
                        let Some((part, within)) = self.norm_place(index, channel) else { continue };
                        // A norm that siblings share moves once.
                        let first = norm.parts.iter().flatten().find(|p| p.info == part.info);
                        if first.is_some_and(|p| !std::ptr::eq(p, part)) {
                            continue;
                        }
                        let (mean, variance) = moments(channel);
                        let info = &self.graph.norms()[part.info];
                        let old = &mut values[info.mean()][within];
                        *old += MOMENTUM * (mean as f32 - *old);
                        let old = &mut values[info.variance()][within];
                        *old += MOMENTUM * ((variance * unbiased) as f32 - *old);
                    }
                });
            }
        }
    }

    /// The norm of the graph that a channel belongs to, and which of that norm's channels it is.
    fn norm_place(&self, norm: usize, channel: usize) -> Option<(&NormPart, usize)> {
        let norm = &self.plan().norms[norm];
        let share = (self.plan().raws[norm.raw].layout.channels() / norm.parts.len()).max(1);
        Some((norm.parts[channel / share].as_ref()?, channel % share))
    }

    fn set_norm(&self, index: usize, moments: impl Fn(usize) -> (f64, f64)) {
        let weights = self.graph.weights();
        let norm = &self.plan().norms[index];
        for (channel, &lane) in self.plan().raws[norm.raw].layout.positions().iter().enumerate() {
            let (mean, variance) = moments(channel);
            let inverse = 1.0 / (variance + EPSILON).sqrt();
            let (gamma, beta) = match self.norm_place(index, channel) {
                Some((NormPart { affine: Some([gamma, beta]), .. }, within)) => {
                    let of = |weight: usize| f64::from(self.w[weights[weight].offset + within]);
                    (of(*gamma), of(*beta))
                }
                _ => (1.0, 0.0),
            };
            let at = norm.offset + lane;
            // SAFETY: within the tables; nobody else writes between parallel sections.
            unsafe {
                *self.tape.mean.at(at) = mean as f32;
                *self.tape.inverse.at(at) = inverse as f32;
                *self.tape.scale.at(at) = (gamma * inverse) as f32;
                *self.tape.shift.at(at) = (beta - gamma * inverse * mean) as f32;
            }
        }
    }

    /// Backward coefficients of a value's norm, once Σ g and Σ g·y are known; gamma's and beta's gradients into `dw`.
    pub(super) fn prepare_norm(&self, value: ValueId, dw: &mut [f32]) {
        let wanted = self.work.wanted;
        let Some(index) = self.plan().values[value].norm else { return };
        if !self.batch_norms() && !wanted.w {
            return;
        }
        let norm = &self.plan().norms[index];
        let raw = &self.plan().raws[norm.raw];
        let n = (self.batch * raw.pixels()) as f64;
        let Ok(totals) = self.tape.totals.lock() else { return };
        for (channel, &lane) in raw.layout.positions().iter().enumerate() {
            let (mut s1, mut s2) = (0.0, 0.0);
            match &self.plan().values[value].gradient {
                Gradient::Buffer => {
                    s1 = totals[norm.own_sums + lane];
                    s2 = totals[norm.own_sums + raw.layout.len() + lane];
                }
                Gradient::Terms(terms) => {
                    for term in terms.iter().filter(|t| self.gradient_term_is_live(t)) {
                        let sum = &self.plan().sums[term.sum];
                        let p = f64::from(self.mixing(term.mixing, lane));
                        let dot = sum.dots.iter().position(|&r| r == norm.raw).unwrap_or(0);
                        s1 += p * totals[sum.statistics + lane];
                        s2 += p * totals[sum.statistics + (1 + dot) * raw.layout.len() + lane];
                    }
                }
            }
            let at = norm.offset + lane;
            // SAFETY: within the tables; nobody else reads or writes between parallel sections.
            unsafe {
                let (mean, inverse) = (f64::from(*self.tape.mean.at(at)), f64::from(*self.tape.inverse.at(at)));
                let scale = f64::from(*self.tape.scale.at(at));
                let centred = s2 - mean * s1;
                let back_y = -scale * inverse * inverse * centred / n;
                *self.tape.back_y.at(at) = back_y as f32;
                *self.tape.back_constant.at(at) = (-scale * s1 / n - back_y * mean) as f32;
                if let (true, Some((NormPart { affine: Some([gamma, beta]), .. }, within))) =
                    (wanted.w, self.norm_place(index, channel))
                {
                    dw[self.graph.weights()[*gamma].offset + within] += (inverse * centred) as f32;
                    dw[self.graph.weights()[*beta].offset + within] += s1 as f32;
                }
            }
        }
    }

    /// A norm's table entries of one block of a value, or null.
    pub(super) fn norm_block(&self, value: ValueId, block: usize) -> (*const f32, *const f32) {
        match self.plan().values[value].norm {
            None => (std::ptr::null(), std::ptr::null()),
            Some(norm) => {
                let at = self.plan().norms[norm].offset + block * LANES;
                (self.tape.scale.at(at), self.tape.shift.at(at))
            }
        }
    }
}
