//! The decoder's loss on candle's tape.
//!
//! The gradients of the rows' plain sum are taken together with the loss, while a tile's exponentials are there: all
//! rows nearly always weigh the same in what is made of them (a mean), and then the backward pass only multiplies by
//! that weight. Where they do not, it runs once more with each row's own.

use super::super::gathered::Part;
use super::{DecoderLoss, Pool};
use crate::Result;
use crate::engine::Isa;
use crate::engine::cpu::floats;
use crate::engine::cpu::vocabulary::{Inputs, Outputs, Wanted, run};
use candle_core::{CpuStorage, CustomOp3, DType, Layout, Shape, Tensor};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// A pass that has run: candle gets its losses now, and asks for its gradients later.
pub(super) struct Operation {
    isa: Isa,
    pool: Pool,
    targets: Vec<u32>,
    wanted: Wanted,
    /// Where the gradients of the words' vectors and of their bias go; none: to candle.
    parts: [Option<Part>; 2],
    losses: Vec<f32>,
    /// The gradients of the rows' plain sum, for the first backward pass; another one runs the loss again.
    sums: Mutex<Option<Outputs>>,
}

impl Operation {
    /// Runs the loss of `x`, `e` and `b` and puts it on candle's tape. Gradients flow to whichever of the inputs candle
    /// tracks, those of `e` and `b` to `parts` where they are given.
    pub fn run(
        loss: &DecoderLoss,
        [x, e, b]: [&Tensor; 3],
        targets: Vec<u32>,
        parts: [Option<Part>; 2],
    ) -> Result<Tensor> {
        let (x, e, b) = (x.contiguous()?, e.contiguous()?, b.contiguous()?);
        let [words, bias] = [(&e, &parts[0]), (&b, &parts[1])].map(|(input, part)| input.track_op() || part.is_some());
        let wanted = Wanted { rows: x.track_op(), words, bias };
        let DecoderLoss { isa, pool } = loss.clone();
        let mut operation = Self { isa, pool, targets, wanted, parts, losses: vec![], sums: Mutex::default() };
        let mut outputs = operation.pass(&x, &e, &b, None)?;
        operation.losses = std::mem::take(&mut outputs.losses);
        operation.sums = Mutex::new(Some(outputs));
        match wanted.any() {
            true => Ok(x.apply_op3(&e, &b, operation)?),
            false => Ok(x.apply_op3_no_bwd(&e, &b, &operation)?),
        }
    }

    fn pass(&self, x: &Tensor, e: &Tensor, b: &Tensor, weights: Option<&[f32]>) -> Result<Outputs> {
        let (x, e, b) = (x.storage_and_layout(), e.storage_and_layout(), b.storage_and_layout());
        let inputs = Inputs {
            rows: floats(&x.0, x.1)?,
            words: floats(&e.0, e.1)?,
            bias: floats(&b.0, b.1)?,
            targets: &self.targets,
            weights,
        };
        self.pool.with(|scratch| run(self.isa, &inputs, self.wanted, scratch))
    }

    /// The gradients of the sum of the rows' losses, each times its weight.
    fn gradients(&self, x: &Tensor, e: &Tensor, b: &Tensor, weights: &[f32]) -> Result<Outputs> {
        if weights.iter().any(|weight| weight.to_bits() != weights[0].to_bits()) {
            return self.pass(x, e, b, Some(weights));
        }
        let kept = self.sums.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut outputs = match kept {
            Some(outputs) => outputs,
            None => self.pass(x, e, b, None)?,
        };
        for values in [&mut outputs.rows, &mut outputs.words, &mut outputs.bias] {
            let chunks = values.par_chunks_mut(1 << 16);
            chunks.for_each(|chunk| chunk.iter_mut().for_each(|value| *value *= weights[0]));
        }
        Ok(outputs)
    }
}

impl CustomOp3 for Operation {
    fn name(&self) -> &'static str {
        "decoder loss"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.losses.clone()), self.losses.len().into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        e: &Tensor,
        b: &Tensor,
        _losses: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let weights = gradient.detach().to_dtype(DType::F32)?.to_vec1::<f32>()?;
        let Outputs { rows, words, bias, .. } = self.gradients(&x.detach(), &e.detach(), &b.detach(), &weights)?;
        let tensor = |wanted: bool, values: Vec<f32>, like: &Tensor| {
            wanted.then(|| Tensor::from_vec(values, like.shape(), like.device())).transpose()
        };
        let to_candle = |gradient: Option<Tensor>, part: &Option<Part>| match (gradient, part) {
            (Some(gradient), Some(part)) => part.put(&gradient).map(|()| None),
            (gradient, _) => Ok(gradient),
        };
        let [of_words, of_bias] = &self.parts;
        Ok((
            tensor(self.wanted.rows, rows, x)?,
            to_candle(tensor(self.wanted.words, words, e)?, of_words)?,
            to_candle(tensor(self.wanted.bias, bias, b)?, of_bias)?,
        ))
    }
}
