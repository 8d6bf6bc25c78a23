//! What a pass has to do, worked out once for each mask and choice of gradients, and kept.

use super::live::Live;
use crate::engine::Wanted;
use crate::graph::plan::{BackStage, BackStep, Plan, RawId, StageId, Step, StepId, SumId, Table, UnitId, ValueId};
use crate::graph::{Graph, Op};

/// The steps that run, by stage, forward and backward.
pub(in crate::engine) struct Agenda {
    pub live: Live,
    pub wanted: Wanted,
    pub forward: Table<StageId, Vec<StepId>>,
    /// By raw tensor: whether a wanted gradient depends on its gradient.
    pub needs: Table<RawId, bool>,
    pub backward: Vec<BackAgenda>,
    /// By norm of the graph: whether the output depends on it, so that its running statistics follow.
    pub norms: Vec<bool>,
}

/// One stage of the backward pass.
pub(in crate::engine) struct BackAgenda {
    pub steps: Vec<BackStep>,
    /// The units whose weights get gradients.
    pub units: Vec<UnitId>,
}

impl Agenda {
    /// `backward` is the plan's backward pass, with or without tensors that are recomputed.
    pub fn new(plan: &Plan, graph: &Graph, backward: &[BackStage], active: Option<&[bool]>, wanted: Wanted) -> Self {
        let live = Live::new(plan, active);
        let steps_of = |steps: &[StepId]| steps.iter().copied().filter(|&step| live.steps[step]).collect();
        let forward = plan.forward.map(|(_, stage)| steps_of(&stage.steps));
        let needs = live.needs(plan, wanted);
        let of_graph = graph.live(active);
        let mut norms = vec![false; graph.norms().len()];
        for node in graph.nodes().filter(|node| of_graph[node.index()]) {
            if let Op::Norm { norm, .. } = graph.op(node) {
                norms[*norm] = true;
            }
        }
        let mut agenda = Self { live, wanted, forward, needs, backward: Vec::new(), norms };
        // From the end: only what is still read needs to be recomputed.
        let mut read = plan.raws.beside(false);
        for stage in backward.iter().rev() {
            let mut steps = Vec::new();
            for step in stage.steps.iter().rev() {
                let has_work = match step {
                    BackStep::Recompute { step } => {
                        agenda.live.steps[*step] && std::mem::take(&mut read[plan.output_of(*step)])
                    }
                    step => agenda.has_work(plan, step),
                };
                if has_work {
                    plan.raws_read_back(step).into_iter().for_each(|raw| read[raw] = true);
                    steps.push(step.clone());
                }
            }
            steps.reverse();
            let unit = |step: &BackStep| match step {
                BackStep::Step { step, .. } if wanted.w && agenda.runs(plan, *step) => match plan.steps[*step] {
                    Step::Unit(unit) => Some(unit),
                    _ => None,
                },
                _ => None,
            };
            let units = steps.iter().filter_map(unit).collect();
            agenda.backward.push(BackAgenda { steps, units });
        }
        agenda.backward.reverse();
        agenda
    }

    /// Whether this is the agenda for this mask and these gradients.
    pub fn is_for(&self, active: Option<&[bool]>, wanted: Wanted) -> bool {
        self.wanted == wanted && self.live.is_for(active)
    }

    pub fn needs_value(&self, plan: &Plan, value: ValueId) -> bool {
        let value = &plan.values[value];
        self.needs[value.raw] || (self.wanted.w && value.norm.is_some_and(|n| plan.norms[n].is_affine()))
    }

    /// Whether a forward step has a gradient to pass on.
    pub fn runs(&self, plan: &Plan, step: StepId) -> bool {
        self.live.steps[step] && self.needs_value(plan, plan.value_made_by(step))
    }

    /// Whether a sum has one to pass on.
    pub fn sum_runs(&self, plan: &Plan, sum: SumId) -> bool {
        let output = plan.sums[sum].output;
        self.needs[output] && self.live.raw(plan, output)
    }

    fn has_work(&self, plan: &Plan, step: &BackStep) -> bool {
        let needs = |value: ValueId| self.needs_value(plan, value);
        match step {
            BackStep::Seed => needs(plan.output),
            BackStep::Clear { value } | BackStep::OwnSums { value } | BackStep::Norm { value, .. } => {
                needs(*value) && self.live.raw(plan, plan.values[*value].raw)
            }
            BackStep::Dots { sum } => self.sum_runs(plan, *sum),
            BackStep::SumTerm { sum, term, .. } => needs(plan.sums[*sum].terms[*term].value),
            BackStep::Step { step, .. } => self.runs(plan, *step) || plan.inputs_of(*step).into_iter().any(needs),
            BackStep::Recompute { .. } => true,
            BackStep::Export => self.wanted.x && self.live.raw(plan, plan.input),
        }
    }
}
