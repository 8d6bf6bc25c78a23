//! Groups of results side by side: every result a dot, the mean a line, the standard deviation a band.

use super::WIDTH;
use super::axis::{Axis, bounds};
use super::canvas::{Canvas, Letters, Rect};
use super::palette::{GRID, INK, MUTED, PAPER, RULE, SERIES, blend};
use super::text::Align;
use crate::Result;
use plotters::backend::DrawingBackend;

/// A chart of one row per group.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    /// Empty for none.
    pub title: String,
    /// What is measured.
    pub x: String,
    pub groups: Vec<Group>,
}

/// Results of one kind.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub name: String,
    pub values: Vec<f64>,
}

impl Group {
    fn finite(&self) -> Vec<f64> {
        self.values.iter().copied().filter(|value| value.is_finite()).collect()
    }

    /// Mean and standard deviation (of a sample; 0 for a single value) of the finite values.
    pub fn moments(&self) -> Option<(f64, f64)> {
        let values = self.finite();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (count > 0.0).then(|| (mean, (squares / (count - 1.0).max(1.0)).sqrt()))
    }
}

const EM: f64 = 16.0;
const EDGE: f64 = 22.0;
const TITLE: f64 = 46.0;
const ROW: f64 = 84.0;
const BELOW: f64 = 58.0;
const DOT: f64 = 5.0;

impl Groups {
    fn top(&self) -> f64 {
        if self.title.is_empty() { 14.0 } else { TITLE }
    }

    pub fn size(&self) -> (f64, f64) {
        (WIDTH, self.top() + self.groups.len() as f64 * ROW + BELOW)
    }

    pub(super) fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<B>) -> Result<()> {
        if !self.title.is_empty() {
            canvas.text(&self.title, (EDGE, 32.0), Align::Left, Letters::new(20.0, INK).semi_bold())?;
        }
        let letters = Letters::new(EM, INK);
        let names = self.groups.iter().map(|group| letters.semi_bold().width(&group.name)).fold(60.0, f64::max);
        let left = (EDGE + names + 24.0).min(WIDTH / 2.0);
        let area = Rect::new(left, self.top(), WIDTH - EDGE - left, self.groups.len() as f64 * ROW);
        let bands = self.groups.iter().filter_map(Group::moments).flat_map(|(mean, std)| [mean - std, mean + std]);
        let (low, high) = bounds(self.groups.iter().flat_map(|group| &group.values).copied().chain(bands));
        let axis = Axis::rounded(low, high, 8);
        for tick in axis.ticks() {
            let at = axis.place(tick, area.left, area.right);
            canvas.line(&[(at, area.top), (at, area.bottom)], GRID, 1.0)?;
            let label = (at, area.bottom + 4.0 + EM);
            canvas.text(&axis.label(tick), label, Align::Center, Letters::new(EM - 1.0, MUTED))?;
        }
        canvas.line(&[(area.left, area.bottom), (area.right, area.bottom)], RULE, 1.0)?;
        for (index, group) in self.groups.iter().enumerate() {
            let middle = area.top + (index as f64 + 0.5) * ROW;
            canvas.text_centered_on(&group.name, (EDGE, middle), Align::Left, letters.semi_bold())?;
            let color = SERIES[index % SERIES.len()];
            let place = |value: f64| axis.place(value, area.left, area.right);
            if let Some((mean, deviation)) = group.moments() {
                let (from, to) = (place(mean - deviation), place(mean + deviation));
                canvas.fill(Rect::new(from, middle - 26.0, (to - from).max(1.0), 52.0), blend(color, PAPER, 0.16))?;
                canvas.line(&[(place(mean), middle - 26.0), (place(mean), middle + 26.0)], color, 2.5)?;
            }
            let mut placed: Vec<(f64, f64)> = Vec::new();
            for value in group.finite() {
                let center = (place(value), middle + lane(&placed, place(value)));
                placed.push((center.0, center.1 - middle));
                canvas.disc(center, DOT + 1.0, PAPER)?;
                canvas.disc(center, DOT, color)?;
            }
        }
        let below = (f64::midpoint(area.left, area.right), area.bottom + 2.0 * EM + 14.0);
        canvas.text(&self.x, below, Align::Center, Letters::new(EM, MUTED))
    }
}

/// The height nearest to the middle at which a dot covers none that was placed before.
fn lane(placed: &[(f64, f64)], x: f64) -> f64 {
    let apart = 2.0 * DOT + 1.0;
    let lanes = [0.0, -1.0, 1.0, -2.0, 2.0].map(|lane| lane * apart);
    let free =
        |lane: &&f64| placed.iter().all(|(at, height)| (at - x).abs() >= apart || (height - **lane).abs() >= apart);
    lanes.iter().find(free).copied().unwrap_or(0.0)
}
