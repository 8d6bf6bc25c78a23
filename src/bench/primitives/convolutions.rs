//! Depthwise, pointwise and dense convolutions: forward, input gradient, weights' gradient.

use super::{Planes, Primitive, filled};
use crate::engine::cpu::kernels::dense::{DenseTap, Store, Strides, dense, dense_gradient};
use crate::engine::cpu::kernels::depthwise::{
    Grid, Rows, Target, depthwise_gradient, depthwise_gradient_row, depthwise_rows,
};
use crate::engine::cpu::kernels::moments::Moments;
use crate::engine::cpu::kernels::sums::{Shifted, Slope, Write, weighted_sum};
use crate::engine::cpu::memory::Floats;
use crate::engine::cpu::plan::STRIP;
use crate::graph::plan::LANES;
use std::ptr::null;

impl Planes {
    /// Stride 1: forward and input gradient by the same kernel, the latter with the kernel turned and through a ReLU.
    pub fn depthwise(self, kernel: usize, dilation: usize) -> [Primitive; 3] {
        let Self { isa, size, .. } = self;
        let name = match dilation {
            1 => format!("depthwise {kernel}x{kernel}"),
            _ => format!("depthwise {kernel}x{kernel} dilation {dilation}"),
        };
        let pad = dilation * (kernel / 2);
        let row = (size + 2 * pad) * LANES;
        let taps = kernel * kernel;
        let grid = move |weights: *const f32, stride: isize| Grid {
            rows: kernel,
            columns: kernel,
            spacing: dilation,
            row: dilation * row,
            weights,
            stride,
        };
        let (x, weights, y) = (filled(self.tensor(pad)), filled(taps * self.channels), Floats::new(self.tensor(0)));
        let forward = move || {
            for block in 0..self.blocks() {
                let grid = grid(weights.rest(block * taps * LANES), LANES as isize);
                let first = y.rest(block * self.plane(0));
                let target = Target { first, row: size * LANES, slope: Slope::One, slope_row: 0, write: Write::Over };
                // SAFETY: the source is padded as far as the taps look.
                unsafe { depthwise_rows(isa, target, x.rest(block * self.plane(pad)), row, grid, size, size) }
            }
        };
        let (dy, weights, dx) = (filled(self.tensor(pad)), filled(taps * self.channels), filled(self.tensor(0)));
        let x = filled(self.tensor(0));
        let input = move || {
            for block in 0..self.blocks() {
                let grid = grid(weights.rest((block * taps + taps - 1) * LANES), -(LANES as isize));
                let (first, slope) = (dx.rest(block * self.plane(0)), Slope::Positive(x.rest(block * self.plane(0))));
                let target = Target { first, row: size * LANES, slope, slope_row: size * LANES, write: Write::Over };
                // SAFETY: as above; `x` has the target's shape.
                unsafe { depthwise_rows(isa, target, dy.rest(block * self.plane(pad)), row, grid, size, size) }
            }
        };
        let (x, dy, gradient) = (filled(self.tensor(pad)), filled(self.tensor(0)), Floats::new(taps * self.channels));
        let weights = move || {
            for block in 0..self.blocks() {
                for r in 0..kernel {
                    let from = x.rest(block * self.plane(pad) + r * dilation * row);
                    let x = Rows { first: from, row, pixel: LANES };
                    let dy = Rows { first: dy.rest(block * self.plane(0)), row: size * LANES, pixel: LANES };
                    let to = gradient.rest((block * taps + r * kernel) * LANES);
                    // SAFETY: the taps of all rows lie within the padded plane.
                    unsafe { depthwise_gradient_row(isa, to, LANES, x, kernel, dilation, dy, size, size) };
                }
            }
        };
        [
            self.primitive(format!("{name}, forward"), forward),
            self.primitive(format!("{name}, input gradient"), input),
            self.primitive(format!("{name}, weights' gradient"), weights),
        ]
    }

    /// Stride 2, from this size to half of it.
    pub fn depthwise_halving(self, kernel: usize) -> [Primitive; 2] {
        let Self { isa, size, .. } = self;
        let (pad, half, taps) = (kernel / 2, size / 2, kernel * kernel);
        let row = (size + 2 * pad) * LANES;
        let offset = move |tap: usize| tap / kernel * row + tap % kernel * LANES;
        let out = self.blocks() * half * half * LANES;
        let (x, weights, y) = (filled(self.tensor(pad)), filled(taps * self.channels), Floats::new(out));
        let forward = move || {
            for block in 0..self.blocks() {
                let terms: [Shifted; 25] = std::array::from_fn(|tap| {
                    let tap = tap.min(taps - 1);
                    Shifted { offset: offset(tap), weight: weights.rest((block * taps + tap) * LANES) }
                });
                for r in 0..half {
                    let from = x.rest(block * self.plane(pad) + 2 * r * row);
                    let to = y.rest((block * half + r) * half * LANES);
                    // SAFETY: the taps of every second pixel lie within the padded plane.
                    unsafe {
                        weighted_sum(
                            isa,
                            to,
                            LANES,
                            from,
                            &terms[..taps],
                            2 * LANES,
                            half,
                            null(),
                            Slope::One,
                            Write::Over,
                        );
                    }
                }
            }
        };
        let (x, dy, gradient) = (filled(self.tensor(pad)), filled(out), Floats::new(taps * self.channels));
        let offsets: Vec<usize> = (0..taps).map(offset).collect();
        let weights = move || {
            for block in 0..self.blocks() {
                let x = Rows { first: x.rest(block * self.plane(pad)), row: 2 * row, pixel: 2 * LANES };
                let dy = Rows { first: dy.rest(block * half * half * LANES), row: half * LANES, pixel: LANES };
                let to = gradient.rest(block * taps * LANES);
                // SAFETY: as above.
                unsafe { depthwise_gradient(isa, to, LANES, x, &offsets, dy, half, half) };
            }
        };
        let name = format!("depthwise {kernel}x{kernel} stride 2");
        [
            self.primitive(format!("{name}, forward"), forward),
            self.primitive(format!("{name}, weights' gradient"), weights),
        ]
    }

