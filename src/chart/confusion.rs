//! What a network takes for what: a matrix of counts, coloured by their share of the row.

use super::canvas::{Canvas, Letters, Rect};
use super::heatmap::shade;
use super::palette::{INK, MUTED, PAPER, is_dark};
use super::text::{self, Align, Weight};
use crate::Result;
use plotters::backend::DrawingBackend;

/// Counts of images by what they are and what they are taken for.
#[derive(Clone, Debug, Default)]
pub struct Confusion {
    /// Empty for none.
    pub title: String,
    pub classes: Vec<String>,
    /// A row for each class that images are of, a column for each that they are taken for.
    pub counts: Vec<Vec<usize>>,
}

const EDGE: f64 = 20.0;
const EM: f64 = 14.0;
const TITLE: f64 = 44.0;
const NAME: f64 = 24.0;
const BELOW: f64 = 36.0;
/// The longest name that is shown whole.
const LONGEST: f64 = 190.0;
/// More classes than this are not legible.
const MOST: usize = 40;
const WIDTH: f64 = super::WIDTH;

impl Confusion {
    /// The same of the classes that are mistaken most often, where there are too many to be read.
    pub fn legible(self) -> Self {
        let all = self.classes.len();
        if all <= MOST {
            return self;
        }
        let wrong = |class: usize| {
            let row: usize = self.counts[class].iter().sum();
            let column: usize = self.counts.iter().map(|row| row[class]).sum();
            row + column - 2 * self.counts[class][class]
        };
        let mut kept: Vec<usize> = (0..all).collect();
        kept.sort_by_key(|&class| std::cmp::Reverse(wrong(class)));
        kept.truncate(MOST);
        kept.sort_unstable();
        Self {
            title: format!("{} (the {MOST} of {all} classes with the most mistakes)", self.title),
            classes: kept.iter().map(|&class| self.classes[class].clone()).collect(),
            counts: kept.iter().map(|&row| kept.iter().map(|&column| self.counts[row][column]).collect()).collect(),
        }
    }

    fn names(&self) -> Vec<String> {
        self.classes.iter().map(|name| text::fitted(name, EM, Weight::Regular, LONGEST)).collect()
    }

    /// Room for the longest name.
    fn name_room(&self) -> f64 {
        self.names().iter().map(|name| text::width(name, EM, Weight::Regular)).fold(0.0, f64::max) + 12.0
    }

    fn cell(&self) -> f64 {
        ((WIDTH - 2.0 * EDGE - NAME - self.name_room()) / self.classes.len().max(1) as f64).clamp(16.0, 52.0)
    }

    fn top(&self) -> f64 {
        (if self.title.is_empty() { 14.0 } else { TITLE }) + NAME + self.name_room()
    }

    pub fn size(&self) -> (f64, f64) {
        let side = self.classes.len() as f64 * self.cell();
        let width = 2.0 * EDGE + NAME + self.name_room() + side;
        let title = text::width(&self.title, 20.0, Weight::SemiBold) + 2.0 * EDGE;
        (width.max(480.0).max(title.min(WIDTH)), self.top() + side + BELOW)
    }

    pub(super) fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<B>) -> Result<()> {
        let title = text::fitted(&self.title, 20.0, Weight::SemiBold, self.size().0 - 2.0 * EDGE);
        canvas.text(&title, (EDGE, 32.0), Align::Left, Letters::new(20.0, INK).semi_bold())?;
        let (top, left, cell) = (self.top(), EDGE + NAME + self.name_room(), self.cell());
        let place =
            |row: usize, column: usize| Rect::new(left + column as f64 * cell, top + row as f64 * cell, cell, cell);
        let middle = self.classes.len() as f64 * cell / 2.0;
        let letters = Letters::new(EM, MUTED).semi_bold();
        canvas.text("the network says", (left, top - self.name_room() - 8.0), Align::Left, letters)?;
        let half = letters.width("the image is") / 2.0;
        canvas.text_upwards("the image is", (EDGE + NAME / 2.0 - 2.0, top + middle + half), letters)?;
        for (class, name) in self.names().iter().enumerate() {
            let area = place(class, class);
            canvas.text_upwards(name, (area.center().0, top - 7.0), Letters::new(EM, INK))?;
            let at = (left - 9.0, area.center().1);
            canvas.text_centered_on(name, at, Align::Right, Letters::new(EM, INK))?;
        }
        for (row, counts) in self.counts.iter().enumerate() {
            let all: usize = counts.iter().sum();
            for (column, &count) in counts.iter().enumerate() {
                let area = place(row, column).grown(-0.75);
                let color = shade(if all > 0 { count as f64 / all as f64 } else { f64::NAN });
                canvas.fill(area, color)?;
                let number = count.to_string();
                // As large as the cell allows; too small to be read is worse than none.
                let em = (cell * 0.4).min(1.5 * cell / number.len() as f64).min(13.5);
                if count > 0 && em >= 6.0 {
                    let ink = if is_dark(color) { PAPER } else { INK };
                    canvas.text_centered_on(&number, area.center(), Align::Center, Letters::new(em, ink))?;
                }
            }
        }
        let y = top + self.classes.len() as f64 * cell + 24.0;
        let words = "numbers count images; the darker, the larger the share of the row";
        canvas.text(words, (EDGE, y), Align::Left, Letters::new(EM - 1.0, MUTED))
    }
}
