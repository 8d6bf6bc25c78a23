//! Curves: losses, accuracy and whatever else a run logs, over steps or epochs.
//!
//! Quantities that do not share a scale get panels of their own, one above the other over one x axis. The legend of a
//! panel stands above it, outside the data. A long noisy series is drawn pale with its moving average on top.

use super::WIDTH;
use super::axis::{Axis, bounds, draw_frame, thinned};
use super::canvas::{Canvas, Letters, Point, Rect};
use super::legend::Legend;
use super::palette::{Color, INK, MUTED, PAPER, SERIES, blend};
use super::text::Align;
use crate::Result;
use plotters::backend::DrawingBackend;

/// A chart of one or several panels.
#[derive(Clone, Debug, Default)]
pub struct Curves {
    /// Empty for none.
    pub title: String,
    /// What the x axis measures: "epoch", "step".
    pub x: String,
    /// Whether x counts something, so that its ticks are whole numbers.
    pub counts: bool,
    pub panels: Vec<Panel>,
}

/// Series that share a scale.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// What is measured: "loss", "accuracy".
    pub name: String,
    pub series: Vec<Series>,
}

#[derive(Clone, Debug, Default)]
pub struct Series {
    pub name: String,
    /// (x, value) in ascending x. A value that is not finite leaves a gap.
    pub points: Vec<Point>,
}

/// Room for tick labels, where they need no more.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 24.0;
const EM: f64 = 16.0;
const TITLE: f64 = 44.0;
/// Between a panel's bottom and what follows, tick labels included.
const BELOW: f64 = 36.0;
const AXIS_NAME: f64 = 24.0;
/// From this many points on, a series is drawn smoothed.
const SMOOTHED_FROM: usize = 120;
/// Up to this many points, each is marked by a dot.
const DOTS_UP_TO: usize = 40;

impl Curves {
    pub fn size(&self) -> (f64, f64) {
        let left = self.left();
        let panels: f64 = (0..self.panels.len()).map(|i| self.header(i, left) + self.plot_height(i) + BELOW).sum();
        (WIDTH, self.title_height() + panels + AXIS_NAME + 8.0)
    }

    /// Where the plots begin: all at one place, so that their x axes stand under one another.
    fn left(&self) -> f64 {
        let axes = self.panels.iter().enumerate().map(|(index, panel)| {
            let smoothed: Vec<_> = panel.series.iter().map(|s| smooth(&s.points)).collect();
            y_axis(panel, &smoothed, self.plot_height(index))
        });
        axes.map(|axis| axis.room(EM - 1.0)).fold(LEFT, f64::max)
    }

    fn title_height(&self) -> f64 {
        if self.title.is_empty() { 12.0 } else { TITLE }
    }

    fn plot_height(&self, panel: usize) -> f64 {
        match (self.panels.len(), panel) {
            (1, _) => 340.0,
            (2, 0) => 270.0,
            _ => 200.0,
        }
    }

    fn legend(&self, panel: usize) -> Legend<'_> {
        let before: usize = self.panels[..panel].iter().map(|p| p.series.len()).sum();
        let named = self.panels[panel].series.iter().enumerate();
        Legend { entries: named.map(|(i, s)| (s.name.as_str(), series_color(before + i))).collect(), em: EM }
    }

    /// Where a panel's legend may stand: right of the panel's name.
    fn legend_span(&self, panel: usize, left: f64) -> (f64, f64) {
        let name = Letters::new(EM, INK).semi_bold().width(&self.panels[panel].name);
        (left + name + 24.0, WIDTH - RIGHT)
    }

    fn header(&self, panel: usize, left: f64) -> f64 {
        let legend = self.legend(panel);
        let (left, right) = self.legend_span(panel, left);
        legend.rows(right - left).len() as f64 * legend.line_height() + 10.0
    }

    pub(super) fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<B>) -> Result<()> {
        let left = self.left();
        if !self.title.is_empty() {
            canvas.text(&self.title, (left, 32.0), Align::Left, Letters::new(20.0, INK).semi_bold())?;
        }
        let x = self.x_axis();
        let mut top = self.title_height();
        let mut bottom = top;
        for (index, panel) in self.panels.iter().enumerate() {
            let legend = self.legend(index);
            let middle = top + legend.line_height() / 2.0;
            canvas.text_centered_on(&panel.name, (left, middle), Align::Left, Letters::new(EM, INK).semi_bold())?;
            legend.draw_rows(canvas, self.legend_span(index, left), top, Align::Right)?;

            let plot_top = top + self.header(index, left);
            let area = Rect::new(left, plot_top, WIDTH - RIGHT - left, self.plot_height(index));
            draw_panel(canvas, panel, area, &x, &legend)?;
            bottom = area.bottom;
            top = area.bottom + BELOW;
        }
        canvas.text(
            &self.x,
            ((left + WIDTH - RIGHT) / 2.0, bottom + BELOW + 12.0),
            Align::Center,
            Letters::new(EM, MUTED),
        )
    }

    fn x_axis(&self) -> Axis {
        let xs = || self.panels.iter().flat_map(|p| &p.series).flat_map(|s| &s.points).map(|p| p.0);
        let (low, high) = bounds(xs());
        let low = if low > 0.0 && low < 0.2 * high { 0.0 } else { low };
        Axis::exact(low, high, 8, self.counts)
    }
}

