//! Draws from distributions that tensors describe. Those of Gamma and Dirichlet move with their concentrations, so that
//! gradients flow through them.

use super::Tensor;
use super::arguments::axis;
use super::gamma::{digamma, log_draw, log_slope, trigamma};
use super::probability::softmax;
use super::random::{above_0, open_unit, stream, with_stream};
use crate::script::binding::{Library, Options};
use crate::script::host::Host;
use crate::{Error, Result};
use candle_core::Tensor as Candle;
use rand::RngExt;

/// A tensor with these values, through which the gradients of `x` flow with these slopes, element by element.
fn with_slopes(x: &Tensor, values: Vec<f64>, slopes: Vec<f64>) -> Result<Candle> {
    let float = x.float()?;
    let put = |numbers: Vec<f64>| {
        let on_host = Candle::from_vec(numbers, x.dims(), &candle_core::Device::Cpu)?;
        on_host.to_dtype(float.dtype())?.to_device(float.device())
    };
    // The difference is 0 throughout, so the values are kept to the last bit.
    let moved = ((&float - float.detach())? * put(slopes)?)?;
    Ok((put(values)? + moved)?)
}

/// Values that are all above 0 and finite.
fn positive(t: &Tensor, what: &str) -> Result<Vec<f64>> {
    let values = t.values()?;
    match values.iter().find(|v| !(v.is_finite() && **v > 0.0)) {
        Some(bad) => Err(Error::user(format!("{what}: {bad} is not above 0 and finite"))),
        None => Ok(values),
    }
}

/// The logarithms of draws of Gamma(concentration, 1).
fn log_gammas(host: &Host, t: &Tensor, what: &str, options: &Options) -> Result<(Vec<f64>, Vec<f64>)> {
    let concentrations = positive(t, what)?;
    let mut rng = host.draw(&stream(options)?);
    let draws: Vec<f64> = concentrations.iter().map(|&concentration| log_draw(concentration, &mut rng)).collect();
    let slopes = concentrations.iter().zip(&draws).map(|(&c, &draw)| log_slope(c, draw)).collect();
    Ok((draws, slopes))
}

pub fn declare(library: &mut Library) {
    library
        .function("lgamma", &["t"], |t: Tensor| {
            let x = positive(&t, "lgamma")?;
            t.with(with_slopes(
                &t,
                x.iter().map(|&x| libm::lgamma(x)).collect(),
                x.iter().map(|&x| digamma(x)).collect(),
            )?)
        })
        .doc("The logarithm of the Gamma function of each element, all above 0.")
        .example("assert(all_close(lgamma(tensor([1, 5])), tensor([0.0, log(24.0)])));");
    library
        .function("digamma", &["t"], |t: Tensor| {
            let x = positive(&t, "digamma")?;
            let value = x.iter().map(|&x| digamma(x)).collect();
            t.with(with_slopes(&t, value, x.iter().map(|&x| trigamma(x)).collect())?)
        })
        .doc("The derivative of `lgamma` of each element, all above 0.")
        .example("assert(all_close(digamma(tensor([2])) - digamma(tensor([1])), tensor([1.0])));");
    declare_continuous(library);
    declare_discrete(library);
}

fn declare_continuous(library: &mut Library) {
    let host = library.host();
    let gamma = library.function("gamma", &["concentration", "options"], move |t: Tensor, options: Options| {
        let (draws, slopes) = log_gammas(&host, &t, "gamma", &options)?;
        let draws: Vec<f64> = draws.into_iter().map(f64::exp).collect();
        let slopes = draws.iter().zip(slopes).map(|(draw, slope)| draw * slope).collect();
        t.with(with_slopes(&t, draws, slopes)?)
    });
    with_stream(gamma)
        .doc(
            r#"
            A draw of the Gamma distribution of rate 1 for each concentration, all above 0. Its gradient is the
            implicit one: how the draw moves if its probability stays (Figurnov, Mohamed and Mnih 2018).
            "#,
        )
        .example(
            r#"
            let t = gamma(full([2000], 3.0));
            assert(abs(mean(t).item() - 3.0) < 0.2);
            "#,
        );
    let host = library.host();
    let dirichlet = library.function("dirichlet", &["concentration", "options"], move |t: Tensor, options: Options| {
        let last = axis(-1, t.dims())?;
        let (draws, slopes) = log_gammas(&host, &t, "dirichlet", &options)?;
        t.with(softmax(&with_slopes(&t, draws, slopes)?, last)?)
    });
    with_stream(dirichlet)
        .doc(
            r#"
            A draw of the Dirichlet distribution along the last axis: weights that add up to 1. `concentration`: all
            above 0, one row a draw. Gradients flow to it, as those of `gamma` do.
            "#,
        )
        .example(
            r#"
            let alphas = parameter(zeros([14, 7]));
            let weights = dirichlet(elu(alphas) + 1);
            assert(all_close(sum(weights, 1), ones([14])));
            "#,
        );
}

