//! Plans on processors: kernels over sixteen lanes, run image by image in parallel.
//!
//! A pass goes stage by stage. Within a stage the batch is cut into image groups, the same for any number of threads;
//! groups run side by side, and what they sum up (statistics, weight gradients) is added in the groups' order
//! afterwards. So the bits do not depend on the number of threads.

mod backward;
pub(crate) mod dense;
pub(crate) mod depthwise;
mod forward;
mod gather;
mod gradients;
pub(crate) mod lanes;
mod live;
pub(crate) mod load;
pub(crate) mod memory;
mod norms;
mod pack;
pub(crate) mod peaks;
pub(crate) mod pool;
mod prefetch;
pub(crate) mod profile;
pub(crate) mod sums;
mod tape;
mod unit_backward;
mod work;

pub use backward::Gradients;
pub use lanes::Isa;
pub use live::{Live, Wanted};
pub use tape::{Pools, Tape};
pub use work::Work;

use crate::engine::{Draws, NormMode};
use crate::graph::Graph;
use crate::graph::plan::{
    Gradient, LANES, LaneFactor, Memory, Mixing, Plan, RawId, Step, SumTerm, Unit, Value, ValueId,
};
use crate::{Result, interrupt};
use gather::Moves;
use rayon::prelude::*;
use sums::Shifted;
use tape::Scratch;

/// Image groups of a batch. More would balance many cores better, fewer would need less memory for partial sums.
const GROUPS: usize = 16;

/// What is worked out once for a plan.
pub struct CpuPlan {
    pub plan: Plan,
    /// By raw tensor: the norms that it feeds (also as part of a concatenation), and its first lane there.
    statistics_of: Vec<Vec<(usize, usize)>>,
    /// By stage: the norms whose tensors are complete at its end.
    norms_of_stage: Vec<Vec<usize>>,
    /// By stage: floats of an image that it writes.
    stage_len: Vec<usize>,
    /// By step: the values that it reads.
    inputs: Vec<Vec<ValueId>>,
    /// By sum and dot: whether a norm waits for the product.
    dot_feeds_norm: Vec<Vec<bool>>,
    /// By sum and dot: whether a mixing weight's gradient is made of the product.
    dot_feeds_slot: Vec<Vec<bool>>,
    /// The most terms that any weighted sum has, and that any stored tensor's gradient has over all its blocks.
    most_terms: usize,
    most_gradient_terms: usize,
    /// By unit.
    shapes: Vec<UnitShape>,
    /// By step: how a gather moves lanes.
    moves: Vec<Option<Moves>>,
}

/// A unit's block counts, filled lanes and tap offsets.
struct UnitShape {
    input_blocks: usize,
    output_blocks: usize,
    input_filled: Vec<usize>,
    output_filled: Vec<usize>,
    /// Each tap's distance from an output pixel's corner in the loaded plane, in floats.
    taps: Vec<usize>,
    /// Floats of one tap's dense matrix.
    matrix: usize,
    /// The depthwise part's taps as a grid that the fast kernels know, forward and backward.
    grids: Option<[TapGrid; 2]>,
}

/// Depthwise taps as a grid: where the first lies (floats from an output's corner), and the rest from there.
#[derive(Clone, Copy)]
struct TapGrid {
    first: usize,
    rows: usize,
    columns: usize,
    spacing: usize,
    row: usize,
}

impl TapGrid {
    fn with(&self, weights: *const f32, stride: isize) -> depthwise::Grid {
        let TapGrid { rows, columns, spacing, row, .. } = *self;
        depthwise::Grid { rows, columns, spacing, row, weights, stride }
    }

    /// Both directions of a unit with column stride 1 (backward: also row stride 1) and a known kernel.
    fn of(unit: &Unit) -> Option<[TapGrid; 2]> {
        let geometry = &unit.geometry;
        let taps = &geometry.taps;
        if unit.depthwise.is_none() || geometry.stride != (1, 1) {
            return None;
        }
        let columns = taps.iter().take_while(|tap| tap.0 == taps[0].0).count();
        let step =
            |at: usize, from: (usize, usize)| taps.get(at).map_or((1, 1), |t| (t.0 - from.0, t.1.abs_diff(from.1)));
        let (spacing, row) = (step(1, taps[0]).1, step(columns, taps[0]).0);
        if columns < 2 || !depthwise::Grid::is_known(columns, spacing) {
            return None;
        }
        let widths = [geometry.padded().1, geometry.with_halo().1];
        // On the way back the last tap looks at the first pixel.
        let last = geometry.backward[0].iter().min_by_key(|t| (t.row, t.column))?;
        let firsts = [taps[0], (last.row, last.column)];
        Some([0, 1].map(|way| TapGrid {
            first: (firsts[way].0 * widths[way] + firsts[way].1) * LANES,
            rows: taps.len() / columns,
            columns,
            spacing,
            row: row * widths[way] * LANES,
        }))
    }
}

