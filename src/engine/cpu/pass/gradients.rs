//! What gradients are made of: sums over pixels while images run, sums over image groups afterwards, and from these the
//! gradient of a stored tensor, computed where it is needed.

use super::{Image, Run, locked, shifted};
use crate::engine::cpu::kernels::lanes::Isa;
use crate::engine::cpu::kernels::prefetch;
use crate::engine::cpu::kernels::sums::{Shifted, Slope, Write, dots, weighted_sum};
use crate::engine::cpu::memory::Scratch;
use crate::engine::cpu::memory::pack::unpack_gradient;
use crate::graph::plan::{BackStep, Gradient, GradientTerm, LANES, LaneFactor, Mixing, RawId, SumId, UnitId, ValueId};
use rayon::prelude::*;

impl Run<'_> {
    pub(super) fn gradient_term_is_live(&self, term: &GradientTerm) -> bool {
        self.agenda.live.mixing(self.plan(), term.mixing) && self.step_is_live(self.plan().sums[term.sum].output)
    }

    /// Where Σ g·y of a sum and one of its tensors begins among the backward sums.
    pub(super) fn dot_at(&self, sum: SumId, raw: RawId) -> usize {
        let Some(dot) = self.plan().sums[sum].dots.iter().position(|&dot| dot == raw) else {
            unreachable!("a mixed or normed term has its dot")
        };
        self.cpu.tables.dots[sum] + (1 + dot) * self.plan().raws[raw].layout.len()
    }

    /// Adds Σ g, and Σ g·y for each of the tensors `ys` that is used, to the group's sums from `at` on.
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
        let len = (1 + ys.len()) * lanes;
        let sums = self.tape.group_sums(image.group, at, len);
        if image.first {
            // SAFETY: this group's sums.
            unsafe { std::slice::from_raw_parts_mut(sums, len).fill(0.0) };
        }
        for block in 0..raw.layout.blocks() {
            scratch.planes.clear();
            scratch.products.clear();
            for (k, &y) in ys.iter().enumerate().filter(|&(k, &y)| used(k, y)) {
                // SAFETY: a plane of a tensor of the shape of `like`; this group's sums of it.
                unsafe {
                    scratch.planes.push(self.raw(image, y).add(block * plane));
                    scratch.products.push(sums.add((1 + k) * lanes + block * LANES));
                }
            }
            // SAFETY: planes of one size; this group's sums.
            unsafe {
                let total = sums.add(block * LANES);
                dots(self.isa, g.add(block * plane), plane / LANES, &scratch.planes, total, &scratch.products);
            }
        }
    }

    /// The gradient of a value's stored tensor in one image: gradients times mixing weight and scale, the stored output
    /// times its coefficient, and a constant. [`StoredGradient::write`] computes it; it is valid until the scratch is
    /// asked for the next one.
    pub(super) fn stored_gradient(&self, value: ValueId, image: &Image, scratch: &mut Scratch) -> StoredGradient {
        let what = &self.plan().values[value];
        let (plane, blocks) = (self.plane(what.raw), self.plan().raws[what.raw].layout.blocks());
        let norm = what.norm.filter(|_| self.batch_norms()).map(|norm| self.cpu.tables.norms[norm]);
        let Scratch { gradient_terms, gradient_coefficients, .. } = scratch;
        gradient_terms.clear();
        // One at a time off an iterator: pointers to earlier ones stay good.
        let mut free = gradient_coefficients.iter_mut();
        for block in 0..blocks {
            let offset = block * plane;
            let (scale, _) = self.norm_block(value, block);
            let mut push = |gradient: ValueId, p: [f32; LANES]| {
                let Some(coefficients) = free.next() else { unreachable!("the scratch holds the longest gradient") };
                *coefficients = p;
                if !scale.is_null() {
                    // SAFETY: a norm's tables hold whole blocks.
                    coefficients.iter_mut().enumerate().for_each(|(lane, c)| *c *= unsafe { *scale.add(lane) });
                }
                let at = self.placement.gradients[gradient] + offset;
                debug_assert!(at + plane <= self.placement.len);
                gradient_terms.push(shifted(at, coefficients.as_ptr()));
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
                let weight = self.tape.back_y.at(norm + block * LANES, LANES);
                let at = self.placement.raws[what.raw] + offset;
                debug_assert!(at + plane <= self.placement.len);
                gradient_terms.push(shifted(at, weight));
            }
        }
        StoredGradient {
            isa: self.isa,
            base: image.base,
            terms: gradient_terms.as_ptr(),
            each: gradient_terms.len() / blocks.max(1),
            constants: norm.map_or(std::ptr::null(), |norm| self.tape.back_constant.at(norm, blocks * LANES)),
        }
    }

    /// After a stage: the groups' sums of a step into the totals, and the mixing weights' gradients.
    pub(super) fn add_up(&self, step: &BackStep, dp: &mut [f32]) {
        let (plan, tables) = (self.plan(), &self.cpu.tables);
        let mut totals = locked(&self.tape.totals);
        let mut total = |from: usize, len: usize| {
            for at in from..from + len {
                // SAFETY: within the groups' sums; the parallel section that wrote them is over.
                let parts = (0..self.groups()).map(|g| unsafe { *self.tape.group_sums(g, at, 1) });
                totals[at] = parts.map(f64::from).sum();
            }
        };
        match step {
            BackStep::OwnSums { value } => {
                if let Some(norm) = plan.values[*value].norm {
                    total(tables.own_sums[norm], 2 * plan.raws[plan.norms[norm].raw].layout.len());
                }
            }
            BackStep::Dots { sum: index } if self.agenda.sum_runs(plan, *index) => {
                let sum = &plan.sums[*index];
                let lanes = plan.raws[sum.output].layout.len();
                total(tables.dots[*index], lanes * (1 + sum.dots.len()));
                if !self.agenda.wanted.p {
                    return;
                }
                for term in sum.terms.iter().filter(|t| t.mixing != Mixing::One && self.agenda.live.term(plan, t)) {
                    let g = &totals[tables.dots[*index]..][..lanes];
                    let gy = &totals[self.dot_at(*index, plan.values[term.value].raw)..][..lanes];
                    let norm = plan.values[term.value].norm.map(|norm| tables.norms[norm]);
                    let of_lane = |lane: usize| match norm {
                        None => gy[lane],
                        Some(at) => {
                            // SAFETY: within the tables, which no other thread writes to between parallel sections.
                            let (scale, shift) =
                                unsafe { (*self.tape.scale.at(at + lane, 1), *self.tape.shift.at(at + lane, 1)) };
                            f64::from(scale) * gy[lane] + f64::from(shift) * g[lane]
                        }
                    };
                    match term.mixing {
                        Mixing::One => {}
                        Mixing::Slot(slot) => dp[slot.0 as usize] += (0..lanes).map(of_lane).sum::<f64>() as f32,
                        Mixing::Lanes(factors) => {
                            for chunk in lane_runs(&plan.lane_factors[factors]) {
                                if let (LaneFactor::Slot(slot), lanes) = chunk
                                    && self.agenda.live.slot(slot)
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
    pub(super) fn add_weight_gradients(&self, units: &[UnitId], dw: &mut [f32]) {
        let group = |g: usize, unit: UnitId| {
            let packing = &self.cpu.tables.packing[unit];
            self.tape.group_gradients(g, packing.gradient, packing.gradient_len())
        };
        units.par_iter().for_each(|&unit| {
            let len = self.cpu.tables.packing[unit].gradient_len();
            // SAFETY: this unit's gradients alone; the parallel section that wrote them is over.
            let total = unsafe { std::slice::from_raw_parts_mut(group(0, unit), len) };
            for g in 1..self.groups() {
                // SAFETY: as above, another group's.
                let part = unsafe { std::slice::from_raw_parts(group(g, unit), len) };
                total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
            }
        });
        for &unit in units {
            let packing = self.cpu.tables.packing[unit];
            // SAFETY: as above; the sums are complete.
            let packed = unsafe { std::slice::from_raw_parts(group(0, unit), packing.gradient_len()) };
            unpack_gradient(self.cpu, self.graph, unit, packed, |at, value| dw[at] += value);
        }
    }
}

/// Runs of neighbouring lanes with the same factor.
fn lane_runs(factors: &[LaneFactor; LANES]) -> impl Iterator<Item = (LaneFactor, std::ops::Range<usize>)> {
    let mut at = 0;
    factors.chunk_by(|a, b| a == b).map(move |run| {
        at += run.len();
        (run[0], at - run.len()..at)
    })
}

/// How the gradient of a stored tensor is computed, see [`Run::stored_gradient`].
#[derive(Clone, Copy)]
pub(super) struct StoredGradient {
    isa: Isa,
    base: *const f32,
    /// `each` terms per block, in the scratch that it was made with.
    terms: *const Shifted,
    each: usize,
    /// Sixteen per block, or null.
    constants: *const f32,
}

impl StoredGradient {
    /// Prefetches what [`StoredGradient::write`] will read.
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

    /// Writes n pixels of one block, from pixel `from` on, over what is there.
    ///
    /// # Safety
    /// As for [`write`](Self::write).
    pub(super) unsafe fn write_over(&self, block: usize, from: usize, n: usize, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { self.write(block, from, n, to, Write::Over) };
    }

    /// Writes n pixels of one block, from pixel `from` on, or adds them.
    ///
    /// # Safety
    /// The scratch must not have been asked for another; the pixels must be the tensor's; `to` must be good for n
    /// pixels.
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
