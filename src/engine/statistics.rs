//! Running means and variances of all batch norms of a network.

use crate::graph::{Graph, NormInfo};
use crate::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
pub struct RunningStatistics(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    values: Vec<f64>,
    /// What the latest pass does to them, where its own statistics are still on their way from a device.
    coming: Option<Coming>,
}

/// Moves the values towards a pass's own statistics, once these are there.
pub(super) type Coming = Box<dyn FnOnce(&mut [f64]) -> Result<()> + Send>;

impl State {
    fn of(values: Vec<f64>) -> RunningStatistics {
        RunningStatistics(Arc::new(Mutex::new(Self { values, coming: None })))
    }

    /// # Errors
    /// What the device reports. No statistics are known then, and all become NaN.
    fn settle(&mut self) -> Result<()> {
        let Some(coming) = self.coming.take() else { return Ok(()) };
        coming(&mut self.values).inspect_err(|_| self.values.fill(f64::NAN))
    }
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
        State::of(values)
    }

    /// A copy of the flat vector.
    pub fn values(&self) -> Vec<f64> {
        self.update(|values| values.clone())
    }

    /// Statistics of their own, with the same values.
    pub(crate) fn copy(&self) -> Self {
        State::of(self.values())
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

    /// How many numbers there are.
    pub(super) fn len(&self) -> usize {
        self.lock().values.len()
    }

    /// Leaves a move for later: until the values are asked for, or the next one is left.
    ///
    /// # Errors
    /// What a device reports of the one before.
    pub(super) fn later(&self, coming: Coming) -> Result<()> {
        let mut state = self.lock();
        state.settle()?;
        state.coming = Some(coming);
        Ok(())
    }

    pub(crate) fn update<R>(&self, f: impl FnOnce(&mut Vec<f64>) -> R) -> R {
        let mut state = self.lock();
        // A device that fails here fails in whatever is asked of it next, and the values are NaN until then.
        let _ = state.settle();
        f(&mut state.values)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
