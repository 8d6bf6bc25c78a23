//! Dropout as recurrent language models use it: one mask for all time steps, whole words, single weights (Gal and
//! Ghahramani 2016; Merity, Keskar and Socher 2018). Gradients flow through what is kept.
//!
//! Masks are inverted: what is kept is divided by the share that is kept. They are drawn from a keyed generator, so the
//! same stream and step give the same mask.

use crate::random::Rng;
use crate::{Error, Result};
use candle_core::Tensor;
use rand::RngExt;
use std::ops::Range;

/// A mask of this shape, of zeros and of 1/(1 − `probability`), in the type and on the device of `like`.
///
/// # Errors
/// A probability below 0, or 1 and more.
pub fn mask(shape: &[usize], probability: f64, like: &Tensor, rng: &mut Rng) -> Result<Tensor> {
    check(probability)?;
    let values = kept(shape.iter().product(), probability, rng);
    Ok(Tensor::from_vec(values, shape, like.device())?.to_dtype(like.dtype())?)
}

/// Locked dropout of `x`, time × batch × width: one mask for all time steps.
///
/// # Errors
/// As [`mask`]; a tensor of another rank.
pub fn locked(x: &Tensor, probability: f64, rng: &mut Rng) -> Result<Tensor> {
    let (_, batch, width) = x.dims3()?;
    match probability == 0.0 {
        true => Ok(x.clone()),
        false => Ok(x.broadcast_mul(&mask(&[1, batch, width], probability, x, rng)?)?),
    }
}

/// Word dropout of embedded words, [words, width]: the vector of each word of the vocabulary that is drawn is zero
/// wherever it stands. `words`: which words they are, u32.
///
/// # Errors
/// As [`mask`]; tensors of other ranks, a word beyond the vocabulary.
pub fn of_words(
    vectors: &Tensor,
    words: &Tensor,
    vocabulary: usize,
    probability: f64,
    rng: &mut Rng,
) -> Result<Tensor> {
    match probability == 0.0 {
        true => Ok(vectors.clone()),
        false => {
            let mask = mask(&[vocabulary, 1], probability, vectors, rng)?;
            Ok(vectors.broadcast_mul(&mask.index_select(words, 0)?)?)
        }
    }
}

/// DropConnect: single weights of a flat vector, within `ranges` only.
///
/// # Errors
/// As [`mask`]; a range beyond the weights.
pub fn connections(weights: &Tensor, ranges: &[Range<usize>], probability: f64, rng: &mut Rng) -> Result<Tensor> {
    check(probability)?;
    let count = weights.dims1()?;
    if probability == 0.0 || ranges.is_empty() {
        return Ok(weights.clone());
    }
    let mut values = vec![1f64; count];
    for range in ranges {
        let own = values.get_mut(range.clone()).ok_or_else(|| {
            Error::user(format!("weights {} to {} are not among the {count}", range.start, range.end))
        })?;
        own.copy_from_slice(&kept(own.len(), probability, rng));
    }
    let mask = Tensor::from_vec(values, count, weights.device())?.to_dtype(weights.dtype())?;
    Ok((weights * mask)?)
}

fn check(probability: f64) -> Result<()> {
    match (0.0..1.0).contains(&probability) {
        true => Ok(()),
        false => Err(Error::user(format!("dropout is at least 0 and below 1, not {probability}"))),
    }
}

fn kept(count: usize, probability: f64, rng: &mut Rng) -> Vec<f64> {
    let scale = 1.0 / (1.0 - probability);
    (0..count).map(|_| if rng.random::<f64>() < probability { 0.0 } else { scale }).collect()
}

/// Activation regularisation: the mean square of `outputs`, time × batch × width, after their dropout (AR).
///
/// # Errors
/// What the device reports.
pub fn activity(outputs: &Tensor) -> Result<Tensor> {
    Ok(outputs.sqr()?.mean_all()?)
}

/// Temporal activation regularisation: the mean square of the change of `hidden`, time × batch × width, from one time
/// step to the next, before dropout (TAR); zero where there is a single step.
///
/// # Errors
/// A tensor of another rank.
pub fn slowness(hidden: &Tensor) -> Result<Tensor> {
    let (time, _, _) = hidden.dims3()?;
    if time < 2 {
        return Ok(Tensor::zeros((), hidden.dtype(), hidden.device())?);
    }
    let change = (hidden.narrow(0, 1, time - 1)? - hidden.narrow(0, 0, time - 1)?)?;
    Ok(change.sqr()?.mean_all()?)
}
