//! Which tensors are recomputed in the backward pass instead of being kept.
//!
//! A pass needs as much memory as its fullest moment. Of all tensors that only wait for a later reader at that moment,
//! the one that costs the fewest multiply-adds per float is dropped; then the next fullest moment is looked for. A
//! tensor that is recomputed may be kept from its first reader in the backward pass to its last, or, where that is
//! still too long, be recomputed in every stage that reads it. Recomputing takes the same floats through the same
//! kernels, so no bit changes.

use super::lives::{Lives, Reading, Span, StageOrder};
use super::placement::{Placement, place_training};
use super::{BackStage, BackStep, Plan, RawId, Step, StepId, Table, Ways};
use std::collections::BTreeMap;

/// How long a tensor is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// From the step that makes it to its last reader.
    Whole,
    /// Until its last forward reader; recomputed from its first backward reader to its last.
    TwoWays,
    /// Until its last forward reader; recomputed in each backward stage that reads it.
    Stages,
}

/// A pass with gradients: what its backward pass does, and where everything lies.
#[derive(Clone, Debug, Default)]
pub struct Training {
    pub backward: Vec<BackStage>,
    /// Where everything lies in either direction.
    pub placement: Ways<Placement>,
    pub recomputed: Recomputed,
}

/// What is recomputed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recomputed {
    /// Tensors: outputs of convolutions, of pools, and copies.
    pub convolutions: usize,
    pub pools: usize,
    pub copies: usize,
    /// Multiply-adds per image, over all lanes: those of a training step that recomputes nothing, and the extra ones.
    pub work: usize,
    pub extra: usize,
}

impl Recomputed {
    /// The extra multiply-adds as a share of the step's.
    pub fn share(&self) -> f64 {
        self.extra as f64 / self.work.max(1) as f64
    }
}

/// The share of a training step's multiply-adds that may be spent where no memory limit is set.
pub(super) const CHEAP: f64 = 0.0175;

/// A training pass that keeps every tensor.
pub(super) fn nothing(plan: &Plan, order: StageOrder) -> Training {
    Chooser::new(plan, order).training()
}

/// A training pass that recomputes only what is nearly free.
pub(super) fn cheap(plan: &Plan) -> Training {
    let mut chooser = Chooser::new(plan, StageOrder::OneByOne);
    chooser.descend(0, CHEAP);
    chooser.training()
}

/// A pass in which one image's region is at most `len` floats; else the length of the shortest region.
pub(super) fn within(plan: &Plan, len: usize, order: StageOrder) -> Result<Training, usize> {
    let mut chooser = Chooser::new(plan, order);
    let mut goal = len;
    loop {
        let reached = chooser.descend(goal, f64::INFINITY);
        let training = chooser.training();
        let found = training.placement.forward.len;
        if found <= len {
            return Ok(training);
        }
        if !reached {
            return Err(found);
        }
        // Buffers do not pack without gaps: aim lower by what the gaps took.
        goal = (chooser.peak().min(goal)).saturating_sub(found - len);
    }
}

/// Decides what to recompute, one tensor after another.
pub(super) struct Chooser<'p> {
    plan: &'p Plan,
    lives: Lives,
    keep: Table<RawId, Keep>,
    /// By raw tensor: the step that makes it, where it may be recomputed.
    step: Table<RawId, Option<StepId>>,
    /// By root: tensors made from it that may be recomputed.
    dependents: Table<RawId, Vec<RawId>>,
    /// By slot: floats needed.
    needed: Vec<usize>,
    recomputed: Recomputed,
}

