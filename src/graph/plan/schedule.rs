//! The order of things: stages forward, the same stages reversed on the way back.

use super::{BackStage, BackStep, Gradient, GradientTerm, Plan, RawId, Stage, Step, ValueId};

pub(super) fn schedule(plan: &mut Plan) {
    order_forward(plan);
    choose_gradients(plan);
    place_stage_gradients(plan);
    order_backward(plan);
}

/// A step's stage is the number of batch statistics it must wait for, one after another. Within a stage, steps that read
/// the same view follow one another, so the view is loaded once.
fn order_forward(plan: &mut Plan) {
    let mut level_of_step = vec![0; plan.steps.len()];
    for (step, level_of_step) in level_of_step.iter_mut().enumerate() {
        let level = plan
            .inputs_of(step)
            .iter()
            .map(|&value| complete_at(plan, plan.values[value].raw) + usize::from(plan.values[value].norm.is_some()))
            .max()
            .unwrap_or(0);
        *level_of_step = level;
        let output = plan.output_of(step);
        plan.raws[output].level = level;
    }
    let stages = level_of_step.iter().max().map_or(0, |m| m + 1);
    let mut members = vec![Vec::new(); stages];
    for (step, &level) in level_of_step.iter().enumerate() {
        members[level].push(step);
    }
    plan.forward = members.into_iter().map(|steps| Stage { steps: group_by_view(plan, steps) }).collect();
}

/// The stage in which a tensor is complete; a concatenation waits for its parts.
fn complete_at(plan: &Plan, raw: RawId) -> usize {
    let parts = (0..plan.raws.len()).filter(|&r| plan.raws[r].part_of.is_some_and(|(whole, _)| whole == raw));
    match plan.raws[raw].made_by {
        Some(_) => plan.raws[raw].level,
        None => parts.map(|part| complete_at(plan, part)).max().unwrap_or(0),
    }
}

fn group_by_view(plan: &Plan, mut waiting: Vec<usize>) -> Vec<usize> {
    let mut ordered: Vec<usize> = Vec::new();
    let mut last_view = None;
    while !waiting.is_empty() {
        let unmade: Vec<RawId> = waiting.iter().map(|&s| plan.output_of(s)).collect();
        let ready = |step: usize| {
            plan.inputs_of(step).iter().all(|&v| !unmade.iter().any(|&u| overlaps(plan, u, plan.values[v].raw)))
        };
        let same_view = waiting.iter().position(|&s| view_of(plan, s).is_some() && view_of(plan, s) == last_view);
        let next = same_view
            .or_else(|| waiting.iter().position(|&s| ready(s)))
            .expect("a graph's steps are in an order in which each can run");
        let step = waiting.remove(next);
        last_view = view_of(plan, step).or(last_view);
        ordered.push(step);
    }
    ordered
}

fn view_of(plan: &Plan, step: usize) -> Option<usize> {
    match plan.steps[step] {
        Step::Unit(unit) => Some(plan.units[unit].input),
        _ => None,
    }
}

/// Whether one tensor is the other or a part of it.
fn overlaps(plan: &Plan, part: RawId, whole: RawId) -> bool {
    let mut at = part;
    loop {
        if at == whole {
            return true;
        }
        match plan.raws[at].part_of {
            Some((parent, _)) => at = parent,
            None => return false,
        }
    }
}

/// A value that only sums read has no gradient buffer, unless it is a sum, a concatenation or the images themselves.
fn choose_gradients(plan: &mut Plan) {
    let mut terms: Vec<Vec<GradientTerm>> = vec![Vec::new(); plan.values.len()];
    let mut read_whole = vec![false; plan.values.len()];
    read_whole[plan.output] = true;
    for step in 0..plan.steps.len() {
        match &plan.steps[step] {
            Step::Sum(sum) => {
                for term in &plan.sums[*sum].terms {
                    terms[term.value].push(GradientTerm { sum: *sum, slot: term.slot });
                }
            }
            _ => plan.inputs_of(step).iter().for_each(|&value| read_whole[value] = true),
        }
    }
    for value in 0..plan.values.len() {
        let raw = plan.values[value].raw;
        let stored =
            matches!(plan.raws[raw].made_by.map(|s| &plan.steps[s]), Some(Step::Sum(_) | Step::Import { .. }) | None)
                || plan.raws[raw].part_of.is_some();
        let buffer = read_whole[value] || (stored && plan.values[value].norm.is_none());
        plan.values[value].gradient =
            if buffer { Gradient::Buffer } else { Gradient::Terms(std::mem::take(&mut terms[value])) };
    }
}

fn place_stage_gradients(plan: &mut Plan) {
    for stage in 0..plan.forward.len() {
        let mut at = 0;
        for &step in &plan.forward[stage].steps {
            if let Step::Unit(unit) = plan.steps[step] {
                plan.units[unit].packing.gradient = at;
                at += plan.units[unit].packing.gradient_len;
            }
        }
        plan.sizes.stage_gradients = plan.sizes.stage_gradients.max(at);
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

/// Emits backward steps, watching which gradients have been begun and which are complete.
struct Backward {
    out: Vec<BackStep>,
    /// By value: whether its buffer has been cleared, and how many readers have yet to add.
    begun: Vec<bool>,
    waiting: Vec<usize>,
    /// The value of each raw tensor without a norm, and those with.
    plain: Vec<Option<ValueId>>,
    normed: Vec<Vec<ValueId>>,
    parts: Vec<Vec<RawId>>,
}

impl Backward {
    fn new(plan: &Plan) -> Self {
        let mut back = Self {
            out: Vec::new(),
            begun: vec![false; plan.values.len()],
            waiting: vec![0; plan.values.len()],
            plain: vec![None; plan.raws.len()],
            normed: vec![Vec::new(); plan.raws.len()],
            parts: vec![Vec::new(); plan.raws.len()],
        };
        for (id, value) in plan.values.iter().enumerate() {
            match value.norm {
                None => back.plain[value.raw] = Some(id),
                Some(_) => back.normed[value.raw].push(id),
            }
        }
        for (id, raw) in plan.raws.iter().enumerate() {
            if let Some((whole, _)) = raw.part_of {
                back.parts[whole].push(id);
            }
        }
        for step in 0..plan.steps.len() {
            plan.inputs_of(step).iter().for_each(|&value| back.waiting[value] += 1);
        }
        back.waiting[plan.output] += 1;
        back
    }

    /// Before somebody adds to a value's gradient: whether it is the first and may overwrite. The buffer of a
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

    fn step(&mut self, plan: &Plan, step: usize) {
        let output = plan.output_of(step);
        // A norm of a stored sum (or of the concatenation it is part of) adds to the sum's own gradient, before the sum passes
        // it on.
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
                    // Nobody has read this sum: its gradient is zero.
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
                for input in plan.inputs_of(step) {
                    let first = self.adds(plan, input);
                    self.out.push(BackStep::Step { step, first });
                    self.finish(plan, input);
                }
            }
        }
    }
}
