//! Products of two maps, element by element; a factor of one pixel is repeated.

use super::Maps;
use crate::graph::Shape;

/// The pixel of a factor's plane that meets a pixel of the product.
fn at(plane: &[f64], pixel: usize) -> f64 {
    plane[if plane.len() == 1 { 0 } else { pixel }]
}

pub(super) fn forward(factors: [&Maps; 2], to: Shape) -> Maps {
    Maps::from_planes(factors[0].batch, to, |image, c, y| {
        let [one, other] = factors.map(|factor| factor.plane(image, c));
        y.iter_mut().enumerate().for_each(|(pixel, y)| *y = at(one, pixel) * at(other, pixel));
    })
}

/// dL/dx of a factor of this shape, from dL/dy and the other factor.
pub(super) fn backward(other: &Maps, dy: &Maps, from: Shape) -> Maps {
    Maps::from_planes(dy.batch, from, |image, c, dx| {
        let other = other.plane(image, c);
        for (pixel, dy) in dy.plane(image, c).iter().enumerate() {
            dx[if dx.len() == 1 { 0 } else { pixel }] += dy * at(other, pixel);
        }
    })
}
