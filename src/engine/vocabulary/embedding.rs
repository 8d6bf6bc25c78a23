//! Rows of an embedding whose gradient is gathered beside candle's tape: it has as many rows as there were words, not
//! as many as the vocabulary.

use super::super::gathered::Part;
use crate::{Error, Result};
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape, Storage, Tensor, Var};

struct Lookup {
    words: Vec<u32>,
    vectors: Tensor,
    part: Part,
}

/// The rows of `e`, vocabulary × width in single precision, for these words: words × width. Candle tracks them, though
/// it does not track `e`: their gradient goes to `part`.
///
/// # Errors
/// A word beyond the vocabulary.
pub fn embedded(words: &Tensor, e: &Tensor, part: &Part) -> Result<Tensor> {
    let words = words.flatten_all()?;
    let vectors = e.detach().index_select(&words, 0)?.contiguous()?;
    let words = words.to_vec1::<u32>()?;
    // Something that candle tracks, for the sake of its backward pass.
    let root = Var::zeros(1, DType::F32, e.device())?;
    Ok(root.as_tensor().apply_op1(Lookup { words, vectors, part: part.clone() })?)
}

impl CustomOp1 for Lookup {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (storage, _) = self.vectors.storage_and_layout();
        match &*storage {
            Storage::Cpu(vectors) => Ok((vectors.clone(), self.vectors.shape().clone())),
            _ => Err(Error::run("the embedding is not in the processor's memory").into()),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> candle_core::Result<Option<Tensor>> {
        self.part.put_rows(gradient, &self.words)?;
        Ok(None)
    }
}
