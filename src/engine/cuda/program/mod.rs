//! Programs: a pass as a list of launches, and the table of descriptors that they read.
//!
//! A program is made once for each mask and choice of gradients. It knows nothing of the batch's size: what a launch
//! does is listed for one image, and a launch runs over all of them.

mod back_level;
mod backward;
mod descriptors;
mod forward;
mod levels;
mod rounds;
mod totals;
mod work;

use super::plan::CudaPlan;
use crate::engine::Wanted;
use crate::engine::cpu::pass::agenda::Agenda;
use crate::graph::plan::{Id, LANES, Placement, RawId, Table, Training, ValueId};
use crate::graph::{Graph, NoiseKind};
use rounds::MOST_ROUNDS;
use std::collections::{HashMap, HashSet};
use totals::Summed;
use work::PIXEL;

pub(super) use rounds::{Family, Round, Rounds, Step, Stretch, Wait, When};
pub(super) use work::{Tensors, Work};

/// Floats that a sum over a block's threads takes: common.cuh's `column_sum`.
const SUMMING: usize = 128;

/// A pass ready to run.
pub(super) struct Program {
    pub agenda: Agenda,
    pub table: Vec<i32>,
    pub forward: Vec<Step>,
    pub backward: Vec<Step>,
    /// Floats of an image's region, with what the backward pass keeps beside the plan's buffers.
    pub region: usize,
    /// Partial sums, in floats per image.
    pub parts: usize,
    /// The noises that are drawn, each with its number and its floats per image, one after another.
    pub noises: Vec<(NoiseKind, usize, usize)>,
}

/// An item of a round.
#[derive(Clone, Copy)]
struct Item {
    /// Its descriptor, which part of it, the block of lanes, how much.
    words: [i32; 4],
    work: Work,
}

/// A program that is being made.
struct Maker<'a> {
    cuda: &'a CudaPlan,
    graph: &'a Graph,
    agenda: &'a Agenda,
    /// Of the direction at work.
    placement: &'a Placement,
    table: Vec<i32>,
    steps: Vec<Step>,
    /// Rounds of the launch at work, its latest wave, and what that waits for.
    open: Vec<Round>,
    wave: usize,
    wait: Wait,
    /// Partial sums of the stage at work, and of the largest one.
    parts: usize,
    most_parts: usize,
    /// How much of them outlasts a stage, and whose.
    kept: usize,
    lasting: HashSet<RawId>,
    /// Floats beside the plan's buffers, likewise.
    beside: usize,
    most_beside: usize,
    noises: Vec<(NoiseKind, usize, usize)>,
    noise_len: usize,
    affine: HashMap<crate::graph::plan::NormId, i32>,
    lanes: HashMap<crate::graph::plan::FactorsId, i32>,
    /// By value: whether its gradient has been written to.
    begun: Table<ValueId, bool>,
    /// By raw tensor: where its partial sums for statistics are in this stage.
    measured: HashMap<RawId, Measured>,
    /// By place among the totals: the sums that a stage so far has formed.
    summed: HashMap<usize, Summed>,
    /// Values whose norm's backward coefficients wait for sums.
    waiting: Vec<ValueId>,
}

/// Partial sums of one tensor.
#[derive(Clone, Copy)]
struct Measured {
    parts: usize,
    slots: usize,
    /// Pixels of a slot.
    each: usize,
}

impl Program {
    /// `training`: what a pass with gradients keeps, and where.
    pub fn new(cuda: &CudaPlan, graph: &Graph, training: &Training, active: Option<&[bool]>, wanted: Wanted) -> Self {
        let plan = &cuda.plan;
        let agenda = Agenda::new(plan, graph, &training.backward, active, wanted);
        let placement = if wanted.any() { &training.placement.forward } else { &cuda.inference };
        let mut maker = Maker {
            cuda,
            graph,
            agenda: &agenda,
            placement,
            // No descriptor is at 0.
            table: vec![0; 4],
            steps: Vec::new(),
            open: Vec::new(),
            wave: 0,
            wait: Wait::Everything,
            parts: 0,
            most_parts: 0,
            kept: 0,
            lasting: HashSet::new(),
            beside: 0,
            most_beside: 0,
            noises: Vec::new(),
            noise_len: 0,
            affine: HashMap::new(),
            lanes: HashMap::new(),
            begun: plan.values.beside(false),
            measured: HashMap::new(),
            summed: HashMap::new(),
            waiting: Vec::new(),
        };
        maker.forward();
        maker.end_launch();
        let forward = std::mem::take(&mut maker.steps);
        if wanted.any() {
            maker.placement = &training.placement.backward;
            maker.backward();
            maker.end_launch();
        }
        let Maker { table, steps: backward, most_parts, most_beside, noises, .. } = maker;
        let region = placement.len + most_beside;
        Self { agenda, table, forward, backward, region, parts: most_parts, noises }
    }

