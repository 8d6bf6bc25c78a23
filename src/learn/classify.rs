//! The objective of image classification: a network's cross-entropy on a training and a validation batch.

use super::bilevel::{self, Objective, Order, Relax, Split, With};
use super::loss::Loss;
use crate::batch::Batch;
use crate::engine::Mode;
use crate::space::Network;
use crate::{Error, Result};
use candle_core::Tensor;

/// A network on a training and, where alphas are learned, a validation batch.
struct Classification<'a> {
    network: &'a Network,
    train: &'a Batch,
    valid: Option<&'a Batch>,
    loss: Loss,
}

impl Objective for Classification<'_> {
    fn loss(&self, split: Split, w: &Tensor, p: &[Tensor], mode: Mode) -> Result<Tensor> {
        let batch = match split {
            Split::Train => self.train,
            Split::Valid => self.valid.ok_or_else(|| Error::user("there is no validation batch"))?,
        };
        let logits = self.network.forward_at(&batch.images, w, p, mode, None)?;
        self.loss.of(&logits, &batch.labels, self.network.classes())
    }
}

/// Loss and gradient of the flat weights on one training batch. `relax`: none for the network's default.
///
/// # Errors
/// As [`loss_gradient`].
pub fn weight_gradient(network: &Network, batch: &Batch, relax: Option<&Relax>) -> Result<(f64, Tensor)> {
    loss_gradient(network, batch, relax, Loss::default())
}

/// [`weight_gradient`] of another loss than plain cross-entropy.
///
/// # Errors
/// Options that [`Loss::check`] refuses; images of another shape than the network's, labels beyond its classes; those
/// of [`bilevel::weight_gradient`].
pub fn loss_gradient(network: &Network, batch: &Batch, relax: Option<&Relax>, loss: Loss) -> Result<(f64, Tensor)> {
    loss.check(network.has_auxiliary())?;
    let objective = Classification { network, train: batch, valid: None, loss };
    let default = |alphas: &_| network.relax(alphas);
    bilevel::weight_gradient(&objective, network.weights(), network.alphas(), relax.unwrap_or(&default))
}

/// Validation loss and its gradient for every alpha; see [`bilevel::alpha_gradient`].
///
/// # Errors
/// Images of another shape than the network's, labels beyond its classes; those of [`bilevel::alpha_gradient`].
pub fn alpha_gradient(
    network: &Network,
    train: &Batch,
    valid: &Batch,
    relax: Option<&Relax>,
    order: &Order,
) -> Result<(f64, Vec<Tensor>)> {
    let objective = Classification { network, train, valid: Some(valid), loss: Loss::default() };
    let default = |alphas: &_| network.relax(alphas);
    bilevel::alpha_gradient(&objective, network.weights(), network.alphas(), relax.unwrap_or(&default), order)
}

/// A Hessian-vector product of the training loss; see [`bilevel::hessian_vector`].
///
/// # Errors
/// Images of another shape than the network's, labels beyond its classes; those of [`bilevel::hessian_vector`].
pub fn hessian_vector(
    network: &Network,
    batch: &Batch,
    v: &Tensor,
    with: With,
    relax: Option<&Relax>,
) -> Result<Vec<Tensor>> {
    let objective = Classification { network, train: batch, valid: None, loss: Loss::default() };
    let default = |alphas: &_| network.relax(alphas);
    bilevel::hessian_vector(&objective, network.weights(), network.alphas(), relax.unwrap_or(&default), v, with)
}
