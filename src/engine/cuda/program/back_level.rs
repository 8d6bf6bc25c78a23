//! One level of the backward pass: what its steps come to, by family, and the rounds that do it.

use super::{Family, Item, Maker, PIXEL, SUMMING, Tensors, Wait, Work, over_pixels};
use crate::engine::cuda::plan::{RUN, STRIP, TapGrid, tile_floats};
use crate::graph::plan::ValueId;
use std::collections::BTreeMap;

/// Pixels of an item that goes through a unit's taps: where they are grids, so many that two runs of eight are there
/// for each lane and team of sixteen threads.
const TAPPED: usize = 128;
pub(super) const TAPPED_IN_RUNS: usize = 256;

/// Floats of shared memory that sums over products take: sum.cuh's sums that wait.
const DOTS: usize = 4096;

/// What adds to one buffer: pairs of words, and what they take for a pixel of a block.
#[derive(Default)]
pub(super) struct Gathered {
    pub pairs: Vec<[i32; 2]>,
    pub work: Work,
    /// Of units whose taps are grids, which come first: the grids.
    pub grids: Vec<TapGrid>,
}

impl Gathered {
    pub fn add(&mut self, pair: [i32; 2], work: Work) {
        self.pairs.push(pair);
        self.work += work;
    }
}

/// One level's work, by family; contributions by the buffer that they go to, in a fixed order.
#[derive(Default)]
pub(super) struct Level {
    pub seeds: Vec<Item>,
    pub exports: Vec<Item>,
    pub plain: Vec<Item>,
    pub plain_shared: usize,
    pub plain_tensors: Tensors,
    /// After `plain`.
    pub standardised: Vec<Item>,
    pub standardised_tensors: Tensors,
    pub units: Vec<Item>,
    pub unit_shared: usize,
    pub unit_tensors: Tensors,
    pub input_tensors: Tensors,
    pub readers: BTreeMap<ValueId, Gathered>,
    pub contributions: BTreeMap<ValueId, Gathered>,
    /// Gradients of sums, which go to all of their terms.
    pub term_tensors: Tensors,
    pub found: usize,
    pub dots: Vec<Item>,
}

impl Maker<'_> {
    /// Marks a gradient as written to, and those of the parts of a concatenation with it.
    pub(super) fn begin(&mut self, value: ValueId) {
        self.begun[value] = true;
        let of = &self.cuda.plan.values[value];
        if of.norm.is_none() {
            for part in self.cuda.parts[of.raw].clone() {
                if let Some(part) = self.cuda.plain[part] {
                    self.begin(part);
                }
            }
        }
    }

    /// Where the gradient lies that a round adds to or, with `begin`, begins.
    fn gradient_added_to(&self, value: ValueId, begin: i32, tensors: &mut Tensors) -> i32 {
        let (place, floats) =
            (self.placement.gradients[value], self.cuda.plan.raws[self.cuda.plan.values[value].raw].len());
        if begin == 0 {
            tensors.read(place, floats);
        }
        tensors.write(place, floats);
        self.gradient(value)
    }

    /// The rounds of one level.
    pub(super) fn emit(&mut self, items: Level) {
        let Level {
            seeds,
            exports,
            plain,
            plain_shared,
            plain_tensors,
            standardised,
            standardised_tensors,
            units,
            unit_shared,
            unit_tensors,
            mut input_tensors,
            readers,
            contributions,
            mut term_tensors,
            found,
            dots,
        } = items;
        // What only reads what there was before, the longest first.
        self.begin_wave(Wait::OwnImage);
        self.round(Family::UnitGradient, &units, unit_shared, unit_tensors);
        self.round(Family::Dots, &dots, DOTS, Tensors::default());
        self.round(Family::PlainGradient, &plain, plain_shared, plain_tensors);
        self.round(Family::Export, &exports, 0, Tensors::default());
        self.round(Family::Seed, &seeds, 0, Tensors::default());
        let (mut through, mut shared) = (Vec::new(), 0);
        for (value, Gathered { pairs: readers, work, grids }) in readers {
            let raw = &self.cuda.plan.raws[self.cuda.plan.values[value].raw];
            let (blocks, height, width) = (raw.layout.blocks(), raw.height, raw.width);
            let begin = i32::from(!self.begun[value]);
            self.begin(value);
            let gradient = self.gradient_added_to(value, begin, &mut input_tensors);
            let sizes = [blocks, height, width].map(|size| size as i32);
            let rows = match grids[..] {
                [] => TAPPED / width,
                _ => TAPPED_IN_RUNS / width.next_multiple_of(RUN),
            };
            let rows = rows.clamp(1, height);
            // Where outputs lie two pixels apart it is less.
            let floats = |grid: &TapGrid| grid.weights() + tile_floats(rows + grid.reach(), width + grid.reach());
            shared = grids.iter().map(floats).fold(shared, usize::max);
            let head = [gradient, sizes[0], sizes[1], sizes[2], begin, grids.len() as i32, readers.len() as i32];
            let target = self.put(&[&head[..], readers.as_flattened()].concat());
            for block in 0..blocks {
                for at in (0..height).step_by(rows) {
                    let count = rows.min(height - at);
                    let mut work = work;
                    work += Work::new(PIXEL, 0);
                    let words = [target, at as i32, block as i32, count as i32];
                    through.push(Item { words, work: work.times(count * width) });
                }
            }
        }
        self.begin_wave(Wait::OwnImage);
        self.round(Family::UnitInput, &through, shared, input_tensors);
        self.round(Family::StandardiseGradient, &standardised, SUMMING, standardised_tensors);
        let mut added = Vec::new();
        for (value, Gathered { pairs: contributions, mut work, .. }) in contributions {
            let raw = &self.cuda.plan.raws[self.cuda.plan.values[value].raw];
            let (blocks, pixels) = (raw.layout.blocks(), raw.pixels());
            let begin = i32::from(contributions.is_empty() || !self.begun[value]);
            self.begin(value);
            let gradient = self.gradient_added_to(value, begin, &mut term_tensors);
            let head = [gradient, pixels as i32, begin, contributions.len() as i32];
            let buffer = self.put(&[&head[..], contributions.as_flattened()].concat());
            work += Work::new(PIXEL, 0);
            added.extend(over_pixels(buffer, blocks, pixels, STRIP, work));
        }
        self.begin_wave(Wait::OwnImage);
        self.round(Family::Contribute, &added, found, term_tensors);
    }
}
