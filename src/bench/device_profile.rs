//! Where a step's time on a GPU goes, as lines: by kernel, and what lies outside of kernels.

use super::report::{Cell, Line, rounded};
use crate::Result;
use crate::engine::cuda::{Predicted, Profiler};
use serde::Serialize;
use std::time::Instant;

/// One line: the launches of a kernel in one step, or "outside kernels".
#[derive(Clone, Debug, Serialize)]
pub struct DeviceLine {
    /// "profile_device".
    pub what: &'static str,
    pub kernel: String,
    pub launches: f64,
    /// On the device's own clock.
    pub seconds: f64,
    /// Of the step while it was measured.
    pub share: f64,
    pub gflops: f64,
    pub gbps: f64,
}

impl Line for DeviceLine {
    fn cells(&self) -> Vec<Cell> {
        let blank = |cell: Cell| if self.launches == 0.0 { Cell { text: String::new(), ..cell } } else { cell };
        vec![
            Cell::word("kernel", &self.kernel),
            blank(Cell::number("launches", self.launches, 0)),
            Cell::number("ms", 1e3 * self.seconds, 3),
            Cell::percent("%", self.share),
            blank(Cell::number("GFLOP/s", self.gflops, 0)),
            blank(Cell::number("GB/s", self.gbps, 0)),
        ]
    }
}

/// Runs so many steps while every launch is measured. `predicted`: bytes and operations of a step.
///
/// # Errors
/// What the steps give.
pub(super) fn device_profile(
    profiler: &Profiler,
    predicted: &[Predicted],
    steps: usize,
    mut step: impl FnMut() -> Result<()>,
) -> Result<Vec<DeviceLine>> {
    profiler.start();
    let start = Instant::now();
    let ran = (0..steps).try_for_each(|_| step());
    let wall = start.elapsed().as_secs_f64();
    let spending = profiler.finish();
    ran?;
    let each = |amount: f64| amount / steps as f64;
    let mut lines: Vec<DeviceLine> = spending
        .iter()
        .map(|(kernel, spent)| {
            let work = predicted.iter().find(|known| known.kernel == kernel);
            let rate = |amount: u64| rounded(amount as f64 / 1e9 / each(spent.seconds).max(1e-12), 4);
            DeviceLine {
                what: "profile_device",
                kernel: kernel.clone(),
                launches: rounded(each(spent.launches as f64), 6),
                seconds: rounded(each(spent.seconds), 5),
                share: rounded(spent.seconds / wall, 5),
                gflops: work.map_or(0.0, |work| rate(work.flops)),
                gbps: work.map_or(0.0, |work| rate(work.bytes)),
            }
        })
        .collect();
    lines.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let outside = wall - spending.values().map(|spent| spent.seconds).sum::<f64>();
    lines.push(DeviceLine {
        what: "profile_device",
        kernel: "outside kernels".into(),
        launches: 0.0,
        seconds: rounded(each(outside), 5),
        share: rounded(outside / wall, 5),
        gflops: 0.0,
        gbps: 0.0,
    });
    Ok(lines)
}
