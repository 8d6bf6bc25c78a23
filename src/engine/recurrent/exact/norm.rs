//! Batch normalisation (Ioffe and Szegedy 2015) over the m rows of one time step, column by column, with ε = 1e-5 and
//! without affine parameters:
//!
//! ```text
//! mean = Σ x / m        variance = Σ (x − mean)² / m        y = (x − mean) / √(variance + ε)
//! dL/dx = (dL/dy − Σ dL/dy / m − y · Σ dL/dy·y / m) / √(variance + ε)          in evaluation: dL/dy / √(variance + ε)
//! ```
//!
//! In training the running statistics follow each norm at each time step with momentum 0.1 and the variance divided by
//! m − 1 (by 1 where m = 1). Evaluation takes mean and variance from there.

use super::rows::Rows;
use crate::engine::statistics::{NORM_EPSILON, STATISTICS_MOMENTUM};

/// What a column is normalised with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    pub mean: f64,
    /// Divided by the number of rows.
    pub variance: f64,
}

impl Moments {
    /// Of every column of a batch; squares are taken around the mean.
    pub fn of_batch(x: &Rows) -> Vec<Self> {
        let m = (x.values.len() / x.width) as f64;
        let column = |c: usize| {
            let mean = x.column(c).sum::<f64>() / m;
            Self { mean, variance: x.column(c).map(|x| (x - mean) * (x - mean)).sum::<f64>() / m }
        };
        (0..x.width).map(column).collect()
    }

    fn inverse(self) -> f64 {
        1.0 / (self.variance + NORM_EPSILON).sqrt()
    }
}

/// Moves the running mean and variance towards the moments of a batch of m rows.
pub(super) fn follow(moments: &[Moments], m: usize, mean: &mut [f64], variance: &mut [f64]) {
    let m = m as f64;
    let unbiased = m / (m - 1.0).max(1.0);
    for ((moments, mean), variance) in moments.iter().zip(mean).zip(variance) {
        *mean += STATISTICS_MOMENTUM * (moments.mean - *mean);
        *variance += STATISTICS_MOMENTUM * (moments.variance * unbiased - *variance);
    }
}

/// y.
pub(super) fn forward(x: &Rows, moments: &[Moments]) -> Rows {
    let normalised = x.rows().flat_map(|x| x.iter().zip(moments).map(|(x, m)| (x - m.mean) * m.inverse()));
    Rows { width: x.width, values: normalised.collect() }
}

/// dL/dx from y and dL/dy. `of_batch`: whether the moments were taken from x.
pub(super) fn backward(y: &Rows, dy: &Rows, moments: &[Moments], of_batch: bool) -> Rows {
    let m = (y.values.len() / y.width) as f64;
    let sums = |c: usize| match of_batch {
        true => {
            let tilt: f64 = y.column(c).zip(dy.column(c)).map(|(y, dy)| y * dy).sum();
            (dy.column(c).sum::<f64>() / m, tilt / m)
        }
        false => (0.0, 0.0),
    };
    let sums: Vec<(f64, f64)> = (0..y.width).map(sums).collect();
    let values = y.rows().zip(dy.rows()).flat_map(|(y, dy)| {
        let columns = y.iter().zip(dy).zip(moments.iter().zip(&sums));
        columns.map(|((y, dy), (moments, (pull, tilt)))| (dy - pull - y * tilt) * moments.inverse())
    });
    Rows { width: y.width, values: values.collect() }
}