    /// Whether a gradient flows back to the images.
    pub fn flows_to_images(&self) -> bool {
        let exports = |step: &Step| match step {
            Step::Rounds(rounds) => rounds.iter().any(|round| round.family == Family::Export),
            Step::Flat { .. } => false,
        };
        self.backward.iter().any(exports)
    }
}

impl Maker<'_> {
    fn put(&mut self, words: &[i32]) -> i32 {
        let at = self.table.len();
        self.table.extend(words);
        at as i32
    }

    /// Sets places aside for partial sums, so many floats per image.
    fn set_aside(&mut self, floats: usize) -> usize {
        let at = self.parts;
        self.parts += floats;
        self.most_parts = self.most_parts.max(self.parts);
        at
    }

    /// Sets a place aside in the image's region, behind the plan's buffers.
    fn set_beside(&mut self, floats: usize) -> usize {
        let at = self.placement.len + self.beside;
        self.beside += floats;
        self.most_beside = self.most_beside.max(self.beside);
        at
    }

    fn end_stage(&mut self) {
        self.parts = self.kept;
        let lasting = &self.lasting;
        self.measured.retain(|raw, _| lasting.contains(raw));
    }

    /// Begins a wave: what comes now waits for what comes before in its launch.
    fn begin_wave(&mut self, wait: Wait) {
        match self.open.last() {
            Some(last) if last.wave == self.wave => {
                self.wave += 1;
                self.wait = wait;
            }
            _ => self.wait = self.wait.max(wait),
        }
    }

    /// A round over items for each image; none where there are none.
    fn round(&mut self, family: Family, items: &[Item], shared: usize, tensors: Tensors) {
        self.push_round(family, When::Always, items, true, shared, tensors);
    }

    /// A round over items, once for the whole batch.
    fn round_once(&mut self, family: Family, when: When, items: &[Item], shared: usize) {
        self.push_round(family, when, items, false, shared, Tensors::default());
    }

    fn push_round(
        &mut self,
        family: Family,
        when: When,
        items: &[Item],
        each_image: bool,
        shared: usize,
        tensors: Tensors,
    ) {
        if items.is_empty() {
            return;
        }
        let other_kernel = |last: &Round| last.family.kernel().0 != family.kernel().0;
        if self.open.len() == MOST_ROUNDS || self.open.last().is_some_and(other_kernel) {
            self.end_launch();
        }
        let words: Vec<[i32; 4]> = items.iter().map(|item| item.words).collect();
        let first = self.put(words.as_flattened());
        let mut work = Work::default();
        items.iter().for_each(|item| work += item.work);
        let (count, wave, wait) = (items.len() as i32, self.wave, self.wait);
        self.open.push(Round { family, when, first, count, each_image, shared, work, tensors, wave, wait });
    }

    /// Ends the launch at work. The next one begins when it has come to its end.
    fn end_launch(&mut self) {
        if !self.open.is_empty() {
            self.steps.push(Step::Rounds(std::mem::take(&mut self.open)));
        }
    }

    /// A launch of one thread for each of `count` numbers.
    fn launch_flat(&mut self, kernel: &'static str, first: i32, count: usize) {
        self.end_launch();
        if count > 0 {
            self.steps.push(Step::Flat { kernel, first, count: count as i32 });
        }
    }
}

/// Items over the pixels of every block, `each` pixels an item; `work`: a pixel's.
fn over_pixels(descriptor: i32, blocks: usize, pixels: usize, each: usize, work: Work) -> impl Iterator<Item = Item> {
    (0..blocks).flat_map(move |block| {
        (0..pixels).step_by(each).map(move |at| {
            let count = each.min(pixels - at);
            Item { words: [descriptor, at as i32, block as i32, count as i32], work: work.times(count) }
        })
    })
}

/// Items over all blocks of so many lanes; `work`: a block's.
fn over_lanes(descriptor: i32, lanes: usize, work: Work) -> impl Iterator<Item = Item> {
    (0..lanes / LANES).map(move |block| Item { words: [descriptor, 0, block as i32, 0], work })
}

/// An optional index as a word.
fn word(at: Option<usize>) -> i32 {
    at.map_or(-1, |at| at as i32)
}

/// An index as a number.
fn number(id: impl Id) -> usize {
    id.index()
}
