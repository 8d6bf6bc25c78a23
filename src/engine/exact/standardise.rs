//! Each image's numbers, over all channels and pixels, less their mean and over their standard deviation.
//!
//! ```text
//! y[i] = (x[i] − m) / √(v + ε)        m = Σ x / d    v = Σ (x − m)² / d               (Ba et al. 2016)
//! dx[i] = (dy[i] − Σ dy / d − y[i] · Σ dy·y / d) / √(v + ε)
//! ```
//!
//! Sums are over the d numbers of one image.

use super::maps::Maps;
use crate::engine::statistics::NORM_EPSILON;

/// Mean and 1/√(v + ε) of an image.
fn moments(x: &[f64]) -> (f64, f64) {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, 1.0 / (variance + NORM_EPSILON).sqrt())
}

fn images(maps: &Maps) -> impl Iterator<Item = &[f64]> {
    maps.values.chunks(maps.shape.len().max(1))
}

/// y.
pub(super) fn forward(x: &Maps) -> Maps {
    let mut y = x.clone();
    for (y, x) in y.values.chunks_mut(x.shape.len().max(1)).zip(images(x)) {
        let (mean, inverse) = moments(x);
        y.iter_mut().for_each(|value| *value = (*value - mean) * inverse);
    }
    y
}

/// dL/dx from dL/dy.
pub(super) fn backward(x: &Maps, dy: &Maps) -> Maps {
    let mut dx = dy.clone();
    for ((dx, x), dy) in dx.values.chunks_mut(x.shape.len().max(1)).zip(images(x)).zip(images(dy)) {
        let ((mean, inverse), count) = (moments(x), x.len() as f64);
        let total = dy.iter().sum::<f64>() / count;
        let product = dy.iter().zip(x).map(|(dy, x)| dy * (x - mean) * inverse).sum::<f64>() / count;
        for (dx, x) in dx.iter_mut().zip(x) {
            *dx = (*dx - total - (x - mean) * inverse * product) * inverse;
        }
    }
    dx
}
