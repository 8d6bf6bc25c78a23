//! Gradients of weights and biases: products over all rows of all time steps.
//!
//! Each tile of a weight belongs to one task, which goes through all rows in order. Chunks of rows are packed, so that
//! the product reads both operands in the order in which it needs them.

use super::super::kernels::columns::{COLUMNS, Plane, add_columns};
use super::super::kernels::products::{Rows, Start, Tile, block_rows, pack_blocks, pack_panels, panel_width, product};
use super::super::memory::{Pointer, Scratch};
use super::super::plan::Share;
use super::super::plan::program::Spot;
use super::{Run, each, part, parts_of};
use std::ops::Range;

/// Rows and columns of a tile of a weight, how many of its columns are packed at a time, and how many rows of tokens.
const TALL: usize = 204;
const BROAD: usize = 960;
const WIDE: usize = 320;
const CHUNK: usize = 192;

/// Floats of a thread's packed operands.
pub const VALUES: usize = TALL * CHUNK;
pub const GRADIENT: usize = WIDE * CHUNK;

/// Adds all gradients to `w`.
pub(super) fn gradients(run: &Run<'_>, w: &mut [f32]) {
    let target = Pointer(w.as_mut_ptr());
    let infos = run.graph.weights();
    let tiles = |weight: usize| {
        let (tall, wide) = run.weight_parts(weight);
        infos[weight].shape[0].div_ceil(tall) * infos[weight].shape[1].div_ceil(wide)
    };
    let all = run.plan.weights.iter().map(|(weight, _)| tiles(*weight)).sum();
    each(all, |tile| {
        let mut tile = tile;
        for (weight, shares) in &run.plan.weights {
            if tile < tiles(*weight) {
                return run.weight_tile(*weight, shares, tile, target);
            }
            tile -= tiles(*weight);
        }
    });
    let parts = |bias: usize| infos[bias].len().div_ceil(COLUMNS);
    each(run.plan.biases.iter().map(|(bias, _)| parts(*bias)).sum(), |index| {
        let mut index = index;
        for (bias, gradients) in &run.plan.biases {
            if index < parts(*bias) {
                return run.bias_part(*bias, gradients, index, target);
            }
            index -= parts(*bias);
        }
    });
}

impl Run<'_> {
    /// The rows of `blocks` blocks of all time steps, as runs without a seam: how many, and how long each is.
    fn runs(&self, spots: &[Spot], blocks: usize) -> (usize, usize) {
        let own = blocks * self.size.rows;
        match spots.iter().all(|spot| self.is_seamless(*spot, blocks)) {
            true => (1, own * self.size.steps),
            false => (self.size.steps, own),
        }
    }

    /// Rows and columns of a weight's tiles.
    fn weight_parts(&self, weight: usize) -> (usize, usize) {
        let shape = &self.graph.weights()[weight].shape;
        let tall = parts_of(shape[0], block_rows(self.isa, usize::MAX), TALL, 1);
        (tall, parts_of(shape[1], panel_width(self.isa), BROAD, 2))
    }

    fn weight_tile(&self, weight: usize, shares: &[Share], tile: usize, target: Pointer) {
        let info = &self.graph.weights()[weight];
        let width = info.shape[1];
        let (tall, wide) = self.weight_parts(weight);
        let across = width.div_ceil(wide);
        let rows = part(tile / across, tall, info.shape[0]);
        let columns = part(tile % across, wide, width);
        let scratch = self.tape.scratch();
        for share in shares {
            let own = rows.start.max(share.row)..rows.end.min(share.row + share.rows);
            if own.is_empty() {
                continue;
            }
            let (runs, long) = self.runs(&[share.values, share.gradient], share.blocks);
            let values = share.values.shifted(own.start - share.row);
            let gradient = share.gradient.shifted(columns.start);
            // SAFETY: a tile of the weight, which is this task's alone.
            let c = unsafe { target.0.add(info.offset + own.start * width + columns.start) };
            for now in 0..runs {
                let (values_at, gradient_at) = (self.spot(values, now), self.spot(gradient, now));
                for from in (0..long).step_by(CHUNK) {
                    let depth = CHUNK.min(long - from);
                    // SAFETY: rows of both buffers, columns of the tile.
                    unsafe {
                        let values_at = values_at.add(from * values.row);
                        let gradient_at = gradient_at.add(from * gradient.row);
                        self.chunk(
                            &scratch,
                            (values_at, values.row),
                            (gradient_at, gradient.row),
                            depth,
                            Piece { rows: own.len(), columns: columns.len(), c, c_row: width },
                        );
                    }
                }
            }
        }
    }

    /// Packs a chunk of both operands, each with its row's length, and adds their product to a piece of a weight.
    ///
    /// # Safety
    /// Both must be good for `depth` rows of the piece's rows and columns.
    unsafe fn chunk(
        &self,
        scratch: &Scratch,
        values: (*mut f32, usize),
        gradient: (*mut f32, usize),
        depth: usize,
        piece: Piece,
    ) {
        let panel = panel_width(self.isa);
        let a = scratch.values.at(0, piece.rows * depth);
        // SAFETY: the caller's promise; the scratch holds the largest tile's operands.
        unsafe { pack_blocks(self.isa, values.0, values.1, depth, piece.rows, a) };
        let wide = parts_of(piece.columns, panel, WIDE, 1);
        for from in (0..piece.columns).step_by(wide) {
            let columns = wide.min(piece.columns - from);
            let b = scratch.gradient.at(0, columns.next_multiple_of(panel) * depth);
            // SAFETY: as above.
            unsafe {
                pack_panels(self.isa, gradient.0.add(from), gradient.1, depth, columns, b);
                let tile = Tile {
                    a,
                    a_rows: Rows::Packed,
                    b,
                    panel: depth * panel,
                    c: piece.c.add(from),
                    c_row: piece.c_row,
                    rows: piece.rows,
                    columns,
                    depth,
                    start: Start::Add,
                };
                product(self.isa, tile);
            }
        }
    }

    fn bias_part(&self, bias: usize, gradients: &[(Spot, usize)], index: usize, target: Pointer) {
        let info = &self.graph.weights()[bias];
        let columns: Range<usize> = part(index, COLUMNS, info.len());
        for &(gradient, blocks) in gradients {
            let (runs, long) = self.runs(&[gradient], blocks);
            for now in 0..runs {
                let at = self.spot(gradient.shifted(columns.start), now);
                for from in (0..long).step_by(CHUNK) {
                    // SAFETY: rows of the gradient; these columns of the bias are this task's alone.
                    unsafe {
                        let plane = Plane { at: at.add(from * gradient.row), row: gradient.row };
                        let sums = target.0.add(info.offset + columns.start);
                        add_columns(self.isa, plane, CHUNK.min(long - from), columns.len(), sums);
                    }
                }
            }
        }
    }
}

/// A piece of a weight's gradient.
#[derive(Clone, Copy)]
struct Piece {
    rows: usize,
    columns: usize,
    c: *mut f32,
    c_row: usize,
}