fn declare_discrete(library: &mut Library) {
    let host = library.host();
    let categorical = library.function(
        "categorical",
        &["logits", "axis", "options"],
        move |t: Tensor, along: Option<i64>, options: Options| {
            let axis = axis(along.unwrap_or(-1), t.dims())?;
            let keys = keys(&host, &t, &stream(&options)?, "categorical")?;
            t.with(keys.argmax(axis)?)
        },
    );
    with_stream(categorical)
        .doc(
            r#"
            An index for each row along an axis (the last by default), drawn with the probabilities softmax(logits).
            The index has no gradient; `log_softmax(logits)[index]` has.
            "#,
        )
        .example("assert_equal(categorical(tensor([[0, 100], [100, 0]])), tensor([1, 0]));");
    let host = library.host();
    let subset = library.function(
        "sample_without_replacement",
        &["logits", "count", "options"],
        move |t: Tensor, count: usize, options: Options| {
            let &[all] = t.dims() else {
                return Err(Error::user(format!("sample_without_replacement: logits are [n], not {:?}", t.dims())));
            };
            if count > all {
                return Err(Error::user(format!("{count} different ones of {all} cannot be drawn")));
            }
            let keys = keys(&host, &t, &stream(&options)?, "sample_without_replacement")?.to_vec1::<f64>()?;
            let mut order: Vec<u32> = (0..all as u32).collect();
            order.sort_by(|&a, &b| keys[b as usize].total_cmp(&keys[a as usize]));
            order.truncate(count);
            t.with(Candle::from_vec(order, count, t.device())?)
        },
    );
    with_stream(subset)
        .doc(
            r#"
            `count` different indices, drawn one after another with probabilities in proportion to exp(logits) among
            those that are left: the greatest of logits + Gumbel noise (Kool, van Hoof and Welling 2019). All are
            equally likely where logits are zeros.
            "#,
        )
        .example("assert_equal(sort(sample_without_replacement(zeros([3]), 3)), tensor([0, 1, 2]));");
    let host = library.host();
    let integer = library.function("random_integer", &["end", "options"], move |end: usize, options: Options| {
        above_0(end)?;
        Ok(host.draw(&stream(&options)?).random_range(0..end as u64) as i64)
    });
    with_stream(integer)
        .doc("A random whole number from 0 up to but not including `end`, an int.")
        .example("assert([\"a\", \"b\"][random_integer(2)] != \"c\");");
}

/// Logits and Gumbel noise, in double precision: the greatest is a draw.
fn keys(host: &Host, t: &Tensor, stream: &str, what: &str) -> Result<Candle> {
    let mut rng = host.draw(stream);
    let mut keys = t.values()?;
    for key in &mut keys {
        if key.is_nan() || *key == f64::INFINITY {
            return Err(Error::user(format!("{what}: a logit is {key}")).hint("logits are finite, or -inf for never"));
        }
        *key -= (-open_unit(&mut rng).ln()).ln();
    }
    if let Some(&0) = t.dims().iter().min() {
        return Err(Error::user(format!("{what}: there is nothing to draw from in {:?}", t.dims())));
    }
    Ok(Candle::from_vec(keys, t.dims(), t.device())?)
}
