//! Forward through time.

use super::super::plan::Work;
use super::Run;
use crate::engine::statistics::STATISTICS_MOMENTUM;
use crate::engine::{Draws, Dropout, Mode, RunningStatistics};
use crate::{Result, interrupt};

impl Run<'_> {
    /// Runs the window. `states`: those before it, one slice a state.
    ///
    /// # Errors
    /// An interruption.
    pub fn forward<'s>(
        &self,
        states: impl Iterator<Item = &'s [f32]>,
        statistics: &RunningStatistics,
        draws: &Draws,
        dropout: &Dropout,
    ) -> Result<()> {
        for (state, &buffer) in states.zip(&self.plan.states) {
            self.whole(buffer, 0).copy_from_slice(state);
        }
        for (mask, buffer) in self.graph.masks().iter().zip(&self.plan.masks) {
            if let Some(buffer) = *buffer {
                draws.fill_mask(&mask.stream, dropout.of(&mask.name), self.whole(buffer, 0));
            }
        }
        if self.mode == Mode::Evaluation {
            self.load_running(statistics);
        }
        // One of the workers drives the pass: a thread from outside would sleep and be woken at every boundary.
        rayon::scope(|_| self.window())?;
        if self.mode == Mode::Training {
            self.move_running(statistics);
        }
        Ok(())
    }

    fn window(&self) -> Result<()> {
        self.pack();
        for work in &self.plan.window {
            self.work(work, None);
        }
        for now in 0..self.size.steps {
            interrupt::check()?;
            for work in &self.plan.step {
                self.work(work, Some(now));
            }
        }
        Ok(())
    }

    /// One time step's part of a buffer. Nothing else may use it meanwhile.
    #[allow(clippy::mut_from_ref)]
    fn whole(&self, buffer: usize, now: usize) -> &mut [f32] {
        let len = self.plan.buffers[buffer].slot(self.size.rows);
        // SAFETY: the buffer holds as much; it is called before any thread is asked to work, or after all have.
        unsafe { std::slice::from_raw_parts_mut(self.slot(buffer, false, now), len) }
    }

    /// Copies a state as it is after the last time step.
    pub fn state(&self, state: usize, out: &mut [f32]) {
        out.copy_from_slice(self.whole(self.plan.states[state], self.size.steps));
    }

    /// `now`: the time step; none for the window.
    pub(super) fn work(&self, work: &Work, now: Option<usize>) {
        match work {
            Work::Programs(programs) => self.programs(programs, now),
            Work::Products(products) => self.products(products, now),
            Work::Norms(norms) => self.norms(norms, now.unwrap_or(0)),
        }
    }

    /// Running statistics by lane.
    fn load_running(&self, statistics: &RunningStatistics) {
        statistics.update(|values| {
            for (norm, &lane) in self.plan.items.norms.iter().zip(&self.plan.lanes) {
                let info = &self.graph.norms()[norm.info];
                for (table, range) in self.tape.running.iter().zip([info.mean(), info.variance()]) {
                    for (at, value) in values[range].iter().enumerate() {
                        // SAFETY: a lane of the norm; no other thread is at work.
                        unsafe { *table.at(lane + at, 1) = *value as f32 };
                    }
                }
            }
        });
    }

    /// Moves the running statistics: step by step, norm by norm.
    fn move_running(&self, statistics: &RunningStatistics) {
        let rows = self.size.rows as f64;
        let unbiased = rows / (rows - 1.0).max(1.0);
        statistics.update(|values| {
            for now in 0..self.size.steps {
                for (norm, &lane) in self.plan.items.norms.iter().zip(&self.plan.lanes) {
                    let info = &self.graph.norms()[norm.info];
                    let at = now * self.plan.lane_count + lane;
                    let moments =
                        [(info.mean(), &self.tape.mean, 1.0), (info.variance(), &self.tape.variance, unbiased)];
                    for (range, table, factor) in moments {
                        for (lane, value) in values[range].iter_mut().enumerate() {
                            // SAFETY: a lane of the norm; all threads are done.
                            let own = f64::from(unsafe { *table.at(at + lane, 1) }) * factor;
                            *value += STATISTICS_MOMENTUM * (own - *value);
                        }
                    }
                }
            }
            // Single precision keeps single-precision values.
            values.iter_mut().for_each(|value| *value = f64::from(*value as f32));
        });
    }
}
