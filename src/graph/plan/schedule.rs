//! The order of steps: stages in the forward pass, the same stages reversed in the backward pass.

use super::{
    BackStage, BackStep, Gradient, GradientTerm, Id, Plan, RawId, Stage, StageId, Step, StepId, Table, ValueId, ViewId,
};
use std::collections::{BTreeSet, HashMap, VecDeque};

pub(super) fn schedule(plan: &mut Plan) {
    order_forward(plan);
    choose_gradients(plan);
    order_backward(plan);
}

/// A step's stage is the number of batch statistics it must wait for, one after another. Within a stage, steps that
/// read the same view follow one another, so the view is loaded once.
fn order_forward(plan: &mut Plan) {
    let mut levels = plan.steps.beside(StageId::default());
    for step in plan.steps.ids() {
        let level = plan
            .inputs_of(step)
            .iter()
            .map(|&value| {
                let level = plan.raws[plan.values[value].raw].level;
                StageId::new(level.index() + usize::from(plan.values[value].norm.is_some()))
            })
            .max()
            .unwrap_or_default();
        levels[step] = level;
        // A concatenation waits for its parts.
        let mut at = Some(plan.output_of(step));
        while let Some(raw) = at {
            plan.raws[raw].level = plan.raws[raw].level.max(level);
            at = plan.raws[raw].part_of.map(|(whole, _)| whole);
        }
    }
    let stages = levels.iter().max().map_or(0, |last| last.index() + 1);
    let mut members: Table<StageId, Vec<StepId>> = (0..stages).map(|_| Vec::new()).collect();
    for (step, &level) in levels.pairs() {
        members[level].push(step);
    }
    plan.forward = members.map(|(_, steps)| Stage { steps: group_by_view(plan, steps) });
}

/// Puts a stage's steps in an order in which each can run, and steps that read one view next to each other.
fn group_by_view(plan: &Plan, steps: &[StepId]) -> Vec<StepId> {
    // By tensor: the stage's steps that write it or a part of it, as positions among the stage's steps.
    let mut writers: HashMap<RawId, Vec<usize>> = HashMap::new();
    for (index, &step) in steps.iter().enumerate() {
        let mut at = Some(plan.output_of(step));
        while let Some(raw) = at {
            writers.entry(raw).or_default().push(index);
            at = plan.raws[raw].part_of.map(|(whole, _)| whole);
        }
    }
    let mut dependents = vec![Vec::new(); steps.len()];
    let mut unmade = vec![0; steps.len()];
    let mut of_view: HashMap<ViewId, VecDeque<usize>> = HashMap::new();
    for (index, &step) in steps.iter().enumerate() {
        for value in plan.inputs_of(step) {
            for &writer in writers.get(&plan.values[value].raw).into_iter().flatten() {
                dependents[writer].push(index);
                unmade[index] += 1;
            }
        }
        if let Some(view) = view_of(plan, step) {
            of_view.entry(view).or_default().push_back(index);
        }
    }
    let mut ready: BTreeSet<usize> = (0..steps.len()).filter(|&index| unmade[index] == 0).collect();
    let mut ordered = Vec::new();
    let mut last_view = None;
    while let Some(&first) = ready.first() {
        let same_view = last_view.and_then(|view| of_view.get(&view)?.front().copied());
        let index = same_view.unwrap_or(first);
        ready.remove(&index);
        if let Some(view) = view_of(plan, steps[index]) {
            // Readers of one view become ready together and are taken in order.
            of_view.entry(view).or_default().pop_front();
            last_view = Some(view);
        }
        for &dependent in &dependents[index] {
            unmade[dependent] -= 1;
            if unmade[dependent] == 0 {
                ready.insert(dependent);
            }
        }
        ordered.push(steps[index]);
    }
    debug_assert_eq!(ordered.len(), steps.len(), "a graph's steps are in an order in which each can run");
    ordered
}

fn view_of(plan: &Plan, step: StepId) -> Option<ViewId> {
    match plan.steps[step] {
        Step::Unit(unit) => Some(plan.units[unit].input),
        _ => None,
    }
}

/// A value that only sums read has no gradient buffer, unless it is a sum, a concatenation, the images themselves, or a
/// path that images may drop.
fn choose_gradients(plan: &mut Plan) {
    let mut terms: Table<ValueId, Vec<GradientTerm>> = plan.values.beside(Vec::new());
    let mut read_whole = plan.values.beside(false);
    read_whole[plan.output] = true;
    for step in plan.steps.ids() {
        match &plan.steps[step] {
            Step::Sum(sum) => {
                for term in &plan.sums[*sum].terms {
                    terms[term.value].push(GradientTerm { sum: *sum, mixing: term.mixing });
                    read_whole[term.value] |= term.drop.is_some();
                }
            }
            _ => plan.inputs_of(step).iter().for_each(|&value| read_whole[value] = true),
        }
    }
    for value in plan.values.ids() {
        let raw = plan.values[value].raw;
        let stored = matches!(
            plan.raws[raw].made_by.map(|s| &plan.steps[s]),
            Some(Step::Sum(_) | Step::Import { .. } | Step::Noise { .. }) | None
        ) || plan.raws[raw].part_of.is_some();
        let buffer = read_whole[value] || (stored && plan.values[value].norm.is_none());
        plan.values[value].gradient =
            if buffer { Gradient::Buffer } else { Gradient::Terms(std::mem::take(&mut terms[value])) };
    }
}

