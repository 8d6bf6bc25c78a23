//! What a first-order search step costs by size: batch, channels, layers and threads, one varied at a time around the
//! usual search. Each row is measured by a process of its own, for a process knows only its own highest memory.

use super::peaks::{Crew, multiply_add_peak};
use super::report::{Cell, Line, median, rounded};
use crate::engine::Isa;
use crate::{Error, Result, interrupt};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::process::{Command, Stdio};

/// What is varied, and what the other sizes are meanwhile.
#[derive(Clone, Debug)]
pub struct Grid {
    pub batches: Vec<usize>,
    pub channels: Vec<usize>,
    pub layers: Vec<usize>,
    pub threads: Vec<usize>,
    /// The row around which one size at a time is varied.
    pub centre: Sizes,
    /// Side of the images.
    pub size: usize,
    /// Steps to time, after one that warms up.
    pub steps: usize,
    pub seed: u64,
    /// As the command line names it. On a GPU the number of threads is not varied.
    pub device: String,
}

/// A row's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sizes {
    pub batch: usize,
    pub channels: usize,
    pub layers: usize,
    pub threads: usize,
}

/// How much more time than arithmetic may grow.
pub const TOLERANCE: f64 = 1.15;

/// One line of the benchmark's output.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub what: &'static str,
    /// "batch", "channels", "layers" or "threads".
    pub varied: &'static str,
    pub order: usize,
    pub batch: usize,
    pub channels: usize,
    pub layers: usize,
    pub threads: usize,
    /// "cpu", or the GPU's name.
    pub device: String,
    pub simd: String,
    pub seconds: Vec<f64>,
    pub peak_rss_mb: u64,
    pub ms_per_image: f64,
    pub gflop_per_step: f64,
    pub gflops: f64,
    /// Of the multiply-adds in registers of one thread or of all; none on a GPU.
    pub share_of_peak: Option<f64>,
    /// Seconds over arithmetic, against the row of this group with the least arithmetic: 1 if time grows as arithmetic
    /// does.
    pub time_to_arithmetic: f64,
    pub training_mb: f64,
    /// Peak memory over activations; none on a GPU, which holds the activations.
    pub memory_to_training: Option<f64>,
}

impl Line for Row {
    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::word("varied", self.varied),
            Cell::count("batch", self.batch),
            Cell::count("channels", self.channels),
            Cell::count("layers", self.layers),
            Cell::count("threads", self.threads),
            Cell::number("median s", median(&self.seconds), 4),
            Cell::number("ms per image", self.ms_per_image, 2),
            Cell::number("GFLOP/s", self.gflops, 1),
            Cell::count("% of peak", self.share_of_peak.map_or(String::new(), |share| format!("{:.1}", 100.0 * share))),
            Cell::number("time / arithmetic", self.time_to_arithmetic, 2),
            Cell::count("peak MB", self.peak_rss_mb),
            Cell::count(
                "memory / training",
                self.memory_to_training.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            ),
        ]
    }
}

/// The last line: what the rows say together.
#[derive(Clone, Debug, Serialize)]
pub struct Growth {
    pub what: &'static str,
    /// The most that time grew over arithmetic, within batch, channels or layers.
    pub worst_time_to_arithmetic: f64,
    /// Whether that is within 15 %.
    pub no_faster_than_arithmetic: bool,
    /// The seconds of one thread over those of the most; none where only one number of threads was measured.
    pub one_thread_to_all: Option<f64>,
}

impl Line for Growth {
    fn cells(&self) -> Vec<Cell> {
        let verdict = if self.no_faster_than_arithmetic { "no faster" } else { "faster" };
        vec![
            Cell::word("time grows", format!("{verdict} than arithmetic, 15 % allowed")),
            Cell::number("worst time / arithmetic", self.worst_time_to_arithmetic, 2),
            Cell::count(
                "one thread / all",
                self.one_thread_to_all.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            ),
        ]
    }
}

