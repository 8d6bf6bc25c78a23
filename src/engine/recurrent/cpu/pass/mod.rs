//! One pass over a window: forward and backward through time.

mod back;
mod forward;
mod norms;
mod packing;
mod products;
mod programs;
pub mod weights;

use super::memory::{Extents, Pointer, Tape};
use super::plan::Plan;
use super::plan::program::Spot;
use super::plan::storage::Extent;
use crate::engine::Mode;
use crate::engine::cpu::Isa;
use crate::graph::recurrent::RecurrentGraph;
use rayon::prelude::*;

/// Rows that one task runs programs over.
pub const ROWS: usize = 16;

/// What comes and goes as tensors; null where it is not there.
#[derive(Clone, Copy)]
pub struct Outer {
    pub x: Pointer,
    pub output: Pointer,
    pub output_gradient: Pointer,
    pub x_gradient: Pointer,
}

/// One pass.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    pub plan: &'a Plan,
    pub graph: &'a RecurrentGraph,
    pub isa: Isa,
    pub tape: &'a Tape,
    pub size: Extents,
    pub w: &'a [f32],
    pub p: &'a [f32],
    pub mode: Mode,
    pub outer: Outer,
}

/// Calls `visit` for all numbers below `count`, side by side.
fn each(count: usize, visit: impl Fn(usize) + Sync + Send) {
    match count {
        0 => {}
        1 => visit(0),
        _ => (0..count).into_par_iter().with_max_len(1).for_each(visit),
    }
}

/// The part of `0..all` that is the `index`-th of parts of `size`.
fn part(index: usize, size: usize, all: usize) -> std::ops::Range<usize> {
    index * size..((index + 1) * size).min(all)
}

/// How long parts of `all` are: multiples of `unit`, at most `most` (a multiple of `unit` too), as equal as they can
/// be, and their number a multiple of `teams` where there is enough for that.
fn parts_of(all: usize, unit: usize, most: usize, teams: usize) -> usize {
    let count = all.div_ceil(most).next_multiple_of(teams);
    all.div_ceil(unit).div_ceil(count) * unit
}

impl Run<'_> {
    /// Where a buffer's values of a time step begin. `ahead`: those of the next one.
    fn slot(&self, buffer: usize, ahead: bool, now: usize) -> *mut f32 {
        let of = self.plan.buffers[buffer];
        let slot = of.slot(self.size.rows);
        let next = now + usize::from(ahead);
        let outside = |pointer: Pointer| match pointer.0.is_null() {
            true => pointer.0,
            // SAFETY: the tensor holds all time steps.
            false => unsafe { pointer.0.add(now * slot) },
        };
        let at = match of.extent {
            Extent::Window => now,
            Extent::States => next,
            Extent::Two => next & 1,
            Extent::Step | Extent::Fixed => 0,
            Extent::X => return outside(self.outer.x),
            Extent::Output => return outside(self.outer.output),
            Extent::OutputGradient => return outside(self.outer.output_gradient),
            Extent::XGradient => return outside(self.outer.x_gradient),
        };
        self.tape.arena.at(self.tape.offsets[buffer] + at * slot, slot)
    }

    /// The first value of a spot at a time step.
    fn spot(&self, spot: Spot, now: usize) -> *mut f32 {
        // SAFETY: the plan sized the buffer for the spot.
        unsafe { self.slot(spot.buffer, spot.ahead, now).add(spot.block * self.size.rows * spot.row + spot.column) }
    }

    /// Whether the rows of `blocks` blocks follow one another through all time steps.
    fn is_seamless(&self, spot: Spot, blocks: usize) -> bool {
        let buffer = self.plan.buffers[spot.buffer];
        let lasts = !matches!(buffer.extent, Extent::Step | Extent::Two | Extent::Fixed);
        lasts && buffer.blocks == blocks
    }
}
