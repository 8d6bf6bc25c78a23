//! Weighted sums: mixed operations (Liu et al. 2019), plain sums, means.
//!
//! ```text
//! y = s · Σ_t p_t · x_t          dL/dx_t = s · p_t · dL/dy          dL/dp_t = s · Σ dL/dy · x_t
//! ```
//!
//! p_t is the mixing weight of the term's slot, 1 where it has none; terms that share a slot add up in its gradient. A
//! term whose slot is masked off is not run: it adds nothing, and its slot's gradient is 0. A sum without any running
//! term is zeros.

use super::rows::Rows;
use crate::graph::Slot;

/// s · p_t.
pub(super) fn factor(slot: Option<Slot>, scale: f64, p: &[f64]) -> f64 {
    scale * slot.map_or(1.0, |slot| p[slot.0 as usize])
}

/// y. `terms`: those that run, each with its factor.
pub(super) fn forward(terms: &[(&Rows, f64)], rows: usize, width: usize) -> Rows {
    let mut y = Rows::zeros(rows, width);
    for (x, factor) in terms {
        y.values.iter_mut().zip(&x.values).for_each(|(y, x)| *y += factor * x);
    }
    y
}

/// One term's dL/dx.
pub(super) fn backward_x(factor: f64, dy: &Rows) -> Rows {
    dy.map(|dy| factor * dy)
}

/// One term's dL/dp.
pub(super) fn backward_p(x: &Rows, dy: &Rows, scale: f64) -> f64 {
    scale * x.dot(dy)
}