impl UnitShape {
    fn new(plan: &Plan, unit: &Unit) -> Self {
        let input = &plan.raws[plan.values[plan.views[unit.input].value].raw].layout;
        let output = &plan.raws[unit.output].layout;
        let width = unit.geometry.padded().1;
        Self {
            input_blocks: input.blocks(),
            output_blocks: output.blocks(),
            input_filled: input.filled().to_vec(),
            output_filled: output.filled().to_vec(),
            taps: unit.geometry.taps.iter().map(|&(r, c)| (r * width + c) * LANES).collect(),
            matrix: input.len() * output.len(),
            grids: TapGrid::of(unit),
        }
    }
}

impl CpuPlan {
    pub fn new(plan: Plan) -> Self {
        let mut statistics_of = vec![Vec::new(); plan.raws.len()];
        let mut norms_of_stage = vec![Vec::new(); plan.forward.len()];
        let mut norms_of_raw = vec![Vec::new(); plan.raws.len()];
        for (index, norm) in plan.norms.iter().enumerate() {
            norms_of_raw[norm.raw].push(index);
            norms_of_stage[plan.raws[norm.raw].level].push(index);
        }
        for raw in (0..plan.raws.len()).filter(|&raw| plan.raws[raw].made_by.is_some()) {
            let mut at = Some((raw, 0));
            while let Some((whole, lane)) = at {
                statistics_of[raw].extend(norms_of_raw[whole].iter().map(|&norm| (norm, lane)));
                at = plan.raws[whole].part_of.map(|(parent, block)| (parent, lane + block * LANES));
            }
        }
        let dot_feeds_norm = (0..plan.sums.len())
            .map(|sum| plan.sums[sum].dots.iter().map(|&raw| plan.dot_feeds_norm(sum, raw)).collect())
            .collect();
        let dot_feeds_slot = (0..plan.sums.len())
            .map(|sum| plan.sums[sum].dots.iter().map(|&raw| plan.dot_feeds_slot(sum, raw)).collect())
            .collect();
        let most_terms = plan
            .sums
            .iter()
            .map(|s| s.terms.len())
            .chain(plan.units.iter().map(|u| u.geometry.taps.len()))
            .max()
            .unwrap_or(0)
            + 2;
        let gradient_terms = |value: &Value| {
            let each = match &value.gradient {
                Gradient::Buffer => 1,
                Gradient::Terms(terms) => terms.len(),
            };
            (each + 1) * plan.raws[value.raw].layout.blocks()
        };
        let most_gradient_terms = plan.values.iter().map(gradient_terms).max().unwrap_or(0);
        let shapes = plan.units.iter().map(|unit| UnitShape::new(&plan, unit)).collect();
        let moves = plan.steps.iter().map(|step| match step {
            Step::Gather { input, lanes, .. } => {
                Some(Moves::new(lanes, plan.raws[plan.values[*input].raw].layout.blocks()))
            }
            _ => None,
        });
        let moves = moves.collect();
        let inputs = (0..plan.steps.len()).map(|step| plan.inputs_of(step)).collect();
        let output_len = |&step: &usize| plan.raws[plan.output_of(step)].len();
        let stage_len = plan.forward.iter().map(|stage| stage.steps.iter().map(output_len).sum()).collect();
        Self {
            plan,
            statistics_of,
            norms_of_stage,
            stage_len,
            inputs,
            dot_feeds_norm,
            dot_feeds_slot,
            most_terms,
            most_gradient_terms,
            shapes,
            moves,
        }
    }
}

/// One pass over one batch.
pub struct Run<'a> {
    pub cpu: &'a CpuPlan,
    pub graph: &'a Graph,
    pub isa: Isa,
    pub tape: &'a Tape,
    /// Places on the way that the run goes: forward or back.
    pub memory: &'a Memory,
    pub work: &'a Work,
    pub draws: &'a Draws,
    /// By path and image; empty where nothing is dropped.
    pub factors: &'a [f32],
    pub batch: usize,
    pub w: &'a [f32],
    pub p: &'a [f32],
    pub norm: &'a NormMode,
}

