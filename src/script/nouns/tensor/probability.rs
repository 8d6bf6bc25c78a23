//! Distributions over an axis, and losses. candle-nn's fast softmax has no backward pass; these are built from
//! operations that have one, shifted by the greatest value so that nothing overflows.

use super::Tensor;
use super::arguments::{Indices, axis};
use crate::script::binding::{Library, Options};
use crate::{Error, Result};
use candle_core::Tensor as Candle;

fn shifted(x: &Candle, axis: usize) -> Result<Candle> {
    let greatest = x.detach().max_keepdim(axis)?;
    // Where a whole row is -inf the shift would make NaN out of it twice over; candle's own numbers do that anyway.
    Ok(x.broadcast_sub(&greatest)?)
}

pub(super) fn softmax(x: &Candle, axis: usize) -> Result<Candle> {
    let weights = shifted(x, axis)?.exp()?;
    Ok(weights.broadcast_div(&weights.sum_keepdim(axis)?)?)
}

pub(super) fn log_softmax(x: &Candle, axis: usize) -> Result<Candle> {
    let x = shifted(x, axis)?;
    Ok(x.broadcast_sub(&x.exp()?.sum_keepdim(axis)?.log()?)?)
}

/// The softmax over the elements whose mask is not 0; the others, and all of a row without any, are 0.
fn masked_softmax(x: &Candle, axis: usize, mask: &Tensor) -> Result<Candle> {
    if mask.dims() != x.dims() {
        return Err(Error::user(format!("softmax: the mask is {:?}, but the numbers are {:?}", mask.dims(), x.dims())));
    }
    let present = mask.float()?.to_dtype(x.dtype())?.detach().ne(0.0)?;
    let absent = Candle::full(-1e30, x.dims(), x.device())?.to_dtype(x.dtype())?;
    // Whatever stands where the mask is 0, NaN and inf among it, has no say.
    let weights = softmax(&present.where_cond(x, &absent)?, axis)?;
    Ok((weights * present.to_dtype(x.dtype())?)?)
}

pub fn declare(library: &mut Library) {
    library
        .function("softmax", &["t", "axis", "options"], |t: Tensor, along: Option<i64>, options: Options| {
            let axis = axis(along.unwrap_or(-1), t.dims())?;
            match options.find::<Tensor>("mask")? {
                Some(mask) => t.with(masked_softmax(&t.float()?, axis, &mask)?),
                None => t.with(softmax(&t.float()?, axis)?),
            }
        })
        .doc(
            r#"
            exp(x) over the sum of exp(x) along an axis, the last by default. With a mask the sum is over the elements
            whose mask is not 0; the others are 0, and so is a row without any.
            "#,
        )
        .optional::<Tensor>("mask", "all take part", "a tensor of the shape of `t`; 0: the element takes no part")
        .example(
            r#"
            assert_equal(softmax(zeros([2, 4]), 1), full([2, 4], 0.25));
            assert_equal(softmax(tensor([1, 7, 1]), 0, #{ mask: tensor([1, 0, 1]) }), tensor([0.5, 0, 0.5]));
            "#,
        );
    library
        .function("log_softmax", &["t", "axis"], |t: Tensor, along: Option<i64>| {
            let axis = axis(along.unwrap_or(-1), t.dims())?;
            t.with(log_softmax(&t.float()?, axis)?)
        })
        .doc("The logarithm of `softmax`, exact where the probabilities are tiny; along the last axis by default.")
        .example("assert(all_close(log_softmax(zeros([4])), log(full([4], 0.25))));");
    library
        .function("cross_entropy", &["logits", "labels"], |logits: Tensor, labels: Indices| {
            let &[rows, classes] = logits.dims() else {
                return Err(Error::user(format!(
                    "cross_entropy takes logits of shape [rows, classes], not {:?}",
                    logits.dims()
                )));
            };
            if let Some(targets) = labels.as_targets([rows, classes])? {
                let targets = targets.to_dtype(logits.float()?.dtype())?;
                let sum = (log_softmax(&logits.float()?, 1)? * targets)?.sum_all()?;
                return logits.with(sum.affine(-1.0 / rows as f64, 0.0)?);
            }
            let labels = labels.resolve(classes, logits.device())?;
            if labels.dims() != [rows] {
                return Err(Error::user(format!(
                    "cross_entropy: logits {:?} and labels {:?} do not fit",
                    logits.dims(),
                    labels.dims()
                ))
                .hint(format!("one label a row: labels of shape [{rows}], or targets of the logits' shape")));
            }
            let chosen = log_softmax(&logits.float()?, 1)?.gather(&labels.unsqueeze(1)?.contiguous()?, 1)?;
            logits.with(chosen.mean_all()?.neg()?)
        })
        .doc(
            r#"
            The mean over the rows of minus the log-softmax at the row's label. `logits`: [rows, classes]; `labels`:
            [rows], whole numbers from 0. Or `labels` is a tensor [rows, classes], each row a target of its own
            (`batch.targets`): then the mean over the rows of minus the sum of target · log-softmax.
            "#,
        )
        .example(
            r#"
            let loss = cross_entropy(zeros([2, 4]), [0, 3]);
            assert(all_close(loss, log(tensor(4))));
            assert(all_close(cross_entropy(zeros([2, 4]), tensor([[0.5, 0.5, 0, 0], [0, 0, 0, 1]])), loss));
            "#,
        );
    library
        .function("mse", &["outputs", "targets"], |outputs: Tensor, targets: Tensor| {
            let flat = |t: &Tensor| if let [rows, 1] = *t.dims() { vec![rows] } else { t.dims().to_vec() };
            if flat(&outputs) != flat(&targets) {
                return Err(Error::user(format!(
                    "mse: outputs {:?} and targets {:?} do not fit",
                    outputs.dims(),
                    targets.dims()
                ))
                .hint("one target for each output"));
            }
            let of = outputs.float()?;
            let targets = targets.float()?.to_dtype(of.dtype())?.reshape(of.dims())?;
            outputs.with((of - targets)?.sqr()?.mean_all()?)
        })
        .doc(
            r#"
            The mean of the squared differences of two tensors of one shape, or of shapes [rows, 1] and [rows], which
            `mean((outputs - targets) ** 2)` would take all rows of with all others.
            "#,
        )
        .example("assert(all_close(mse(tensor([[1.0], [2.0]]), tensor([1.0, 4.0])), tensor(2.0)));");
}
