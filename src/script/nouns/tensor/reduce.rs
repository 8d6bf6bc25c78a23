//! Sums, means, extremes and the like over given axes or all of them.
//!
//! The greatest and the smallest are gathered at their index, so the gradient goes to one element also where several
//! are equal (candle's own gives it to each of them, in full). The index is looked for on the processor: of equal
//! elements candle's CUDA kernels may find any.

use super::Tensor;
use super::arguments::{Axes, axis};
use super::create::on_cpu;
use crate::script::binding::{Library, Options};
use crate::{Error, Result};
use candle_core::{D, Tensor as Candle};

/// The reduced axes of a call: those given, or all.
fn reduced(t: &Tensor, axes: Option<Axes>) -> Result<Vec<usize>> {
    match axes {
        Some(axes) => axes.resolve(t.dims()),
        None => Ok((0..t.dims().len()).collect()),
    }
}

/// The shape after the reduction, with or without the reduced axes.
fn remaining(dims: &[usize], axes: &[usize], keep: bool) -> Vec<usize> {
    let kept = dims.iter().enumerate().filter_map(|(i, &size)| match (axes.contains(&i), keep) {
        (false, _) => Some(size),
        (true, true) => Some(1),
        (true, false) => None,
    });
    kept.collect()
}

/// The tensor with the reduced axes folded into one at the end: [kept …, folded].
fn fold(x: &Candle, axes: &[usize]) -> Result<Candle> {
    let kept: Vec<usize> = (0..x.rank()).filter(|i| !axes.contains(i)).collect();
    let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let mut dims: Vec<usize> = kept.iter().map(|&i| x.dims()[i]).collect();
    dims.push(axes.iter().map(|&i| x.dims()[i]).product());
    Ok(x.permute(order)?.reshape(dims)?.contiguous()?)
}

fn nothing_in(axes: &[usize], dims: &[usize]) -> bool {
    axes.iter().any(|&i| dims[i] == 0)
}

fn sum(x: &Candle, axes: &[usize]) -> Result<Candle> {
    Ok(x.sum_keepdim(axes)?)
}

fn mean(x: &Candle, axes: &[usize]) -> Result<Candle> {
    let count: usize = axes.iter().map(|&i| x.dims()[i]).product();
    Ok((sum(x, axes)? / count as f64)?)
}

/// The mean squared distance from the mean.
fn variance(x: &Candle, axes: &[usize]) -> Result<Candle> {
    mean(&x.broadcast_sub(&mean(x, axes)?)?.sqr()?, axes)
}

/// The Euclidean norm, with the derivative 0 at 0.
fn norm(x: &Candle, axes: &[usize]) -> Result<Candle> {
    let square = sum(&x.sqr()?, axes)?;
    let zero = square.zeros_like()?;
    let positive = square.detach().gt(&zero)?;
    let safe = positive.where_cond(&square, &square.ones_like()?)?;
    Ok(positive.where_cond(&safe.sqrt()?, &zero)?)
}

/// log of the sum of exp, shifted by the greatest.
fn log_sum_exp(x: &Candle, axes: &[usize]) -> Result<Candle> {
    let mut greatest = x.detach();
    for &axis in axes {
        greatest = greatest.max_keepdim(axis)?;
    }
    let shifted = x.broadcast_sub(&greatest)?.exp()?;
    Ok((sum(&shifted, axes)?.log()? + greatest)?)
}

/// The index that `find` picks, the first of equals on every device.
fn index(x: &Candle, find: fn(&Candle) -> candle_core::Result<Candle>) -> Result<Candle> {
    Ok(find(&on_cpu(&x.detach())?)?.to_device(x.device())?)
}

/// The element at the index that `find` picks along the folded axes.
fn extreme(x: &Candle, axes: &[usize], find: fn(&Candle) -> candle_core::Result<Candle>) -> Result<Candle> {
    let folded = fold(x, axes)?;
    let picked = folded.gather(&index(&folded, find)?.contiguous()?, D::Minus1)?;
    Ok(picked.reshape(remaining(x.dims(), axes, true))?)
}

/// candle multiplies by a triangle of ones, which must fit into memory; along the last axis that is one plain product.
fn cumulative_sum(t: &Tensor, axis: usize) -> Result<Candle> {
    let (x, last, length) = (t.float()?, t.dims().len() - 1, t.dims()[axis]);
    t.meter().admit(&[length, length], x.dtype().size_in_bytes())?;
    Ok(x.transpose(axis, last)?.contiguous()?.cumsum(last)?.transpose(axis, last)?.contiguous()?)
}

type Reduction = fn(&Candle, &[usize]) -> Result<Candle>;

