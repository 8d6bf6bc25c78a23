//! What this machine can do at most: multiply-adds in registers, bytes read and written in cache and memory.

use super::report::{Cell, Line, rounded};
use crate::engine::Isa;
use crate::engine::cpu::kernels::peaks::{chains, multiply_adds, read_all, write_all};
use crate::engine::cpu::memory::Floats;
use serde::Serialize;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

/// Trials of a measurement; the fastest counts, for a limit is what was reached once.
const TRIALS: usize = 12;
/// Rounds of multiply-adds per trial: a few milliseconds.
const ROUNDS: usize = 1 << 20;
/// Bytes that a trial reads or writes in a cache, however small that is.
const TRAFFIC: usize = 1 << 27;
/// Bytes of the caches' measurements, by thread: within the first cache, and within the second.
const CACHES: [(&str, usize); 2] = [("16 KiB", 1 << 14), ("256 KiB", 1 << 18)];
/// Bytes of the memory's measurement, of all threads together: far beyond the last cache.
const MEMORY: usize = 1 << 29;

/// One line of the benchmark's output: a limit of one thread or of all.
#[derive(Clone, Debug, Serialize)]
pub struct Peak {
    pub what: &'static str,
    /// "multiply-adds", or "read" or "write" with the size or place of what is read or written.
    pub name: String,
    pub simd: &'static str,
    pub threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gflops: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gbps: Option<f64>,
}

impl Line for Peak {
    fn cells(&self) -> Vec<Cell> {
        let rate = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.1}"));
        vec![
            Cell::word("limit", &self.name),
            Cell::word("simd", self.simd),
            Cell::count("threads", self.threads),
            Cell::count("GFLOP/s", rate(self.gflops)),
            Cell::count("GB/s", rate(self.gbps)),
        ]
    }
}

impl Peak {
    fn new(name: &str, isa: Isa, crew: Crew, gflops: Option<f64>, gbps: Option<f64>) -> Self {
        let [gflops, gbps] = [gflops, gbps].map(|rate| rate.map(|rate| rounded(rate, 4)));
        Self { what: "peak", name: name.to_string(), simd: isa.name(), threads: crew.threads(), gflops, gbps }
    }
}

/// Who takes part in a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crew {
    OneThread,
    /// Every thread of the current pool at once.
    AllThreads,
}

impl Crew {
    pub fn threads(self) -> usize {
        match self {
            Crew::OneThread => 1,
            Crew::AllThreads => rayon::current_num_threads(),
        }
    }
}

/// Multiply-adds in registers, two floating-point operations each, in GFLOP/s.
pub fn multiply_add_peak(isa: Isa, crew: Crew) -> f64 {
    let chains = chains(isa);
    let seconds = fastest(crew, || {
        let out = Floats::new(16);
        move || {
            // SAFETY: sixteen floats.
            unsafe { multiply_adds(isa, black_box(out.rest(0)), chains, ROUNDS) }
        }
    });
    (32 * chains * ROUNDS * crew.threads()) as f64 / seconds / 1e9
}

/// All limits, of one thread and of all.
pub fn peaks(isa: Isa) -> Vec<Peak> {
    let crews = match Crew::AllThreads.threads() {
        1 => vec![Crew::OneThread],
        _ => vec![Crew::OneThread, Crew::AllThreads],
    };
    let multiply_adds = |&crew: &Crew| Peak::new("multiply-adds", isa, crew, Some(multiply_add_peak(isa, crew)), None);
    let mut peaks: Vec<Peak> = crews.iter().map(multiply_adds).collect();
    for writes in [false, true] {
        for &crew in &crews {
            let verb = if writes { "write" } else { "read" };
            let mut put = |place: &str, bytes: usize, passes: usize| {
                let rate = bandwidth(isa, crew, bytes, passes, writes);
                peaks.push(Peak::new(&format!("{verb}, {place}"), isa, crew, None, Some(rate)));
            };
            for (place, bytes) in CACHES {
                put(place, bytes, TRAFFIC / bytes);
            }
            put("memory", MEMORY / crew.threads(), 1);
        }
    }
    peaks
}

/// What a thread reads from a cache of the second level, in GB/s.
pub fn cache_bandwidth(isa: Isa) -> f64 {
    let (_, bytes) = CACHES[1];
    bandwidth(isa, Crew::OneThread, bytes, TRAFFIC / bytes, false)
}

fn bandwidth(isa: Isa, crew: Crew, bytes: usize, passes: usize, writes: bool) -> f64 {
    // Groups of sixteen floats, a multiple of eight.
    let n = (bytes / 64).next_multiple_of(8);
    let seconds = fastest(crew, || {
        let (plane, out) = (Floats::new(16 * n), Floats::new(16));
        // SAFETY: as large as said. Writing first makes the pages real.
        unsafe { write_all(isa, plane.rest(0), n, 1.0) };
        move || {
            for pass in 0..passes {
                // SAFETY: as above.
                unsafe {
                    match writes {
                        true => write_all(isa, black_box(plane.rest(0)), n, pass as f32),
                        false => read_all(isa, black_box(out.rest(0)), plane.rest(0), n),
                    }
                }
            }
        }
    });
    (64 * n * passes * crew.threads()) as f64 / seconds / 1e9
}

/// The seconds of the fastest trial, of which each ends with its slowest thread. `prepare` makes each thread's work.
fn fastest<W: FnMut()>(crew: Crew, prepare: impl Fn() -> W + Sync) -> f64 {
    let barrier = Barrier::new(crew.threads());
    let trials = || {
        let mut work = prepare();
        work();
        let mut seconds = Vec::with_capacity(TRIALS);
        for _ in 0..TRIALS {
            barrier.wait();
            let start = Instant::now();
            work();
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds
    };
    let by_thread: Vec<Vec<f64>> = match crew {
        Crew::OneThread => vec![trials()],
        Crew::AllThreads => rayon::broadcast(|_| trials()),
    };
    let slowest = |trial: usize| by_thread.iter().map(|seconds| seconds[trial]).fold(0.0, f64::max);
    (0..TRIALS).map(slowest).fold(f64::INFINITY, f64::min)
}
