//! The engine's kernels one at a time, each over planes as a search meets them: 16 channels at 32×32 pixels, 32 at
//! 16×16, 64 at 8×8. `candlewick bench primitives` and the developers' benchmarks run this one list.

mod convolutions;
mod planes;

use crate::bench::report::{Cell, Line, rounded};
use crate::engine::Isa;
use crate::engine::cpu::memory::Floats;
use crate::engine::cpu::profile::work_of;
use crate::graph::plan::LANES;
use serde::Serialize;
use std::time::{Duration, Instant};

/// One kernel over the planes of one image.
pub struct Primitive {
    /// For example "depthwise 5x5 dilation 2, input gradient".
    pub name: String,
    pub channels: usize,
    /// Side of the planes.
    pub size: usize,
    run: Box<dyn FnMut()>,
}

impl Primitive {
    fn new(name: impl Into<String>, channels: usize, size: usize, run: impl FnMut() + 'static) -> Self {
        Self { name: name.into(), channels, size, run: Box::new(run) }
    }

    /// Runs it once, on this thread.
    pub fn run(&mut self) {
        (self.run)();
    }

    /// Floating-point operations of one run, those on empty lanes included, and the bytes it names.
    pub fn work(&mut self) -> (usize, usize) {
        let work = work_of(|| (self.run)());
        (work.flops, work.bytes)
    }

    /// The seconds of one run: of several rounds that together take about `time`, the fastest.
    pub fn seconds(&mut self, time: Duration) -> f64 {
        const ROUNDS: u32 = 10;
        let begun = Instant::now();
        let mut runs = 0u32;
        while begun.elapsed() < time / ROUNDS {
            self.run();
            runs += 1;
        }
        let round = |this: &mut Self| {
            let start = Instant::now();
            (0..runs).for_each(|_| this.run());
            start.elapsed().as_secs_f64() / f64::from(runs)
        };
        (0..ROUNDS).map(|_| round(self)).fold(f64::INFINITY, f64::min)
    }
}

/// One line of the benchmark's output. Rates are of one thread.
#[derive(Clone, Debug, Serialize)]
pub struct PrimitiveResult {
    pub what: &'static str,
    pub name: String,
    pub channels: usize,
    pub size: usize,
    pub simd: &'static str,
    pub microseconds: f64,
    pub gflops: f64,
    pub gbps: f64,
    /// Of one thread's multiply-adds in registers, and of what it reads from its second cache.
    pub share_of_multiply_adds: f64,
    pub share_of_cache: f64,
}

impl PrimitiveResult {
    /// Times a primitive; the limits are one thread's.
    pub fn measure(primitive: &mut Primitive, isa: Isa, time: Duration, gflops_limit: f64, gbps_limit: f64) -> Self {
        let (flops, bytes) = primitive.work();
        let seconds = primitive.seconds(time);
        let (gflops, gbps) = (flops as f64 / seconds / 1e9, bytes as f64 / seconds / 1e9);
        Self {
            what: "primitive",
            name: primitive.name.clone(),
            channels: primitive.channels,
            size: primitive.size,
            simd: isa.name(),
            microseconds: rounded(1e6 * seconds, 4),
            gflops: rounded(gflops, 4),
            gbps: rounded(gbps, 4),
            share_of_multiply_adds: rounded(gflops / gflops_limit, 4),
            share_of_cache: rounded(gbps / gbps_limit, 4),
        }
    }
}

impl Line for PrimitiveResult {
    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::word("primitive", &self.name),
            Cell::count("channels", self.channels),
            Cell::count("size", self.size),
            Cell::number("µs", self.microseconds, 2),
            Cell::number("GFLOP/s", self.gflops, 1),
            Cell::percent("% of multiply-adds", self.share_of_multiply_adds),
            Cell::number("GB/s", self.gbps, 1),
            Cell::percent("% of cache", self.share_of_cache),
        ]
    }
}

/// All primitives, on one instruction set.
pub fn primitives(isa: Isa) -> Vec<Primitive> {
    let mut list = Vec::new();
    for (channels, size) in [(16, 32), (32, 16), (64, 8)] {
        let planes = Planes { isa, channels, size };
        for (kernel, dilation) in [(3, 1), (5, 1), (3, 2), (5, 2)] {
            list.extend(planes.depthwise(kernel, dilation));
        }
        list.extend(planes.depthwise_halving(3));
        list.extend(planes.pointwise());
        list.extend(planes.dense_3x3());
        list.extend(planes.sums());
        list.extend(planes.pools());
        list.push(planes.load());
    }
    list
}

/// Planes of one image: blocks of sixteen channels, `size` × `size` pixels.
#[derive(Clone, Copy)]
struct Planes {
    isa: Isa,
    channels: usize,
    size: usize,
}

/// Memory with numbers in it that are neither zero nor tiny.
fn filled(len: usize) -> Floats {
    let mut floats = Floats::new(len);
    floats.slice_mut().iter_mut().enumerate().for_each(|(i, value)| *value = (i % 13) as f32 * 0.125 - 0.7);
    floats
}

impl Planes {
    fn blocks(&self) -> usize {
        self.channels / LANES
    }

    /// Floats of one block's plane with so many pixels of padding around.
    fn plane(&self, pad: usize) -> usize {
        (self.size + 2 * pad).pow(2) * LANES
    }

    /// Floats of all blocks.
    fn tensor(&self, pad: usize) -> usize {
        self.blocks() * self.plane(pad)
    }

    fn primitive(&self, name: String, run: impl FnMut() + 'static) -> Primitive {
        Primitive::new(name, self.channels, self.size, run)
    }
}
