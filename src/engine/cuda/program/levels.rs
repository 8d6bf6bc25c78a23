//! Which steps of a stage may run side by side: a step's level is the number of launches that it must wait for, one
//! after another.

use super::super::plan::CudaPlan;
use crate::graph::plan::{BackStep, Gradient, RawId, StepId, ValueId};
use std::collections::{BTreeMap, HashMap};

/// By step: its level.
pub(super) fn forward_levels(cuda: &CudaPlan, steps: &[StepId]) -> Vec<usize> {
    let plan = &cuda.plan;
    let mut written: HashMap<RawId, usize> = HashMap::new();
    let mut levels = Vec::new();
    for &step in steps {
        let read = plan.inputs_of(step).into_iter().filter_map(|value| written.get(&plan.values[value].raw));
        let level = read.map(|level| level + 1).max().unwrap_or(0);
        let mut at = Some(plan.output_of(step));
        while let Some(raw) = at {
            let last = written.entry(raw).or_insert(level);
            *last = level.max(*last);
            at = plan.raws[raw].part_of.map(|(whole, _)| whole);
        }
        levels.push(level);
    }
    levels
}

/// What a backward step does to gradient buffers.
pub(super) struct Effects {
    pub reads: Vec<ValueId>,
    pub writes: Option<ValueId>,
    /// Whether nothing else may write there at the same level.
    pub alone: bool,
}

impl Effects {
    pub fn of(cuda: &CudaPlan, step: &BackStep) -> Self {
        let plan = &cuda.plan;
        let (mut reads, mut writes, mut alone) = (Vec::new(), None, false);
        match step {
            BackStep::Seed => (writes, alone) = (Some(plan.output), true),
            BackStep::Clear { value } => (writes, alone) = (Some(*value), true),
            BackStep::OwnSums { value } => stored(cuda, *value, &mut reads),
            BackStep::Dots { sum } => reads.push(plan.sums[*sum].value),
            BackStep::SumTerm { sum, term, .. } => {
                reads.push(plan.sums[*sum].value);
                writes = Some(plan.sums[*sum].terms[*term].value);
            }
            BackStep::Norm { value, into, .. } => {
                stored(cuda, *value, &mut reads);
                writes = Some(*into);
            }
            BackStep::Step { step, input, .. } => {
                stored(cuda, plan.value_made_by(*step), &mut reads);
                writes = Some(plan.inputs_of(*step)[*input]);
            }
            BackStep::Recompute { .. } => {}
            BackStep::Export => reads.extend(cuda.plain[plan.input]),
        }
        Self { reads, writes, alone }
    }
}

/// The buffers that a value's gradient is made of.
fn stored(cuda: &CudaPlan, value: ValueId, reads: &mut Vec<ValueId>) {
    match &cuda.plan.values[value].gradient {
        Gradient::Buffer => reads.push(value),
        Gradient::Terms(terms) => reads.extend(terms.iter().map(|term| cuda.plan.sums[term.sum].value)),
    }
}

/// The last levels at which a value's buffer was read and written, and whether that was done alone.
#[derive(Default)]
struct Last {
    read: Option<usize>,
    written: Option<(usize, bool)>,
}

/// By step: its level.
pub(super) fn back_levels(cuda: &CudaPlan, effects: &[Effects]) -> Vec<usize> {
    let mut last: BTreeMap<ValueId, Last> = BTreeMap::new();
    let mut levels = Vec::new();
    for Effects { reads, writes, alone } in effects {
        let mut level = 0;
        for &value in reads {
            let shared = last.iter().filter(|(other, _)| cuda.gradients_overlap(value, **other));
            let written = shared.filter_map(|(_, last)| last.written);
            level = written.map(|(written, _)| written + 1).fold(level, usize::max);
        }
        if let &Some(value) = writes {
            for (&other, last) in last.iter().filter(|(other, _)| cuda.gradients_overlap(value, **other)) {
                level = level.max(last.read.map_or(0, |read| read + 1));
                if let Some((written, was_alone)) = last.written {
                    // Whatever adds to one buffer at one level is done by one item.
                    let together = other == value && !was_alone && !alone;
                    level = level.max(if together { written } else { written + 1 });
                }
            }
        }
        for &value in reads {
            let own = last.entry(value).or_default();
            own.read = own.read.max(Some(level));
        }
        if let &Some(value) = writes {
            last.entry(value).or_default().written = Some((level, *alone));
        }
        levels.push(level);
    }
    levels
}
