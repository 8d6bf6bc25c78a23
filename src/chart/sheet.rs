//! A contact sheet: many genotypes on one page, each with its name and its cells at reduced size.

use super::canvas::{Canvas, Letters, Rect};
use super::cell::Cell;
use super::cells::draw_layout;
use super::layout::{CellLayout, lay_out};
use super::palette::{GRID, INK, MUTED, PAPER, Palette};
use super::text::Align;
use crate::Result;
use plotters::backend::DrawingBackend;

/// A page of genotypes, in rows of `columns`.
#[derive(Clone, Debug, Default)]
pub struct Sheet {
    /// Empty for none.
    pub title: String,
    pub columns: usize,
    pub items: Vec<SheetItem>,
}

/// A genotype on a sheet.
#[derive(Clone, Debug, Default)]
pub struct SheetItem {
    pub name: String,
    pub cells: Vec<Cell>,
}

/// Logical width of an item.
const WIDTH: f64 = 420.0;
/// Around an item's content.
const MARGIN: f64 = 12.0;
const HEADER: f64 = 34.0;
const CELL_NAME: f64 = 16.0;
const BETWEEN: f64 = 8.0;
const TITLE: f64 = 52.0;
/// Cells are drawn no larger than this, or narrow ones would look more important.
const ZOOM: f64 = 0.46;
const EM: f64 = 17.0;
const SMALL: f64 = 11.0;

/// An item with its cells laid out.
struct Placed<'a> {
    item: &'a SheetItem,
    layouts: Vec<(CellLayout, f64)>,
}

impl<'a> Placed<'a> {
    fn of(item: &'a SheetItem) -> Self {
        let fit = |cell: &Cell| {
            let layout = lay_out(cell);
            let zoom = ((WIDTH - 2.0 * MARGIN) / layout.size.0.max(1.0)).min(ZOOM);
            (layout, zoom)
        };
        Self { item, layouts: item.cells.iter().map(fit).collect() }
    }

    fn height(&self) -> f64 {
        let cells: f64 = self.layouts.iter().map(|(layout, zoom)| CELL_NAME + layout.size.1 * zoom + BETWEEN).sum();
        HEADER + cells + MARGIN
    }
}

impl Sheet {
    fn rows(&self) -> Vec<Vec<Placed<'_>>> {
        self.items.chunks(self.columns.max(1)).map(|row| row.iter().map(Placed::of).collect()).collect()
    }

    fn top(&self) -> f64 {
        if self.title.is_empty() { MARGIN } else { TITLE }
    }

    pub fn size(&self) -> (f64, f64) {
        let rows: f64 = self.rows().iter().map(|row| height(row)).sum();
        let columns = self.columns.max(1).min(self.items.len().max(1));
        (columns as f64 * WIDTH + 2.0 * MARGIN, self.top() + rows + MARGIN)
    }

    pub(super) fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<B>) -> Result<()> {
        if !self.title.is_empty() {
            canvas.text(&self.title, (2.0 * MARGIN, 34.0), Align::Left, Letters::new(22.0, INK).semi_bold())?;
        }
        let cells = self.items.iter().flat_map(|item| &item.cells);
        let palette = Palette::of(cells.flat_map(|cell| &cell.ops).map(|op| op.name.as_str()));
        let mut top = self.top();
        for row in self.rows() {
            let height = height(&row);
            for (column, placed) in row.iter().enumerate() {
                let area = Rect::new(MARGIN + column as f64 * WIDTH, top, WIDTH, height);
                draw_entry(canvas, placed, area, &palette)?;
            }
            top += height;
        }
        Ok(())
    }
}

fn height(row: &[Placed]) -> f64 {
    row.iter().map(Placed::height).fold(0.0, f64::max)
}

fn draw_entry<B: DrawingBackend>(canvas: &mut Canvas<B>, placed: &Placed, area: Rect, palette: &Palette) -> Result<()> {
    canvas.rounded(area.grown(-3.0), 8.0, PAPER, Some((GRID, 1.5)))?;
    // A long name is set smaller, never cut off.
    let name = &placed.item.name;
    let wide = Letters::new(EM, INK).semi_bold().width(name);
    let em = EM * ((WIDTH - 2.0 * MARGIN) / wide.max(1.0)).min(1.0);
    let left = area.left + MARGIN;
    canvas.text(name, (left, area.top + 25.0), Align::Left, Letters::new(em, INK).semi_bold())?;
    let mut top = area.top + HEADER;
    for (cell, (layout, zoom)) in placed.item.cells.iter().zip(&placed.layouts) {
        canvas.text(&cell.title, (left, top + SMALL), Align::Left, Letters::new(SMALL, MUTED))?;
        let free = WIDTH - 2.0 * MARGIN - layout.size.0 * zoom;
        let origin = (left + free / 2.0, top + CELL_NAME);
        draw_layout(&mut canvas.zoomed(origin, *zoom), cell, layout, palette)?;
        top += CELL_NAME + layout.size.1 * zoom + BETWEEN;
    }
    Ok(())
}
