//! Plans on processors: kernels over sixteen lanes, run image by image in parallel.
//!
//! A pass goes stage by stage. Within a stage the batch is cut into image groups, the same for any number of threads;
//! groups run side by side, and what they sum up (statistics, weight gradients) is added in the groups' order
//! afterwards. So the bits do not depend on the number of threads.

mod backward;
mod dense;
mod depthwise;
mod forward;
mod lanes;
mod live;
mod load;
mod memory;
mod norms;
mod pack;
mod pool;
mod sums;
mod tape;

pub use lanes::Isa;
pub use live::{Live, Wanted};
pub use tape::{Pools, Tape};

use crate::engine::NormMode;
use crate::graph::Graph;
use crate::graph::plan::{LANES, Memory, Plan, RawId, Step, ValueId};
use crate::{Result, interrupt};
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
    /// By sum and dot: whether a norm waits for the product.
    dot_feeds_norm: Vec<Vec<bool>>,
    /// The most terms that any weighted sum has.
    most_terms: usize,
}

impl CpuPlan {
    pub fn new(plan: Plan) -> Self {
        let mut statistics_of = vec![Vec::new(); plan.raws.len()];
        let mut norms_of_stage = vec![Vec::new(); plan.forward.len()];
        for (index, norm) in plan.norms.iter().enumerate() {
            let mut level = 0;
            for raw in 0..plan.raws.len() {
                let Some(lane) = first_lane_within(&plan, raw, norm.raw) else { continue };
                if plan.raws[raw].made_by.is_some() {
                    statistics_of[raw].push((index, lane));
                    level = level.max(plan.raws[raw].level);
                }
            }
            norms_of_stage[level].push(index);
        }
        let feeds = |raw: &RawId, sum: usize| {
            plan.sums[sum].terms.iter().any(|t| plan.values[t.value].raw == *raw && plan.values[t.value].norm.is_some())
        };
        let dot_feeds_norm =
            (0..plan.sums.len()).map(|sum| plan.sums[sum].dots.iter().map(|raw| feeds(raw, sum)).collect()).collect();
        let most_terms = plan
            .sums
            .iter()
            .map(|s| s.terms.len())
            .chain(plan.units.iter().map(|u| u.geometry.taps.len()))
            .max()
            .unwrap_or(0)
            .max(plan.sums.len())
            + 2;
        Self { plan, statistics_of, norms_of_stage, dot_feeds_norm, most_terms }
    }
}

fn first_lane_within(plan: &Plan, part: RawId, whole: RawId) -> Option<usize> {
    let (mut at, mut lane) = (part, 0);
    while at != whole {
        let (parent, block) = plan.raws[at].part_of?;
        lane += block * LANES;
        at = parent;
    }
    Some(lane)
}

/// One pass over one batch.
pub struct Run<'a> {
    pub cpu: &'a CpuPlan,
    pub graph: &'a Graph,
    pub isa: Isa,
    pub tape: &'a Tape,
    pub memory: &'a Memory,
    pub live: &'a Live,
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

    /// Runs `work` for each image, groups side by side.
    fn each_image(&self, work: impl Fn(&Image, &mut Scratch) + Sync) -> Result<()> {
        interrupt::check()?;
        (0..self.groups()).into_par_iter().with_max_len(1).for_each(|group| {
            let thread = rayon::current_thread_index().unwrap_or(0) % self.tape.scratch.len();
            let Ok(mut scratch) = self.tape.scratch[thread].lock() else { return };
            scratch.loaded = None;
            for image in self.images(group) {
                let first = image == self.images(group).start;
                work(&Image { index: image, group, first, base: self.tape.image(self.memory, image) }, &mut scratch);
            }
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

    fn mixing(&self, slot: Option<crate::graph::Slot>) -> f32 {
        slot.map_or(1.0, |slot| self.p[slot.0 as usize])
    }

    fn step_is_live(&self, raw: RawId) -> bool {
        self.plan().raws[raw].made_by.is_none_or(|step| self.live.steps[step])
    }

    /// Whether batch statistics are used (and gradients flow through them).
    fn batch_norms(&self) -> bool {
        !matches!(self.norm, NormMode::Running(_))
    }

    fn unit_of(&self, step: usize) -> Option<&crate::graph::plan::Unit> {
        match self.plan().steps[step] {
            Step::Unit(unit) => Some(&self.plan().units[unit]),
            _ => None,
        }
    }
}

/// One image at work.
struct Image {
    index: usize,
    group: usize,
    /// Whether it is the first of its group: partial sums begin with it.
    first: bool,
    base: *mut f32,
}

/// A term list's beginning: `offset` floats from the base, times sixteen weights.
fn shifted(offset: usize, weight: *const f32) -> Shifted {
    Shifted { offset, weight }
}
