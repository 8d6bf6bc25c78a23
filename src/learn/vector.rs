//! Norms, weighted sums and gradients of tensors: what optimisers and bilevel steps share.

use crate::parameter::{CHUNK, plain};
use crate::{Error, Result};
use candle_core::{CpuStorage, D, DType, Storage, Tensor, WithDType};
use rayon::prelude::*;

/// Values that one thread sums at a time.
const PART: usize = 1 << 18;

/// Numbers in a row that a GPU adds up before the rows' sums, which it adds in their order.
const ROW: usize = 1 << 12;

/// The Euclidean norm of all tensors taken as one vector, accumulated in f64 in a fixed order: the same bits for any
/// number of threads. Of tensors on a GPU one number comes to the processor.
///
/// # Errors
/// Those of the device.
pub fn norm(tensors: &[Tensor]) -> Result<f64> {
    let (mut total, mut away) = (0.0, None);
    for tensor in tensors {
        match sum_of_squares(&tensor.detach().contiguous()?)? {
            Sum::Here(sum) => total += sum,
            Sum::Away(sum) => {
                away = Some(match away {
                    Some(before) => (before + sum)?,
                    None => sum,
                });
            }
        }
    }
    if let Some(sum) = away {
        total += sum.to_scalar::<f64>()?;
    }
    Ok(total.sqrt())
}

/// A sum in f64, on the processor or on the device of what was summed.
enum Sum {
    Here(f64),
    Away(Tensor),
}

fn sum_of_squares(tensor: &Tensor) -> Result<Sum> {
    let (storage, layout) = tensor.storage_and_layout();
    let range = layout.start_offset()..layout.start_offset() + layout.shape().elem_count();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => Ok(Sum::Here(in_parts(&values[range], f64::from))),
        Storage::Cpu(CpuStorage::F64(values)) => Ok(Sum::Here(in_parts(&values[range], |x| x))),
        _ => {
            drop(storage);
            Ok(Sum::Away(in_rows(tensor)?))
        }
    }
}

/// Σ x² by operations of the tensor's device: a sum over one long row would be left to one of its multiprocessors.
fn in_rows(tensor: &Tensor) -> Result<Tensor> {
    let flat = tensor.flatten_all()?;
    let len = flat.elem_count();
    let (rows, rest) = (len / ROW, len % ROW);
    let of = |part: Tensor| part.to_dtype(DType::F64)?.sqr()?.sum(D::Minus1)?.sum_all();
    let whole = || of(flat.narrow(0, 0, rows * ROW)?.reshape((rows, ROW))?);
    let behind = || of(flat.narrow(0, rows * ROW, rest)?.unsqueeze(0)?);
    match (rows, rest) {
        (0, 0) => Ok(Tensor::zeros((), DType::F64, tensor.device())?),
        (0, _) => Ok(behind()?),
        (_, 0) => Ok(whole()?),
        _ => Ok((whole()? + behind()?)?),
    }
}

/// Σ x², part by part: the parts' sums are added in their order.
fn in_parts<T: Copy + Sync>(values: &[T], wide: impl Fn(T) -> f64 + Sync) -> f64 {
    let parts: Vec<f64> = values.par_chunks(PART).map(|part| in_lanes(part, &wide)).collect();
    parts.into_iter().sum()
}

/// Σ x² in eight interleaved partial sums, which the compiler turns into vector code.
fn in_lanes<T: Copy>(values: &[T], wide: impl Fn(T) -> f64) -> f64 {
    let mut lanes = [0f64; 8];
    let chunks = values.chunks_exact(lanes.len());
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += wide(x) * wide(x);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&x| wide(x) * wide(x)).sum::<f64>()
}

/// Σ s·t of tensors of one shape and type, from the first to the last, in one pass over the values.
///
/// # Errors
/// Tensors that do not fit each other.
pub fn weighted_sum(terms: &[(f64, &Tensor)]) -> Result<Tensor> {
    let summed = match terms {
        [(_, first), ..] if terms.iter().all(|(_, term)| term.dims() == first.dims()) => match first.dtype() {
            DType::F32 => summed::<f32>(terms)?,
            DType::F64 => summed::<f64>(terms)?,
            _ => None,
        },
        _ => None,
    };
    if let Some(sum) = summed {
        return Ok(sum);
    }
    let mut scaled = terms.iter().map(|(by, term)| term.detach().affine(*by, 0.0));
    let first = scaled.next().ok_or_else(|| Error::run("a sum of nothing has no shape"))??;
    Ok(scaled.try_fold(first, |sum, term| sum + term?)?)
}

fn summed<T: WithDType>(terms: &[(f64, &Tensor)]) -> Result<Option<Tensor>> {
    let first = terms[0].1;
    let stored: Vec<_> = terms.iter().map(|(_, term)| term.storage_and_layout()).collect();
    let values: Option<Vec<&[T]>> = stored.iter().map(|(storage, layout)| plain::<T>(storage, layout)).collect();
    let Some(values) = values else { return Ok(None) };
    let mut sum = vec![T::zero(); first.elem_count()];
    sum.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, sum)| {
        for ((by, _), values) in terms.iter().zip(&values) {
            let by = T::from_f64(*by);
            let own = &values[chunk * CHUNK..];
            sum.iter_mut().zip(own).for_each(|(sum, &value)| *sum += value * by);
        }
    });
    Ok(Some(Tensor::from_vec(sum, first.dims(), first.device())?))
}

/// The gradient of a scalar with respect to each tensor, detached; zeros where it does not depend on one.
///
/// # Errors
/// Those of candle's backward pass.
pub fn gradients(loss: &Tensor, of: &[&Tensor]) -> Result<Vec<Tensor>> {
    let mut store = loss.backward()?;
    let gradient = |tensor: &&Tensor| match store.remove(tensor) {
        Some(gradient) => Ok(gradient.detach()),
        None => Ok(tensor.zeros_like()?.detach()),
    };
    of.iter().map(gradient).collect()
}

#[cfg(test)]
mod tests {
    use super::{ROW, in_rows, norm};
    use candle_core::{Device, Tensor};

    #[test]
    fn rows_add_up_to_what_parts_do() {
        for len in [0, 1, ROW - 1, ROW, 3 * ROW, 3 * ROW + 17] {
            let values: Vec<f32> = (0..len).map(|i| (i % 1013) as f32 * 0.01 - 3.0).collect();
            let tensor = Tensor::from_vec(values, len, &Device::Cpu).unwrap();
            let by_rows = in_rows(&tensor).unwrap().to_scalar::<f64>().unwrap().sqrt();
            let by_parts = norm(&[tensor]).unwrap();
            assert!((by_rows - by_parts).abs() <= 1e-12 * by_parts, "{len}: {by_rows} and {by_parts}");
        }
    }
}
