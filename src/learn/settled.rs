//! A loss whose gradients are known already, as one operation on candle's tape.

use crate::Result;
use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

/// A scalar with its gradients of two tensors.
pub struct Settled {
    loss: Tensor,
    gradients: [Tensor; 2],
}

impl Settled {
    /// `loss`, a scalar on the processor, as a function of `w` and `p` with these gradients in their shapes.
    ///
    /// # Errors
    /// Those of candle.
    pub fn put(loss: &Tensor, w: &Tensor, p: &Tensor, gradients: [Tensor; 2]) -> Result<Tensor> {
        Ok(w.apply_op2(p, Self { loss: loss.detach().flatten_all()?.contiguous()?, gradients })?)
    }
}

impl CustomOp2 for Settled {
    fn name(&self) -> &'static str {
        "settled loss"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let storage = match self.loss.dtype() {
            candle_core::DType::F64 => CpuStorage::F64(self.loss.to_vec1()?),
            _ => CpuStorage::F32(self.loss.to_vec1()?),
        };
        Ok((storage, Shape::from(())))
    }

    fn bwd(
        &self,
        _w: &Tensor,
        _p: &Tensor,
        _loss: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let scale = gradient.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
        let scaled = |own: &Tensor| if scale == 1.0 { Ok(own.clone()) } else { own.affine(scale, 0.0) };
        Ok((Some(scaled(&self.gradients[0])?), Some(scaled(&self.gradients[1])?)))
    }
}
