//! A contact sheet of pictures, each with a few words below it.

use super::canvas::{Canvas, Letters, Rect};
use super::palette::{GRID, INK, MUTED, PAPER};
use super::text::{self, Align, Weight};
use crate::Result;
use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;

/// Pictures in rows.
#[derive(Clone, Debug, Default)]
pub struct Pictures {
    /// Empty for none.
    pub title: String,
    pub columns: usize,
    pub items: Vec<Picture>,
}

/// A picture and what is said of it, line by line; the first line stands out.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    /// Row by row.
    pub pixels: Vec<[u8; 3]>,
    pub lines: Vec<String>,
}

const EDGE: f64 = 16.0;
const TITLE: f64 = 50.0;
/// The longer edge of a picture.
const SIDE: f64 = 156.0;
const MARGIN: f64 = 10.0;
const EM: f64 = 13.0;
const LINE: f64 = 18.0;

impl Pictures {
    fn top(&self) -> f64 {
        if self.title.is_empty() { EDGE } else { TITLE }
    }

    fn item_size(&self) -> (f64, f64) {
        let lines = self.items.iter().map(|item| item.lines.len()).max().unwrap_or(0);
        (SIDE + 2.0 * MARGIN, SIDE + 2.0 * MARGIN + lines as f64 * LINE + 4.0)
    }

    pub fn size(&self) -> (f64, f64) {
        let columns = self.columns.max(1).min(self.items.len().max(1));
        let rows = self.items.len().div_ceil(self.columns.max(1));
        let (width, height) = self.item_size();
        let title = text::width(&self.title, 20.0, Weight::SemiBold);
        (2.0 * EDGE + (columns as f64 * width).max(title), self.top() + rows as f64 * height + EDGE)
    }

    pub(super) fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<B>) -> Result<()> {
        canvas.text(&self.title, (EDGE, 32.0), Align::Left, Letters::new(20.0, INK).semi_bold())?;
        let (width, height) = self.item_size();
        for (index, item) in self.items.iter().enumerate() {
            let (row, column) = (index / self.columns.max(1), index % self.columns.max(1));
            let (left, top) = (EDGE + column as f64 * width, self.top() + row as f64 * height);
            draw_item(canvas, item, Rect::new(left, top, width, height))?;
        }
        Ok(())
    }
}

fn draw_item<B: DrawingBackend>(canvas: &mut Canvas<B>, item: &Picture, area: Rect) -> Result<()> {
    canvas.rounded(area.grown(-3.0), 8.0, PAPER, Some((GRID, 1.5)))?;
    let zoom = SIDE / item.width.max(item.height).max(1) as f64;
    let (width, height) = (item.width as f64 * zoom, item.height as f64 * zoom);
    let middle = (area.center().0, area.top + MARGIN + SIDE / 2.0);
    let frame = Rect::centered(middle, width, height);
    for (index, &[red, green, blue]) in item.pixels.iter().enumerate() {
        let (x, y) = ((index % item.width) as f64, (index / item.width) as f64);
        let pixel = Rect::new(frame.left + x * zoom, frame.top + y * zoom, zoom, zoom);
        canvas.fill(pixel, RGBColor(red, green, blue))?;
    }
    let mut baseline = area.top + MARGIN + SIDE + LINE;
    for (number, line) in item.lines.iter().enumerate() {
        let (letters, weight) = match number {
            0 => (Letters::new(EM, INK).semi_bold(), Weight::SemiBold),
            _ => (Letters::new(EM, MUTED), Weight::Regular),
        };
        let line = text::fitted(line, EM, weight, SIDE);
        canvas.text(&line, (area.left + MARGIN, baseline), Align::Left, letters)?;
        baseline += LINE;
    }
    Ok(())
}
