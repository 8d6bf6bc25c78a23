//! Seeded random numbers. Each draw moves the host's stream on by one step, so equal seeds give equal draws on every
//! machine and device, and a checkpoint that keeps the positions goes on where it was.

use super::Tensor;
use super::arguments::Shape;
use super::create::{admit, from_values};
use crate::script::binding::{Declaration, Library, Options};
use crate::script::host::Host;
use crate::{Error, Result};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

fn draw(
    host: &Host,
    shape: &Shape,
    options: &Options,
    mut next: impl FnMut(&mut crate::random::Rng) -> f64,
) -> Result<Tensor> {
    admit(host, &shape.0)?;
    let mut rng = host.draw(&stream(options)?);
    let values = (0..shape.0.iter().product()).map(|_| next(&mut rng)).collect();
    from_values(host, values, &shape.0)
}

/// Script streams have names of their own, apart from the library's.
pub(super) fn stream(options: &Options) -> Result<String> {
    Ok(format!("script:{}", options.get::<String>("stream")?))
}

pub(super) fn with_stream(declaration: &mut Declaration) -> &mut Declaration {
    declaration.option("stream", "main".to_string(), "draws from one stream do not affect those from another")
}

/// Checks the end of a range of whole numbers from 0.
pub(super) fn above_0(end: usize) -> Result<()> {
    match end {
        0 => Err(Error::user("there is no whole number from 0 below 0").hint("`end` must be at least 1")),
        _ => Ok(()),
    }
}

/// A number in the open interval from 0 to 1, whose logarithms are finite.
pub(super) fn open_unit(rng: &mut crate::random::Rng) -> f64 {
    (rng.random::<u32>() as f64 + 0.5) / 4_294_967_296.0
}

pub fn declare(library: &mut Library) {
    let host: Arc<Host> = library.host();
    let uniform = library.function("uniform", &["shape", "options"], move |shape: Shape, options: Options| {
        let (low, high) = (options.get::<f64>("low")?, options.get::<f64>("high")?);
        if low > high || low.is_nan() || high.is_nan() {
            return Err(Error::user(format!("the lower bound {low} is above the upper one {high}")));
        }
        draw(&host, &shape, &options, |rng| low + (high - low) * rng.random::<f64>())
    });
    with_stream(uniform)
        .doc("Random numbers, uniform between `low` and `high`.")
        .option("low", 0.0, "the lower end")
        .option("high", 1.0, "the upper end")
        .example(
            r#"
            let t = uniform([1000], #{ low: -1, high: 1 });
            assert(abs(mean(t).item()) < 0.1);
            "#,
        );
    let host = library.host();
    let normal = library.function("normal", &["shape", "options"], move |shape: Shape, options: Options| {
        let (mean, std) = (options.get::<f64>("mean")?, options.get::<f64>("std")?);
        draw(&host, &shape, &options, |rng| {
            let unit: f64 = StandardNormal.sample(rng);
            mean + std * unit
        })
    });
    with_stream(normal)
        .doc("Random numbers of the normal distribution.")
        .option("mean", 0.0, "the mean")
        .option("std", 1.0, "the standard deviation")
        .example("let alphas = parameter(normal([14, 8], #{ std: 1e-3 }));");
    let host = library.host();
    let gumbel = library.function("gumbel", &["shape", "options"], move |shape: Shape, options: Options| {
        draw(&host, &shape, &options, |rng| -(-open_unit(rng).ln()).ln())
    });
    with_stream(gumbel)
        .doc("Random numbers of the standard Gumbel distribution, -log(-log(u)) with u uniform between 0 and 1.")
        .example("let sample = argmax(log(tensor([0.1, 0.9])) + gumbel([2]));");
    let host = library.host();
    let integers = library.function(
        "random_integers",
        &["shape", "end", "options"],
        move |shape: Shape, end: usize, options: Options| {
            above_0(end)?;
            draw(&host, &shape, &options, |rng| rng.random_range(0..end as u64) as f64)?.to_integers()
        },
    );
    with_stream(integers)
        .doc("Random whole numbers from 0 up to but not including `end`, all equally likely.")
        .example(
            r#"
            let t = random_integers([100], 3);
            assert(max(t).item() <= 2.0);
            "#,
        );
    let host = library.host();
    let permutation = library.function("permutation", &["count", "options"], move |count: usize, options: Options| {
        admit(&host, &[count])?;
        let mut order: Vec<f64> = (0..count).map(|i| i as f64).collect();
        order.shuffle(&mut host.draw(&stream(&options)?));
        from_values(&host, order, &[count])?.to_integers()
    });
    with_stream(permutation)
        .doc("The whole numbers from 0 to `count` - 1 in random order.")
        .example("assert_equal(sort(permutation(4)), tensor([0, 1, 2, 3]));");
}
