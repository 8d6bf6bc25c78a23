//! Every pixel repeated in both directions.
//!
//! ```text
//! y[n, c, r, s] = x[n, c, ⌊r / factor⌋, ⌊s / factor⌋]
//! ```

use super::maps::Maps;
use crate::graph::Shape;

/// By output pixel: the input's pixel.
fn pixels(from: Shape, factor: usize) -> impl Iterator<Item = usize> {
    let (height, width) = (from.height * factor, from.width * factor);
    (0..height * width).map(move |at| at / width / factor * from.width + at % width / factor)
}

/// y.
pub(super) fn forward(x: &Maps, factor: usize, to: Shape) -> Maps {
    Maps::from_planes(x.batch, to, |image, c, y| {
        let (from, x) = (x.shape, x.plane(image, c));
        y.iter_mut().zip(pixels(from, factor)).for_each(|(y, from)| *y = x[from]);
    })
}

/// dL/dx from dL/dy.
pub(super) fn backward(dy: &Maps, factor: usize, from: Shape) -> Maps {
    Maps::from_planes(dy.batch, from, |image, c, dx| {
        dy.plane(image, c).iter().zip(pixels(from, factor)).for_each(|(dy, at)| dx[at] += dy);
    })
}
