//! What sums over the batch are turned into: the norms' backward coefficients, and the gradients of the mixing weights.

use super::{Item, Maker, PIXEL, Work, over_lanes};
use crate::graph::plan::{BackStep, Gradient, LANES, LaneFactor, Mixing, NormId, NormPart, ValueId};
use std::collections::BTreeMap;

/// Kinds of items of a stage's sums beside totals, which are 0.
pub(super) const WEIGHTS: i32 = 1;
const NORM: i32 = 2;

/// Where the sums of a gradient, alone and times stored tensors, are to be had.
#[derive(Clone, Copy)]
pub(super) enum Summed {
    /// In partial sums of the stage at work: where they begin, slots of an image, floats of a slot.
    InParts { parts: usize, slots: usize, len: usize },
    /// Among the totals.
    InTotals,
}

/// Words of a term of a norm's backward pass.
const BACK_TERM: usize = 8;

impl Maker<'_> {
    /// The values with a norm that the backward pass goes through.
    pub(super) fn normed_values(&self) -> Vec<ValueId> {
        let steps = self.agenda.backward.iter().flat_map(|stage| &stage.steps);
        steps.filter_map(|step| self.normed_value(&self.as_it_runs(step)?)).collect()
    }

    /// The value through whose norm a step goes; once for a step, however many inputs it has.
    fn normed_value(&self, step: &BackStep) -> Option<ValueId> {
        let plan = &self.cuda.plan;
        let value = match step {
            BackStep::Step { step, input: 0, .. } => plan.value_made_by(*step),
            BackStep::Norm { value, .. } => *value,
            _ => return None,
        };
        plan.values[value].norm.map(|_| value)
    }

    /// Coefficients that nobody has prepared would be wrong numbers.
    pub(super) fn check_norms(&self, steps: &[BackStep]) {
        let prepared = |value: ValueId| !self.waiting.contains(&value);
        assert!(steps.iter().filter_map(|step| self.normed_value(step)).all(prepared), "a norm still waits for sums");
    }

    /// Backward coefficients of the norms that wait for no more sums than there are at the end of this stage.
    pub(super) fn ready_norms(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        for value in std::mem::take(&mut self.waiting) {
            match self.back_of_norm(value) {
                Some(ready) => items.extend(ready),
                None => self.waiting.push(value),
            }
        }
        self.summed.values_mut().for_each(|summed| *summed = Summed::InTotals);
        items
    }

    /// None where sums are missing.
    fn back_of_norm(&mut self, value: ValueId) -> Option<Vec<Item>> {
        let plan = &self.cuda.plan;
        let id: NormId = plan.values[value].norm?;
        let norm = &plan.norms[id];
        let raw = &plan.raws[norm.raw];
        let lanes = raw.layout.len();
        let mut terms = Vec::new();
        match &plan.values[value].gradient {
            Gradient::Buffer => {
                let at = self.cuda.tables.own_sums[id];
                terms.extend(self.back_term(at, at + lanes, [0, 0])?);
            }
            Gradient::Terms(all) => {
                for term in all {
                    let output = plan.sums[term.sum].output;
                    let live = &self.agenda.live;
                    if live.mixing(plan, term.mixing) && live.raw(plan, output) {
                        let mixing = self.mixing(term.mixing);
                        let at = self.cuda.tables.dots[term.sum];
                        terms.extend(self.back_term(at, self.dot_at(term.sum, norm.raw), mixing)?);
                    }
                }
            }
        }
        let affine = self.affine(id);
        let has = norm.parts.iter().flatten().any(|NormPart { affine, .. }| affine.is_some());
        let weights = i32::from(self.agenda.wanted.w && has);
        let count = (terms.len() / BACK_TERM) as i32;
        let head = [self.cuda.tables.norms[id] as i32, raw.pixels() as i32, affine, weights, count];
        let back = self.put(&[&head[..], &terms].concat());
        let of_norm = |item: Item| Item { words: [item.words[0], 0, item.words[2], NORM], work: item.work };
        let slots: usize = terms.chunks(BACK_TERM).map(|term| term[5] as usize).sum();
        let work = Work::new(2 * PIXEL * slots, 2 * LANES * slots);
        Some(over_lanes(back, lanes, work).map(of_norm).collect())
    }

    /// A term's words: where the sums of its gradient, and of its gradient times the stored tensor, lie among the
    /// totals and in the stage's partial sums. None where they are not formed yet.
    fn back_term(&self, g: usize, gy: usize, [mixing, slot]: [i32; 2]) -> Option<[i32; BACK_TERM]> {
        let [parts, slots, len] = match *self.summed.get(&g)? {
            Summed::InParts { parts, slots, len } => [parts as i32, slots as i32, len as i32],
            Summed::InTotals => [-1, 0, 0],
        };
        Some([g as i32, gy as i32, mixing, slot, parts, slots, len, (gy - g) as i32])
    }

    /// Gradients of the mixing weights, from the sums over the batch.
    pub(super) fn mixing_gradients(&mut self) {
        let plan = &self.cuda.plan;
        let mut runs: BTreeMap<u32, Vec<[i32; 5]>> = BTreeMap::new();
        for (id, sum) in plan.sums.pairs().filter(|(id, _)| self.agenda.sum_runs(plan, *id)) {
            let lanes = plan.raws[sum.output].layout.len() as i32;
            for term in sum.terms.iter().filter(|term| self.agenda.live.term(plan, term)) {
                if term.mixing == Mixing::One {
                    continue;
                }
                let g = self.cuda.tables.dots[id] as i32;
                let gy = self.dot_at(id, plan.values[term.value].raw) as i32;
                let norm = self.norm_of(term.value);
                match term.mixing {
                    Mixing::One => {}
                    Mixing::Slot(slot) => runs.entry(slot.0).or_default().push([g, gy, norm, 0, lanes]),
                    Mixing::Lanes(factors) => {
                        for (lane, factor) in plan.lane_factors[factors].iter().enumerate() {
                            if let LaneFactor::Slot(slot) = factor
                                && self.agenda.live.slot(*slot)
                            {
                                runs.entry(slot.0).or_default().push([g, gy, norm, lane as i32, 1]);
                            }
                        }
                    }
                }
            }
        }
        let slots: Vec<i32> = runs
            .into_iter()
            .map(|(slot, runs)| self.put(&[&[slot as i32, runs.len() as i32], runs.as_flattened()].concat()))
            .collect();
        let first = self.put(&slots);
        self.launch_flat("mixing_gradients", first, slots.len());
    }
}
