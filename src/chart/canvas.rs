//! The drawing surface: a few shapes and texts in logical pixels over any plotters backend.
//!
//! plotters' backends take whole-number coordinates, so everything is drawn four times larger than it is shown: the SVG
//! declares the logical size over the large view box, the PNG is averaged down. Text is placed by its baseline, which
//! the two backends put at different heights below their anchor; [`Surface`] knows both.

use super::fallback::{self, Piece};
use super::palette::Color;
use super::text::{self, Align, Weight};
use crate::{Error, Result};
use plotters::backend::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, FontTransform, ShapeStyle, TextStyle};
use std::f64::consts::{FRAC_PI_2, TAU};

/// Backend units per logical pixel.
pub const SCALE: f64 = 4.0;

/// A point in logical pixels, y downwards.
pub type Point = (f64, f64);

/// What differs between the backends.
#[derive(Clone, Copy, Debug)]
pub struct Surface {
    /// From the anchor of a text anchored at its top to its baseline, in em.
    baseline: f64,
    /// Units of font size per em.
    units_per_em: f64,
    /// Whether whoever looks at it has fonts of their own.
    has_fonts: bool,
}

impl Surface {
    /// plotters' SVG backend writes `dy="0.76em"` and divides the font size by 1.24.
    pub const SVG: Self = Self { baseline: 0.76, units_per_em: 1.24, has_fonts: true };
    /// plotters with ab_glyph puts the baseline half a font size down.
    pub const BITMAP: Self =
        Self { baseline: text::BITMAP_UNITS_PER_EM / 2.0, units_per_em: text::BITMAP_UNITS_PER_EM, has_fonts: false };
}

/// An upright rectangle in logical pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Rect {
    pub fn new(left: f64, top: f64, width: f64, height: f64) -> Self {
        Self { left, top, right: left + width, bottom: top + height }
    }

    pub fn centered((x, y): Point, width: f64, height: f64) -> Self {
        Self::new(x - width / 2.0, y - height / 2.0, width, height)
    }

    pub fn width(&self) -> f64 {
        self.right - self.left
    }

    pub fn height(&self) -> f64 {
        self.bottom - self.top
    }

    pub fn center(&self) -> Point {
        ((self.left + self.right) / 2.0, (self.top + self.bottom) / 2.0)
    }

    /// Grown by `margin` on every side.
    pub fn grown(&self, margin: f64) -> Self {
        Self {
            left: self.left - margin,
            top: self.top - margin,
            right: self.right + margin,
            bottom: self.bottom + margin,
        }
    }

    pub fn moved(&self, dx: f64, dy: f64) -> Self {
        Self { left: self.left + dx, top: self.top + dy, right: self.right + dx, bottom: self.bottom + dy }
    }

    pub fn overlaps(&self, other: &Rect) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    pub fn contains(&self, (x, y): Point) -> bool {
        self.left <= x && x <= self.right && self.top <= y && y <= self.bottom
    }
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub struct Letters {
    /// Font size in logical pixels.
    pub em: f64,
    pub weight: Weight,
    pub color: Color,
}

impl Letters {
    pub fn new(em: f64, color: Color) -> Self {
        Self { em, weight: Weight::Regular, color }
    }

    pub fn semi_bold(mut self) -> Self {
        self.weight = Weight::SemiBold;
        self
    }

    pub fn width(&self, text: &str) -> f64 {
        text::width(text, self.em, self.weight)
    }
}

/// A backend seen in logical pixels.
pub struct Canvas<'a, B: DrawingBackend> {
    backend: &'a mut B,
    surface: Surface,
    /// Where the point (0, 0) lies, and how much larger than given everything is drawn.
    origin: Point,
    zoom: f64,
}

impl<'a, B: DrawingBackend> Canvas<'a, B> {
    pub fn new(backend: &'a mut B, surface: Surface) -> Self {
        Self { backend, surface, origin: (0.0, 0.0), zoom: 1.0 }
    }

