//! Learning-rate schedules as plain functions of the epoch (counted from 0, fractions welcome).

use std::f64::consts::PI;

/// Half a cosine from `from` at epoch 0 to `to` at epoch `epochs` (Loshchilov and Hutter 2017, without restarts). The
/// last epoch of a run is `epochs − 1`, a little above `to`. Holds `to` afterwards.
pub fn cosine(from: f64, to: f64, epoch: f64, epochs: f64) -> f64 {
    to + (from - to) * (1.0 + (PI * done(epoch, epochs)).cos()) / 2.0
}

/// A straight line from `from` at epoch 0 to `to` at epoch `epochs`; holds `to` afterwards.
pub fn linear(from: f64, to: f64, epoch: f64, epochs: f64) -> f64 {
    from + (to - from) * done(epoch, epochs)
}

/// `from`, multiplied by `factor` once every `every` epochs.
pub fn step(from: f64, factor: f64, epoch: f64, every: f64) -> f64 {
    from * factor.powf((epoch / every).floor())
}

/// The share of the epochs that lies behind, within 0 and 1.
fn done(epoch: f64, epochs: f64) -> f64 {
    if epoch >= epochs { 1.0 } else { (epoch / epochs).max(0.0) }
}
