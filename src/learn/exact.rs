//! The exact gradient of a pass, and where single precision may take the other side of a kink and what that changes.

use super::loss::Loss;
use crate::batch::Batch;
use crate::engine::exact::{Exact, Gradients, Inputs, Norms};
use crate::engine::{Draws, Wanted};
use crate::parameter::Parameter;
use crate::space::Network;
use crate::{Result, interrupt};
use candle_core::{DType, Device, Tensor};

/// A gradient, or how it changes.
pub struct Parts {
    /// Flat, as the weights are.
    pub weights: Tensor,
    /// One tensor for each alpha.
    pub alphas: Vec<Tensor>,
}

/// A decision that rounding may flip.
pub struct Near {
    /// Whether it is the winner of a max pool's window, not the side of a kink of a ReLU (or another activation).
    pub is_winner: bool,
    /// How the gradient changes if it falls the other way.
    pub change: Parts,
}

/// What [`exact`] finds.
pub struct ExactGradient {
    pub gradient: Parts,
    pub near: Vec<Near>,
}

/// The gradient of a batch's cross-entropy in double precision, and the decisions that lie too near, at weights `w`
/// (none: the network's own) and the default relaxation. `within`: how near counts, as a share of the largest magnitude
/// in a map.
///
/// # Errors
/// Those of a pass; an interruption.
pub fn exact(network: &Network, batch: &Batch, w: Option<&Tensor>, within: f64) -> Result<ExactGradient> {
    let exact = Exact::new(network.shared_graph())?;
    let own = network.weights().detached();
    let w = w.unwrap_or(&own).detach().to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let images = &batch.images;
    let x = images.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let p = network.mixing_weights()?;
    let flat = p.detach().to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let inputs = Inputs { x: &x, w: &w, p: &flat, batch: images.dims()[0], active: None };
    let record = exact.forward(inputs, Norms::Trial, &Draws::default())?;

    let shape = (images.dims()[0], record.output().len() / images.dims()[0]);
    let logits = Parameter::new(&Tensor::from_vec(record.output().to_vec(), shape, &Device::Cpu)?)?.tensor();
    let loss = Loss::default().of(&network.logits_of(&logits)?, &batch.to_device(&Device::Cpu)?, network.classes())?;
    let dy = super::gradients(&loss, &[&logits])?.remove(0).flatten_all()?.to_vec1::<f64>()?;

    let alphas = network.alphas().tensors();
    let parts = |found: Gradients| -> Result<Parts> {
        let weights = Tensor::from_vec(found.w, w.len(), own.device())?;
        if alphas.is_empty() {
            return Ok(Parts { weights, alphas: Vec::new() });
        }
        // Through the relaxation, whose own derivative no decision changes.
        let change = Tensor::from_vec(found.p, flat.len(), &Device::Cpu)?.to_dtype(p.dtype())?;
        let through = (&p * change.to_device(p.device())?)?.sum_all()?;
        Ok(Parts { weights, alphas: super::gradients(&through, &alphas.iter().collect::<Vec<_>>())? })
    };
    let wanted = Wanted { x: false, w: true, p: true };
    let gradient = parts(exact.backward(&record, &dy, wanted)?)?;
    let near = exact.flips(&record, &dy, within)?.into_iter().map(|flip| {
        interrupt::check()?;
        Ok(Near { is_winner: flip.is_winner, change: parts(exact.effect(&record, &flip, wanted)?)? })
    });
    Ok(ExactGradient { gradient, near: near.collect::<Result<_>>()? })
}
