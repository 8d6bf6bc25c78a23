//! Cells in a picture: states are boxes, ops are labelled curves from the state they read to the node they feed.

use super::WIDTH;
use super::canvas::{Canvas, Letters, Point};
use super::cell::{Cell, EM, HEAD};
use super::layout::{CellLayout, Mark, lay_out};
use super::palette::{Color, INK, PAPER, Palette, RULE, blend};
use super::text::Align;
use crate::Result;
use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;

/// Cells one above the other in one picture.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    /// Empty for none.
    pub title: String,
    pub cells: Vec<Cell>,
}

const EDGE: f64 = 22.0;
const TITLE: f64 = 46.0;
const NAME: f64 = 40.0;
const BETWEEN: f64 = 20.0;
const NODE: Color = RGBColor(0xe3, 0xea, 0xf2);
const NODE_EDGE: Color = RGBColor(0x8a, 0x99, 0xaa);
const OUTER: Color = RGBColor(0xf1, 0xf3, 0xf5);
impl Cells {
    /// Each cell's layout, moved to where it stands in the picture.
    pub fn layouts(&self) -> Vec<CellLayout> {
        let mut layouts: Vec<CellLayout> = self.cells.iter().map(lay_out).collect();
        let width = width(&layouts);
        let mut top = self.first_top();
        for layout in &mut layouts {
            layout.shift((width - layout.size.0) / 2.0, top + NAME);
            top += NAME + layout.size.1 + BETWEEN;
        }
        layouts
    }

    fn first_top(&self) -> f64 {
        if self.title.is_empty() { 10.0 } else { TITLE }
    }

    pub fn size(&self) -> (f64, f64) {
        let layouts = self.layouts();
        let height: f64 = layouts.iter().map(|l| NAME + l.size.1 + BETWEEN).sum();
        (width(&layouts), self.first_top() + height)
    }

    pub(super) fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<B>) -> Result<()> {
        if !self.title.is_empty() {
            canvas.text(&self.title, (EDGE, 32.0), Align::Left, Letters::new(20.0, INK).semi_bold())?;
        }
        let mut top = self.first_top();
        let names = self.cells.iter().flat_map(|c| &c.ops).map(|op| op.name.as_str()).filter(|name| !name.is_empty());
        let palette = Palette::of(names);
        for (cell, layout) in self.cells.iter().zip(self.layouts()) {
            canvas.text(&cell.title, (EDGE, top + 22.0), Align::Left, Letters::new(17.0, INK).semi_bold())?;
            draw_layout(canvas, cell, &layout, &palette)?;
            top += NAME + layout.size.1 + BETWEEN;
        }
        Ok(())
    }
}

fn width(layouts: &[CellLayout]) -> f64 {
    layouts.iter().map(|l| l.size.0 + 2.0 * EDGE).fold(WIDTH, f64::max)
}

/// Draws a cell where its layout has it.
pub(super) fn draw_layout<B: DrawingBackend>(
    canvas: &mut Canvas<B>,
    cell: &Cell,
    layout: &CellLayout,
    palette: &Palette,
) -> Result<()> {
    let color = |op: Option<usize>| op.map_or(RULE, |op| palette.color(&cell.ops[op].name));
    // The concatenation's plain lines lie under everything.
    let mut paths: Vec<_> = layout.paths.iter().collect();
    paths.sort_by_key(|path| path.op.is_some());
    for path in paths {
        let width = if path.op.is_some() { 2.2 } else { 1.4 };
        canvas.line(&path.points, PAPER, width + 4.0)?;
        canvas.line(&path.points, color(path.op), width)?;
        arrow_head(canvas, path.end, color(path.op))?;
    }
    for Mark { area, text, op } in &layout.labels {
        let color = color(*op);
        canvas.rounded(*area, 5.0, blend(color, PAPER, 0.13), Some((blend(color, PAPER, 0.75), 1.25)))?;
        canvas.text_centered_on(text, area.center(), Align::Center, Letters::new(EM, INK))?;
    }
    for Mark { area, text, .. } in &layout.nodes {
        let (fill, radius) = if cell.is_outer(text) { (OUTER, 7.0) } else { (NODE, 9.0) };
        canvas.rounded(*area, radius, fill, Some((NODE_EDGE, 1.5)))?;
        canvas.text_centered_on(text, area.center(), Align::Center, Letters::new(EM + 1.0, INK).semi_bold())?;
    }
    Ok(())
}

/// A head pointing right, its tip at `tip`.
fn arrow_head<B: DrawingBackend>(canvas: &mut Canvas<B>, tip: Point, color: Color) -> Result<()> {
    let back = tip.0 - HEAD;
    canvas.polygon(&[tip, (back, tip.1 - 4.5), (back, tip.1 + 4.5)], color)
}