fn series_color(index: usize) -> Color {
    SERIES[index % SERIES.len()]
}

fn draw_panel<B: DrawingBackend>(
    canvas: &mut Canvas<B>,
    panel: &Panel,
    area: Rect,
    x: &Axis,
    legend: &Legend,
) -> Result<()> {
    let smoothed: Vec<Option<Vec<Point>>> = panel.series.iter().map(|s| smooth(&s.points)).collect();
    let y = y_axis(panel, &smoothed, area.height());
    draw_frame(canvas, area, (x, &y), (true, true), EM - 1.0)?;

    for (index, series) in panel.series.iter().enumerate() {
        if smoothed[index].is_some() {
            let pale = blend(legend.entries[index].1, PAPER, 0.32);
            draw_line(canvas, &series.points, (area, x, &y), pale, 1.0)?;
        }
    }
    for (index, series) in panel.series.iter().enumerate() {
        let color = legend.entries[index].1;
        let points = smoothed[index].as_ref().unwrap_or(&series.points);
        draw_line(canvas, points, (area, x, &y), color, 2.5)?;
        if points.len() <= DOTS_UP_TO {
            for &(at, value) in points.iter().filter(|p| p.1.is_finite()) {
                let center = (x.place(at, area.left, area.right), y.place(value, area.bottom, area.top));
                canvas.disc(center, 4.0, color)?;
            }
        }
    }
    Ok(())
}

/// A polyline for each stretch of finite values.
fn draw_line<B: DrawingBackend>(
    canvas: &mut Canvas<B>,
    points: &[Point],
    (area, x, y): (Rect, &Axis, &Axis),
    color: Color,
    width: f64,
) -> Result<()> {
    for stretch in points.split(|p| !p.1.is_finite()).filter(|s| !s.is_empty()) {
        canvas.line(&thinned(stretch, area, x, y), color, width)?;
    }
    Ok(())
}

/// The moving average of a long series: the mean of the finite values in a window about each point, gaps kept.
fn smooth(points: &[Point]) -> Option<Vec<Point>> {
    if points.len() < SMOOTHED_FROM {
        return None;
    }
    let half = points.len().div_ceil(80).max(3);
    let mut sums = vec![(0.0, 0.0)];
    for &(_, value) in points {
        let (sum, count) = sums[sums.len() - 1];
        sums.push(if value.is_finite() { (sum + value, count + 1.0) } else { (sum, count) });
    }
    let mean = |(index, &(x, value)): (usize, &Point)| {
        // Towards the ends the window shrinks, so that the curve does not flatten there, but never to a noisy few.
        let reach = half.min(index.min(points.len() - 1 - index).max(half / 3));
        let (from, to) = (sums[index.saturating_sub(reach)], sums[(index + reach + 1).min(points.len())]);
        (x, if value.is_finite() { (to.0 - from.0) / (to.1 - from.1) } else { value })
    };
    Some(points.iter().enumerate().map(mean).collect())
}

/// Every line in view; of a noisy series the rarest spikes may leave it.
fn y_axis(panel: &Panel, smoothed: &[Option<Vec<Point>>], height: f64) -> Axis {
    let mut shown: Vec<f64> = Vec::new();
    for (series, smooth) in panel.series.iter().zip(smoothed) {
        let finite = |points: &[Point]| points.iter().map(|p| p.1).filter(|v| v.is_finite()).collect::<Vec<f64>>();
        let mut values = finite(&series.points);
        if let Some(smooth) = smooth {
            values.sort_by(f64::total_cmp);
            let cut = values.len() / 200;
            values = values[cut..values.len() - cut].to_vec();
            values.extend(finite(smooth));
        }
        shown.extend(values);
    }
    let (low, high) = bounds(shown.into_iter());
    let low = if low > 0.0 && low < 0.4 * high { 0.0 } else { low };
    Axis::rounded(low, high, (height / 42.0) as usize)
}
