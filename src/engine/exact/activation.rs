//! Pointwise non-linearities: y = f(x), dL/dx = dL/dy · f'(x).
//!
//! | name | f(x) | source |
//! | --- | --- | --- |
//! | ReLU | max(x, 0) | Nair and Hinton 2010 |
//! | leaky ReLU | x above 0, 0.01·x elsewhere | Maas et al. 2013 |
//! | ELU | x above 0, eˣ − 1 elsewhere | Clevert et al. 2016, α = 1 |
//! | GELU | x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³))) | Hendrycks and Gimpel 2016, the tanh form |
//! | SiLU | x · σ(x) | Elfwing et al. 2018 |
//! | hard swish | x · min(max(x + 3, 0), 6) / 6 | Howard et al. 2019 |
//! | sigmoid | σ(x) = 1 / (1 + e⁻ˣ) | |
//! | tanh | tanh x | |
//!
//! The slope jumps at the *kinks*: 0 for ReLU and leaky ReLU, −3 and 3 for hard swish. There the slope is that of the
//! flat (leaky, for −3 also flat) side, and 1 at hard swish's 3. ELU with α = 1 has none: its slope is 1 on both sides
//! of zero.

use super::maps::Maps;
use crate::graph::Activation;
use std::f64::consts::PI;

/// y.
pub(super) fn forward(x: &Maps, activation: Activation) -> Maps {
    Maps { values: x.values.iter().map(|&x| value(activation, x)).collect(), ..*x }
}

/// dL/dx from dL/dy.
pub(super) fn backward(x: &Maps, dy: &Maps, activation: Activation) -> Maps {
    let pairs = x.values.iter().zip(&dy.values);
    Maps { values: pairs.map(|(&x, dy)| dy * slope(activation, x)).collect(), ..*x }
}

/// f(x).
fn value(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Relu if x <= 0.0 => 0.0,
        Activation::Relu => x,
        Activation::LeakyRelu => x.max(LEAK * x),
        Activation::Elu if x > 0.0 => x,
        Activation::Elu => x.exp_m1(),
        Activation::Gelu => 0.5 * x * (1.0 + gelu_inner(x).tanh()),
        Activation::Silu => x * sigmoid(x),
        Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
    }
}

/// f'(x).
pub(super) fn slope(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Relu => f64::from(x > 0.0),
        Activation::LeakyRelu if x > 0.0 => 1.0,
        Activation::LeakyRelu => LEAK,
        Activation::Elu => x.min(0.0).exp(),
        Activation::Gelu => {
            let t = gelu_inner(x).tanh();
            let inner_slope = (2.0 / PI).sqrt() * (1.0 + 3.0 * GELU_CUBIC * x * x);
            0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner_slope
        }
        Activation::Silu => sigmoid(x) + x * sigmoid(x) * (1.0 - sigmoid(x)),
        Activation::HardSwish if x <= -3.0 => 0.0,
        Activation::HardSwish if x >= 3.0 => 1.0,
        Activation::HardSwish => x / 3.0 + 0.5,
        Activation::Sigmoid => sigmoid(x) * (1.0 - sigmoid(x)),
        Activation::Tanh => 1.0 - x.tanh() * x.tanh(),
    }
}

/// Leaky ReLU's slope below zero.
const LEAK: f64 = 0.01;
const GELU_CUBIC: f64 = 0.044715;

fn gelu_inner(x: f64) -> f64 {
    (2.0 / PI).sqrt() * (x + GELU_CUBIC * x * x * x)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Where the slope jumps.
pub(super) fn kinks(activation: Activation) -> &'static [f64] {
    match activation {
        Activation::Relu | Activation::LeakyRelu => &[0.0],
        Activation::HardSwish => &[-3.0, 3.0],
        Activation::Elu | Activation::Gelu | Activation::Silu | Activation::Sigmoid | Activation::Tanh => &[],
    }
}
