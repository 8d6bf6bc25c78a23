//! What is done element by element.
//!
//! | primitive | y | slopes |
//! | --- | --- | --- |
//! | add, subtract, multiply | a + b, a − b, a · b | 1 and 1, 1 and −1, b and a |
//! | blend | a + g · (b − a) | a: 1 − g, b: g, g: b − a |
//! | sigmoid | 1 / (1 + e⁻ˣ) | y · (1 − y) |
//! | tanh | tanh x | 1 − y² |
//! | relu | max(x, 0) | 1 where x > 0, else 0 |
//! | affine | s · x + t | s |
//! | at most | min(x, m) | 1 where x < m, else 0 |
//! | mask | m · x, m drawn once a pass | m |

use super::rows::Rows;
use crate::graph::recurrent::Function;

/// f(x).
pub(super) fn function(function: Function, x: &Rows) -> Rows {
    x.map(|x| match function {
        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Function::Tanh => x.tanh(),
        Function::Relu => x.max(0.0),
    })
}

/// dL/dx from y and dL/dy.
pub(super) fn function_backward(function: Function, y: &Rows, dy: &Rows) -> Rows {
    let slope = |y: f64| match function {
        Function::Sigmoid => y * (1.0 - y),
        Function::Tanh => 1.0 - y * y,
        Function::Relu => f64::from(y > 0.0),
    };
    y.zip(dy, |y, dy| slope(y) * dy)
}

/// a + g · (b − a).
pub(super) fn blend(from: &Rows, to: &Rows, gate: &Rows) -> Rows {
    from.zip(&gate.zip(&to.zip(from, |to, from| to - from), |gate, apart| gate * apart), |from, step| from + step)
}

/// dL/da, dL/db and dL/dg of a blend from dL/dy.
pub(super) fn blend_backward(from: &Rows, to: &Rows, gate: &Rows, dy: &Rows) -> [Rows; 3] {
    [
        gate.zip(dy, |gate, dy| (1.0 - gate) * dy),
        gate.zip(dy, |gate, dy| gate * dy),
        to.zip(from, |to, from| to - from).zip(dy, |apart, dy| apart * dy),
    ]
}

/// min(x, m).
pub(super) fn at_most(x: &Rows, most: f64) -> Rows {
    x.map(|x| x.min(most))
}

/// dL/dx of min(x, m).
pub(super) fn at_most_backward(x: &Rows, most: f64, dy: &Rows) -> Rows {
    x.zip(dy, |x, dy| if x < most { dy } else { 0.0 })
}
