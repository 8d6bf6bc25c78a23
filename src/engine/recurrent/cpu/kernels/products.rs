//! Matrix products C (+)= A · B over packed panels of B.
//!
//! B lies in panels of [`panel_width`] columns, each with its rows one after another, zeros behind the last column. A
//! is read where it lies (rows of tokens), or from blocks of few rows packed column by column (transposed operands). A
//! block of C stays in registers while it runs down the rows of a panel: as many rows as there are registers.

use crate::engine::cpu::kernels::lanes::{Isa, Lanes, Set, kernel};
use crate::engine::cpu::kernels::prefetch;

/// How many rows of a panel are fetched ahead: weights that are read once a time step come from main memory.
const AHEAD: usize = 8;

/// Columns of a panel: two registers of the widest set, one lane group of the others.
pub fn panel_width(isa: Isa) -> usize {
    match isa.set() {
        Set::Avx512 => 32,
        _ => 16,
    }
}

/// Where the rows of A lie.
#[derive(Clone, Copy)]
pub enum Rows {
    /// Row r begins at r times this.
    Strided(usize),
    /// In blocks of [`block_rows`], each column by column.
    Packed,
}

/// What a product begins with.
#[derive(Clone, Copy)]
pub enum Start {
    /// Zero.
    Zero,
    /// What C holds.
    Add,
    /// A bias, as long as the packed columns are.
    Bias(*const f32),
}

/// One tile of a product: rows × columns of C over `depth` columns of A and rows of B.
#[derive(Clone, Copy)]
pub struct Tile {
    pub a: *const f32,
    pub a_rows: Rows,
    /// The first panel's first row that counts, and how far it is from a panel to the next.
    pub b: *const f32,
    pub panel: usize,
    pub c: *mut f32,
    /// From a row of C to the next.
    pub c_row: usize,
    pub rows: usize,
    pub columns: usize,
    pub depth: usize,
    pub start: Start,
}

/// How many rows the block has that begins `left` rows before the end.
pub fn block_rows(isa: Isa, left: usize) -> usize {
    match isa.set() {
        Set::Avx512 => next_block::<12>(left),
        _ => next_block::<6>(left),
    }
}

#[inline(always)]
fn next_block<const MOST: usize>(left: usize) -> usize {
    match left {
        left if left >= MOST => MOST,
        left if left >= 8 && MOST > 8 => 8,
        left if left >= 4 => 4,
        left if left >= 2 => 2,
        left => left,
    }
}

kernel! {
    /// One tile.
    ///
    /// # Safety
    /// The tile's pointers must be good for what it names; C overlaps nothing else.
    pub fn product(tile: Tile) work(
        2 * tile.rows * tile.columns * tile.depth,
        4 * (tile.rows * (tile.depth + tile.columns) + tile.columns * tile.depth)
    ) {
        // `T` says which register file there is.
        if T == 8 {
            blocks::<V, 12, 2>(tile);
        } else {
            blocks::<V, 6, 1>(tile);
        }
    }
}

kernel! {
    /// Packs `depth` rows of `count` floats into panels, zeros behind the last column. A row begins `row` floats after
    /// the one before it.
    ///
    /// # Safety
    /// `from` must be good for the rows, `to` for all panels.
    pub fn pack_panels(from: *const f32, row: usize, depth: usize, count: usize, to: *mut f32)
        work(0, 8 * depth * count)
    {
        // `T` says which register file there is.
        let wide = if T == 8 { 32 } else { 16 };
        for k in 0..depth {
            let from = from.add(k * row);
            for column in (0..count).step_by(wide) {
                let to = to.add(column * depth + k * wide);
                for v in 0..wide / 16 {
                    let left = count.saturating_sub(column + 16 * v).min(16);
                    let from = from.wrapping_add(column + 16 * v);
                    let value = if left == 16 { V::load(from) } else { V::load_some(from, left) };
                    value.store(to.add(16 * v));
                }
            }
        }
    }
}

