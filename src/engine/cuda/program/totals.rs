//! What sums over the batch are turned into: the norms' backward coefficients, and the gradients of the mixing weights.

use super::{Maker, When, Work, over_lanes};
use crate::graph::plan::{BackStep, Gradient, LaneFactor, Mixing, NormPart};
use std::collections::BTreeMap;

impl Maker<'_> {
    /// Backward coefficients of the norms that a stage's steps go through.
    pub(super) fn prepare(&mut self, steps: &[BackStep]) {
        let mut items = Vec::new();
        for step in steps {
            let plan = &self.cuda.plan;
            let value = match step {
                // Once for a step, however many inputs it has.
                BackStep::Step { step, input: 0, .. } => plan.value_made_by(*step),
                BackStep::Norm { value, .. } => *value,
                _ => continue,
            };
            let Some(id) = plan.values[value].norm else { continue };
            let norm = &plan.norms[id];
            let raw = &plan.raws[norm.raw];
            let lanes = raw.layout.len();
            let mut terms = Vec::new();
            match &plan.values[value].gradient {
                Gradient::Buffer => {
                    let at = self.cuda.tables.own_sums[id];
                    terms.extend([at as i32, (at + lanes) as i32, 0, 0]);
                }
                Gradient::Terms(all) => {
                    for term in all {
                        let output = plan.sums[term.sum].output;
                        let live = &self.agenda.live;
                        if live.mixing(plan, term.mixing) && live.raw(plan, output) {
                            let [kind, slot] = self.mixing(term.mixing);
                            let g = self.cuda.tables.dots[term.sum] as i32;
                            terms.extend([g, self.dot_at(term.sum, norm.raw) as i32, kind, slot]);
                        }
                    }
                }
            }
            let affine = self.affine(id);
            let has = norm.parts.iter().flatten().any(|NormPart { affine, .. }| affine.is_some());
            let weights = i32::from(self.agenda.wanted.w && has);
            let head =
                [self.cuda.tables.norms[id] as i32, raw.pixels() as i32, affine, weights, (terms.len() / 4) as i32];
            let back = self.put(&[&head[..], &terms].concat());
            items.extend(over_lanes(back, lanes, Work::default()));
        }
        self.launch_once("norm", "prepare_norm", When::Always, &items);
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
        self.launch_flat("norm", "mixing_gradients", first, slots.len());
    }
}
