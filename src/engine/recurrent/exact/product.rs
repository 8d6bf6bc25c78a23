//! Products of row vectors with a weight matrix, plus a bias. With x = [input₀ | input₁ | …], W of in × out, and r a
//! row:
//!
//! ```text
//! y[r, o]     = Σ_i x[r, i] · W[i, o] + b[o]
//! dL/dx[r, i] = Σ_o dL/dy[r, o] · W[i, o]
//! dL/dW[i, o] = Σ_r x[r, i] · dL/dy[r, o]          dL/db[o] = Σ_r dL/dy[r, o]
//! ```
//!
//! A weight that several products or time steps use gets the sum of their gradients.

use super::rows::Rows;

/// y. `bias`: b, where there is one.
pub(super) fn forward(inputs: &[&Rows], weight: &[f64], bias: Option<&[f64]>, rows: usize, width: usize) -> Rows {
    let mut y = Rows::zeros(rows, width);
    for (r, y) in y.values.chunks_exact_mut(width).enumerate() {
        if let Some(bias) = bias {
            y.copy_from_slice(bias);
        }
        let x = inputs.iter().flat_map(|input| &input.values[r * input.width..(r + 1) * input.width]);
        for (x, weight) in x.zip(weight.chunks_exact(width)) {
            y.iter_mut().zip(weight).for_each(|(y, weight)| *y += x * weight);
        }
    }
    y
}

/// dL/dx of the input whose columns are the weight's rows from `first` on, from dL/dy.
pub(super) fn backward_input(dy: &Rows, weight: &[f64], first: usize, width: usize) -> Rows {
    let own = &weight[first * dy.width..(first + width) * dy.width];
    let values = dy.rows().flat_map(|dy| {
        own.chunks_exact(dy.len()).map(move |weight| weight.iter().zip(dy).map(|(weight, dy)| weight * dy).sum())
    });
    Rows { width, values: values.collect() }
}

/// Adds dL/dW of one input to the weight's gradient.
pub(super) fn backward_weight(x: &Rows, dy: &Rows, first: usize, gradient: &mut [f64]) {
    let own = &mut gradient[first * dy.width..(first + x.width) * dy.width];
    for (x, dy) in x.rows().zip(dy.rows()) {
        for (x, own) in x.iter().zip(own.chunks_exact_mut(dy.len())) {
            own.iter_mut().zip(dy).for_each(|(own, dy)| *own += x * dy);
        }
    }
}

/// Adds dL/db to the bias's gradient.
pub(super) fn backward_bias(dy: &Rows, gradient: &mut [f64]) {
    for dy in dy.rows() {
        gradient.iter_mut().zip(dy).for_each(|(own, dy)| *own += dy);
    }
}