pub fn declare(library: &mut Library) {
    let table: [(&'static str, Reduction, &'static str, &'static str); 8] = [
        (
            "sum",
            sum,
            "The sum over the given axes, or over all.",
            r#"
            let t = tensor([[1, 2], [3, 4]]);
            assert_equal(sum(t).item(), 10.0);
            assert_equal(sum(t, 0), tensor([4, 6]));
            assert_equal(sum(t, [1], #{ keepdim: true }).shape, [2, 1]);
            "#,
        ),
        (
            "mean",
            mean,
            "The mean over the given axes, or over all.",
            "assert_equal(mean(tensor([1, 2, 3])).item(), 2.0);",
        ),
        (
            "variance",
            variance,
            "The mean squared distance from the mean, over the given axes or all.",
            "assert_equal(variance(tensor([1, 3])).item(), 1.0);",
        ),
        (
            "std",
            |x, axes| Ok(variance(x, axes)?.sqrt()?),
            "The root of `variance`.",
            "assert_equal(std(tensor([1, 3])).item(), 1.0);",
        ),
        (
            "norm",
            norm,
            "The Euclidean norm over the given axes, or over all; its derivative at 0 is 0.",
            "assert_equal(norm(tensor([3, 4])).item(), 5.0);",
        ),
        (
            "log_sum_exp",
            log_sum_exp,
            "The logarithm of the sum of exp(x) over the given axes, or over all.",
            "assert(all_close(log_sum_exp(zeros([4])), log(tensor(4))));",
        ),
        (
            "max",
            |x, axes| extreme(x, axes, |x| x.argmax_keepdim(D::Minus1)),
            r#"
            The greatest over the given axes, or over all; see `maximum` for the greater of two. The gradient goes to
            the first of equals.
            "#,
            "assert_equal(max(tensor([[1, 5], [3, 2]]), 1), tensor([5, 3]));",
        ),
        (
            "min",
            |x, axes| extreme(x, axes, |x| x.argmin_keepdim(D::Minus1)),
            r#"
            The smallest over the given axes, or over all; see `minimum` for the smaller of two. The gradient goes to
            the first of equals.
            "#,
            "assert_equal(min(tensor([[1, 5], [3, 2]])).item(), 1.0);",
        ),
    ];
    for (name, reduction, doc, example) in table {
        library
            .function(name, &["t", "axes", "options"], move |t: Tensor, axes: Option<Axes>, options: Options| {
                let axes = reduced(&t, axes)?;
                if name != "sum" && nothing_in(&axes, t.dims()) {
                    return Err(Error::user(format!("{name} needs at least one number; the shape is {:?}", t.dims())));
                }
                let dims = remaining(t.dims(), &axes, options.get("keepdim")?);
                t.with(reduction(&t.float()?, &axes)?.reshape(dims)?)
            })
            .doc(doc)
            .option("keepdim", false, "keep the reduced axes, with size 1")
            .example(example);
    }
    declare_indices(library);
}

fn declare_indices(library: &mut Library) {
    type Find = fn(&Candle) -> candle_core::Result<Candle>;
    let table: [(&'static str, Find, &'static str, &'static str); 2] = [
        (
            "argmax",
            |x| x.argmax(D::Minus1),
            "The index of the greatest along an axis (the last by default), the first of equals.",
            "assert_equal(argmax(tensor([1, 5, 3])).item(), 1);",
        ),
        (
            "argmin",
            |x| x.argmin(D::Minus1),
            "The index of the smallest along an axis (the last by default), the first of equals.",
            "assert_equal(argmin(tensor([1, 5, 3])).item(), 0);",
        ),
    ];
    for (name, find, doc, example) in table {
        library
            .function(name, &["t", "axis"], move |t: Tensor, along: Option<i64>| {
                let axis = axis(along.unwrap_or(-1), t.dims())?;
                if t.dims()[axis] == 0 {
                    return Err(Error::user(format!("{name} needs at least one number; the shape is {:?}", t.dims())));
                }
                let found = index(&fold(&t.float()?, &[axis])?, find)?;
                t.with(found.reshape(remaining(t.dims(), &[axis], false))?)
            })
            .doc(doc)
            .example(example);
    }
    library
        .function("cumulative_sum", &["t", "axis"], |t: Tensor, along: Option<i64>| {
            let axis = axis(along.unwrap_or(-1), t.dims())?;
            t.with(cumulative_sum(&t, axis)?)
        })
        .doc("The sums of all elements up to each, along an axis (the last by default).")
        .example("assert_equal(cumulative_sum(tensor([1, 2, 3])), tensor([1, 3, 6]));");
}