impl Run<'_> {
    fn plan(&self) -> &Plan {
        &self.cpu.plan
    }

    fn groups(&self) -> usize {
        self.batch.min(GROUPS)
    }

    fn images(&self, group: usize) -> std::ops::Range<usize> {
        group * self.batch / self.groups()..(group + 1) * self.batch / self.groups()
    }

    /// Runs `work` for each image, groups side by side. Sections take turns in the direction they go through the batch, so
    /// that each begins with what the last one left in the cache: `turned` says whether the last one began at the end.
    fn each_image(&self, turned: &mut bool, work: impl Fn(&Image, &mut Scratch) + Sync) -> Result<()> {
        interrupt::check()?;
        *turned = !*turned;
        let _profiled = profile::span(profile::SECTIONS);
        let (groups, turned) = (self.groups(), *turned);
        let turn = |index: usize, count: usize| if turned { count - 1 - index } else { index };
        (0..groups).into_par_iter().with_max_len(1).for_each(|index| {
            let thread = rayon::current_thread_index().unwrap_or(0);
            let group = turn(index, groups);
            let Ok(mut scratch) = self.tape.scratch[thread % self.tape.scratch.len()].lock() else { return };
            scratch.loaded = None;
            let _profiled = profile::group();
            let images = self.images(group);
            for index in 0..images.len() {
                let image = images.start + turn(index, images.len());
                let base = self.tape.image(self.memory, image);
                work(&Image { index: image, group, first: index == 0, base }, &mut scratch);
            }
            lanes::fence();
        });
        Ok(())
    }

    /// Where a raw tensor begins in an image.
    fn raw(&self, image: &Image, raw: RawId) -> *mut f32 {
        // SAFETY: the plan placed it within the image's region.
        unsafe { image.base.add(self.memory.raws[raw]) }
    }

    /// Where a value's gradient buffer begins in an image.
    fn gradient(&self, image: &Image, value: ValueId) -> *mut f32 {
        // SAFETY: as above.
        unsafe { image.base.add(self.memory.gradients[value]) }
    }

    /// Floats of one block of a raw tensor.
    fn plane(&self, raw: RawId) -> usize {
        self.plan().raws[raw].pixels() * LANES
    }

    /// What a lane is mixed by.
    fn mixing(&self, mixing: Mixing, lane: usize) -> f32 {
        match mixing {
            Mixing::One => 1.0,
            Mixing::Slot(slot) => self.p[slot.0 as usize],
            Mixing::Lanes(factors) => match self.plan().lane_factors[factors][lane % LANES] {
                LaneFactor::One => 1.0,
                LaneFactor::Slot(slot) if self.work.live.slot(slot) => self.p[slot.0 as usize],
                LaneFactor::Zero | LaneFactor::Slot(_) => 0.0,
            },
        }
    }

    /// What the lanes of a block are mixed by.
    fn mixing_lanes(&self, mixing: Mixing) -> [f32; LANES] {
        match mixing {
            Mixing::Lanes(_) => std::array::from_fn(|lane| self.mixing(mixing, lane)),
            _ => [self.mixing(mixing, 0); LANES],
        }
    }

    /// What a term of a sum is multiplied by in one image, lane by lane.
    fn weights_of(&self, term: &SumTerm, image: &Image) -> [f32; LANES] {
        match term.drop {
            Some(path) if !self.factors.is_empty() => {
                let kept = self.factors[path as usize * self.batch + image.index];
                self.mixing_lanes(term.mixing).map(|p| kept * p)
            }
            _ => self.mixing_lanes(term.mixing),
        }
    }

    fn step_is_live(&self, raw: RawId) -> bool {
        self.work.live.raw(self.plan(), raw)
    }

    /// Whether batch statistics are used (and gradients flow through them).
    fn batch_norms(&self) -> bool {
        !matches!(self.norm, NormMode::Running(_))
    }

    fn unit(&self, index: usize) -> UnitView<'_> {
        UnitView { unit: &self.plan().units[index], shape: &self.cpu.shapes[index] }
    }
}

/// A unit of the plan with what was worked out for it.
#[derive(Clone, Copy)]
struct UnitView<'a> {
    unit: &'a Unit,
    shape: &'a UnitShape,
}

impl std::ops::Deref for UnitView<'_> {
    type Target = Unit;

    fn deref(&self) -> &Unit {
        self.unit
    }
}

/// One image at work.
struct Image {
    index: usize,
    group: usize,
    /// Whether it is the first of its group to be worked on: partial sums begin with it.
    first: bool,
    base: *mut f32,
}

/// A term list's beginning: `offset` floats from the base, times sixteen weights.
fn shifted(offset: usize, weight: *const f32) -> Shifted {
    Shifted { offset, weight }
}
