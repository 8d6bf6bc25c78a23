//! What the executor works out once for a plan: block counts and tap offsets of units, where tables lie, how large
//! scratch is.

use super::kernels::depthwise;
use super::memory::Tables;
use super::memory::scratch::ScratchSizes;
use super::pass::gather::Moves;
use crate::graph::plan::{
    LANES, NormId, Plan, RawId, StageId, Step, StepId, SumId, Table, Unit, UnitId, ValueId, Ways,
};

/// Image groups per batch. More would balance the load of many cores better, fewer would need less memory for partial
/// sums.
pub(super) const GROUPS: usize = 16;

/// Pixels that a unit takes through its depthwise and dense part at a time; they stay in the first-level cache.
pub(crate) const STRIP: usize = 64;

/// A plan with everything that its passes look up.
pub(super) struct CpuPlan {
    pub plan: Plan,
    pub tables: Tables,
    pub scratch: ScratchSizes,
    /// By raw tensor: the norms that it feeds (also as part of a concatenation), and its first lane there.
    pub statistics_of: Table<RawId, Vec<(NormId, usize)>>,
    /// By stage: the norms whose tensors are complete at its end.
    pub norms_of_stage: Table<StageId, Vec<NormId>>,
    /// By stage: floats per image that it writes.
    pub stage_len: Table<StageId, usize>,
    /// By step: the values that it reads.
    pub inputs: Table<StepId, Vec<ValueId>>,
    /// By sum and dot: whether a norm waits for the product.
    pub dot_feeds_norm: Table<SumId, Vec<bool>>,
    /// By sum and dot: whether a mixing weight's gradient is made of the product.
    pub dot_feeds_slot: Table<SumId, Vec<bool>>,
    /// By unit.
    pub shapes: Table<UnitId, UnitShape>,
    /// By step: how a gather moves lanes.
    pub moves: Table<StepId, Option<Moves>>,
}

/// A unit's block counts, filled lanes and tap offsets.
pub(super) struct UnitShape {
    pub input_blocks: usize,
    pub output_blocks: usize,
    pub input_filled: Vec<usize>,
    pub output_filled: Vec<usize>,
    /// Output rows of a strip, and its pixels.
    pub strip_rows: usize,
    pub strip_pixels: usize,
    /// Each tap's offset in the loaded plane from the corner of an output pixel's window, in floats.
    pub taps: Vec<usize>,
    /// Floats of one tap's dense matrix.
    pub matrix: usize,
    /// The depthwise part's taps as a grid, where the fast kernels are compiled for it.
    pub grids: Option<Ways<TapGrid>>,
}

/// Depthwise taps as a grid: where the first lies (floats from an output's corner), and the rest from there.
#[derive(Clone, Copy, Debug)]
pub(super) struct TapGrid {
    pub first: usize,
    pub rows: usize,
    pub columns: usize,
    pub spacing: usize,
    row: usize,
}

impl TapGrid {
    pub fn with(&self, weights: *const f32, stride: isize) -> depthwise::Grid {
        let TapGrid { rows, columns, spacing, row, .. } = *self;
        depthwise::Grid { rows, columns, spacing, row, weights, stride }
    }

    /// Both directions of a unit with stride 1 and a grid that kernels are compiled for.
    fn of(unit: &Unit) -> Option<Ways<TapGrid>> {
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
        // In the backward pass the last tap reads the first pixel.
        let last = geometry.backward[0].iter().min_by_key(|t| (t.row, t.column))?;
        let grid = |first: (usize, usize), width: usize| TapGrid {
            first: (first.0 * width + first.1) * LANES,
            rows: taps.len() / columns,
            columns,
            spacing,
            row: row * width * LANES,
        };
        Some(Ways {
            forward: grid(taps[0], geometry.padded().1),
            backward: grid((last.row, last.column), geometry.with_halo().1),
        })
    }
}

impl UnitShape {
    fn new(plan: &Plan, unit: &Unit) -> Self {
        let input = &plan.raws[plan.values[plan.views[unit.input].value].raw].layout;
        let output = &plan.raws[unit.output].layout;
        let padded = unit.geometry.padded().1;
        let (height, width) = unit.geometry.output;
        let strip_rows = (STRIP / width).clamp(1, height);
        Self {
            input_blocks: input.blocks(),
            output_blocks: output.blocks(),
            input_filled: input.filled().to_vec(),
            output_filled: output.filled().to_vec(),
            strip_rows,
            strip_pixels: strip_rows * width,
            taps: unit.geometry.taps.iter().map(|&(r, c)| (r * padded + c) * LANES).collect(),
            matrix: input.len() * output.len(),
            grids: TapGrid::of(unit),
        }
    }
}

impl CpuPlan {
    pub fn new(plan: Plan) -> Self {
        let mut statistics_of = plan.raws.beside(Vec::new());
        let mut norms_of_stage = plan.forward.beside(Vec::new());
        let mut norms_of_raw = plan.raws.beside(Vec::new());
        for (id, norm) in plan.norms.pairs() {
            norms_of_raw[norm.raw].push(id);
            norms_of_stage[plan.raws[norm.raw].level].push(id);
        }
        for raw in plan.raws.ids().filter(|&raw| plan.raws[raw].made_by.is_some()) {
            let mut at = Some((raw, 0));
            while let Some((whole, lane)) = at {
                statistics_of[raw].extend(norms_of_raw[whole].iter().map(|&norm| (norm, lane)));
                at = plan.raws[whole].part_of.map(|(parent, block)| (parent, lane + block * LANES));
            }
        }
        let by_dot = |feeds: &dyn Fn(SumId, RawId) -> bool| -> Table<SumId, Vec<bool>> {
            plan.sums.map(|(id, sum)| sum.dots.iter().map(|&raw| feeds(id, raw)).collect())
        };
        let shapes = plan.units.map(|(_, unit)| UnitShape::new(&plan, unit));
        let moves = plan.steps.map(|(_, step)| match step {
            Step::Gather { input, lanes, .. } => {
                Some(Moves::new(lanes, plan.raws[plan.values[*input].raw].layout.blocks()))
            }
            _ => None,
        });
        let output_len = |&step: &StepId| plan.raws[plan.output_of(step)].len();
        Self {
            tables: Tables::new(&plan),
            scratch: ScratchSizes::new(&plan, &shapes),
            moves,
            inputs: plan.steps.map(|(step, _)| plan.inputs_of(step)),
            stage_len: plan.forward.map(|(_, stage)| stage.steps.iter().map(output_len).sum()),
            dot_feeds_norm: by_dot(&|sum, raw| plan.dot_feeds_norm(sum, raw)),
            dot_feeds_slot: by_dot(&|sum, raw| plan.dot_feeds_slot(sum, raw)),
            statistics_of,
            norms_of_stage,
            shapes,
            plan,
        }
    }
}
