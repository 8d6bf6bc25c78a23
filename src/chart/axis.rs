//! Axes: a range of values, round tick marks in it, and their labels.

use super::canvas::{Canvas, Letters, Point, Rect};
use super::palette::{GRID, MUTED, RULE};
use super::text::Align;
use crate::Result;
use plotters::backend::DrawingBackend;

/// A linear axis.
#[derive(Clone, Debug)]
pub struct Axis {
    pub low: f64,
    pub high: f64,
    step: f64,
}

impl Axis {
    /// The range widened to whole steps, with about `ticks` of them.
    pub fn rounded(low: f64, high: f64, ticks: usize) -> Self {
        let (low, high) = opened(low, high);
        let step = round_step((high - low) / ticks as f64);
        Self { low: (low / step + 1e-9).floor() * step, high: (high / step - 1e-9).ceil() * step, step }
    }

    /// The range as it is, with about `ticks` round steps in it; a count (`whole`) never gets ticks between numbers.
    pub fn exact(low: f64, high: f64, ticks: usize, whole: bool) -> Self {
        let (low, high) = opened(low, high);
        let step = round_step((high - low) / ticks as f64);
        Self { low, high, step: if whole { step.max(1.0).round() } else { step } }
    }

    /// Tick values in ascending order.
    pub fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step - 1e-9).ceil() as i64;
        let last = (self.high / self.step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * self.step).collect()
    }

    /// A tick's label, with as many digits as tell it from the next one.
    pub fn label(&self, tick: f64) -> String {
        let largest = self.low.abs().max(self.high.abs());
        // A step is one digit at a power of ten.
        let power = (self.step.log10() + 1e-9).floor() as i32;
        if tick.abs() < 0.5 * self.step {
            return format!("{:.*}", if largest < 1e-3 { 0 } else { usize::try_from(-power).unwrap_or(0) }, 0.0);
        }
        if !(1e-3..1e7).contains(&largest) {
            let own = (tick.abs().log10() + 1e-9).floor() as i32;
            return format!("{tick:.*e}", usize::try_from(own - power).unwrap_or(0));
        }
        if self.step >= 1000.0 && self.high >= 10_000.0 {
            return format!("{}k", tick / 1000.0);
        }
        format!("{tick:.*}", usize::try_from(-power).unwrap_or(0))
    }

    /// How much room the labels of this axis, as the one at a plot's left, take beside the plot.
    pub fn room(&self, em: f64) -> f64 {
        let letters = Letters::new(em, MUTED);
        let widths = self.ticks().into_iter().map(|tick| letters.width(&self.label(tick)));
        widths.fold(0.0, f64::max) + 14.0
    }

    /// Where `value` lies between `start` (the axis's low end) and `end`, in pixels, held inside.
    pub fn place(&self, value: f64, start: f64, end: f64) -> f64 {
        start + (end - start) * ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// The axis of mixing weights: from 0 on, unless they are all so alike (early in a search) that only their differences
/// tell anything.
pub fn share_axis(values: impl Iterator<Item = f64>, ticks: usize) -> Axis {
    let (low, high) = bounds(values);
    Axis::rounded(if low > 0.0 && low < 0.5 * high { 0.0 } else { low }, high, ticks)
}

/// Smallest and largest finite value; 0 and 1 where there is none.
pub fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

/// A range that is not empty.
fn opened(low: f64, high: f64) -> (f64, f64) {
    if high - low > 1e-12 * low.abs().max(high.abs()).max(1e-300) {
        (low, high)
    } else {
        let margin = if low == 0.0 { 0.5 } else { low.abs() * 0.1 };
        (low - margin, high + margin)
    }
}

/// 1, 2 or 5 times a power of ten, not much less than `wanted`.
fn round_step(wanted: f64) -> f64 {
    let power = 10f64.powf(wanted.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|m| m * power).find(|step| *step >= 0.75 * wanted).unwrap_or(10.0 * power)
}

/// A plot's frame: grid and labels of both axes; `labels` says which axes get labels (x below, y left).
pub fn draw_frame<B: DrawingBackend>(
    canvas: &mut Canvas<B>,
    area: Rect,
    (x, y): (&Axis, &Axis),
    labels: (bool, bool),
    em: f64,
) -> Result<()> {
    let letters = Letters::new(em, MUTED);
    for tick in y.ticks() {
        let at = y.place(tick, area.bottom, area.top);
        canvas.line(&[(area.left, at), (area.right, at)], GRID, 1.0)?;
        if labels.1 {
            canvas.text_centered_on(&y.label(tick), (area.left - 0.5 * em, at), Align::Right, letters)?;
        }
    }
    for tick in x.ticks() {
        let at = x.place(tick, area.left, area.right);
        canvas.line(&[(at, area.bottom), (at, area.bottom + 4.0)], RULE, 1.0)?;
        if labels.0 {
            canvas.text(&x.label(tick), (at, area.bottom + 5.0 + em), Align::Center, letters)?;
        }
    }
    canvas.line(&[(area.left, area.bottom), (area.right, area.bottom)], RULE, 1.0)
}

/// `points` in the plot's pixels, without those a pixel column hides: of each column the first, lowest, highest, last.
pub fn thinned(points: &[Point], area: Rect, x: &Axis, y: &Axis) -> Vec<Point> {
    let mut kept: Vec<Point> = Vec::new();
    let mut column: Vec<Point> = Vec::new();
    let mut flush = |column: &mut Vec<Point>| {
        if column.len() <= 4 {
            kept.append(column);
            return;
        }
        let by_height = |a: &usize, b: &usize| column[*a].1.total_cmp(&column[*b].1);
        let low = (0..column.len()).min_by(by_height).unwrap_or(0);
        let high = (0..column.len()).max_by(by_height).unwrap_or(0);
        let mut picks = [0, low, high, column.len() - 1];
        picks.sort_unstable();
        kept.extend(picks.iter().map(|&i| column[i]));
        column.clear();
    };
    for &(px, py) in points {
        let at = (x.place(px, area.left, area.right), y.place(py, area.bottom, area.top));
        if column.first().is_some_and(|first| first.0.floor() != at.0.floor()) {
            flush(&mut column);
        }
        column.push(at);
    }
    flush(&mut column);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_labels_short() {
        let axis = Axis::rounded(0.0, 2.31, 5);
        assert_eq!(
            axis.ticks().iter().map(|t| axis.label(*t)).collect::<Vec<_>>(),
            ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]
        );
        let axis = Axis::exact(0.0, 3.0, 8, true);
        assert_eq!(axis.ticks().iter().map(|t| axis.label(*t)).collect::<Vec<_>>(), ["0", "1", "2", "3"]);
        let axis = Axis::exact(0.0, 19_550.0, 6, true);
        assert_eq!(axis.label(5000.0), "5k");
    }

    #[test]
    fn ticks_are_distinct_numbers_at_any_scale() {
        for (low, high) in [
            (0.912_345_6, 0.912_346),
            (0.0, 1e-6),
            (2e-30, 9e-30),
            (-1e30, 1e30),
            (1e9, 1e9 + 4.0),
            (0.0, 3e6),
            (-0.02, 0.03),
            (999.0, 1001.0),
        ] {
            for axis in [Axis::rounded(low, high, 5), Axis::exact(low, high, 5, false)] {
                let ticks = axis.ticks();
                let labels: Vec<String> = ticks.iter().map(|tick| axis.label(*tick)).collect();
                assert!((3..=9).contains(&labels.len()), "{labels:?}");
                for (tick, label) in ticks.iter().zip(&labels) {
                    let thousand = if label.ends_with('k') { 1000.0 } else { 1.0 };
                    let read = thousand * label.trim_end_matches('k').parse::<f64>().unwrap();
                    assert!((read - tick).abs() < 1e-3 * axis.step, "{label} stands at {tick}");
                    assert!(label.len() <= 13, "{label}");
                }
            }
        }
    }

    #[test]
    fn long_labels_get_the_room_that_they_need() {
        let room = |low, high| Axis::rounded(low, high, 8).room(15.0);
        let widest = Letters::new(15.0, MUTED).width("0.91234560");
        assert!(room(0.912_345_6, 0.912_345_9) >= widest + 7.5 && room(0.0, 1.0) < 60.0);
    }

    #[test]
    fn one_value_still_makes_an_axis() {
        let axis = Axis::rounded(0.7, 0.7, 5);
        assert!(axis.low < 0.7 && axis.high > 0.7 && axis.ticks().len() >= 2);
    }

    #[test]
    fn thinning_keeps_the_extremes() {
        let points: Vec<Point> = (0..10_000).map(|i| (f64::from(i), if i == 5_003 { 9.0 } else { 1.0 })).collect();
        let area = Rect::new(0.0, 0.0, 800.0, 100.0);
        let kept = thinned(&points, area, &Axis::exact(0.0, 10_000.0, 5, true), &Axis::exact(0.0, 10.0, 5, false));
        assert!(kept.len() <= 3_300);
        assert!(kept.iter().any(|p| (p.1 - 10.0).abs() < 1e-9));
    }
}
