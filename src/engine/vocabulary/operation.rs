//! The decoder's loss on candle's tape.
//!
//! The gradients of the rows' plain sum are taken together with the loss, while a tile's exponentials are there: all
//! rows nearly always weigh the same in what is made of them (a mean), and then the backward pass only multiplies by
//! that weight. Where they do not, it runs once more with each row's own.

use super::{DecoderLoss, Pool};
use crate::Result;
use crate::engine::Isa;
use crate::engine::cpu::floats;
use crate::engine::cpu::vocabulary::{Inputs, Outputs, Wanted, run};
use candle_core::{CpuStorage, CustomOp3, DType, Layout, Shape, Tensor};

/// A pass that has run: candle gets its losses now, and asks for its gradients later.
pub(super) struct Operation {
    isa: Isa,
    pool: Pool,
    targets: Vec<u32>,
    wanted: Wanted,
    outputs: Outputs,
}

impl Operation {
    /// Runs the loss and puts it on candle's tape. Gradients flow to whichever of the inputs candle tracks.
    pub fn run(loss: &DecoderLoss, x: &Tensor, e: &Tensor, b: &Tensor, targets: Vec<u32>) -> Result<Tensor> {
        let (x, e, b) = (x.contiguous()?, e.contiguous()?, b.contiguous()?);
        let wanted = Wanted { rows: x.track_op(), words: e.track_op(), bias: b.track_op() };
        let DecoderLoss { isa, pool } = loss.clone();
        let mut operation = Self { isa, pool, targets, wanted, outputs: Outputs::default() };
        operation.outputs = operation.pass(&x, &e, &b, None)?;
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
        let losses = self.outputs.losses.clone();
        let shape = losses.len().into();
        Ok((CpuStorage::F32(losses), shape))
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
        let uniform = weights.iter().all(|weight| weight.to_bits() == weights[0].to_bits());
        let again = match uniform {
            true => None,
            false => Some(self.pass(&x.detach(), &e.detach(), &b.detach(), Some(&weights))?),
        };
        let (outputs, factor) = match &again {
            Some(outputs) => (outputs, 1.0),
            None => (&self.outputs, weights[0]),
        };
        let tensor = |wanted: bool, values: &[f32], like: &Tensor| -> candle_core::Result<Option<Tensor>> {
            let scaled = || values.iter().map(|value| value * factor).collect::<Vec<f32>>();
            wanted.then(|| Tensor::from_vec(scaled(), like.shape(), like.device())).transpose()
        };
        Ok((
            tensor(self.wanted.rows, &outputs.rows, x)?,
            tensor(self.wanted.words, &outputs.words, e)?,
            tensor(self.wanted.bias, &outputs.bias, b)?,
        ))
    }
}