kernel! {
    /// Packs `depth` rows of `count` floats into blocks for [`Rows::Packed`].
    ///
    /// # Safety
    /// `from` must be good for the rows, `to` for as many floats.
    pub fn pack_blocks(from: *const f32, row: usize, depth: usize, count: usize, to: *mut f32)
        work(0, 8 * depth * count)
    {
        for k in 0..depth {
            let from = from.add(k * row);
            let mut column = 0;
            while column < count {
                let left = count - column;
                let block = if T == 8 { next_block::<12>(left) } else { next_block::<6>(left) };
                let (from, to) = (from.add(column), to.add(column * depth + k * block));
                let value = if left >= 16 { V::load(from) } else { V::load_some(from, left) };
                // What is written too much belongs to the block's next rows, as long as there are enough of them.
                if (depth - k) * block >= 16 {
                    value.store(to);
                } else {
                    value.store_some(to, block);
                }
                column += block;
            }
        }
    }
}

/// # Safety
/// As for [`product`].
#[inline(always)]
unsafe fn blocks<V: Lanes, const MOST: usize, const WIDE: usize>(tile: Tile) {
    let mut row = 0;
    while row < tile.rows {
        let rows = next_block::<MOST>(tile.rows - row);
        // SAFETY: rows of the tile.
        unsafe {
            match rows {
                12 => panels::<V, 12, WIDE>(tile, row),
                8 => panels::<V, 8, WIDE>(tile, row),
                6 => panels::<V, 6, WIDE>(tile, row),
                4 => panels::<V, 4, WIDE>(tile, row),
                2 => panels::<V, 2, WIDE>(tile, row),
                _ => panels::<V, 1, WIDE>(tile, row),
            }
        }
        row += rows;
    }
}

/// # Safety
/// As for [`product`]; `ROWS` rows from `row` on are rows of the tile.
#[inline(always)]
unsafe fn panels<V: Lanes, const ROWS: usize, const WIDE: usize>(tile: Tile, row: usize) {
    let mut column = 0;
    // SAFETY: the caller's promise.
    unsafe {
        let (a, a_row, a_column) = match tile.a_rows {
            Rows::Strided(stride) => (tile.a.add(row * stride), stride, 1),
            Rows::Packed => (tile.a.add(row * tile.depth), 1, ROWS),
        };
        let mut b = tile.b;
        while column < tile.columns {
            let left = tile.columns - column;
            let place = Place { a, a_row, a_column, b, step: 16 * WIDE, row, column };
            if WIDE == 2 && left <= 16 {
                block::<V, ROWS, 1>(tile, place, left);
            } else {
                block::<V, ROWS, WIDE>(tile, place, left.min(16 * WIDE));
            }
            column += 16 * WIDE;
            b = b.add(tile.panel);
        }
    }
}

/// Where a block in registers begins.
#[derive(Clone, Copy)]
struct Place {
    a: *const f32,
    a_row: usize,
    a_column: usize,
    b: *const f32,
    step: usize,
    row: usize,
    column: usize,
}

/// # Safety
/// As for [`product`]; `columns` ≤ 16 · `WIDE` columns from the place on are columns of the tile.
#[inline(always)]
unsafe fn block<V: Lanes, const ROWS: usize, const WIDE: usize>(tile: Tile, place: Place, columns: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); WIDE]; ROWS];
        let (mut a, mut b) = (place.a, place.b);
        for _ in 0..tile.depth {
            prefetch::to_read(b.wrapping_add(AHEAD * place.step), 16 * WIDE);
            let wide: [V; WIDE] = std::array::from_fn(|v| V::load(b.add(16 * v)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = V::splat(*a.add(r * place.a_row));
                for (sum, wide) in sums.iter_mut().zip(wide) {
                    *sum = factor.fma(wide, *sum);
                }
            }
            a = a.add(place.a_column);
            b = b.add(place.step);
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let c = tile.c.add((place.row + r) * tile.c_row + place.column);
            for (v, sum) in sums.into_iter().enumerate() {
                let (c, count) = (c.add(16 * v), (columns - 16 * v).min(16));
                let whole = count == 16;
                let sum = match tile.start {
                    Start::Zero => sum,
                    Start::Bias(bias) => sum.add(V::load(bias.add(place.column + 16 * v))),
                    Start::Add if whole => sum.add(V::load(c)),
                    Start::Add => sum.add(V::load_some(c, count)),
                };
                if whole { sum.store(c) } else { sum.store_some(c, count) }
            }
        }
    }
}
