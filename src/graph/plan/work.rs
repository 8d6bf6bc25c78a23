//! How much arithmetic a step takes, and whether it may be recomputed.

use super::{LANES, Plan, Step, StepId};

impl Plan {
    /// Whether a step's output may be recomputed. Not a sum of several terms: it would need them all at once. Not the
    /// images: they are no longer in memory by then.
    pub(super) fn can_be_recomputed(&self, step: StepId) -> bool {
        match &self.steps[step] {
            Step::Import { .. } | Step::Noise { .. } => false,
            Step::Sum(sum) => self.sums[*sum].terms.len() == 1,
            _ => true,
        }
    }

    /// Multiply-adds (or comparisons) of a forward step for one image, over all lanes.
    pub(super) fn work_of(&self, step: StepId) -> usize {
        let output = &self.raws[self.output_of(step)];
        match &self.steps[step] {
            Step::Import { .. }
            | Step::Noise { .. }
            | Step::Apply { .. }
            | Step::Gather { .. }
            | Step::Upsample { .. }
            | Step::Product { .. } => output.len(),
            Step::Sum(sum) => output.len() * self.sums[*sum].terms.len(),
            Step::Standardise { .. } => 3 * output.len(),
            Step::GlobalPool { input, .. } => self.raws[self.values[*input].raw].len(),
            Step::Pool(pool) => output.len() * self.pools[*pool].pool.kernel.pow(2),
            Step::Unit(index) => {
                let unit = &self.units[*index];
                let lanes = self.raws[self.values[self.views[unit.input].value].raw].layout.blocks() * LANES;
                let taps = unit.geometry.taps.len();
                let depthwise = if unit.depthwise.is_some() { taps * lanes * output.pixels() } else { 0 };
                let matrices = if unit.depthwise.is_some() { 1 } else { taps };
                let dense = if unit.dense.is_some() { matrices * lanes * output.len() } else { 0 };
                depthwise + dense
            }
        }
    }
}
