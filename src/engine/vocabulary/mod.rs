//! The loss of a language model's decoder over its vocabulary, as one candle operation: hidden rows, the decoder's
//! matrix (tied to the embedding or not) and its bias in, each row's negative log-likelihood out.
//!
//! On the processor in single precision it runs in tiles ([`cpu::vocabulary`](super::cpu)), and the logits of all rows
//! are never stored at once; elsewhere it is candle's own operations (`plain.rs`), which the other is held against.

mod embedding;
mod operation;
mod plain;

pub use embedding::embedded;
pub use plain::log_probabilities;

use super::Isa;
use super::cpu::vocabulary::Scratch;
use super::gathered::Part;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use operation::Operation;
use std::sync::{Arc, Mutex, PoisonError};

/// The loss of a decoder. It keeps the memory of a pass for the next one; clones share it.
#[derive(Clone)]
pub struct DecoderLoss {
    isa: Isa,
    pool: Pool,
}

/// Memory that no pass is using.
#[derive(Clone, Default)]
struct Pool(Arc<Mutex<Vec<Scratch>>>);

impl Pool {
    /// Runs `pass` with memory of its own.
    fn with<T>(&self, pass: impl FnOnce(&mut Scratch) -> T) -> T {
        let free = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = free().pop().unwrap_or_default();
        let result = pass(&mut scratch);
        free().push(scratch);
        result
    }
}

impl DecoderLoss {
    /// For the best instruction set of this machine.
    ///
    /// # Errors
    /// `CANDLEWICK_SIMD` names an unknown instruction set, or one that this processor does not have.
    pub fn new() -> Result<Self> {
        Ok(Self::with(Isa::choose()?))
    }

    /// For this instruction set.
    pub fn with(isa: Isa) -> Self {
        Self { isa, pool: Pool::default() }
    }

    /// −log softmax(x · eᵀ + b) at the target of each row: a vector of rows.
    ///
    /// `x`: hidden rows, rows × width; `e`: the decoder's matrix, vocabulary × width; `b`: its bias, one number per
    /// word; `targets`: one word per row, u32. Gradients flow to whichever of the first three candle tracks; what is
    /// detached costs nothing.
    ///
    /// # Errors
    /// Shapes, types or devices that do not fit, a target beyond the vocabulary, an interruption.
    pub fn of_rows(&self, x: &Tensor, e: &Tensor, b: &Tensor, targets: &Tensor) -> Result<Tensor> {
        self.gathering(x, e, b, targets, [None, None])
    }

    /// The same, where the gradients of `e` and of `b` may go elsewhere than to candle's tape. In single precision on
    /// the processor only.
    ///
    /// # Errors
    /// As [`of_rows`](Self::of_rows).
    pub fn gathering(
        &self,
        x: &Tensor,
        e: &Tensor,
        b: &Tensor,
        targets: &Tensor,
        parts: [Option<Part>; 2],
    ) -> Result<Tensor> {
        let (_, vocabulary) = check(x, e, b)?;
        let rows = x.dims()[0];
        if targets.dims() != [rows] || targets.dtype() != DType::U32 {
            return Err(Error::user(format!(
                "{rows} hidden rows need {rows} targets of type u32, not {:?} of type {}",
                targets.dims(),
                targets.dtype().as_str()
            )));
        }
        let words = targets.to_device(&Device::Cpu)?.to_vec1::<u32>()?;
        if let Some(beyond) = words.iter().find(|word| **word as usize >= vocabulary) {
            return Err(Error::user(format!("target {beyond} is beyond the vocabulary of {vocabulary} words"))
                .hint("was the network made for another text?"));
        }
        match x.device().is_cpu() && x.dtype() == DType::F32 {
            true => Operation::run(self, [x, e, b], words, parts),
            false if parts.iter().any(Option::is_some) => {
                Err(Error::run("gradients are gathered in single precision on the processor"))
            }
            false => plain::of_rows(x, e, b, targets),
        }
    }
}

/// Checks that the inputs of a decoder fit together; the width and the size of the vocabulary.
fn check(x: &Tensor, e: &Tensor, b: &Tensor) -> Result<(usize, usize)> {
    let (&[rows, width], &[vocabulary, own], &[biases]) = (x.dims(), e.dims(), b.dims()) else {
        return Err(unfit(x, e, b));
    };
    if rows == 0 || width == 0 || vocabulary == 0 || own != width || biases != vocabulary {
        return Err(unfit(x, e, b));
    }
    for (name, tensor) in [("matrix", e), ("bias", b)] {
        if tensor.dtype() != x.dtype() || !tensor.device().same_device(x.device()) {
            return Err(Error::user(format!(
                "the decoder's {name} is {} on {:?}; the hidden rows are {} on {:?}",
                tensor.dtype().as_str(),
                tensor.device().location(),
                x.dtype().as_str(),
                x.device().location()
            )));
        }
    }
    Ok((width, vocabulary))
}

fn unfit(x: &Tensor, e: &Tensor, b: &Tensor) -> Error {
    Error::user(format!(
        "hidden rows {:?}, a decoder matrix {:?} and a bias {:?} do not fit together",
        x.dims(),
        e.dims(),
        b.dims()
    ))
    .hint("they are [rows, width], [vocabulary, width] and [vocabulary]")
}
