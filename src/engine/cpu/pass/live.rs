//! What a pass has to do: the steps whose outputs are used, and the tensors whose gradients are needed.

use crate::engine::Wanted;
use crate::graph::Slot;
use crate::graph::plan::{LaneFactor, Mixing, Plan, RawId, Step, StepId, SumTerm, Table, ValueId};

/// Flags for one pass.
pub(in crate::engine) struct Live {
    active: Option<Vec<bool>>,
    /// By step: its output is used.
    pub steps: Table<StepId, bool>,
}

impl Live {
    /// A step is live if the output depends on it through terms that are not masked off.
    pub fn new(plan: &Plan, active: Option<&[bool]>) -> Self {
        let mut live = Self { active: active.map(<[bool]>::to_vec), steps: plan.steps.beside(false) };
        let mut parts = plan.raws.beside(Vec::new());
        for (id, raw) in plan.raws.pairs() {
            if let Some((whole, _)) = raw.part_of {
                parts[whole].push(id);
            }
        }
        let mut stack = vec![plan.values[plan.output].raw];
        let mut seen = plan.raws.beside(false);
        while let Some(raw) = stack.pop() {
            if std::mem::replace(&mut seen[raw], true) {
                continue;
            }
            stack.extend(&parts[raw]);
            let Some(step) = plan.raws[raw].made_by else { continue };
            live.steps[step] = true;
            match &plan.steps[step] {
                Step::Sum(sum) => {
                    let terms = plan.sums[*sum].terms.iter().filter(|t| live.term(plan, t));
                    stack.extend(terms.map(|t| plan.values[t.value].raw));
                }
                _ => stack.extend(plan.inputs_of(step).iter().map(|&v| plan.values[v].raw)),
            }
        }
        live
    }

    /// Whether these are the flags of this mask.
    pub fn is_for(&self, active: Option<&[bool]>) -> bool {
        self.active.as_deref() == active
    }

    /// Whether a tensor's step runs; concatenations have none and always count.
    pub fn raw(&self, plan: &Plan, raw: RawId) -> bool {
        plan.raws[raw].made_by.is_none_or(|step| self.steps[step])
    }

    pub fn term(&self, plan: &Plan, term: &SumTerm) -> bool {
        self.mixing(plan, term.mixing)
    }

    /// Whether a term with this mixing counts: siblings run together.
    pub fn mixing(&self, plan: &Plan, mixing: Mixing) -> bool {
        match mixing {
            Mixing::One => true,
            Mixing::Slot(slot) => self.slot(slot),
            Mixing::Lanes(factors) => plan.lane_factors[factors].iter().any(|factor| match factor {
                LaneFactor::Zero => false,
                LaneFactor::One => true,
                LaneFactor::Slot(slot) => self.slot(*slot),
            }),
        }
    }

    pub fn slot(&self, slot: Slot) -> bool {
        self.active.as_ref().is_none_or(|active| active[slot.0 as usize])
    }

    /// By raw tensor: whether a wanted gradient depends on its gradient.
    pub fn needs(&self, plan: &Plan, wanted: Wanted) -> Table<RawId, bool> {
        let mut needs = plan.raws.beside(false);
        let affine = |raw: RawId, value: ValueId| {
            plan.values[value].norm.is_some_and(|n| plan.norms[n].raw == raw && plan.norms[n].is_affine())
        };
        // Steps are in an order in which inputs come first.
        for step in plan.steps.ids().filter(|&s| self.steps[s]) {
            let output = plan.output_of(step);
            let of_input = |value: ValueId| {
                let raw = plan.values[value].raw;
                needs[raw] || (wanted.w && affine(raw, value))
            };
            let needed = match &plan.steps[step] {
                Step::Import { .. } => wanted.x,
                Step::Unit(_) => {
                    let from_input = plan.inputs_of(step).iter().any(|&v| of_input(v));
                    wanted.w || from_input
                }
                Step::Sum(sum) => plan.sums[*sum]
                    .terms
                    .iter()
                    .filter(|t| self.term(plan, t))
                    .any(|t| (wanted.p && t.mixing != Mixing::One) || of_input(t.value)),
                _ => plan.inputs_of(step).iter().any(|&v| of_input(v)),
            };
            needs[output] = needed;
            // A concatenation needs what any part needs.
            let mut at = output;
            while let Some((whole, _)) = plan.raws[at].part_of {
                needs[whole] |= needed;
                at = whole;
            }
        }
        needs
    }
}
