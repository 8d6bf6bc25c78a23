//! Where a step's time goes, as lines: by kernel and by part of the network. Either way the shares add up to one: the
//! time from beginning to end, times the threads.

use super::peaks::{Crew, multiply_add_peak};
use super::report::{Cell, Line, rounded};
use crate::Result;
use crate::engine::Isa;
use crate::engine::cpu::profile::{ComponentRecord, Count, Record, Recorder};
use crate::graph::Graph;
use crate::graph::plan::Plan;
use serde::Serialize;

const DIRECTIONS: [&str; 2] = ["forward", "backward"];

/// A step's profile. Seconds are of all threads together, for one step.
#[derive(Clone, Debug)]
pub struct Profile {
    pub summary: ProfileSummary,
    pub kernels: Vec<ProfileLine>,
    pub cells: Vec<ProfileLine>,
}

/// The profile's first line.
#[derive(Clone, Debug, Serialize)]
pub struct ProfileSummary {
    pub what: &'static str,
    pub threads: usize,
    /// From beginning to end of a step while it was recorded.
    pub seconds_per_step: f64,
    /// Multiply-adds of all threads in registers: what the floors are made of.
    pub peak_gflops: f64,
    /// What all kernels did in a step, empty lanes included.
    pub kernel_gflop: f64,
}

impl Line for ProfileSummary {
    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::count("threads", self.threads),
            Cell::number("recorded s per step", self.seconds_per_step, 4),
            Cell::number("peak GFLOP/s", self.peak_gflops, 1),
            Cell::number("GFLOP a step in kernels", self.kernel_gflop, 2),
        ]
    }
}

/// One row of the profile: a kernel in one direction, a part of the network in one direction, or what lies between.
#[derive(Clone, Debug, Serialize)]
pub struct ProfileLine {
    /// "profile_kernel" or "profile_cell".
    pub what: &'static str,
    pub name: String,
    /// "forward" or "backward"; none where that makes no sense.
    pub direction: Option<&'static str>,
    /// Kernel calls a step.
    pub calls: f64,
    pub seconds: f64,
    pub share: f64,
    /// Of one thread while it is at this.
    pub gflops: f64,
    pub gbps: f64,
    /// The seconds that the operations would take at the multiply-adds' peak.
    pub floor_seconds: f64,
}

impl Line for ProfileLine {
    fn cells(&self) -> Vec<Cell> {
        let head = if self.what == "profile_kernel" { "kernel" } else { "part" };
        let blank = |cell: Cell| if self.floor_seconds == 0.0 { Cell { text: String::new(), ..cell } } else { cell };
        let no_bytes = |cell: Cell| if self.gbps == 0.0 { Cell { text: String::new(), ..cell } } else { cell };
        vec![
            Cell::word(head, &self.name),
            Cell::word("pass", self.direction.unwrap_or_default()),
            no_bytes(Cell::number("calls", self.calls, 0)),
            Cell::number("seconds", self.seconds, 4),
            Cell::percent("%", self.share),
            blank(Cell::number("GFLOP/s", self.gflops, 1)),
            no_bytes(Cell::number("GB/s", self.gbps, 1)),
            blank(Cell::number("floor s", self.floor_seconds, 4)),
        ]
    }
}

impl Profile {
    /// Runs so many steps of a network of this graph while everything is recorded.
    ///
    /// # Errors
    /// What the steps give.
    pub fn of(graph: &Graph, steps: usize, mut step: impl FnMut() -> Result<()>) -> Result<Self> {
        let components = Plan::new(graph)?.components;
        let peak = multiply_add_peak(Isa::choose()?, Crew::AllThreads);
        let recorder = Recorder::start();
        for _ in 0..steps {
            step()?;
        }
        Ok(Self::read(&recorder.finish(), components.as_slice(), steps, peak, Crew::AllThreads.threads()))
    }

