//! How far single precision may be off in one pass because it takes another side of a kink, by the exact executor.

use super::loss::Loss;
use crate::batch::Batch;
use crate::engine::exact::{Exact, Inputs, Norms};
use crate::engine::{Draws, Wanted};
use crate::parameter::Parameter;
use crate::space::Network;
use crate::{Result, interrupt};
use candle_core::{DType, Device, Tensor};

/// The decisions of one pass that rounding may turn round, and the most that they can change together.
pub struct Kinks {
    /// Inputs of ReLUs (and other activations with kinks) that lie too near to one.
    pub inputs: usize,
    /// Windows of max pools whose two largest values lie too near to each other.
    pub windows: usize,
    /// Σ over these decisions of |change of the loss's gradient|, element by element: flat weights, and every alpha.
    /// A gradient that differs from the exact one by some of the decisions differs by no more.
    pub weights: Tensor,
    pub alphas: Vec<Tensor>,
}

/// The kinks of a training batch's cross-entropy at weights `w` (none: the network's own) and the default relaxation.
/// `within`: how near counts, as a share of the largest magnitude in a map.
///
/// # Errors
/// Those of a pass; an interruption.
pub fn kinks(network: &Network, batch: &Batch, w: Option<&Tensor>, within: f64) -> Result<Kinks> {
    let exact = Exact::new(network.shared_graph())?;
    let own = network.weights().detached();
    let w = w.unwrap_or(&own).detach().to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let (images, labels) = (&batch.images, &batch.labels);
    let x = images.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let p = network.mixing_weights()?;
    let flat = p.detach().to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let inputs = Inputs { x: &x, w: &w, p: &flat, batch: images.dims()[0], active: None };
    let record = exact.forward(inputs, Norms::Trial, &Draws::default())?;

    let shape = (images.dims()[0], record.output().len() / images.dims()[0]);
    let logits = Parameter::new(&Tensor::from_vec(record.output().to_vec(), shape, &Device::Cpu)?)?.tensor();
    let loss = Loss::default().of(&logits, &labels.to_device(&Device::Cpu)?, network.classes())?;
    let dy = super::gradients(&loss, &[&logits])?.remove(0).flatten_all()?.to_vec1::<f64>()?;

    let alphas = network.alphas().tensors();
    let mut kinks = Kinks {
        inputs: 0,
        windows: 0,
        weights: Tensor::zeros(w.len(), DType::F64, &Device::Cpu)?,
        alphas: alphas
            .iter()
            .map(|alpha| alpha.zeros_like()?.to_dtype(DType::F64))
            .collect::<candle_core::Result<_>>()?,
    };
    let mut weights = vec![0.0; w.len()];
    for flip in exact.flips(&record, &dy, within)? {
        interrupt::check()?;
        *(if flip.is_winner { &mut kinks.windows } else { &mut kinks.inputs }) += 1;
        let effect = exact.effect(&record, &flip, Wanted { x: false, w: true, p: true })?;
        weights.iter_mut().zip(&effect.w).for_each(|(sum, change)| *sum += change.abs());
        if alphas.is_empty() {
            continue;
        }
        // Through the relaxation, whose own derivative does not change.
        let change = Tensor::from_vec(effect.p, flat.len(), &Device::Cpu)?.to_dtype(p.dtype())?;
        let through = (&p * change.to_device(p.device())?)?.sum_all()?;
        let found = super::gradients(&through, &alphas.iter().collect::<Vec<_>>())?;
        for (sum, change) in kinks.alphas.iter_mut().zip(found) {
            *sum = (&*sum + change.abs()?.to_dtype(DType::F64)?.to_device(&Device::Cpu)?)?;
        }
    }
    let count = weights.len();
    kinks.weights = Tensor::from_vec(weights, count, &Device::Cpu)?;
    Ok(kinks)
}
