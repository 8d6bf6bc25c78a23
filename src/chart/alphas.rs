//! Alphas over time: a small panel per edge, one line per op, so that a search can be watched deciding.
//!
//! The panels stand as a matrix where they can: a row for each node, a column for each state it may read, as the edges
//! of a cell are numbered. The legend goes into the empty corner of that triangle, or below.

use super::WIDTH;
use super::axis::{Axis, draw_frame, share_axis, thinned};
use super::canvas::{Canvas, Letters, Point, Rect};
use super::legend::Legend;
use super::palette::{INK, MUTED, Palette};
use super::text::Align;
use crate::Result;
use plotters::backend::DrawingBackend;

/// Mixing weights of one kind of cell over time.
#[derive(Clone, Debug, Default)]
pub struct Alphas {
    pub title: String,
    /// What the x axis counts: "epoch" or "step".
    pub x: String,
    pub ops: Vec<String>,
    pub edges: Vec<Edge>,
    /// When each record was taken, ascending.
    pub times: Vec<f64>,
    /// One record per time: edges × ops, softmax or whatever relaxation the search uses.
    pub values: Vec<Vec<Vec<f64>>>,
}

/// An edge by the names of its ends, "c_{k-2}" and "0" say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    pub from: String,
    pub to: String,
}

impl Edge {
    pub fn title(&self) -> String {
        format!("{} → {}", self.from, self.to)
    }
}

const LEFT: f64 = 56.0;
const RIGHT: f64 = 20.0;
const TITLE: f64 = 52.0;
const GAP: (f64, f64) = (14.0, 34.0);
const BELOW: f64 = 62.0;
const EM: f64 = 15.0;

/// Where the panels stand.
struct Grid {
    columns: usize,
    rows: usize,
    /// (row, column) of each edge.
    places: Vec<(usize, usize)>,
    plot: (f64, f64),
}

impl Alphas {
    pub fn size(&self) -> (f64, f64) {
        let grid = self.grid();
        (self.width(&grid), self.plots_bottom(&grid) + BELOW + self.legend_below(&grid))
    }

    fn width(&self, grid: &Grid) -> f64 {
        LEFT + grid.columns as f64 * (grid.plot.0 + GAP.0) - GAP.0 + RIGHT
    }

    fn plots_bottom(&self, grid: &Grid) -> f64 {
        TITLE + grid.rows as f64 * (grid.plot.1 + GAP.1)
    }

    fn area(&self, grid: &Grid, (row, column): (usize, usize)) -> Rect {
        let left = LEFT + column as f64 * (grid.plot.0 + GAP.0);
        let top = TITLE + row as f64 * (grid.plot.1 + GAP.1) + GAP.1;
        Rect::new(left, top, grid.plot.0, grid.plot.1)
    }

    /// A row per target and a column per source if that fills at least half of the matrix, else rows filled in order.
    fn grid(&self) -> Grid {
        let sources = distinct(self.edges.iter().map(|e| e.from.as_str()));
        let targets = distinct(self.edges.iter().map(|e| e.to.as_str()));
        let place = |names: &[&str], name: &str| names.iter().position(|n| *n == name);
        let mut places: Vec<(usize, usize)> =
            self.edges.iter().filter_map(|e| Some((place(&targets, &e.to)?, place(&sources, &e.from)?))).collect();
        let (mut rows, mut columns) = (targets.len().max(1), sources.len().max(1));
        let one_each = (1..places.len()).all(|i| !places[..i].contains(&places[i]));
        if !one_each || 2 * places.len() < rows * columns {
            columns = (1..=6).find(|c| c * c >= self.edges.len()).unwrap_or(6);
            rows = self.edges.len().div_ceil(columns).max(1);
            places = (0..self.edges.len()).map(|i| (i / columns, i % columns)).collect();
        }
        let room = WIDTH - LEFT - RIGHT + GAP.0;
        let width = (room / columns as f64 - GAP.0).max(86.0);
        Grid { columns, rows, places, plot: (width, (0.68 * width).clamp(80.0, 300.0)) }
    }