impl<'p> Chooser<'p> {
    pub fn new(plan: &'p Plan, order: StageOrder) -> Self {
        let lives = Lives::of(plan, true, order);
        let mut needed = vec![0; lives.slots];
        for (value, span) in lives.gradients.pairs() {
            let len = plan.raws[plan.values[value].raw].len();
            span.iter().for_each(|span| needed[span.0..=span.1].iter_mut().for_each(|n| *n += len));
        }
        // The backward pass costs twice the forward pass: the inputs' gradients and the weights'.
        let work = plan.steps.ids().map(|step| 3 * plan.work_of(step)).sum();
        let mut chooser = Self {
            plan,
            lives,
            keep: plan.raws.beside(Keep::Whole),
            step: plan.raws.beside(None),
            dependents: plan.raws.beside(Vec::new()),
            needed,
            recomputed: Recomputed { work, ..Recomputed::default() },
        };
        for step in plan.steps.ids() {
            let output = plan.output_of(step);
            if plan.root(output).0 == output && plan.can_be_recomputed(step) {
                chooser.step[output] = Some(step);
                plan.raws_read(step).into_iter().for_each(|raw| chooser.dependents[plan.root(raw).0].push(output));
            }
        }
        for raw in plan.raws.ids() {
            chooser.count(raw, true);
        }
        chooser
    }

    /// The floats needed at the fullest moment.
    pub fn peak(&self) -> usize {
        self.needed.iter().copied().max().unwrap_or(0)
    }

    /// Drops tensors until the fullest moment needs at most `goal` floats or the extra work would exceed `share` of the
    /// training step's. False where the goal is not reached.
    pub fn descend(&mut self, goal: usize, share: f64) -> bool {
        loop {
            let Some((slot, peak)) = self.needed.iter().copied().enumerate().rev().max_by_key(|&(_, n)| n) else {
                return false;
            };
            if peak <= goal {
                return true;
            }
            let Some((raw, keep, extra)) = self.cheapest(slot) else { return false };
            if (self.recomputed.extra + extra) as f64 > share * self.recomputed.work as f64 {
                return false;
            }
            self.change(raw, keep);
        }
    }

    /// What to drop so that less is needed at a slot: the tensor, how to keep it from now on, and the extra work.
    fn cheapest(&self, slot: usize) -> Option<(RawId, Keep, usize)> {
        let mut best: Option<(f64, RawId, Keep, usize)> = None;
        for (raw, &step) in self.step.pairs() {
            let Some(step) = step else { continue };
            let len = self.plan.raws[raw].len();
            let now = self.spans(raw, self.keep[raw]);
            if len == 0 || !now.iter().any(|span| (span.0..=span.1).contains(&slot)) {
                continue;
            }
            let next = match self.keep[raw] {
                Keep::Whole => [Keep::TwoWays, Keep::Stages].as_slice(),
                Keep::TwoWays => &[Keep::Stages],
                Keep::Stages => &[],
            };
            for &keep in next {
                let spans = self.spans(raw, keep);
                if spans.iter().any(|span| (span.0..=span.1).contains(&slot)) {
                    continue;
                }
                let times = self.starts(raw, keep).len() - self.starts(raw, self.keep[raw]).len();
                let extra = times * self.plan.work_of(step);
                let ratio = extra as f64 / len as f64;
                if best.is_none_or(|(least, ..)| ratio < least) {
                    best = Some((ratio, raw, keep, extra));
                }
                break;
            }
        }
        best.map(|(_, raw, keep, extra)| (raw, keep, extra))
    }

    /// Keeps a tensor in another way, and updates the counts of its inputs.
    fn change(&mut self, raw: RawId, keep: Keep) {
        let inputs = self.inputs(raw);
        for &at in inputs.iter().chain([&raw]) {
            self.count(at, false);
        }
        self.keep[raw] = keep;
        for &at in inputs.iter().chain([&raw]) {
            self.count(at, true);
        }
    }

    /// The roots that are needed to recompute a tensor, directly or not.
    fn inputs(&self, raw: RawId) -> Vec<RawId> {
        let mut found = Vec::new();
        let mut stack = vec![raw];
        while let Some(raw) = stack.pop() {
            let Some(step) = self.step[raw] else { continue };
            for input in self.plan.raws_read(step) {
                let input = self.plan.root(input).0;
                if !found.contains(&input) {
                    found.push(input);
                    if self.keep[input] != Keep::Whole {
                        stack.push(input);
                    }
                }
            }
        }
        found
    }

