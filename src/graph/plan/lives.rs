//! When each buffer is written and read: the time slots in which it must keep its place.
//!
//! Where the steps of a stage run one by one, every step has two slots: it reads in the first and writes gradients in
//! the second, so a gradient may lie where the step's own stored output lay. Where they run side by side, a stage is
//! one slot: whatever is needed in it lies apart.

use super::{BackStep, Gradient, Plan, RawId, Step, StepId, Table, ValueId};
use crate::graph::PoolKind;

/// The first and the last slot in which a buffer is needed.
pub(super) type Span = (usize, usize);

/// How the steps of a stage run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageOrder {
    OneByOne,
    SideBySide,
}

impl StageOrder {
    /// Slots from a step to the next one, and from a step's reading to its writing of gradients.
    fn slots(self) -> (usize, usize) {
        match self {
            Self::OneByOne => (2, 1),
            Self::SideBySide => (0, 0),
        }
    }

    /// Slots from a stage's last step to the next stage.
    fn pause(self) -> usize {
        match self {
            Self::OneByOne => 0,
            Self::SideBySide => 1,
        }
    }
}

/// A reading of a raw tensor in the backward pass.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reading {
    pub slot: usize,
    pub stage: usize,
}

/// The lives of all buffers of a pass, if every tensor is kept until its last reading.
pub(super) struct Lives {
    /// By root: from the first write to a part of it to its last reading in the forward pass.
    pub forward: Table<RawId, Option<Span>>,
    /// By root, in order.
    pub readings: Table<RawId, Vec<Reading>>,
    /// By owner (see [`Lives::owner`]).
    pub gradients: Table<ValueId, Option<Span>>,
    /// By backward stage: the slot of its first step.
    stages: Vec<usize>,
    pub slots: usize,
    order: StageOrder,
    /// By raw tensor: its value without a norm.
    plain: Table<RawId, Option<ValueId>>,
}

/// What a backward step does to one buffer.
pub(super) enum Touch {
    Reads(RawId),
    /// While gradients are already being written.
    ReadsLate(RawId),
    ReadsGradient(ValueId),
    /// While other gradients are being written already.
    ReadsGradientLate(ValueId),
    WritesGradient(ValueId),
}

impl Lives {
    pub fn of(plan: &Plan, training: bool, order: StageOrder) -> Self {
        let mut plain = plan.raws.beside(None);
        for (id, value) in plan.values.pairs().filter(|(_, value)| value.norm.is_none()).rev() {
            plain[value.raw] = Some(id);
        }
        let mut lives = Lives {
            forward: plan.raws.beside(None),
            readings: plan.raws.beside(Vec::new()),
            gradients: plan.values.beside(None),
            stages: Vec::new(),
            slots: 0,
            order,
            plain,
        };
        let mut now = 1;
        for stage in &plan.forward {
            for &step in &stage.steps {
                for raw in plan.raws_read(step).into_iter().chain([plan.output_of(step)]) {
                    widen(&mut lives.forward[plan.root(raw).0], now);
                }
                now += order.slots().0;
            }
            now += order.pause();
        }
        widen(&mut lives.forward[plan.root(plan.values[plan.output].raw).0], now);
        if training {
            for (stage, steps) in plan.backward.iter().enumerate() {
                lives.stages.push(now);
                for step in &steps.steps {
                    touches(plan, step, &mut |touch| lives.note(plan, touch, now, stage));
                    now += order.slots().0;
                }
                now += order.pause();
            }
        }
        lives.slots = now + 2;
        lives
    }

    /// The slot in which a backward step reads.
    pub fn slot(&self, stage: usize, index: usize) -> usize {
        self.stages[stage] + index * self.order.slots().0
    }

    /// The value whose gradient buffer holds a value's gradient, and the offset there: a part's lies within the
    /// whole's.
    pub fn owner(&self, plan: &Plan, value: ValueId) -> (ValueId, usize) {
        if plan.values[value].norm.is_some() {
            return (value, 0);
        }
        let (root, offset) = plan.root(plan.values[value].raw);
        (self.plain[root].unwrap_or(value), offset)
    }

    fn note(&mut self, plan: &Plan, touch: Touch, now: usize, stage: usize) {
        let late = now + self.order.slots().1;
        match touch {
            Touch::Reads(raw) => self.readings[plan.root(raw).0].push(Reading { slot: now, stage }),
            Touch::ReadsLate(raw) => self.readings[plan.root(raw).0].push(Reading { slot: late, stage }),
            Touch::ReadsGradient(value) => {
                let owner = self.owner(plan, value).0;
                widen(&mut self.gradients[owner], now);
            }
            Touch::WritesGradient(value) | Touch::ReadsGradientLate(value) => {
                let owner = self.owner(plan, value).0;
                widen(&mut self.gradients[owner], late);
            }
        }
    }
}

