//! The final alphas as heat maps, edges × ops, the op of the derived cell outlined in its row.

use super::WIDTH;
use super::alphas::Edge;
use super::axis::{Axis, share_axis};
use super::canvas::{Canvas, Letters, Rect};
use super::palette::{Color, INK, MUTED, PAPER, RULE, blend, is_dark};
use super::text::{self, Align, Weight};
use crate::Result;
use plotters::backend::DrawingBackend;
use plotters::style::RGBColor;

/// One or several matrices side by side on one colour scale.
#[derive(Clone, Debug, Default)]
pub struct HeatMap {
    pub title: String,
    pub matrices: Vec<Matrix>,
}

/// The mixing weights of one kind of cell.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    pub name: String,
    pub ops: Vec<String>,
    pub edges: Vec<Edge>,
    /// Edges × ops.
    pub values: Vec<Vec<f64>>,
    /// For each edge the index of the op that the derived cell has there, if it keeps the edge.
    pub chosen: Vec<Option<usize>>,
}

const EM: f64 = 15.0;
const VALUE_EM: f64 = 13.5;
const EDGE: f64 = 20.0;
const TITLE: f64 = 44.0;
const NAME: f64 = 26.0;
const BAR: f64 = 62.0;
const BETWEEN: f64 = 28.0;
/// Cells smaller than this carry no number.
const LEAST_FOR_VALUE: (f64, f64) = (32.0, 18.0);
/// The high end of the colour scale; the low end is the paper.
const DEEP: Color = RGBColor(0x0b, 0x3c, 0x6f);
const MIDDLE: Color = RGBColor(0x4a, 0x9b, 0xc9);

impl HeatMap {
    /// Space for row names, in every matrix the same.
    fn row_names(&self) -> f64 {
        let names = self.matrices.iter().flat_map(|m| &m.edges);
        names.map(|e| text::width(&e.title(), EM, Weight::Regular)).fold(0.0, f64::max) + 10.0
    }

    /// Space for column names, which read upwards.
    fn column_names(&self) -> f64 {
        let names = self.matrices.iter().flat_map(|m| &m.ops);
        names.map(|op| text::width(op, EM, Weight::Regular)).fold(0.0, f64::max) + 12.0
    }

    fn cell(&self) -> (f64, f64) {
        let count = self.matrices.len().max(1) as f64;
        let columns: usize = self.matrices.iter().map(|m| m.ops.len()).sum::<usize>().max(1);
        let room = WIDTH - 2.0 * EDGE - BAR - count * self.row_names() - (count - 1.0) * BETWEEN;
        ((room / columns as f64).clamp(18.0, 72.0), 27.0)
    }

    fn matrix_width(&self, matrix: &Matrix) -> f64 {
        self.row_names() + matrix.ops.len() as f64 * self.cell().0
    }

    fn top(&self) -> f64 {
        TITLE + NAME + self.column_names()
    }

    fn rows(&self) -> usize {
        self.matrices.iter().map(|m| m.edges.len()).max().unwrap_or(0)
    }

    pub fn size(&self) -> (f64, f64) {
        let matrices: f64 = self.matrices.iter().map(|m| self.matrix_width(m)).sum();
        let gaps = BETWEEN * self.matrices.len().saturating_sub(1) as f64;
        let width = 2.0 * EDGE + matrices + gaps + BAR;
        (width.max(320.0), self.top() + self.rows() as f64 * self.cell().1 + 46.0)
    }

