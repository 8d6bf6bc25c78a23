//! Maps onto the simplex that give exact zeros, and hard choices with soft gradients.

use super::Tensor;
use super::arguments::axis;
use crate::script::binding::Library;
use crate::{Error, Result};
use candle_core::Tensor as Candle;

/// 1 for the elements of a row that get a share, 0 for the others. `is_in(sorted, k)` says whether the k greatest of a
/// row, sorted from the greatest, all do.
fn support(x: &Candle, axis: usize, is_in: fn(&[f64], usize) -> bool) -> Result<Candle> {
    let last = x.rank() - 1;
    let rows = x.detach().transpose(axis, last)?.to_dtype(candle_core::DType::F64)?.contiguous()?;
    let width = rows.dim(last)?;
    let mut values = rows.flatten_all()?.to_vec1::<f64>()?;
    if let Some(bad) = values.iter().find(|value| !value.is_finite()) {
        return Err(Error::user(format!("a score is {bad}")).hint("scores are finite numbers"));
    }
    for row in values.chunks_mut(width.max(1)) {
        let mut sorted = row.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let count = (1..=width).take_while(|&count| is_in(&sorted, count)).last().unwrap_or(1);
        let least = sorted[count - 1];
        row.iter_mut().for_each(|value| *value = f64::from(*value >= least));
    }
    let mask = Candle::from_vec(values, rows.dims(), &candle_core::Device::Cpu)?.to_device(x.device())?;
    Ok(mask.transpose(axis, last)?.contiguous()?.to_dtype(x.dtype())?)
}

/// Martins and Astudillo 2016, algorithm 1.
fn sparsemax(x: &Candle, axis: usize) -> Result<Candle> {
    let mask =
        support(x, axis, |sorted, count| 1.0 + count as f64 * sorted[count - 1] > sorted[..count].iter().sum::<f64>())?;
    let count = mask.sum_keepdim(axis)?;
    let threshold = ((x * &mask)?.sum_keepdim(axis)? - 1.0)?.broadcast_div(&count)?;
    Ok((x.broadcast_sub(&threshold)? * mask)?)
}

/// The mean of a row's first elements less √((1 - their squared deviations) / count), or nothing where more deviates.
fn threshold(sorted: &[f64], count: usize) -> Option<f64> {
    let half = || sorted[..count].iter().map(|value| value / 2.0);
    let mean = half().sum::<f64>() / count as f64;
    let spread = half().map(|value| (value - mean).powi(2)).sum::<f64>();
    (spread <= 1.0).then(|| mean - ((1.0 - spread) / count as f64).sqrt())
}

/// Peters, Niculae and Martins 2019, algorithm 2.
fn entmax15(x: &Candle, axis: usize) -> Result<Candle> {
    let mask = support(x, axis, |sorted, count| {
        threshold(sorted, count).is_some_and(|threshold| threshold <= sorted[count - 1] / 2.0)
    })?;
    let half = (x / 2.0)?;
    let count = mask.sum_keepdim(axis)?;
    let mean = (&half * &mask)?.sum_keepdim(axis)?.broadcast_div(&count)?;
    let spread = (half.broadcast_sub(&mean)? * &mask)?.sqr()?.sum_keepdim(axis)?;
    let threshold = (&mean - (1.0 - spread)?.broadcast_div(&count)?.clamp(1e-30, f64::INFINITY)?.sqrt()?)?;
    Ok((half.broadcast_sub(&threshold)? * mask)?.sqr()?)
}

pub fn declare(library: &mut Library) {
    library
        .function("sparsemax", &["t", "axis"], |t: Tensor, along: Option<i64>| {
            t.with(sparsemax(&t.float()?, axis(along.unwrap_or(-1), t.dims())?)?)
        })
        .doc(
            r#"
            The point of the simplex that is nearest to the scores along an axis, the last by default: weights that add
            up to 1, those of low scores exactly 0 (Martins and Astudillo 2016).
            "#,
        )
        .example("assert(all_close(sparsemax(tensor([1.0, 0.5, -1.0])), tensor([0.75, 0.25, 0])));");
    library
        .function("entmax15", &["t", "axis"], |t: Tensor, along: Option<i64>| {
            t.with(entmax15(&t.float()?, axis(along.unwrap_or(-1), t.dims())?)?)
        })
        .doc(
            r#"
            Between `softmax` and `sparsemax`: weights along an axis (the last by default) that add up to 1, those of
            low scores exactly 0 (1.5-entmax; Peters, Niculae and Martins 2019).
            "#,
        )
        .example(
            r#"
            let weights = entmax15(tensor([2.0, 1.0, -3.0]));
            assert(all_close(sum(weights), tensor(1)) && weights[2].item() == 0.0);
            "#,
        );
    library
        .function("straight_through", &["hard", "soft"], |hard: Tensor, soft: Tensor| {
            if hard.dims() != soft.dims() {
                return Err(Error::user(format!(
                    "straight_through: the hard values are {:?}, the soft ones {:?}",
                    hard.dims(),
                    soft.dims()
                )));
            }
            let soft_values = soft.float()?;
            let moved = (&soft_values - soft_values.detach())?;
            soft.with((hard.float()?.to_dtype(moved.dtype())?.detach() + moved)?)
        })
        .doc("The values of `hard`, with the gradient of `soft` (Bengio, Léonard and Courville 2013).")
        .example(
            r#"
            let alphas = parameter(tensor([1.0, 2.0]));
            let soft = softmax(alphas);
            let gates = straight_through(one_hot(argmax(soft), 2), soft);
            assert_equal(gates, tensor([0, 1]));
            assert(norm(gradient(gates[1], alphas)).item() > 0.0);
            "#,
        );
}
