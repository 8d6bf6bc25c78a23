//! A decoder of candle's own operations, for any device and type: all logits are there at once.

use super::check;
use crate::Result;
use candle_core::{D, Tensor};

/// log softmax(x · eᵀ + b), rows × vocabulary; shapes as for [`DecoderLoss`](super::DecoderLoss).
///
/// # Errors
/// Shapes, types or devices that do not fit.
pub fn log_probabilities(x: &Tensor, e: &Tensor, b: &Tensor) -> Result<Tensor> {
    check(x, e, b)?;
    let logits = x.matmul(&e.t()?)?.broadcast_add(b)?;
    // Softmax does not depend on what is subtracted, so no gradient flows through the maximum.
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let sums = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(shifted.broadcast_sub(&sums)?)
}

/// −log softmax(x · eᵀ + b) at the target of each row.
pub(super) fn of_rows(x: &Tensor, e: &Tensor, b: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let chosen = log_probabilities(x, e, b)?.gather(&targets.unsqueeze(1)?, 1)?;
    Ok(chosen.squeeze(1)?.neg()?)
}
