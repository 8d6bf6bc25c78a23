//! Functions of one number, applied to each.
//!
//! relu, abs and clamp are put together here: candle gives relu and abs the derivative 1 at 0, and clamp half of it at
//! the bounds; here the derivative of relu and abs at 0 is 0 and that of clamp inside and on the bounds is 1.

use super::Tensor;
use super::arithmetic::choose;
use crate::script::binding::Library;
use crate::{Error, Result};
use candle_core::Tensor as Candle;
use std::any::TypeId;

type Unary = fn(&Candle) -> Result<Candle>;

fn relu(x: &Candle) -> Result<Candle> {
    let zero = x.zeros_like()?;
    Ok(x.detach().gt(&zero)?.where_cond(x, &zero)?)
}

fn abs(x: &Candle) -> Result<Candle> {
    Ok(x.mul(&x.detach().sign()?)?)
}

/// log(1 + exp(x)) as max(x, 0) + log(1 + exp(-|x|)), which never overflows; at 0 the parts' slopes, 0 and 1/2 of the
/// identity, add up to the right one.
fn softplus(x: &Candle) -> Result<Candle> {
    let magnitude = abs(x)?;
    let tail = (magnitude.neg()?.exp()? + 1.0)?.log()?;
    let positive = ((magnitude + x)? * 0.5)?;
    Ok((positive + tail)?)
}

/// x where x > 0, else alpha * (exp(x) - 1); the exponential sees no positive x, so that its gradient stays finite.
fn elu(x: &Candle, alpha: f64) -> Result<Candle> {
    let zero = x.zeros_like()?;
    let positive = x.detach().gt(&zero)?;
    let below = positive.where_cond(&zero, x)?;
    Ok(positive.where_cond(x, &((below.exp()? - 1.0)? * alpha)?)?)
}