    /// As many channels out as in, strip by strip, with the sums for a norm; the input gradient is the same kernel with
    /// the matrix transposed, and here as there writes rows of a plane with a halo.
    pub fn pointwise(self) -> [Primitive; 3] {
        let Self { isa, channels, size, .. } = self;
        let blocks = self.blocks();
        let lanes = vec![LANES; blocks];
        let matrix = || filled(channels * channels);
        let strides = Strides { pixel: LANES, block: self.plane(0) };
        let strips = move || (0..size * size).step_by(STRIP).map(move |p| (p * LANES, STRIP.min(size * size - p)));

        let (x, weights, y, filled_lanes) =
            (filled(self.tensor(0)), matrix(), Floats::new(self.tensor(0)), lanes.clone());
        let sums = Floats::new(3 * channels);
        let forward = move || {
            let taps = [DenseTap { offset: 0, weight: weights.rest(0) }];
            let [pivot, total, square] = [0, 1, 2].map(|which| sums.at(which * channels, channels));
            for (at, n) in strips() {
                let moments = Some(Moments { pivot, total, square, begin: at == 0 });
                let store = Store { moments, past_cache: false };
                let (to, from) = (y.rest(at), x.rest(at));
                // SAFETY: a strip of both tensors.
                unsafe { dense(isa, to, strides, blocks, from, strides, &taps, &filled_lanes, n, null(), store) };
            }
        };
        let (dy, weights, dx, filled_lanes) =
            (filled(self.tensor(0)), matrix(), Floats::new(self.tensor(2)), lanes.clone());
        let input = move || {
            let taps = [DenseTap { offset: 0, weight: weights.rest(0) }];
            let to_strides = Strides { pixel: LANES, block: self.plane(2) };
            for r in 0..size {
                let (to, from) = (dx.rest(((r + 2) * (size + 4) + 2) * LANES), dy.rest(r * size * LANES));
                // SAFETY: a row of both tensors.
                unsafe {
                    dense(isa, to, to_strides, blocks, from, strides, &taps, &filled_lanes, size, null(), Store::PLAIN);
                }
            }
        };
        let (x, dy, gradient) = (filled(self.tensor(0)), filled(self.tensor(0)), Floats::new(channels * channels));
        let weights = move || {
            for (at, n) in strips() {
                let (x, dy) = (x.rest(at), dy.rest(at));
                // SAFETY: a strip of both tensors.
                unsafe { dense_gradient(isa, gradient.rest(0), x, strides, &lanes, dy, strides, blocks, n) };
            }
        };
        [
            self.primitive("pointwise, forward".into(), forward),
            self.primitive("pointwise, input gradient".into(), input),
            self.primitive("pointwise, weights' gradient".into(), weights),
        ]
    }

    /// A dense 3×3 convolution with as many channels out as in, row by row; the input gradient is the same kernel.
    pub fn dense_3x3(self) -> [Primitive; 2] {
        let Self { isa, channels, size, .. } = self;
        let blocks = self.blocks();
        let lanes = vec![LANES; blocks];
        let row = (size + 2) * LANES;
        let from = Strides { pixel: LANES, block: self.plane(1) };
        let to = Strides { pixel: LANES, block: self.plane(0) };
        let offset = move |tap: usize| tap / 3 * row + tap % 3 * LANES;
        let matrix = channels * channels;

        let (x, weights, y) = (filled(self.tensor(1)), filled(9 * matrix), Floats::new(self.tensor(0)));
        let filled_lanes = lanes.clone();
        let forward = move || {
            let taps: [DenseTap; 9] =
                std::array::from_fn(|tap| DenseTap { offset: offset(tap), weight: weights.rest(tap * matrix) });
            for r in 0..size {
                let (y, x) = (y.rest(r * size * LANES), x.rest(r * row));
                // SAFETY: the plane is padded as far as the taps look.
                unsafe { dense(isa, y, to, blocks, x, from, &taps, &filled_lanes, size, null(), Store::PLAIN) };
            }
        };
        let (x, dy, gradient) = (filled(self.tensor(1)), filled(self.tensor(0)), Floats::new(9 * matrix));
        let weights = move || {
            for tap in 0..9 {
                for r in 0..size {
                    let (x, dy) = (x.rest(r * row + offset(tap)), dy.rest(r * size * LANES));
                    // SAFETY: as above.
                    unsafe { dense_gradient(isa, gradient.rest(tap * matrix), x, from, &lanes, dy, to, blocks, size) };
                }
            }
        };
        [
            self.primitive("dense 3x3, forward".into(), forward),
            self.primitive("dense 3x3, weights' gradient".into(), weights),
        ]
    }
}
