//! Backward through time.

use super::super::plan::storage::Extent;
use super::{Run, weights};
use crate::{Result, interrupt};
use std::sync::PoisonError;

impl Run<'_> {
    /// Takes the gradients that the plan wants: those of weights are added to `w`, those of mixing weights to `p`; both
    /// begin as zeros, as that of x does.
    ///
    /// # Errors
    /// An interruption.
    pub fn backward(&self, w: &mut [f32], p: &mut [f32]) -> Result<()> {
        for dots in &self.tape.dots {
            dots.lock().unwrap_or_else(PoisonError::into_inner).fill(0.0);
        }
        for buffer in 0..self.plan.buffers.len() {
            if self.plan.buffers[buffer].extent == Extent::Two {
                // After the last time step nothing flows back.
                self.clear(buffer, None, 0);
                self.clear(buffer, None, 1);
            }
        }
        for &(buffer, block) in &self.plan.window_clears {
            (0..self.size.steps).for_each(|now| self.clear(buffer, Some(block), now));
        }
        rayon::scope(|_| self.window_back(w))?;
        if self.plan.key.wanted.p {
            for (slot, p) in p.iter_mut().enumerate().take(self.graph.slot_count()) {
                let tasks = self.tape.dots.iter();
                let of = |task: &std::sync::Mutex<Vec<f64>>| task.lock().unwrap_or_else(PoisonError::into_inner)[slot];
                *p = tasks.map(of).sum::<f64>() as f32;
            }
        }
        Ok(())
    }

    fn window_back(&self, w: &mut [f32]) -> Result<()> {
        for now in (0..self.size.steps).rev() {
            interrupt::check()?;
            for &(buffer, block) in &self.plan.step_clears {
                self.clear(buffer, Some(block), now);
            }
            for work in &self.plan.step_back {
                self.work(work, Some(now));
            }
        }
        for work in &self.plan.window_back {
            self.work(work, None);
        }
        if self.plan.key.wanted.w {
            interrupt::check()?;
            weights::gradients(self, w);
        }
        Ok(())
    }

    /// Clears one block of a time step's part of a buffer, or all.
    fn clear(&self, buffer: usize, block: Option<usize>, now: usize) {
        let of = self.plan.buffers[buffer];
        let all = of.slot(self.size.rows);
        let (at, len) = block.map_or((0, all), |block| (block * all / of.blocks, all / of.blocks));
        // SAFETY: within the buffer; no thread is at work.
        unsafe { std::slice::from_raw_parts_mut(self.slot(buffer, false, now).add(at), len).fill(0.0) };
    }
}