    /// Adds a tensor's floats and extra work to the totals, or takes them away.
    fn count(&mut self, raw: RawId, add: bool) {
        let len = self.plan.raws[raw].len();
        for span in self.spans(raw, self.keep[raw]) {
            for needed in &mut self.needed[span.0..=span.1] {
                *needed = if add { *needed + len } else { *needed - len };
            }
        }
        let Some(step) = self.step[raw].filter(|_| self.keep[raw] != Keep::Whole) else { return };
        let work = self.starts(raw, self.keep[raw]).len() * self.plan.work_of(step);
        let kind = match &self.plan.steps[step] {
            Step::Unit(_) => &mut self.recomputed.convolutions,
            Step::Pool(_) | Step::GlobalPool { .. } => &mut self.recomputed.pools,
            _ => &mut self.recomputed.copies,
        };
        match add {
            true => (*kind, self.recomputed.extra) = (*kind + 1, self.recomputed.extra + work),
            false => (*kind, self.recomputed.extra) = (*kind - 1, self.recomputed.extra - work),
        }
    }

    /// Who reads a tensor in the backward pass, in order, including the tensors that are recomputed from it.
    fn readings(&self, raw: RawId) -> Vec<Reading> {
        let mut readings = self.lives.readings[raw].clone();
        for &dependent in &self.dependents[raw] {
            if self.keep[dependent] != Keep::Whole {
                readings.extend(self.starts(dependent, self.keep[dependent]));
            }
        }
        readings.sort_unstable();
        readings
    }

    /// Before which readers a tensor is recomputed.
    fn starts(&self, raw: RawId, keep: Keep) -> Vec<Reading> {
        let mut starts = self.readings(raw);
        match keep {
            Keep::Whole => starts.clear(),
            Keep::TwoWays => starts.truncate(1),
            Keep::Stages => starts.dedup_by_key(|reading| reading.stage),
        }
        starts
    }

    /// When a tensor is needed.
    fn spans(&self, raw: RawId, keep: Keep) -> Vec<Span> {
        let Some(forward) = self.lives.forward[raw] else { return Vec::new() };
        match keep {
            Keep::Whole => {
                let last = self.readings(raw).last().map_or(0, |reading| reading.slot);
                vec![(forward.0, last.max(forward.1))]
            }
            _ => [forward].into_iter().chain(self.spans_back(raw, keep)).collect(),
        }
    }

    fn spans_back(&self, raw: RawId, keep: Keep) -> Vec<Span> {
        let readings = self.readings(raw);
        match keep {
            Keep::Whole => Vec::new(),
            Keep::TwoWays => readings.first().zip(readings.last()).map(|(a, b)| (a.slot, b.slot)).into_iter().collect(),
            Keep::Stages => readings
                .chunk_by(|one, other| one.stage == other.stage)
                .map(|chunk| (chunk[0].slot, chunk[chunk.len() - 1].slot))
                .collect(),
        }
    }

    /// The pass as decided so far.
    pub fn training(&self) -> Training {
        let placement = place_training(self.plan, &self.lives, |raw| match self.keep[raw] {
            Keep::Whole => (self.spans(raw, Keep::Whole), None),
            keep => (self.lives.forward[raw].into_iter().collect(), Some(self.spans_back(raw, keep))),
        });
        let mut before: BTreeMap<usize, Vec<StepId>> = BTreeMap::new();
        for raw in self.plan.raws.ids() {
            let Some(step) = self.step[raw] else { continue };
            for start in self.starts(raw, self.keep[raw]) {
                before.entry(start.slot).or_default().push(step);
            }
        }
        let mut backward = Vec::new();
        for (number, stage) in self.plan.backward.iter().enumerate() {
            let mut steps = Vec::new();
            for (index, step) in stage.steps.iter().enumerate() {
                // Of steps that share a slot the first has them before it.
                if let Some(mut made) = before.remove(&self.lives.slot(number, index)) {
                    // Steps are in an order in which inputs come first.
                    made.sort_unstable();
                    steps.extend(made.iter().map(|&step| BackStep::Recompute { step }));
                }
                steps.push(step.clone());
            }
            backward.push(BackStage { steps });
        }
        Training { backward, placement, recomputed: self.recomputed }
    }
}