    fn legend<'a>(&'a self, palette: &Palette) -> Legend<'a> {
        Legend { entries: self.ops.iter().map(|op| (op.as_str(), palette.color(op))).collect(), em: EM }
    }

    /// The empty upper right corner, if the legend fits there: its rectangle and how many columns of entries.
    fn corner(&self, grid: &Grid, legend: &Legend) -> Option<(Rect, usize)> {
        let used = |row: usize| grid.places.iter().filter(|p| p.0 == row).map(|p| p.1 + 1).max().unwrap_or(0);
        let tallest = grid.rows.saturating_sub(1);
        (1..=tallest).find_map(|rows| {
            let first = (0..rows).map(used).max()?;
            if first >= grid.columns {
                return None;
            }
            let (start, end) = (self.area(grid, (0, first)), self.area(grid, (rows - 1, grid.columns - 1)));
            let area = Rect { left: start.left + 24.0, top: start.top - 8.0, right: end.right, bottom: end.bottom };
            let columns = (area.width() / (legend.column_width() + 20.0)) as usize;
            let needed = legend.entries.len().div_ceil(columns.max(1)) as f64 * legend.line_height();
            (columns > 0 && needed <= area.height()).then_some((area, columns.min(legend.entries.len())))
        })
    }

    fn legend_below(&self, grid: &Grid) -> f64 {
        let legend = self.legend(&self.palette());
        match self.corner(grid, &legend) {
            Some(_) => 0.0,
            None => legend.rows(self.width(grid) - LEFT - RIGHT).len() as f64 * legend.line_height() + 12.0,
        }
    }

    fn palette(&self) -> Palette {
        Palette::of(self.ops.iter().map(String::as_str))
    }

    pub(super) fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<B>) -> Result<()> {
        let grid = self.grid();
        let palette = self.palette();
        let legend = self.legend(&palette);
        canvas.text(&self.title, (LEFT, 34.0), Align::Left, Letters::new(20.0, INK).semi_bold())?;

        let y = share_axis(self.values.iter().flatten().flatten().copied(), 3);
        let first = self.times.first().copied().unwrap_or(0.0);
        let last = self.times.last().copied().unwrap_or(1.0);
        let x = Axis::exact(first, last, ((grid.plot.0 / 50.0) as usize).clamp(2, 8), true);

        for (edge, &(row, column)) in grid.places.iter().enumerate() {
            let area = self.area(&grid, (row, column));
            let lowest = !grid.places.contains(&(row + 1, column));
            draw_frame(canvas, area, (&x, &y), (lowest, column == 0), EM - 2.0)?;
            let title = self.edges[edge].title();
            canvas.text(&title, (area.left, area.top - 8.0), Align::Left, Letters::new(EM, INK))?;
            for (op, name) in self.ops.iter().enumerate() {
                let value = |record: &Vec<Vec<f64>>| record.get(edge).and_then(|ops| ops.get(op)).copied();
                let points: Vec<Point> = self
                    .times
                    .iter()
                    .zip(&self.values)
                    .map(|(&time, record)| (time, value(record).unwrap_or(f64::NAN)))
                    .collect();
                for stretch in points.split(|p| !p.1.is_finite()).filter(|s| !s.is_empty()) {
                    let line = thinned(stretch, area, &x, &y);
                    canvas.line(&line, palette.color(name), if line.len() == 1 { 6.0 } else { 2.0 })?;
                }
            }
        }
        let bottom = self.plots_bottom(&grid);
        let middle = (LEFT + self.width(&grid) - RIGHT) / 2.0;
        canvas.text(&self.x, (middle, bottom + 44.0), Align::Center, Letters::new(EM, MUTED))?;
        self.draw_legend(canvas, &grid, &legend, bottom)
    }

    fn draw_legend<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<B>,
        grid: &Grid,
        legend: &Legend,
        bottom: f64,
    ) -> Result<()> {
        let Some((area, columns)) = self.corner(grid, legend) else {
            let span = (LEFT, self.width(grid) - RIGHT);
            return legend.draw_rows(canvas, span, bottom + BELOW, Align::Left);
        };
        let rows = legend.entries.len().div_ceil(columns);
        for index in 0..legend.entries.len() {
            let x = area.left + (index / rows) as f64 * (legend.column_width() + 20.0);
            let y = area.top + (index % rows) as f64 * legend.line_height() + legend.line_height() / 2.0;
            legend.draw_entry(canvas, index, (x, y))?;
        }
        Ok(())
    }
}

/// Names in the order of their first appearance.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}