fn widen(span: &mut Option<Span>, slot: usize) {
    let span = span.get_or_insert((slot, slot));
    *span = (span.0.min(slot), span.1.max(slot));
}

impl Plan {
    /// The raw tensors that a forward step reads.
    pub fn raws_read(&self, step: StepId) -> Vec<RawId> {
        self.inputs_of(step).into_iter().map(|value| self.values[value].raw).collect()
    }

    /// The raw tensors that a backward step reads.
    pub fn raws_read_back(&self, step: &BackStep) -> Vec<RawId> {
        let mut read = Vec::new();
        touches(self, step, &mut |touch| {
            if let Touch::Reads(raw) = touch {
                read.push(raw);
            }
        });
        read
    }
}

pub(super) fn touches(plan: &Plan, step: &BackStep, note: &mut impl FnMut(Touch)) {
    match step {
        BackStep::Seed => note(Touch::WritesGradient(plan.output)),
        BackStep::Clear { value } => note(Touch::WritesGradient(*value)),
        BackStep::OwnSums { value } => {
            reads_gradient(plan, *value, note);
            note(Touch::Reads(plan.values[*value].raw));
        }
        BackStep::Dots { sum } => {
            reads_gradient(plan, plan.sums[*sum].value, note);
            let read = |raw: &&RawId| plan.dot_feeds_norm(*sum, **raw) || plan.dot_feeds_slot(*sum, **raw);
            plan.sums[*sum].dots.iter().filter(read).for_each(|&raw| note(Touch::Reads(raw)));
        }
        BackStep::SumTerm { sum, term, .. } => {
            reads_gradient_throughout(plan, plan.sums[*sum].value, note);
            note(Touch::WritesGradient(plan.sums[*sum].terms[*term].value));
        }
        BackStep::Norm { value, into, .. } => {
            reads_gradient_throughout(plan, *value, note);
            note(Touch::Reads(plan.values[*value].raw));
            note(Touch::ReadsLate(plan.values[*value].raw));
            note(Touch::WritesGradient(*into));
        }
        BackStep::Recompute { step } => {
            plan.raws_read(*step).into_iter().for_each(|raw| note(Touch::Reads(raw)));
        }
        BackStep::Step { step, input, .. } => {
            let value = match &plan.steps[*step] {
                Step::Unit(unit) => plan.units[*unit].value,
                Step::Pool(pool) => plan.pools[*pool].value,
                Step::Apply { value, .. }
                | Step::Gather { value, .. }
                | Step::Product { value, .. }
                | Step::GlobalPool { value, .. }
                | Step::Standardise { value, .. }
                | Step::Upsample { value, .. } => *value,
                Step::Import { .. } | Step::Noise { .. } | Step::Sum(_) => {
                    unreachable!("these have backward steps of their own")
                }
            };
            reads_gradient(plan, value, note);
            // The stored tensor enters its gradient only through a norm.
            if plan.values[value].norm.is_some() {
                note(Touch::Reads(plan.output_of(*step)));
            }
            let inputs = plan.inputs_of(*step);
            let raws: Vec<RawId> = inputs.iter().map(|input| plan.values[*input].raw).collect();
            let mut reads_throughout = |raw: RawId| {
                note(Touch::Reads(raw));
                note(Touch::ReadsLate(raw));
            };
            match &plan.steps[*step] {
                Step::Unit(_) | Step::Apply { .. } => note(Touch::Reads(raws[0])),
                // The maximum is found again while the gradient is being written.
                Step::Pool(pool) if plan.pools[*pool].pool.kind == PoolKind::Max => reads_throughout(raws[0]),
                Step::Standardise { .. } => reads_throughout(raws[0]),
                Step::Product { .. } => reads_throughout(raws[1 - input]),
                _ => {}
            }
            note(Touch::WritesGradient(inputs[*input]));
        }
        BackStep::Export => {
            if let Some(value) = plan.values.position(|v| v.raw == plan.input && v.norm.is_none()) {
                reads_gradient(plan, value, note);
            }
        }
    }
}

/// For steps that write pixel by pixel what they read pixel by pixel: the one must not lie on the other.
fn reads_gradient_throughout(plan: &Plan, value: ValueId, note: &mut impl FnMut(Touch)) {
    reads_gradient(plan, value, &mut |touch| {
        if let Touch::ReadsGradient(value) = touch {
            note(Touch::ReadsGradientLate(value));
        }
        note(touch);
    });
}

fn reads_gradient(plan: &Plan, value: ValueId, note: &mut dyn FnMut(Touch)) {
    match &plan.values[value].gradient {
        Gradient::Buffer => note(Touch::ReadsGradient(value)),
        Gradient::Terms(terms) => {
            terms.iter().for_each(|term| reads_gradient(plan, plan.sums[term.sum].value, note));
        }
    }
}