fn order_backward(plan: &mut Plan) {
    let mut back = Backward::new(plan);
    let mut stages = Vec::new();
    // The logits' gradient comes first, in a stage of its own, so that the last forward stage finds it complete.
    let output = plan.output;
    back.out.push(BackStep::Seed);
    back.mark_begun(plan, output);
    back.finish(plan, output);
    stages.push(std::mem::take(&mut back.out));
    for stage in plan.forward.iter().rev() {
        for &step in stage.steps.iter().rev() {
            back.step(plan, step);
        }
        stages.push(std::mem::take(&mut back.out));
    }
    plan.backward = stages.into_iter().map(|steps| BackStage { steps }).collect();
}

/// Emits backward steps and keeps track of which gradients have been begun and which are complete.
struct Backward {
    out: Vec<BackStep>,
    /// By value: whether its buffer has been written to, and how many readers have yet to add.
    begun: Table<ValueId, bool>,
    waiting: Table<ValueId, usize>,
    /// By raw tensor: its value without a norm, its values with one, its parts.
    plain: Table<RawId, Option<ValueId>>,
    normed: Table<RawId, Vec<ValueId>>,
    parts: Table<RawId, Vec<RawId>>,
}

impl Backward {
    fn new(plan: &Plan) -> Self {
        let mut back = Self {
            out: Vec::new(),
            begun: plan.values.beside(false),
            waiting: plan.values.beside(0),
            plain: plan.raws.beside(None),
            normed: plan.raws.beside(Vec::new()),
            parts: plan.raws.beside(Vec::new()),
        };
        for (id, value) in plan.values.pairs() {
            match value.norm {
                None => back.plain[value.raw] = Some(id),
                Some(_) => back.normed[value.raw].push(id),
            }
        }
        for (id, raw) in plan.raws.pairs() {
            if let Some((whole, _)) = raw.part_of {
                back.parts[whole].push(id);
            }
        }
        for step in plan.steps.ids() {
            plan.inputs_of(step).iter().for_each(|&value| back.waiting[value] += 1);
        }
        back.waiting[plan.output] += 1;
        back
    }

    /// Before a step adds to a value's gradient: whether it is the first and may overwrite. The buffer of a
    /// concatenation is cleared whole instead.
    fn adds(&mut self, plan: &Plan, value: ValueId) -> bool {
        if self.begun[value] {
            return false;
        }
        let mut whole = value;
        if plan.values[value].norm.is_none() {
            let (root, _) = plan.root(plan.values[value].raw);
            whole = self.plain[root].unwrap_or(value);
        }
        let alone =
            whole == value && (plan.values[value].norm.is_some() || self.parts[plan.values[value].raw].is_empty());
        self.mark_begun(plan, whole);
        if !alone {
            self.out.push(BackStep::Clear { value: whole });
        }
        alone
    }

    fn mark_begun(&mut self, plan: &Plan, value: ValueId) {
        self.begun[value] = true;
        if plan.values[value].norm.is_none() {
            for part in self.parts[plan.values[value].raw].clone() {
                if let Some(part) = self.plain[part] {
                    self.mark_begun(plan, part);
                }
            }
        }
    }

    /// After a reader has added: once all have, forms the sums that the value's norm waits for.
    fn finish(&mut self, plan: &Plan, value: ValueId) {
        self.waiting[value] -= 1;
        if self.waiting[value] == 0
            && plan.values[value].norm.is_some()
            && matches!(plan.values[value].gradient, Gradient::Buffer)
        {
            self.out.push(BackStep::OwnSums { value });
        }
    }

    fn step(&mut self, plan: &Plan, step: StepId) {
        let output = plan.output_of(step);
        // A norm of a stored sum (or of the concatenation it is part of) adds to the sum's own gradient, before the sum
        // passes it on.
        let mut at = Some(output);
        while let Some(raw) = at {
            if let Some(into) = self.plain[raw] {
                for value in std::mem::take(&mut self.normed[raw]) {
                    let first = self.adds(plan, into);
                    self.out.push(BackStep::Norm { value, into, first });
                }
            }
            at = plan.raws[raw].part_of.map(|(whole, _)| whole);
        }
        match &plan.steps[step] {
            Step::Sum(sum) => {
                if let Some(value) = self.plain[output]
                    && self.adds(plan, value)
                {
                    // Nothing has read this sum: its gradient is zero.
                    self.out.push(BackStep::Clear { value });
                }
                self.out.push(BackStep::Dots { sum: *sum });
                for (term, what) in plan.sums[*sum].terms.iter().enumerate() {
                    if matches!(plan.values[what.value].gradient, Gradient::Buffer) {
                        let first = self.adds(plan, what.value);
                        self.out.push(BackStep::SumTerm { sum: *sum, term, first });
                    }
                    self.finish(plan, what.value);
                }
            }
            Step::Import { .. } => self.out.push(BackStep::Export),
            _ => {
                for (input, value) in plan.inputs_of(step).into_iter().enumerate() {
                    let first = self.adds(plan, value);
                    self.out.push(BackStep::Step { step, input, first });
                    self.finish(plan, value);
                }
            }
        }
    }
}