    pub(super) fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<B>) -> Result<()> {
        let values = self.matrices.iter().flat_map(|m| m.values.iter().flatten());
        let scale = share_axis(values.copied(), 4);
        let limit = self.size().0 - 2.0 * EDGE;
        let title = text::fitted(&self.title, 20.0, Weight::SemiBold, limit);
        canvas.text(&title, (EDGE, 32.0), Align::Left, Letters::new(20.0, INK).semi_bold())?;

        let mut left = EDGE;
        for matrix in &self.matrices {
            self.draw_matrix(canvas, matrix, left, &scale)?;
            left += self.matrix_width(matrix) + BETWEEN;
        }
        self.draw_bar(canvas, left - BETWEEN + 18.0, &scale)?;
        if self.matrices.iter().any(|m| m.chosen.iter().any(Option::is_some)) {
            let y = self.size().1 - 22.0;
            canvas.rounded(Rect::centered((EDGE + 9.0, y), 18.0, 16.0), 3.0, PAPER, Some((INK, 2.0)))?;
            let letters = Letters::new(EM - 1.0, MUTED);
            canvas.text_centered_on("op in the derived cell", (EDGE + 26.0, y), Align::Left, letters)?;
        }
        Ok(())
    }

    fn draw_matrix<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<B>,
        matrix: &Matrix,
        left: f64,
        scale: &Axis,
    ) -> Result<()> {
        let (width, height) = self.cell();
        let (top, grid_left) = (self.top(), left + self.row_names());
        let place = |row: usize, column: usize| {
            Rect::new(grid_left + column as f64 * width, top + row as f64 * height, width, height)
        };
        let middle = grid_left + matrix.ops.len() as f64 * width / 2.0;
        let name = Letters::new(EM + 1.0, INK).semi_bold();
        canvas.text(&matrix.name, (middle, TITLE + 16.0), Align::Center, name)?;
        for (column, op) in matrix.ops.iter().enumerate() {
            let at = (place(0, column).center().0, top - 8.0);
            canvas.text_upwards(op, at, Letters::new(EM, INK))?;
        }
        for (row, edge) in matrix.edges.iter().enumerate() {
            let at = (grid_left - 10.0, place(row, 0).center().1);
            canvas.text_centered_on(&edge.title(), at, Align::Right, Letters::new(EM, INK))?;
            for (column, &value) in matrix.values.get(row).into_iter().flatten().enumerate() {
                let cell = place(row, column).grown(-1.0);
                let color = shade((value - scale.low) / (scale.high - scale.low));
                canvas.fill(cell, color)?;
                if width >= LEAST_FOR_VALUE.0 && height >= LEAST_FOR_VALUE.1 && value.is_finite() {
                    let ink = if is_dark(color) { PAPER } else { INK };
                    let number = short(value, if scale.high - scale.low < 0.1 { 3 } else { 2 });
                    canvas.text_centered_on(&number, cell.center(), Align::Center, Letters::new(VALUE_EM, ink))?;
                }
            }
        }
        for (row, op) in matrix.chosen.iter().enumerate() {
            if let Some(column) = *op {
                // A light line inside the dark one: one of them stands out from any shade.
                outline(canvas, place(row, column).grown(-2.2), PAPER, 1.5)?;
                outline(canvas, place(row, column).grown(-0.5), INK, 2.0)?;
            }
        }
        Ok(())
    }

    fn draw_bar<B: DrawingBackend>(&self, canvas: &mut Canvas<B>, left: f64, scale: &Axis) -> Result<()> {
        let height = (self.rows() as f64 * self.cell().1).max(60.0);
        let bar = Rect::new(left, self.top(), 12.0, height);
        let steps = 64;
        for i in 0..steps {
            let share = f64::from(i) / f64::from(steps);
            // Each slice reaches up to the top, under the next ones: no seams between them.
            let slice = Rect { bottom: bar.bottom - height * share, ..bar };
            canvas.fill(slice, shade(share + 0.5 / f64::from(steps)))?;
        }
        outline(canvas, bar, RULE, 1.0)?;
        for tick in scale.ticks() {
            let at = (bar.right + 6.0, scale.place(tick, bar.bottom, bar.top));
            canvas.text_centered_on(&scale.label(tick), at, Align::Left, Letters::new(EM - 2.0, MUTED))?;
        }
        Ok(())
    }
}

fn outline<B: DrawingBackend>(canvas: &mut Canvas<B>, area: Rect, color: Color, width: f64) -> Result<()> {
    let corners = [(area.left, area.top), (area.right, area.top), (area.right, area.bottom), (area.left, area.bottom)];
    canvas.line(&[corners[0], corners[1], corners[2], corners[3], corners[0]], color, width)
}

/// Pale at 0, deep at 1, grey where there is no number.
pub(super) fn shade(share: f64) -> Color {
    let pale = blend(MIDDLE, PAPER, 0.08);
    match share {
        s if !s.is_finite() => RULE,
        s if s < 0.5 => blend(MIDDLE, pale, (2.0 * s).max(0.0)),
        s => blend(DEEP, MIDDLE, (2.0 * s - 1.0).min(1.0)),
    }
}

/// Few decimals and no leading zero, as such tables print shares.
fn short(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix("0.") {
        Some(decimals) => format!(".{decimals}"),
        None => text,
    }
}
