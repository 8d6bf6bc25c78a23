//! Charts: losses and accuracy, alphas over time and at the end, and cells as graphs, from plain numbers and names.
//!
//! A [`Figure`] is data; [`save`] draws it to an SVG and a PNG through the same calls. Nothing here knows a network, a
//! tensor or a run: its callers turn those into numbers first.

mod alphas;
mod axis;
mod canvas;
mod cell;
mod cells;
mod confusion;
mod curves;
mod fallback;
mod groups;
mod heatmap;
mod layout;
mod legend;
mod order;
mod palette;
mod pictures;
mod raster;
mod save;
mod sheet;
mod text;

pub use alphas::{Alphas, Edge};
pub use canvas::{Point, Rect};
pub use cell::{Cell, Op, cell_title, state_name};
pub use cells::Cells;
pub use confusion::Confusion;
pub use curves::{Curves, Panel, Series};
pub use groups::{Group, Groups};
pub use heatmap::{HeatMap, Matrix};
pub use layout::{CellLayout, Mark, Path, lay_out};
pub use palette::{Color, Palette};
pub use pictures::{Picture, Pictures};
pub use save::{png, save, save_png, svg};
pub use sheet::{Sheet, SheetItem};

use crate::Result;
use canvas::Canvas;
use plotters::backend::DrawingBackend;

/// Logical width of a chart: what a README column shows.
const WIDTH: f64 = 900.0;

/// A chart, ready to be drawn.
#[derive(Clone, Debug)]
pub enum Figure {
    Curves(Curves),
    Alphas(Alphas),
    HeatMap(HeatMap),
    Cells(Cells),
    Sheet(Sheet),
    Groups(Groups),
    Confusion(Confusion),
    Pictures(Pictures),
}

impl Figure {
    /// Width and height in whole logical pixels.
    pub fn size(&self) -> (f64, f64) {
        let (width, height) = match self {
            Figure::Curves(chart) => chart.size(),
            Figure::Alphas(chart) => chart.size(),
            Figure::HeatMap(chart) => chart.size(),
            Figure::Cells(chart) => chart.size(),
            Figure::Sheet(chart) => chart.size(),
            Figure::Groups(chart) => chart.size(),
            Figure::Confusion(chart) => chart.size(),
            Figure::Pictures(chart) => chart.size(),
        };
        (width.ceil(), height.ceil())
    }

    fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<B>) -> Result<()> {
        match self {
            Figure::Curves(chart) => chart.draw(canvas),
            Figure::Alphas(chart) => chart.draw(canvas),
            Figure::HeatMap(chart) => chart.draw(canvas),
            Figure::Cells(chart) => chart.draw(canvas),
            Figure::Sheet(chart) => chart.draw(canvas),
            Figure::Groups(chart) => chart.draw(canvas),
            Figure::Confusion(chart) => chart.draw(canvas),
            Figure::Pictures(chart) => chart.draw(canvas),
        }
    }
}
