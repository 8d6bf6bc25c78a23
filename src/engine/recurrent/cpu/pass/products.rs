//! Matrix products with packed weights, tile by tile.

use super::super::kernels::products::{Rows, Start, Tile, block_rows, panel_width, product};
use super::super::plan::{Begin, Multiply};
use super::{Run, each, part, parts_of};

/// Rows and columns of a tile: its columns of the packed matrix and its rows of the other stay in the second cache.
const TALL: usize = 96;
const WIDE: usize = 160;
/// The longest run down the rows of the packed matrix.
const DEEP: usize = 384;

/// How a product is cut: runs of rows without a seam, and tiles of each.
struct Cut {
    runs: usize,
    rows: usize,
    /// Rows and columns of a tile.
    tall: usize,
    wide: usize,
    /// Tiles of a row of tiles, and of a run.
    across: usize,
    tiles: usize,
}

impl Run<'_> {
    /// All of these products, at one time step or over the whole window.
    pub(super) fn products(&self, products: &[Multiply], now: Option<usize>) {
        let tiles = products.iter().map(|multiply| self.cut(multiply, now)).map(|cut| cut.runs * cut.tiles).sum();
        each(tiles, |tile| {
            let mut tile = tile;
            for multiply in products {
                let cut = self.cut(multiply, now);
                if tile < cut.runs * cut.tiles {
                    return self.tile(multiply, &cut, tile, now.unwrap_or(0));
                }
                tile -= cut.runs * cut.tiles;
            }
        });
    }

    fn cut(&self, multiply: &Multiply, now: Option<usize>) -> Cut {
        let own = multiply.blocks * self.size.rows;
        let seamless = [multiply.from, multiply.to].iter().all(|spot| self.is_seamless(*spot, multiply.blocks));
        let (runs, rows) = match now {
            Some(_) => (1, own),
            None if seamless => (1, own * self.size.steps),
            None => (self.size.steps, own),
        };
        let width = self.plan.packings[multiply.packing].width;
        let tall = parts_of(rows, block_rows(self.isa, usize::MAX), TALL, 1);
        let wide = parts_of(width, panel_width(self.isa), WIDE, 2);
        let across = width.div_ceil(wide);
        Cut { runs, rows, tall, wide, across, tiles: rows.div_ceil(tall) * across }
    }

    /// One tile. `now`: the time step of the first run.
    fn tile(&self, multiply: &Multiply, cut: &Cut, tile: usize, now: usize) {
        let packing = &self.plan.packings[multiply.packing];
        let (now, tile) = (now + tile / cut.tiles, tile % cut.tiles);
        let rows = part(tile / cut.across, cut.tall, cut.rows);
        let columns = part(tile % cut.across, cut.wide, packing.width);
        let (matrix, _) = packing.len(self.isa);
        let packed = self.tape.packings[multiply.packing];
        let (from, to) = (self.spot(multiply.from, now), self.spot(multiply.to, now));
        let wide = panel_width(self.isa);
        let deep = packing.depth.div_ceil(packing.depth.div_ceil(DEEP));
        for depth in (0..packing.depth).step_by(deep) {
            let start = match multiply.begin {
                _ if depth > 0 => Start::Add,
                Begin::Zero => Start::Zero,
                Begin::Add => Start::Add,
                Begin::Bias => Start::Bias(self.tape.packed.rest(packed + matrix + columns.start)),
            };
            // SAFETY: rows and columns of both buffers and of the packed matrix; tiles write apart.
            unsafe {
                let tile = Tile {
                    a: from.add(rows.start * multiply.from.row + depth),
                    a_rows: Rows::Strided(multiply.from.row),
                    b: self.tape.packed.rest(packed + columns.start * packing.depth + depth * wide),
                    panel: packing.depth * wide,
                    c: to.add(rows.start * multiply.to.row + columns.start),
                    c_row: multiply.to.row,
                    rows: rows.len(),
                    columns: columns.len(),
                    depth: deep.min(packing.depth - depth),
                    start,
                };
                product(self.isa, tile);
            }
        }
    }
}