pub fn declare(library: &mut Library) {
    let table: [(&'static str, Unary, &'static str, &'static str); 18] = [
        ("exp", |x| Ok(x.exp()?), "e to the power of each number.", "assert_equal(exp(zeros([2])), ones([2]));"),
        ("log", |x| Ok(x.log()?), "The natural logarithm of each number.", "assert_equal(log(ones([2])), zeros([2]));"),
        (
            "sqrt",
            |x| Ok(x.sqrt()?),
            "The square root of each number.",
            "assert_equal(sqrt(tensor([4, 9])), tensor([2, 3]));",
        ),
        (
            "square",
            |x| Ok(x.sqr()?),
            "The square of each number.",
            "assert_equal(square(tensor([-2, 3])), tensor([4, 9]));",
        ),
        (
            "abs",
            abs,
            "The magnitude of each number; its derivative at 0 is 0.",
            "assert_equal(abs(tensor([-2, 3])), tensor([2, 3]));",
        ),
        (
            "sign",
            |x| Ok(x.detach().sign()?),
            "-1, 0 or 1, by the sign of each number.",
            "assert_equal(sign(tensor([-2, 0, 3])), tensor([-1, 0, 1]));",
        ),
        (
            "floor",
            |x| Ok(x.detach().floor()?),
            "The largest whole number not above each.",
            "assert_equal(floor(tensor([1.7])), tensor([1]));",
        ),
        (
            "round",
            |x| Ok(x.detach().round()?),
            "The nearest whole number to each.",
            "assert_equal(round(tensor([1.7])), tensor([2]));",
        ),
        ("sin", |x| Ok(x.sin()?), "The sine of each number, in radians.", "assert_equal(sin(zeros([1])), zeros([1]));"),
        (
            "cos",
            |x| Ok(x.cos()?),
            "The cosine of each number, in radians.",
            "assert_equal(cos(zeros([1])), ones([1]));",
        ),
        (
            "tanh",
            |x| Ok(x.tanh()?),
            "The hyperbolic tangent of each number.",
            "assert_equal(tanh(zeros([1])), zeros([1]));",
        ),
        (
            "sigmoid",
            |x| Ok(candle_nn::ops::sigmoid(x)?),
            "1 / (1 + exp(-x)) of each number x.",
            "assert_equal(sigmoid(zeros([1])), tensor([0.5]));",
        ),
        (
            "relu",
            relu,
            "Each number, or 0 where it is negative; the derivative at 0 is 0.",
            "assert_equal(relu(tensor([-1, 2])), tensor([0, 2]));",
        ),
        (
            "gelu",
            |x| Ok(x.gelu_erf()?),
            "x times the normal distribution function at x, of each number x.",
            "assert_equal(gelu(zeros([1])), zeros([1]));",
        ),
        (
            "silu",
            |x| Ok((x * candle_nn::ops::sigmoid(x)?)?),
            "x * sigmoid(x) of each number x.",
            "assert_equal(silu(zeros([1])), zeros([1]));",
        ),
        (
            "softplus",
            softplus,
            "log(1 + exp(x)) of each number x.",
            "assert(all_close(softplus(zeros([1])), log(tensor([2]))));",
        ),
        ("erf", |x| Ok(x.erf()?), "The error function of each number.", "assert_equal(erf(zeros([1])), zeros([1]));"),
        (
            "reciprocal",
            |x| Ok(x.recip()?),
            "1 / x of each number x.",
            "assert_equal(reciprocal(tensor([2])), tensor([0.5]));",
        ),
    ];
    for (name, operation, doc, example) in table {
        library.function(name, &["t"], move |t: Tensor| t.with(operation(&t.float()?)?)).doc(doc).example(example);
    }
    library
        .function("elu", &["t", "alpha"], |t: Tensor, alpha: Option<f64>| {
            t.with(elu(&t.float()?, alpha.unwrap_or(1.0))?)
        })
        .doc("Each number where it is positive, alpha * (exp(x) - 1) elsewhere; `alpha` is 1 by default.")
        .example("assert_equal(elu(tensor([0, 2])), tensor([0, 2]));");
    library
        .function("leaky_relu", &["t", "slope"], |t: Tensor, slope: Option<f64>| {
            let x = t.float()?;
            let positive = x.detach().gt(&x.zeros_like()?)?;
            t.with(positive.where_cond(&x, &(&x * slope.unwrap_or(0.01))?)?)
        })
        .doc("Each number where it is positive, `slope` times it elsewhere; `slope` is 0.01 by default.")
        .example("assert_equal(leaky_relu(tensor([-2, 2]), 0.5), tensor([-1, 2]));");
    library
        .function("clamp", &["t", "low", "high"], |t: Tensor, low: f64, high: f64| {
            if low > high {
                return Err(Error::user(format!("the lower bound {low} is above the upper one {high}")));
            }
            let x = t.float()?;
            let bound = |value: f64| -> Result<Candle> { Ok((x.zeros_like()? + value)?) };
            let (low, high) = (bound(low)?, bound(high)?);
            let flat = x.detach();
            let above_low = flat.ge(&low)?.to_dtype(x.dtype())?;
            let below_high = flat.le(&high)?.to_dtype(x.dtype())?;
            t.with(choose(&below_high, &choose(&above_low, &x, &low)?, &high)?)
        })
        .doc("Each number, moved to the nearest bound where it is outside; gradients pass inside and on the bounds.")
        .example("assert_equal(clamp(tensor([-2, 0.5, 2]), 0, 1), tensor([0, 0.5, 1]));");
    declare_numbers(library);
}

/// The same names for single numbers: rhai's own take floats only, and its `log` is the decimal one.
fn declare_numbers(library: &mut Library) {
    type Function = fn(f64) -> f64;
    let table: [(&'static str, Function, &'static str, &'static str); 8] = [
        ("exp", f64::exp, "e to the power of a number.", "assert_equal(exp(0), 1.0);"),
        ("log", f64::ln, "The natural logarithm of a number.", "assert_equal(log(exp(2)), 2.0);"),
        ("sqrt", f64::sqrt, "The square root of a number.", "assert_equal(sqrt(4), 2.0);"),
        ("sin", f64::sin, "The sine of a number, in radians.", "assert_equal(sin(0), 0.0);"),
        ("cos", f64::cos, "The cosine of a number, in radians.", "assert_equal(cos(0), 1.0);"),
        ("tanh", f64::tanh, "The hyperbolic tangent of a number.", "assert_equal(tanh(0), 0.0);"),
        ("sigmoid", |x| 1.0 / (1.0 + (-x).exp()), "1 / (1 + exp(-x)) of a number x.", "assert_equal(sigmoid(0), 0.5);"),
        ("floor", f64::floor, "The next whole number below.", "assert_equal(floor(1.5), 1.0);"),
    ];
    let numbers: [&[TypeId]; 2] = [&[TypeId::of::<f64>()], &[TypeId::of::<i64>()]];
    for (name, function, doc, example) in table {
        library.function(name, &["x"], move |x: f64| Ok(function(x))).only(&numbers).doc(doc).example(example);
    }
}
