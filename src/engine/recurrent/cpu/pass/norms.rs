//! Batch norms over the rows of a time step: from sums to coefficients.
//!
//! With mean m and inverse deviation s, y = s·x − s·m. Backward, with S₁ = Σ g and S₂ = Σ g·y over n rows, dL/dx = a·g
//! + b·x + c with a = s, b = −s²·S₂/n and c = s²·m·S₂/n − s·S₁/n. With running statistics b and c are zero.

use super::super::kernels::columns::{COLUMNS, Plane, moments, norm_sums};
use super::super::plan::NormWork;
use super::super::plan::program::Spot;
use super::{Run, each, part};
use crate::engine::Mode;
use crate::engine::statistics::NORM_EPSILON;

impl Run<'_> {
    /// Takes norms forward, or backward where they have gradients.
    pub(super) fn norms(&self, norms: &[NormWork], now: usize) {
        let parts = |work: &NormWork| self.plan.items.norms[work.norm].width.div_ceil(COLUMNS);
        each(norms.iter().map(parts).sum(), |index| {
            let mut index = index;
            for work in norms {
                if index < parts(work) {
                    return match work.gradient {
                        Some(_) => self.norm_back(work, index, now),
                        None => self.norm(work, index, now),
                    };
                }
                index -= parts(work);
            }
        });
    }

    fn norm(&self, work: &NormWork, index: usize, now: usize) {
        let columns = part(index, COLUMNS, self.plan.items.norms[work.norm].width);
        let lane = self.plan.lanes[work.norm] + columns.start;
        let at = now * self.plan.lane_count + lane;
        let padded = columns.len().next_multiple_of(16);
        let tape = self.tape;
        // SAFETY: the columns of this part, which are this task's alone, and whole lane groups of the tables.
        unsafe {
            let (mean, variance) = (tape.mean.at(at, padded), tape.variance.at(at, padded));
            if self.mode == Mode::Evaluation {
                mean.copy_from_nonoverlapping(tape.running[0].at(lane, padded), padded);
                variance.copy_from_nonoverlapping(tape.running[1].at(lane, padded), padded);
            } else {
                let x = Plane { at: self.spot(work.raw, now).add(columns.start), row: work.raw.row };
                moments(self.isa, x, self.size.rows, columns.len(), mean, variance);
            }
            let (scale, shift) = (tape.scale.at(at, padded), tape.shift.at(at, padded));
            for lane in 0..padded {
                let inverse = 1.0 / (f64::from(*variance.add(lane)) + NORM_EPSILON).sqrt();
                *scale.add(lane) = inverse as f32;
                *shift.add(lane) = (-inverse * f64::from(*mean.add(lane))) as f32;
            }
        }
    }

    fn norm_back(&self, work: &NormWork, index: usize, now: usize) {
        let Some(gradient) = work.gradient else { return };
        let columns = part(index, COLUMNS, self.plan.items.norms[work.norm].width);
        let lane = self.plan.lanes[work.norm] + columns.start;
        let at = now * self.plan.lane_count + lane;
        let padded = columns.len().next_multiple_of(16);
        let n = self.size.rows as f64;
        let tape = self.tape;
        // SAFETY: as above.
        unsafe {
            let (scale, shift) = (tape.scale.at(at, padded), tape.shift.at(at, padded));
            let [a, b, c] = [0, 1, 2].map(|which: usize| tape.back[which].at(lane, padded));
            if self.mode == Mode::Evaluation {
                a.copy_from_nonoverlapping(scale, padded);
                b.write_bytes(0, padded);
                c.write_bytes(0, padded);
                return;
            }
            let plane = |spot: Spot| Plane { at: self.spot(spot, now).add(columns.start), row: spot.row };
            norm_sums(self.isa, plane(gradient), plane(work.raw), self.size.rows, columns.len(), scale, shift, b, c);
            for lane in 0..padded {
                let (sum, tilt) = (f64::from(*b.add(lane)), f64::from(*c.add(lane)));
                let (s, moved) = (f64::from(*scale.add(lane)), f64::from(*shift.add(lane)));
                *a.add(lane) = s as f32;
                *b.add(lane) = (-s * s * tilt / n) as f32;
                *c.add(lane) = (-s * moved * tilt / n - s * sum / n) as f32;
            }
        }
    }
}