    fn read(record: &Record, components: &[String], steps: usize, peak_gflops: f64, threads: usize) -> Self {
        let scale =
            Scale { steps: steps as f64, whole: record.wall * threads as f64, peak: peak_gflops / threads as f64 };
        let seconds = record.components.iter().flatten().map(|component| component.seconds);
        let at_work: f64 = seconds.sum::<f64>() + record.recording;
        let (threads_f, rest) = (threads as f64, |name: &str, seconds: f64| (name.to_string(), seconds.max(0.0)));
        let around = [
            rest("recording itself", record.recording),
            rest("waiting for other threads", record.sections * threads_f - at_work),
            rest("between stages", (record.passes - record.sections) * threads_f),
            rest("packing weights", record.packing * threads_f),
            rest("outside the engine", (record.wall - record.passes - record.packing) * threads_f),
        ];
        let line = |what, name: &str, direction: Option<usize>, seconds: f64, count: &Count| {
            scale.line(what, name.to_string(), direction.map(|d| DIRECTIONS[d]), seconds, count)
        };

        let mut kernels = Vec::new();
        let mut within = 0.0;
        for (number, name) in record.kernels.iter().enumerate() {
            for direction in 0..2 {
                let counts = record.components.iter().filter_map(|component| component[direction].counts.get(number));
                let count = total(counts);
                if count.calls > 0 {
                    within += count.seconds;
                    kernels.push(line("profile_kernel", name, Some(direction), count.seconds, &count));
                }
            }
        }
        kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let nothing = Count::default();
        let between = (at_work - record.recording - within).max(0.0);
        kernels.push(line("profile_kernel", "between kernels", None, between, &nothing));

        let mut cells = Vec::new();
        for (component, directions) in record.components.iter().enumerate() {
            let name =
                components.get(component).filter(|name| !name.is_empty()).map_or("input and head", String::as_str);
            for (direction, ComponentRecord { seconds, counts }) in directions.iter().enumerate() {
                if *seconds > 0.0 {
                    cells.push(line("profile_cell", name, Some(direction), *seconds, &total(counts.iter())));
                }
            }
        }
        for (name, seconds) in &around {
            kernels.push(line("profile_kernel", name, None, *seconds, &nothing));
            cells.push(line("profile_cell", name, None, *seconds, &nothing));
        }
        let flops: usize =
            record.components.iter().flatten().flat_map(|p| &p.counts).map(|count| count.work.flops).sum();
        let summary = ProfileSummary {
            what: "profile",
            threads,
            seconds_per_step: rounded(record.wall / scale.steps, 5),
            peak_gflops: rounded(peak_gflops, 4),
            kernel_gflop: rounded(flops as f64 / 1e9 / scale.steps, 6),
        };
        Self { summary, kernels, cells }
    }
}

fn total<'a>(counts: impl Iterator<Item = &'a Count>) -> Count {
    counts.fold(Count::default(), |mut sum, count| {
        sum.calls += count.calls;
        sum.seconds += count.seconds;
        sum.work.flops += count.work.flops;
        sum.work.bytes += count.work.bytes;
        sum
    })
}

/// What seconds and counts are measured against.
struct Scale {
    steps: f64,
    /// All threads' seconds.
    whole: f64,
    /// One thread's, in GFLOP/s.
    peak: f64,
}

impl Scale {
    fn line(
        &self,
        what: &'static str,
        name: String,
        direction: Option<&'static str>,
        seconds: f64,
        count: &Count,
    ) -> ProfileLine {
        let rate = |amount: usize| if seconds > 0.0 { rounded(amount as f64 / 1e9 / seconds, 4) } else { 0.0 };
        ProfileLine {
            what,
            name,
            direction,
            calls: rounded(count.calls as f64 / self.steps, 6),
            seconds: rounded(seconds / self.steps, 5),
            share: rounded(seconds / self.whole, 5),
            gflops: rate(count.work.flops),
            gbps: rate(count.work.bytes),
            floor_seconds: rounded(count.work.flops as f64 / 1e9 / self.peak / self.steps, 5),
        }
    }
}
