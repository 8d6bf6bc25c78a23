//! Batch normalisation (Ioffe and Szegedy 2015), channel by channel. Over the m = images × height × width values of a
//! channel c, with ε = 1e-5:
//!
//! ```text
//! mean = Σ x / m        variance = Σ (x − mean)² / m
//! x̂ = (x − mean) / √(variance + ε)          y = γ[c] · x̂ + β[c]          (γ = 1, β = 0 where there are none)
//! ```
//!
//! Training follows the batch with the running statistics, with momentum 0.1 and the variance divided by m − 1 (by 1
//! where m = 1): running ← running + 0.1 · (batch − running). Evaluation takes mean and variance from there, so they
//! are constants; in the other modes they depend on x, and with g = γ · dL/dy:
//!
//! ```text
//! dL/dγ = Σ dL/dy · x̂      dL/dβ = Σ dL/dy
//! dL/dx = (g − Σ g / m − x̂ · Σ g·x̂ / m) / √(variance + ε)               in evaluation: g / √(variance + ε)
//! ```

use super::maps::Maps;
use crate::engine::statistics::{NORM_EPSILON, STATISTICS_MOMENTUM};
use rayon::prelude::*;

/// What a channel is normalised with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    pub mean: f64,
    /// Divided by the number of values.
    pub variance: f64,
}

impl Moments {
    /// Of every channel of a batch. The second pass takes squares around the mean, so a mean that is large beside the
    /// spread costs no digits.
    pub fn of_batch(x: &Maps) -> Vec<Self> {
        let m = values_per_channel(x);
        let channel = |c: usize| {
            let mean = x.planes(c).flatten().sum::<f64>() / m;
            Self { mean, variance: x.planes(c).flatten().map(|x| (x - mean) * (x - mean)).sum::<f64>() / m }
        };
        (0..x.shape.channels).into_par_iter().map(channel).collect()
    }

    /// Of every channel, from running statistics.
    pub fn of_running(mean: &[f64], variance: &[f64]) -> Vec<Self> {
        mean.iter().zip(variance).map(|(&mean, &variance)| Self { mean, variance }).collect()
    }

    fn inverse(self) -> f64 {
        1.0 / (self.variance + NORM_EPSILON).sqrt()
    }
}

/// m, the same for every channel.
fn values_per_channel(x: &Maps) -> f64 {
    (x.batch * x.shape.pixels()) as f64
}

/// Moves the running mean and variance towards the moments of a batch.
pub(super) fn follow(x: &Maps, moments: &[Moments], mean: &mut [f64], variance: &mut [f64]) {
    let m = values_per_channel(x);
    let unbiased = m / (m - 1.0).max(1.0);
    for ((moments, mean), variance) in moments.iter().zip(mean).zip(variance) {
        *mean += STATISTICS_MOMENTUM * (moments.mean - *mean);
        *variance += STATISTICS_MOMENTUM * (moments.variance * unbiased - *variance);
    }
}

/// y. `affine`: γ and β.
pub(super) fn forward(x: &Maps, moments: &[Moments], affine: Option<[&[f64]; 2]>) -> Maps {
    Maps::from_planes(x.batch, x.shape, |image, c, y| {
        let (mean, inverse) = (moments[c].mean, moments[c].inverse());
        let (gamma, beta) = affine.map_or((1.0, 0.0), |[gamma, beta]| (gamma[c], beta[c]));
        for (y, x) in y.iter_mut().zip(x.plane(image, c)) {
            *y = gamma * ((x - mean) * inverse) + beta;
        }
    })
}

/// dL/dx, dL/dγ and dL/dβ from dL/dy. `of_batch`: whether the moments were taken from x.
pub(super) fn backward(
    x: &Maps,
    dy: &Maps,
    moments: &[Moments],
    gamma: Option<&[f64]>,
    of_batch: bool,
) -> (Maps, Vec<f64>, Vec<f64>) {
    let m = values_per_channel(x);
    let sums = |c: usize| {
        let (mean, inverse) = (moments[c].mean, moments[c].inverse());
        let pairs = || x.planes(c).flatten().zip(dy.planes(c).flatten());
        let dgamma: f64 = pairs().map(|(x, dy)| dy * ((x - mean) * inverse)).sum();
        (dgamma, dy.planes(c).flatten().sum::<f64>())
    };
    let (dgamma, dbeta): (Vec<f64>, Vec<f64>) = (0..x.shape.channels).into_par_iter().map(sums).unzip();
    let dx = Maps::from_planes(x.batch, x.shape, |image, c, dx| {
        let (mean, inverse) = (moments[c].mean, moments[c].inverse());
        let scale = gamma.map_or(1.0, |gamma| gamma[c]) * inverse;
        let (pull, tilt) = if of_batch { (dbeta[c] / m, dgamma[c] / m) } else { (0.0, 0.0) };
        for ((dx, x), dy) in dx.iter_mut().zip(x.plane(image, c)).zip(dy.plane(image, c)) {
            *dx = scale * (dy - pull - (x - mean) * inverse * tilt);
        }
    });
    (dx, dgamma, dbeta)
}
