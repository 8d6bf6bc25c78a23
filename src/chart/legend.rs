//! Legends: names with a stroke of their colour, in rows that never run over.

use super::canvas::{Canvas, Letters};
use super::palette::{Color, INK};
use super::text::Align;
use crate::Result;
use plotters::backend::DrawingBackend;

const SWATCH: f64 = 18.0;
const AFTER_SWATCH: f64 = 7.0;
const BETWEEN: f64 = 22.0;

pub struct Legend<'a> {
    pub entries: Vec<(&'a str, Color)>,
    pub em: f64,
}

impl Legend<'_> {
    fn letters(&self) -> Letters {
        Letters::new(self.em, INK)
    }

    /// Height of a row.
    pub fn line_height(&self) -> f64 {
        1.5 * self.em
    }

    fn entry_width(&self, index: usize) -> f64 {
        SWATCH + AFTER_SWATCH + self.letters().width(self.entries[index].0)
    }

    /// Width of the widest entry.
    pub fn column_width(&self) -> f64 {
        (0..self.entries.len()).map(|i| self.entry_width(i)).fold(0.0, f64::max)
    }

    /// The entries of each row when rows are at most `width` wide.
    pub fn rows(&self, width: f64) -> Vec<Vec<usize>> {
        let mut rows: Vec<Vec<usize>> = vec![Vec::new()];
        let mut used = 0.0;
        for index in 0..self.entries.len() {
            let entry = self.entry_width(index);
            let row = rows.last_mut().filter(|row| row.is_empty() || used + BETWEEN + entry <= width);
            match row {
                Some(row) => {
                    used += if row.is_empty() { entry } else { BETWEEN + entry };
                    row.push(index);
                }
                None => {
                    rows.push(vec![index]);
                    used = entry;
                }
            }
        }
        rows
    }

    /// Rows from `top` on, aligned within `left..right`.
    pub fn draw_rows<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<B>,
        (left, right): (f64, f64),
        top: f64,
        align: Align,
    ) -> Result<()> {
        for (number, row) in self.rows(right - left).iter().enumerate() {
            let width =
                row.iter().map(|&i| self.entry_width(i)).sum::<f64>() + BETWEEN * row.len().saturating_sub(1) as f64;
            let mut x = match align {
                Align::Left => left,
                Align::Center => (left + right - width) / 2.0,
                Align::Right => right - width,
            };
            let y = top + (number as f64 + 0.5) * self.line_height();
            for &index in row {
                self.draw_entry(canvas, index, (x, y))?;
                x += self.entry_width(index) + BETWEEN;
            }
        }
        Ok(())
    }

    /// One entry, its left end centred on the point.
    pub fn draw_entry<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<B>,
        index: usize,
        (x, y): (f64, f64),
    ) -> Result<()> {
        let (name, color) = self.entries[index];
        canvas.line(&[(x + 2.0, y), (x + SWATCH - 2.0, y)], color, 4.0)?;
        canvas.text_centered_on(name, (x + SWATCH + AFTER_SWATCH, y), Align::Left, self.letters())
    }
}