impl Growth {
    /// What rows of any groups say.
    pub fn of(rows: &[Row]) -> Self {
        let sized = rows.iter().filter(|row| row.varied != "threads");
        let worst = sized.map(|row| row.time_to_arithmetic).fold(1.0, f64::max);
        let threads = || rows.iter().filter(|row| row.varied == "threads");
        let one = threads().find(|row| row.threads == 1);
        let most = threads().max_by_key(|row| row.threads).filter(|row| row.threads > 1);
        let ratio = one.zip(most).map(|(one, most)| median(&one.seconds) / median(&most.seconds));
        Self {
            what: "table_summary",
            worst_time_to_arithmetic: rounded(worst, 4),
            no_faster_than_arithmetic: worst <= TOLERANCE,
            one_thread_to_all: ratio.map(|ratio| rounded(ratio, 4)),
        }
    }
}

/// What a row's process prints.
#[derive(Clone, Debug, Deserialize)]
struct Measurement {
    seconds: Vec<f64>,
    peak_rss_mb: u64,
    gflop_per_step: f64,
    gflops: f64,
    training_mb: f64,
    device: String,
    simd: String,
}

impl Grid {
    /// Measures group by group: `tell` is told what is about to be measured, `done` gets each group's rows.
    ///
    /// # Errors
    /// What a row's process says is wrong, that the system ended it, or what `done` returns.
    pub fn run<E: From<Error>>(
        &self,
        mut tell: impl FnMut(&str),
        mut done: impl FnMut(&[Row]) -> Result<(), E>,
    ) -> Result<Growth, E> {
        let peaks = if self.on_gpu() { HashMap::new() } else { peaks()? };
        let mut known: HashMap<Sizes, Measurement> = HashMap::new();
        let mut all = Vec::new();
        for (varied, rows) in self.groups() {
            for sizes in &rows {
                if !known.contains_key(sizes) {
                    interrupt::check()?;
                    let Sizes { batch, channels, layers, threads } = sizes;
                    tell(&format!("batch {batch}, channels {channels}, layers {layers}, threads {threads}"));
                    known.insert(*sizes, self.measure(*sizes)?);
                }
            }
            let measured: Vec<(Sizes, &Measurement)> = rows.iter().map(|sizes| (*sizes, &known[sizes])).collect();
            let rows = group(varied, &measured, &peaks);
            done(&rows)?;
            all.extend(rows);
        }
        Ok(Growth::of(&all))
    }

    /// What is varied, and the sizes of its rows.
    fn groups(&self) -> Vec<(&'static str, Vec<Sizes>)> {
        let vary = |values: &[usize], set: fn(&mut Sizes, usize)| {
            let mut rows: Vec<Sizes> = Vec::new();
            for &value in values {
                let mut sizes = self.centre;
                set(&mut sizes, value);
                if !rows.contains(&sizes) {
                    rows.push(sizes);
                }
            }
            rows
        };
        let mut groups = vec![
            ("batch", vary(&self.batches, |sizes, batch| sizes.batch = batch)),
            ("channels", vary(&self.channels, |sizes, channels| sizes.channels = channels)),
            ("layers", vary(&self.layers, |sizes, layers| sizes.layers = layers)),
        ];
        if !self.on_gpu() {
            groups.push(("threads", vary(&self.threads, |sizes, threads| sizes.threads = threads)));
        }
        groups
    }

    fn on_gpu(&self) -> bool {
        self.device != "cpu"
    }

    /// One row, by this program in a process of its own.
    fn measure(&self, sizes: Sizes) -> Result<Measurement> {
        let own = std::env::current_exe().map_err(|e| Error::run(format!("this program cannot be found: {e}")))?;
        let options = [
            ("--batch", sizes.batch),
            ("--channels", sizes.channels),
            ("--layers", sizes.layers),
            ("--threads", sizes.threads),
            ("--size", self.size),
            ("--steps", self.steps),
        ];
        let mut command = Command::new(own);
        command.args(["bench", "step", "--device", &self.device, "--seed", &self.seed.to_string()]);
        command.stdin(Stdio::null());
        for (name, value) in options {
            command.args([name, &value.to_string()]);
        }
        let output = command.output().map_err(|e| Error::run(format!("a row's process did not start: {e}")))?;
        interrupt::check()?;
        let Sizes { batch, channels, layers, .. } = sizes;
        let row = format!("batch {batch}, channels {channels}, layers {layers}");
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim().strip_prefix("error: ").unwrap_or(said.trim()).to_string();
            return Err(match output.status.code() {
                Some(2) => Error::user(format!("{row}: {said}")),
                Some(_) => Error::run(format!("{row}: {said}")),
                None => Error::run(format!("{row}: the system ended the process ({})", output.status))
                    .hint("if memory ran out, leave large rows out: --batches 16,32 --channels 8,16 --layers 5,8"),
            });
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|e| Error::run(format!("{row}: no measurement was printed: {e}")))
    }
}

