//! Strokes for bitmaps: plotters' bitmap backend with lines that have round joins and smooth edges.
//!
//! plotters turns a wide path into one polygon of its outline, and where a noisy curve folds over itself the even-odd
//! filling leaves holes. Here every segment is drawn by its distance field: a pixel's share of ink is how far it lies
//! inside half the width from the segment. Everything else is plotters' own.

use plotters::backend::{BitMapBackend, DrawingBackend};
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, DrawingErrorKind};

/// plotters' bitmap over a caller's buffer, three bytes a pixel, rows from the top.
pub struct Raster<'a>(BitMapBackend<'a>);

type Failure<'a> = DrawingErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>;

impl<'a> Raster<'a> {
    /// `buffer` holds `3 · width · height` bytes.
    pub fn new(buffer: &'a mut [u8], size: (u32, u32)) -> Self {
        Self(BitMapBackend::with_buffer(buffer, size))
    }

    fn stroke(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        radius: f64,
        color: BackendColor,
    ) -> Result<(), Failure<'a>> {
        let (width, height) = self.0.get_size();
        let (ax, ay) = (f64::from(from.0), f64::from(from.1));
        let (dx, dy) = (f64::from(to.0) - ax, f64::from(to.1) - ay);
        let length = dx * dx + dy * dy;
        let reach = radius.ceil() as i32 + 1;
        let columns = (from.0.min(to.0) - reach).max(0)..=(from.0.max(to.0) + reach).min(width as i32 - 1);
        let rows = (from.1.min(to.1) - reach).max(0)..=(from.1.max(to.1) + reach).min(height as i32 - 1);
        for y in rows {
            for x in columns.clone() {
                let (px, py) = (f64::from(x) - ax, f64::from(y) - ay);
                let along = if length > 0.0 { ((px * dx + py * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
                let distance = (px - along * dx).hypot(py - along * dy);
                let ink = (radius + 0.5 - distance).clamp(0.0, 1.0);
                if ink > 0.0 {
                    self.0.draw_pixel((x, y), color.mix(ink))?;
                }
            }
        }
        Ok(())
    }
}

impl<'a> DrawingBackend for Raster<'a> {
    type ErrorType = <BitMapBackend<'a> as DrawingBackend>::ErrorType;

    fn get_size(&self) -> (u32, u32) {
        self.0.get_size()
    }

    fn ensure_prepared(&mut self) -> Result<(), Failure<'a>> {
        self.0.ensure_prepared()
    }

    fn present(&mut self) -> Result<(), Failure<'a>> {
        self.0.present()
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Result<(), Failure<'a>> {
        self.0.draw_pixel(point, color)
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Result<(), Failure<'a>> {
        match style.stroke_width() {
            0 => Ok(()),
            1 => self.0.draw_line(from, to, style),
            width => self.stroke(from, to, f64::from(width) / 2.0, style.color()),
        }
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Result<(), Failure<'a>> {
        let mut points = path.into_iter();
        let Some(mut from) = points.next() else { return Ok(()) };
        for to in points {
            self.draw_line(from, to, style)?;
            from = to;
        }
        Ok(())
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        upper_left: BackendCoord,
        bottom_right: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Result<(), Failure<'a>> {
        self.0.draw_rect(upper_left, bottom_right, style, fill)
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        outline: I,
        style: &S,
    ) -> Result<(), Failure<'a>> {
        self.0.fill_polygon(outline, style)
    }
}
