//! Runs programs over the rows of the batch.

use super::super::kernels::tiles::{self, Frame};
use super::super::memory::{Pointer, Scratch};
use super::super::plan::program::Program;
use super::{ROWS, Run, each, part};
use std::ops::Range;
use std::sync::PoisonError;

impl Run<'_> {
    /// Runs programs at one time step, or at all of them one after another.
    pub(super) fn programs(&self, programs: &[Program], now: Option<usize>) {
        let steps = now.map_or(0..self.size.steps, |now| now..now + 1);
        each(self.size.rows.div_ceil(ROWS), |task| {
            let rows = part(task, ROWS, self.size.rows);
            let mut scratch = self.tape.scratch();
            for now in steps.clone() {
                for (at, pointer) in scratch.pointers.iter_mut().enumerate() {
                    *pointer = Pointer(self.slot(at / 2, at % 2 == 1, now));
                }
                for program in programs {
                    self.program(program, task, rows.clone(), now, &scratch);
                }
            }
        });
    }

    fn program(&self, program: &Program, task: usize, rows: Range<usize>, now: usize, scratch: &Scratch) {
        let (groups, tall) = program.tile();
        let (lanes, plan) = (self.plan.lane_count, self.plan);
        let table = now * lanes;
        let sums = scratch.sums.at(0, 16 * program.sums.len());
        // SAFETY: the scratch holds the program's sums.
        unsafe { std::slice::from_raw_parts_mut(sums, 16 * program.sums.len()).fill(0.0) };
        let mut frame = Frame {
            pointers: scratch.pointers.as_ptr().cast(),
            batch: self.size.rows,
            row: 0,
            rows: 0,
            column: 0,
            columns: 0,
            registers: scratch.registers.at(0, program.scratch()),
            register: 16 * groups * tall,
            p: self.p.as_ptr(),
            scale: self.tape.scale.at(table, lanes),
            shift: self.tape.shift.at(table, lanes),
            back: [0, 1, 2].map(|which| self.tape.back[which].at(0, lanes).cast_const()),
            sums,
        };
        debug_assert!(plan.buffers.len() * 2 <= scratch.pointers.len());
        for row in rows.clone().step_by(tall) {
            for column in (0..program.width).step_by(16 * groups) {
                frame.row = row;
                frame.rows = tall.min(rows.end - row);
                frame.column = column;
                frame.columns = (16 * groups).min(program.width - column);
                // SAFETY: the plan sized buffers and scratch for its programs; tasks have rows of their own.
                unsafe { tiles::run(self.isa, &program.code, &frame) };
            }
        }
        if program.sums.is_empty() {
            return;
        }
        let mut dots = self.tape.dots[task].lock().unwrap_or_else(PoisonError::into_inner);
        for (number, (slot, scale)) in program.sums.iter().enumerate() {
            // SAFETY: as above.
            let lanes = unsafe { std::slice::from_raw_parts(sums.add(16 * number), 16) };
            dots[*slot] += scale * lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
        }
    }
}
