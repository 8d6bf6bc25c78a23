//! One pass over one batch: what runs for each image, and what is added up over images afterwards.
//!
//! A step's forward and backward stand side by side: units in `units/`, sums in `sum.rs`, everything else in
//! `small.rs`; batch norms are in `norms.rs`, each image's own in `standardise.rs`, and what gradients are made of in
//! `gradients.rs`. `stages.rs` runs the plan's stages in either direction.

pub(in crate::engine) mod agenda;
pub(super) mod gather;
mod gradients;
pub(in crate::engine) mod live;
mod norms;
mod small;
pub(super) mod stages;
mod standardise;
mod sum;
mod units;

use super::kernels::lanes::{self, Isa};
use super::kernels::sums::{Shifted, Write};
use super::memory::{Scratch, Tape};
use super::plan::{CpuPlan, GROUPS, UnitShape};
use super::profile;
use crate::engine::{Draws, Mode, RunningStatistics};
use crate::graph::Graph;
use crate::graph::plan::{LANES, LaneFactor, Mixing, Placement, Plan, RawId, SumTerm, Unit, UnitId, ValueId};
use crate::{Result, interrupt};
use agenda::Agenda;
use rayon::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One direction of a pass over one batch.
pub(super) struct Run<'a> {
    pub cpu: &'a CpuPlan,
    pub graph: &'a Graph,
    pub isa: Isa,
    /// Floats of a whole batch that a stage may write and still find in the cache afterwards.
    pub cache: usize,
    pub tape: &'a Tape,
    /// Where buffers lie in this direction of the pass.
    pub placement: &'a Placement,
    pub agenda: &'a Agenda,
    pub draws: &'a Draws,
    /// By path and image; empty where nothing is dropped.
    pub factors: &'a [f32],
    pub batch: usize,
    pub w: &'a [f32],
    pub p: &'a [f32],
    pub mode: Mode,
    pub statistics: &'a RunningStatistics,
}

/// Locks a mutex even if it is poisoned: a panic in a pass ends the pass and drops its tape, so no work is skipped.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run<'_> {
    pub fn plan(&self) -> &Plan {
        &self.cpu.plan
    }

    fn groups(&self) -> usize {
        self.batch.min(GROUPS)
    }

    fn images(&self, group: usize) -> std::ops::Range<usize> {
        group * self.batch / self.groups()..(group + 1) * self.batch / self.groups()
    }

    /// Runs `visit` for each image, groups side by side. Sections go through the batch in alternating directions, so
    /// that each begins with what the last one left in the cache: `turned` says whether the last one began at the end.
    fn each_image(&self, turned: &mut bool, visit: impl Fn(&Image, &mut Scratch) + Sync) -> Result<()> {
        interrupt::check()?;
        *turned = !*turned;
        let _profiled = profile::span(profile::SECTIONS);
        let (groups, turned) = (self.groups(), *turned);
        let turn = |index: usize, count: usize| if turned { count - 1 - index } else { index };
        (0..groups).into_par_iter().with_max_len(1).for_each(|index| {
            let group = turn(index, groups);
            let mut scratch = locked(self.tape.scratch(rayon::current_thread_index().unwrap_or(0)));
            scratch.loaded = None;
            let _profiled = profile::group();
            let images = self.images(group);
            for index in 0..images.len() {
                let image = images.start + turn(index, images.len());
                let base = self.tape.image(self.placement, image);
                visit(&Image { index: image, group, first: index == 0, base }, &mut scratch);
            }
            // The release that ends the group does not order streaming stores, and other threads read them next.
            lanes::fence();
        });
        Ok(())
    }

    /// The floats of a raw tensor in an image.
    fn raw(&self, image: &Image, raw: RawId) -> *mut f32 {
        self.within(image, self.placement.raws[raw], self.plan().raws[raw].len())
    }

    /// The floats of a value's gradient buffer in an image.
    fn gradient(&self, image: &Image, value: ValueId) -> *mut f32 {
        self.within(image, self.placement.gradients[value], self.plan().raws[self.plan().values[value].raw].len())
    }

    /// `len` floats of an image's region; debug builds check that they lie within.
    #[inline(always)]
    fn within(&self, image: &Image, at: usize, len: usize) -> *mut f32 {
        debug_assert!(at + len <= self.placement.len, "floats {at}..+{len} of a region of {}", self.placement.len);
        // SAFETY: the plan placed the buffer within the image's region.
        unsafe { image.base.add(at) }
    }

    /// Floats of one block of a raw tensor.
    fn plane(&self, raw: RawId) -> usize {
        self.plan().raws[raw].pixels() * LANES
    }

    /// The factor of a lane.
    fn mixing(&self, mixing: Mixing, lane: usize) -> f32 {
        match mixing {
            Mixing::One => 1.0,
            Mixing::Slot(slot) => self.p[slot.0 as usize],
            Mixing::Lanes(factors) => match self.plan().lane_factors[factors][lane % LANES] {
                LaneFactor::One => 1.0,
                LaneFactor::Slot(slot) if self.agenda.live.slot(slot) => self.p[slot.0 as usize],
                LaneFactor::Zero | LaneFactor::Slot(_) => 0.0,
            },
        }
    }

    /// The factors of a block's lanes.
    fn mixing_lanes(&self, mixing: Mixing) -> [f32; LANES] {
        match mixing {
            Mixing::Lanes(_) => std::array::from_fn(|lane| self.mixing(mixing, lane)),
            _ => [self.mixing(mixing, 0); LANES],
        }
    }

    /// The factors of a term's lanes in one image, drop path included.
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
        self.agenda.live.raw(self.plan(), raw)
    }

    fn needs_value(&self, value: ValueId) -> bool {
        self.agenda.needs_value(self.plan(), value)
    }

    /// Whether batch statistics are used (and gradients flow through them).
    fn batch_norms(&self) -> bool {
        self.mode != Mode::Evaluation
    }

    fn unit(&self, id: UnitId) -> UnitView<'_> {
        UnitView { unit: &self.plan().units[id], shape: &self.cpu.shapes[id], packing: self.cpu.tables.packing[id] }
    }
}

/// A unit of the plan with what was worked out for it.
#[derive(Clone, Copy)]
struct UnitView<'a> {
    unit: &'a Unit,
    shape: &'a UnitShape,
    packing: super::memory::tables::Packing,
}

impl std::ops::Deref for UnitView<'_> {
    type Target = Unit;

    fn deref(&self) -> &Unit {
        self.unit
    }
}

/// One image of a group.
struct Image {
    index: usize,
    group: usize,
    /// Whether it is the first of its group to be worked on: sums begin with it.
    first: bool,
    /// Its region, which no other thread uses.
    base: *mut f32,
}

/// A term of a kernel's list: `offset` floats from the base, times sixteen weights.
fn shifted(offset: usize, weight: *const f32) -> Shifted {
    Shifted { offset, weight }
}

/// How a step writes its input's gradient: the first to touch it overwrites.
fn write(first: bool) -> Write {
    if first { Write::Over } else { Write::Add }
}

/// The index of a lane's pixel in a tensor with `pixels` pixels per block.
fn lane_at(lane: usize, pixel: usize, pixels: usize) -> usize {
    (lane / LANES * pixels + pixel) * LANES + lane % LANES
}
