//! What gradients are made of: sums over pixels while images run, sums over image groups afterwards, and from these the
//! gradient of a stored tensor, formed where it is needed.

use super::pack::unpack_gradient;
use super::sums::{Shifted, Slope, Write, dots, weighted_sum};
use super::tape::Scratch;
use super::{Image, Isa, Run, prefetch, shifted};
use crate::graph::plan::{BackStep, Gradient, LANES, LaneFactor, Mixing, RawId, ValueId};
use rayon::prelude::*;

impl Run<'_> {
    /// Adds Σ g and Σ g·y (y: those of the tensors named that are used) to the group's sums from `at` on.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn add_dots(
        &self,
        g: *const f32,
        like: RawId,
        ys: &[RawId],
        used: impl Fn(usize, RawId) -> bool,
        at: usize,
        image: &Image,
        scratch: &mut Scratch,
    ) {
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
            for (k, &y) in ys.iter().enumerate().filter(|&(k, &y)| used(k, y)) {
                // SAFETY: a plane within the image's region.
                scratch.planes.push(unsafe { self.raw(image, y).add(block * plane) });
                scratch.products.push(self.tape.partial.at(base + (1 + k) * lanes + block * LANES));
            }
            let total = self.tape.partial.at(base + block * LANES);
            // SAFETY: planes of one size; this group's sums.
            unsafe { dots(self.isa, g.add(block * plane), plane / LANES, &scratch.planes, total, &scratch.products) };
        }
    }

    /// The gradient of what is stored behind a value, in one image: gradients times mixing weight and scale, the stored
    /// output times its coefficient, and a constant. It is formed by [`StoredGradient::write`], and lives until the scratch
    /// is asked for the next one.
    pub(super) fn stored_gradient(&self, value: ValueId, image: &Image, scratch: &mut Scratch) -> StoredGradient {
        let what = &self.plan().values[value];
        let (plane, blocks) = (self.plane(what.raw), self.plan().raws[what.raw].layout.blocks());
        let norm = what.norm.filter(|_| self.batch_norms()).map(|norm| self.plan().norms[norm].offset);
        let Scratch { gradient_terms, gradient_coefficients, .. } = scratch;
        gradient_terms.clear();
        for block in 0..blocks {
            let offset = block * plane;
            let (scale, _) = self.norm_block(value, block);
            let mut push = |gradient: ValueId, p: [f32; LANES]| {
                let coefficients = &mut gradient_coefficients[gradient_terms.len()];
                *coefficients = p;
                if !scale.is_null() {
                    // SAFETY: a norm's tables hold whole blocks.
                    coefficients.iter_mut().enumerate().for_each(|(lane, c)| *c *= unsafe { *scale.add(lane) });
                }
                gradient_terms.push(shifted(self.memory.gradients[gradient] + offset, coefficients.as_ptr()));
            };
            match &what.gradient {
                Gradient::Buffer => push(value, [1.0; LANES]),
                Gradient::Terms(terms) => {
                    for term in terms.iter().filter(|t| self.gradient_term_is_live(t)) {
                        push(self.plan().sums[term.sum].value, self.mixing_lanes(term.mixing));
                    }
                }
            }
            if let Some(norm) = norm {
                let weight = self.tape.back_y.at(norm + block * LANES);
                gradient_terms.push(shifted(self.memory.raws[what.raw] + offset, weight));
            }
        }
        StoredGradient {
            isa: self.isa,
            base: image.base,
            terms: gradient_terms.as_ptr(),
            each: gradient_terms.len() / blocks.max(1),
            constants: norm.map_or(std::ptr::null(), |norm| self.tape.back_constant.at(norm)),
        }
    }

    /// After a stage: the groups' sums of a step into the totals, and the mixing weights' gradients.
    pub(super) fn add_up(&self, step: &BackStep, dp: &mut [f32]) {
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
            BackStep::Dots { sum } if self.work.sum_runs(plan, *sum) => {
                let sum = &plan.sums[*sum];
                let lanes = plan.raws[sum.output].layout.len();
                total(sum.statistics, lanes * (1 + sum.dots.len()));
                if !self.work.wanted.p {
                    return;
                }
                for term in sum.terms.iter().filter(|t| t.mixing != Mixing::One && self.work.live.term(plan, t)) {
                    let raw = plan.values[term.value].raw;
                    let dot = sum.dots.iter().position(|&r| r == raw).unwrap_or(0);
                    let (g, gy) =
                        (&totals[sum.statistics..][..lanes], &totals[sum.statistics + (1 + dot) * lanes..][..lanes]);
                    let norm = plan.values[term.value].norm.map(|norm| plan.norms[norm].offset);
                    let of_lane = |lane: usize| match norm {
                        None => gy[lane],
                        Some(at) => {
                            let (scale, shift) =
                                (self.tape.scale.slice()[at + lane], self.tape.shift.slice()[at + lane]);
                            f64::from(scale) * gy[lane] + f64::from(shift) * g[lane]
                        }
                    };
                    match term.mixing {
                        Mixing::One => {}
                        Mixing::Slot(slot) => dp[slot.0 as usize] += (0..lanes).map(of_lane).sum::<f64>() as f32,
                        Mixing::Lanes(factors) => {
                            for chunk in lane_runs(&plan.lane_factors[factors]) {
                                if let (LaneFactor::Slot(slot), lanes) = chunk
                                    && self.work.live.slot(slot)
                                {
                                    dp[slot.0 as usize] += lanes.map(of_lane).sum::<f64>() as f32;
                                }
                            }
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// After a stage: the groups' weight gradients, in the groups' order, into the flat vector.
    pub(super) fn add_weight_gradients(&self, units: &[usize], dw: &mut [f32]) {
        let unit = |&unit: &usize| &self.plan().units[unit];
        units.par_iter().map(unit).for_each(|unit| {
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
        for unit in units.iter().map(unit) {
            let len = unit.packing.gradient_len;
            // SAFETY: as above; the sums are complete.
            let packed = unsafe { std::slice::from_raw_parts(self.tape.gradients.at(unit.packing.gradient), len) };
            unpack_gradient(self.plan(), self.graph, unit, packed, |at, value| dw[at] += value);
        }
    }
}

/// Neighbouring lanes with one factor.
fn lane_runs(factors: &[LaneFactor; LANES]) -> impl Iterator<Item = (LaneFactor, std::ops::Range<usize>)> {
    let mut at = 0;
    factors.chunk_by(|a, b| a == b).map(move |run| {
        at += run.len();
        (run[0], at - run.len()..at)
    })
}

/// How the gradient of a stored tensor is formed, see [`Run::stored_gradient`].
#[derive(Clone, Copy)]
pub(super) struct StoredGradient {
    isa: Isa,
    base: *const f32,
    /// `each` terms a block, in the scratch that it was made with.
    terms: *const Shifted,
    each: usize,
    /// Sixteen a block, or null.
    constants: *const f32,
}

impl StoredGradient {
    /// Asks for what [`StoredGradient::write`] will read.
    ///
    /// # Safety
    /// The scratch must not have been asked for another.
    pub(super) unsafe fn prefetch(&self, block: usize, from: usize, n: usize) {
        // SAFETY: the caller's promise.
        let terms = unsafe { std::slice::from_raw_parts(self.terms.add(block * self.each), self.each) };
        for term in terms {
            prefetch::to_read(self.base.wrapping_add(term.offset + from * LANES), n * LANES);
        }
    }

    /// Forms n pixels of one block from pixel `from` on.
    ///
    /// # Safety
    /// The scratch must not have been asked for another; the pixels must be the tensor's; `to` must be good for n pixels.
    pub(super) unsafe fn write(&self, block: usize, from: usize, n: usize, to: *mut f32, write: Write) {
        // SAFETY: the terms are planes within the image's region; the rest is the caller's promise.
        unsafe {
            let terms = std::slice::from_raw_parts(self.terms.add(block * self.each), self.each);
            let bias = if self.constants.is_null() { self.constants } else { self.constants.add(block * LANES) };
            let base = self.base.add(from * LANES);
            weighted_sum(self.isa, to, LANES, base, terms, LANES, n, bias, Slope::One, write);
        }
    }
}
