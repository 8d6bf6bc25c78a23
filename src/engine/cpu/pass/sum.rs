//! Weighted sums: a node of a cell is one pass over memory, and its backward pass one set of dot products.

use super::agenda::Agenda;
use super::{Image, Run, shifted, write};
use crate::engine::cpu::kernels::sums::{Slope, Write, weighted_sum};
use crate::engine::cpu::memory::Scratch;
use crate::graph::plan::{LANES, RawId, SumId};
use std::ptr::null;

impl Run<'_> {
    /// Forward: norms and mixing weights become one coefficient for each term and lane.
    pub(super) fn sum(&self, id: SumId, image: &Image, scratch: &mut Scratch) {
        let sum = &self.plan().sums[id];
        let plane = self.plane(sum.output);
        for block in 0..self.plan().raws[sum.output].layout.blocks() {
            let mut bias = [0.0f32; LANES];
            let Scratch { terms, coefficients, .. } = scratch;
            terms.clear();
            // One at a time off an iterator: pointers to earlier ones stay good.
            let mut free = coefficients.iter_mut();
            for term in sum.terms.iter().filter(|t| self.agenda.live.term(self.plan(), t)) {
                let Some(coefficients) = free.next() else { unreachable!("the scratch holds the longest sum") };
                *coefficients = self.weights_of(term, image);
                let (scale, shift) = self.norm_block(term.value, block);
                if !scale.is_null() {
                    for (lane, c) in coefficients.iter_mut().enumerate() {
                        // SAFETY: a norm's tables hold whole blocks.
                        unsafe {
                            bias[lane] += *c * *shift.add(lane);
                            *c *= *scale.add(lane);
                        }
                    }
                }
                let raw = self.plan().values[term.value].raw;
                let offset = self.placement.raws[raw] + block * plane;
                debug_assert!(offset + plane <= self.placement.len && raw != sum.output);
                terms.push(shifted(offset, coefficients.as_ptr()));
            }
            // SAFETY: all terms are planes of the output's size within the image's region, none of them the output.
            unsafe {
                let to = self.raw(image, sum.output).add(block * plane);
                let n = plane / LANES;
                let base = image.base;
                weighted_sum(self.isa, to, LANES, base, terms, LANES, n, bias.as_ptr(), Slope::One, Write::Over);
            }
        }
    }

    /// Backward, once the sum's gradient g is complete: Σ g and Σ g·y for all terms, for the mixing weights and the
    /// norms.
    pub(super) fn sum_dots(&self, id: SumId, image: &Image, scratch: &mut Scratch) {
        let sum = &self.plan().sums[id];
        let g = self.gradient(image, sum.value);
        let Agenda { wanted, needs, .. } = self.agenda;
        let used = |dot: usize, raw: RawId| {
            let feeds_slot = wanted.p && self.cpu.dot_feeds_slot[id][dot];
            let feeds_norm = self.cpu.dot_feeds_norm[id][dot] && (needs[raw] || wanted.w);
            self.step_is_live(raw) && (feeds_slot || feeds_norm)
        };
        self.add_dots(g, sum.output, &sum.dots, used, self.cpu.tables.dots[id], image, scratch);
    }

    /// Backward into a term whose gradient is a buffer: the factor times g.
    pub(super) fn sum_term(&self, id: SumId, term: usize, image: &Image, scratch: &mut Scratch, first: bool) {
        let plan = self.plan();
        let sum = &plan.sums[id];
        let term = &sum.terms[term];
        if !self.agenda.sum_runs(plan, id) || !self.agenda.live.term(plan, term) {
            return self.clear_if(first, term.value, image);
        }
        scratch.coefficients[0] = self.weights_of(term, image);
        let weight = scratch.coefficients[0].as_ptr();
        let n = plan.raws[sum.output].len() / LANES;
        // SAFETY: both gradients are whole tensors of one layout within the image's region.
        unsafe {
            let (to, from) = (self.gradient(image, term.value), self.gradient(image, sum.value));
            weighted_sum(self.isa, to, LANES, from, &[shifted(0, weight)], LANES, n, null(), Slope::One, write(first));
        }
    }
}