    /// The same surface with its origin at `origin` and everything `zoom` times as large.
    pub fn zoomed(&mut self, (x, y): Point, zoom: f64) -> Canvas<'_, B> {
        let origin = (self.origin.0 + x * self.zoom, self.origin.1 + y * self.zoom);
        Canvas { backend: self.backend, surface: self.surface, origin, zoom: self.zoom * zoom }
    }

    /// In the backend's units.
    fn units(&self, (x, y): Point) -> (i32, i32) {
        let unit = |at: f64, origin: f64| ((origin + at * self.zoom) * SCALE).round() as i32;
        (unit(x, self.origin.0), unit(y, self.origin.1))
    }

    pub fn fill(&mut self, area: Rect, color: Color) -> Result<()> {
        let (from, to) = (self.units((area.left, area.top)), self.units((area.right, area.bottom)));
        self.backend.draw_rect(from, to, &color.filled(), true).map_err(failed)
    }

    /// A rectangle with rounded corners, filled and edged.
    pub fn rounded(&mut self, area: Rect, radius: f64, fill: Color, edge: Option<(Color, f64)>) -> Result<()> {
        let radius = radius.min(area.width() / 2.0).min(area.height() / 2.0);
        let corners = [
            (area.right - radius, area.top + radius, -FRAC_PI_2),
            (area.right - radius, area.bottom - radius, 0.0),
            (area.left + radius, area.bottom - radius, FRAC_PI_2),
            (area.left + radius, area.top + radius, 2.0 * FRAC_PI_2),
        ];
        let steps = 8;
        let mut outline: Vec<Point> = corners
            .iter()
            .flat_map(|&(x, y, start)| {
                (0..=steps).map(move |i| {
                    let angle = start + FRAC_PI_2 * f64::from(i) / f64::from(steps);
                    (x + radius * angle.cos(), y + radius * angle.sin())
                })
            })
            .collect();
        self.polygon(&outline, fill)?;
        if let Some((color, width)) = edge {
            outline.push(outline[0]);
            self.line(&outline, color, width)?;
        }
        Ok(())
    }

    pub fn disc(&mut self, (x, y): Point, radius: f64, color: Color) -> Result<()> {
        let outline: Vec<Point> = (0..48)
            .map(|i| {
                let angle = TAU * f64::from(i) / 48.0;
                (x + radius * angle.cos(), y + radius * angle.sin())
            })
            .collect();
        self.polygon(&outline, color)
    }

    pub fn polygon(&mut self, outline: &[Point], color: Color) -> Result<()> {
        let points: Vec<_> = outline.iter().map(|&p| self.units(p)).collect();
        self.backend.fill_polygon(points, &color.filled()).map_err(failed)
    }

    /// A polyline with round joins; a single point is a dot as wide as the line.
    pub fn line(&mut self, points: &[Point], color: Color, width: f64) -> Result<()> {
        if let [only] = points {
            return self.disc(*only, width / 2.0, color);
        }
        let mut path: Vec<_> = points.iter().map(|&p| self.units(p)).collect();
        path.dedup();
        if path.len() < 2 {
            return Ok(());
        }
        let style = ShapeStyle {
            color: color.to_rgba(),
            filled: false,
            stroke_width: (width * self.zoom * SCALE).round().max(1.0) as u32,
        };
        self.backend.draw_path(path, &style).map_err(failed)
    }

    /// A line of text with its baseline at `y`.
    pub fn text(&mut self, text: &str, (x, y): Point, align: Align, letters: Letters) -> Result<()> {
        let runs = text::runs(text);
        // One run is anchored by the backend, so that a viewer with another font still aligns it.
        if let [run] = runs.as_slice()
            && !run.subscript
        {
            return self.run(&run.text, (x, y), align, letters, FontTransform::None);
        }
        let mut x = match align {
            Align::Left => x,
            Align::Center => x - letters.width(text) / 2.0,
            Align::Right => x - letters.width(text),
        };
        for run in &runs {
            let (em, drop) = match run.subscript {
                true => (letters.em * text::SUBSCRIPT_SIZE, letters.em * text::SUBSCRIPT_DROP),
                false => (letters.em, 0.0),
            };
            self.run(&run.text, (x, y + drop), Align::Left, Letters { em, ..letters }, FontTransform::None)?;
            x += text::run_width(run, letters.em, letters.weight);
        }
        Ok(())
    }

    /// A line of text whose capitals are centred on `y`.
    pub fn text_centered_on(&mut self, text: &str, (x, y): Point, align: Align, letters: Letters) -> Result<()> {
        self.text(text, (x, y + letters.em * text::CAP_HEIGHT / 2.0), align, letters)
    }

    /// Text read from bottom to top: it starts at `y` and its capitals are centred on `x`. No subscripts.
    pub fn text_upwards(&mut self, text: &str, (x, y): Point, letters: Letters) -> Result<()> {
        let baseline = x + letters.em * text::CAP_HEIGHT / 2.0;
        self.run(text, (baseline, y), Align::Left, letters, FontTransform::Rotate270)
    }

    fn run(&mut self, text: &str, (x, y): Point, align: Align, letters: Letters, turn: FontTransform) -> Result<()> {
        let pieces = fallback::pieces(text);
        if self.surface.has_fonts || pieces.iter().all(|piece| matches!(piece, Piece::Letters(_))) {
            return self.letters(text, (x, y), align, letters, turn);
        }
        let upwards = matches!(turn, FontTransform::Rotate270);
        // Along the text, and towards its top.
        let at = |along: f64, up: f64| if upwards { (x - up, y - along) } else { (x + along, y - up) };
        let width = |text: &str| letters.width(text);
        let mut along = match align {
            Align::Left => 0.0,
            Align::Center => -width(text) / 2.0,
            Align::Right => -width(text),
        };
        for piece in pieces {
            match piece {
                Piece::Letters(text) => {
                    self.letters(text, at(along, 0.0), Align::Left, letters, turn.clone())?;
                    along += width(text);
                }
                Piece::Pixels(glyph) => {
                    for [left, right, top, bottom] in glyph.map(fallback::runs).unwrap_or_default() {
                        let (a, b) = (
                            at(along + left * letters.em, top * letters.em),
                            at(along + right * letters.em, bottom * letters.em),
                        );
                        let run =
                            Rect { left: a.0.min(b.0), top: a.1.min(b.1), right: a.0.max(b.0), bottom: a.1.max(b.1) };
                        self.fill(run, letters.color)?;
                    }
                    along += fallback::advance(glyph) * letters.em;
                }
            }
        }
        Ok(())
    }

    /// A run in one font.
    fn letters(
        &mut self,
        text: &str,
        (x, y): Point,
        align: Align,
        letters: Letters,
        turn: FontTransform,
    ) -> Result<()> {
        let drop = self.surface.baseline * letters.em;
        let anchor = match turn {
            FontTransform::Rotate270 => (x - drop, y),
            _ => (x, y - drop),
        };
        let horizontal = match align {
            Align::Left => HPos::Left,
            Align::Center => HPos::Center,
            Align::Right => HPos::Right,
        };
        let size = letters.em * self.zoom * SCALE * self.surface.units_per_em;
        let style = TextStyle::from(text::font(size, letters.weight).transform(turn))
            .color(&letters.color)
            .pos(Pos::new(horizontal, VPos::Top));
        let anchor = self.units(anchor);
        self.backend.draw_text(text, &style, anchor).map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::run(format!("a chart could not be drawn: {error}"))
}
