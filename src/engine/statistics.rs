//! Running means and variances of all batch norms of a network.

use crate::graph::{Graph, NormInfo};
use crate::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// The share of a training pass's own statistics in the running ones that it leaves.
pub const STATISTICS_MOMENTUM: f64 = 0.1;

/// What batch norms add to a variance.
pub(crate) const NORM_EPSILON: f64 = 1e-5;

/// Running statistics move in single precision, as they are kept in files.
pub(super) fn move_towards(running: &mut f64, batch: f64) {
    let old = *running as f32;
    *running = f64::from(old + STATISTICS_MOMENTUM as f32 * (batch as f32 - old));
}

/// One flat vector, laid out as [`Graph::norms`] (or those of a recurrent graph) says; shared by all clones.
/// Single-precision executors keep single-precision values in it.
#[derive(Clone, Default)]
pub struct RunningStatistics {
    values: Arc<Mutex<Vec<f64>>>,
}

impl RunningStatistics {
    /// Mean 0 and variance 1 everywhere.
    pub fn new(graph: &Graph) -> Self {
        Self::of(graph.norms())
    }

    /// Mean 0 and variance 1 for each of these norms.
    pub fn of(norms: &[NormInfo]) -> Self {
        let mut values = vec![0.0; norms.last().map_or(0, |norm| norm.variance().end)];
        for norm in norms {
            values[norm.variance()].fill(1.0);
        }
        Self { values: Arc::new(Mutex::new(values)) }
    }

    /// A copy of the flat vector.
    pub fn values(&self) -> Vec<f64> {
        self.update(|values| values.clone())
    }

    /// Statistics of their own, with the same values.
    pub(crate) fn copy(&self) -> Self {
        Self { values: Arc::new(Mutex::new(self.values())) }
    }

    /// Replaces all values; as many as [`Graph::statistics_len`].
    ///
    /// # Errors
    /// Too few or too many values.
    pub fn set(&self, values: &[f64]) -> Result<()> {
        self.update(|own| match own.len() == values.len() {
            true => {
                own.copy_from_slice(values);
                Ok(())
            }
            false => Err(Error::user(format!(
                "the running statistics given are {} numbers; the network has {}",
                values.len(),
                own.len()
            ))),
        })
    }

    pub(crate) fn update<R>(&self, f: impl FnOnce(&mut Vec<f64>) -> R) -> R {
        f(&mut self.values.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