/// The multiply-adds a second of one thread and of all, by threads.
fn peaks() -> Result<HashMap<usize, f64>> {
    let isa = Isa::choose()?;
    Ok([Crew::OneThread, Crew::AllThreads].map(|crew| (crew.threads(), multiply_add_peak(isa, crew))).into())
}

fn group(varied: &'static str, rows: &[(Sizes, &Measurement)], peaks: &HashMap<usize, f64>) -> Vec<Row> {
    let cost = |row: &Measurement| median(&row.seconds) / row.gflop_per_step;
    let smallest = rows.iter().map(|(_, row)| *row).min_by(|a, b| a.gflop_per_step.total_cmp(&b.gflop_per_step));
    rows.iter()
        .map(|&(Sizes { batch, channels, layers, threads }, row)| Row {
            what: "table_row",
            varied,
            order: 1,
            batch,
            channels,
            layers,
            threads,
            device: row.device.clone(),
            simd: row.simd.clone(),
            seconds: row.seconds.clone(),
            peak_rss_mb: row.peak_rss_mb,
            ms_per_image: rounded(1e3 * median(&row.seconds) / batch as f64, 4),
            gflop_per_step: row.gflop_per_step,
            gflops: row.gflops,
            share_of_peak: peaks.get(&threads).map(|peak| rounded(row.gflops / peak, 4)),
            time_to_arithmetic: rounded(cost(row) / smallest.map_or(1.0, cost), 4),
            training_mb: row.training_mb,
            memory_to_training: (row.device == "cpu").then(|| rounded(row.peak_rss_mb as f64 / row.training_mb, 4)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(seconds: f64, gflop_per_step: f64) -> Measurement {
        let gflops = gflop_per_step / seconds;
        let seconds = vec![seconds];
        Measurement {
            seconds,
            peak_rss_mb: 300,
            gflop_per_step,
            gflops,
            training_mb: 200.0,
            device: "cpu".into(),
            simd: "avx2".into(),
        }
    }

    fn sizes(batch: usize, threads: usize) -> Sizes {
        Sizes { batch, channels: 16, layers: 8, threads }
    }

    #[test]
    fn growth_is_against_the_row_with_the_least_arithmetic() {
        let (small, large) = (measurement(1.0, 100.0), measurement(2.4, 200.0));
        let rows = group("batch", &[(sizes(64, 2), &large), (sizes(32, 2), &small)], &HashMap::from([(2, 200.0)]));
        assert_eq!(rows[0].time_to_arithmetic, 1.2);
        assert_eq!(rows[1].time_to_arithmetic, 1.0);
        assert_eq!(rows[1].share_of_peak, Some(0.5));
        assert_eq!(rows[1].memory_to_training, Some(1.5));
        let growth = Growth::of(&rows);
        assert!(!growth.no_faster_than_arithmetic);
        assert_eq!((growth.worst_time_to_arithmetic, growth.one_thread_to_all), (1.2, None));
    }

    #[test]
    fn threads_are_compared_and_are_no_growth() {
        let (one, two) = (measurement(1.9, 100.0), measurement(1.0, 100.0));
        let rows = group("threads", &[(sizes(64, 1), &one), (sizes(64, 2), &two)], &HashMap::new());
        let growth = Growth::of(&rows);
        assert!(growth.no_faster_than_arithmetic);
        assert_eq!(growth.one_thread_to_all, Some(1.9));
    }
}
