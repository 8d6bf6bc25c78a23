//! Convolution with any kernel, stride, padding, dilation and number of groups (dilation: Yu and Koltun 2016; one group
//! per channel, "depthwise": Chollet 2017). Linear layers and pointwise convolutions are the case of a 1×1 kernel.
//!
//! With i over the input channels of o's group, (a, b) over the kernel, and x zero outside of its map:
//!
//! ```text
//! y[n, o, r, c] = bias[o] + Σ_i Σ_a Σ_b  w[o, i, a, b] · x[n, i, r·stride + a·dilation − padding, c·… + b·… − …]
//! ```
//!
//! `w`: output channels × input channels of one group × kernel height × kernel width; height and width of the output
//! are ⌊(input + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1. The map is linear in x and in w, so its
//! gradients are the same sum with the roles exchanged: each product w·x passes y's gradient times w to x, and times x
//! to w.

use super::maps::Maps;
use super::rows::{add_scaled, add_scaled_apart, dot};
use crate::graph::{Conv, Shape};
use rayon::prelude::*;
use std::ops::Range;

/// Height or width: how output positions meet input positions.
struct Axis {
    input: usize,
    output: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
}

impl Axis {
    /// The outputs that tap `tap` of the kernel leads to a position inside the input; elsewhere it meets padding.
    fn outputs(&self, tap: usize) -> Range<usize> {
        let shift = tap * self.dilation;
        let first = self.padding.saturating_sub(shift).div_ceil(self.stride);
        let end = (self.input + self.padding).saturating_sub(shift).div_ceil(self.stride).min(self.output);
        first.min(end)..end
    }

    /// The input position that one of these outputs meets at a tap.
    fn input(&self, output: usize, tap: usize) -> usize {
        output * self.stride + tap * self.dilation - self.padding
    }
}

/// A convolution between maps of known sizes.
struct Geometry {
    rows: Axis,
    columns: Axis,
    kernel: (usize, usize),
    /// Input and output channels of one group.
    inputs: usize,
    outputs: usize,
}

impl Geometry {
    fn new(conv: &Conv, from: Shape, to: Shape) -> Self {
        let axis = |input, output, stride, padding, dilation| Axis { input, output, stride, padding, dilation };
        Self {
            rows: axis(from.height, to.height, conv.stride.0, conv.padding.0, conv.dilation.0),
            columns: axis(from.width, to.width, conv.stride.1, conv.padding.1, conv.dilation.1),
            kernel: conv.kernel,
            inputs: from.channels / conv.groups,
            outputs: to.channels / conv.groups,
        }
    }

    /// The input channels that an output channel reads.
    fn inputs_of(&self, output: usize) -> Range<usize> {
        let group = output / self.outputs;
        group * self.inputs..(group + 1) * self.inputs
    }

    /// The output channels that read an input channel.
    fn outputs_of(&self, input: usize) -> Range<usize> {
        let group = input / self.inputs;
        group * self.outputs..(group + 1) * self.outputs
    }

    /// Where the kernel from an input to an output channel begins in the weights.
    fn kernel_of(&self, output: usize, input: usize) -> usize {
        (output * self.inputs + input % self.inputs) * self.kernel.0 * self.kernel.1
    }

    /// Calls `meet(tap, outputs, input)` for every tap and every row: the run of pixels of the output plane that meets
    /// pixels of the input plane from `input` on, in steps of the horizontal stride.
    fn each_run(&self, mut meet: impl FnMut(usize, Range<usize>, usize)) {
        for a in 0..self.kernel.0 {
            for b in 0..self.kernel.1 {
                let columns = self.columns.outputs(b);
                if columns.is_empty() {
                    continue;
                }
                for row in self.rows.outputs(a) {
                    let output = row * self.columns.output;
                    let input = self.rows.input(row, a) * self.columns.input + self.columns.input(columns.start, b);
                    meet(a * self.kernel.1 + b, output + columns.start..output + columns.end, input);
                }
            }
        }
    }
}

/// y. `bias`: one per output channel.
pub(super) fn forward(x: &Maps, conv: &Conv, w: &[f64], bias: Option<&[f64]>, to: Shape) -> Maps {
    let geometry = Geometry::new(conv, x.shape, to);
    Maps::from_planes(x.batch, to, |image, o, y| {
        y.fill(bias.map_or(0.0, |bias| bias[o]));
        for i in geometry.inputs_of(o) {
            let (x, w) = (x.plane(image, i), &w[geometry.kernel_of(o, i)..]);
            geometry.each_run(|tap, outputs, input| {
                add_scaled(&mut y[outputs], w[tap], &x[input..], conv.stride.1);
            });
        }
    })
}

/// dL/dx from dL/dy.
pub(super) fn backward_x(dy: &Maps, conv: &Conv, w: &[f64], from: Shape) -> Maps {
    let geometry = Geometry::new(conv, from, dy.shape);
    Maps::from_planes(dy.batch, from, |image, i, dx| {
        for o in geometry.outputs_of(i) {
            let (dy, w) = (dy.plane(image, o), &w[geometry.kernel_of(o, i)..]);
            geometry.each_run(|tap, outputs, input| {
                add_scaled_apart(&mut dx[input..], conv.stride.1, w[tap], &dy[outputs]);
            });
        }
    })
}

/// Adds dL/dw to `dw`, in the layout of the weights.
pub(super) fn backward_w(x: &Maps, dy: &Maps, conv: &Conv, dw: &mut [f64]) {
    let geometry = Geometry::new(conv, x.shape, dy.shape);
    let kernel = conv.kernel.0 * conv.kernel.1;
    dw.par_chunks_mut(geometry.inputs * kernel).enumerate().for_each(|(o, dw)| {
        for (i, dw) in geometry.inputs_of(o).zip(dw.chunks_mut(kernel)) {
            for (x, dy) in x.planes(i).zip(dy.planes(o)) {
                geometry.each_run(|tap, outputs, input| dw[tap] += dot(&dy[outputs], &x[input..], conv.stride.1));
            }
        }
    });
}

/// Adds dL/dbias to `dbias`: every output pixel counts.
pub(super) fn backward_bias(dy: &Maps, dbias: &mut [f64]) {
    for (o, dbias) in dbias.iter_mut().enumerate() {
        *dbias += dy.planes(o).flatten().sum::<f64>();
    }
}
