//! The objective of image classification: a network's loss on a training and a validation batch.

use super::bilevel::{self, Objective, Order, Relax, Split, With};
use super::loss::Loss;
use super::vector::gradients;
use crate::batch::Batch;
use crate::engine::Mode;
use crate::space::{Alphas, Network};
use crate::{Error, Result};
use candle_core::Tensor;
use std::sync::Arc;

/// A loss of one's own: of logits, images × classes, and labels as the batch has them.
pub type OwnLoss<'a> = dyn Fn(&Tensor, &Tensor) -> Result<Tensor> + 'a;

/// What is added to the validation loss: a function of the alphas.
pub type Extra<'a> = dyn Fn(&Alphas) -> Result<Tensor> + 'a;

/// How a network is run and judged where gradients are taken.
#[derive(Default)]
pub struct Way<'a> {
    /// None: the network's default, among the slots that run.
    pub relax: Option<&'a Relax<'a>>,
    /// The slots that run; none: all.
    pub active: Option<Arc<[bool]>>,
    pub loss: Loss,
    /// In cross-entropy's place.
    pub score: Option<&'a OwnLoss<'a>>,
    pub extra: Option<&'a Extra<'a>>,
}

impl Way<'_> {
    pub(super) fn relaxed(&self, network: &Network, alphas: &Alphas) -> Result<Vec<Tensor>> {
        match self.relax {
            Some(relax) => relax(alphas),
            None => network.relax_among(alphas, self.active.as_deref()),
        }
    }

    /// The extra loss and its gradient for every alpha, where there is one.
    ///
    /// # Errors
    /// One that holds more numbers than one, or that does not depend on the alphas.
    pub(super) fn extra_gradient(&self, alphas: &Alphas) -> Result<Option<(f64, Vec<Tensor>)>> {
        let Some(extra) = self.extra else { return Ok(None) };
        let loss = single("extra", &extra(alphas)?)?;
        let variables = alphas.tensors();
        // Not whether gradients reach the alphas: a weight of 0 in a schedule stops them.
        if !loss.track_op() {
            return Err(Error::user("`extra` does not depend on the alphas that it is given")
                .hint("compute it from the closure's map of alphas, without detach() and without array()"));
        }
        let parts = gradients(&loss, &variables.iter().collect::<Vec<_>>())?;
        Ok(Some((bilevel::value(&loss)?, parts)))
    }
}

/// A loss as a number without axes.
pub(super) fn single(name: &str, loss: &Tensor) -> Result<Tensor> {
    match loss.elem_count() {
        1 => Ok(loss.reshape(())?),
        _ => Err(Error::user(format!("`{name}` must give one number, not a tensor of shape {:?}", loss.dims()))
            .hint("take the mean or the sum of it")),
    }
}

/// A network on a training and, where alphas are learned, a validation batch.
pub(super) struct Classification<'a> {
    pub network: &'a Network,
    pub train: &'a Batch,
    pub valid: Option<&'a Batch>,
    pub way: &'a Way<'a>,
}

impl Objective for Classification<'_> {
    fn loss(&self, split: Split, w: &Tensor, p: &[Tensor], mode: Mode) -> Result<Tensor> {
        let batch = match split {
            Split::Train => self.train,
            Split::Valid => self.valid.ok_or_else(|| Error::user("there is no validation batch"))?,
        };
        let logits = self.network.forward_at(&batch.images, w, p, mode, self.way.active.clone())?;
        let Some(score) = self.way.score else {
            return self.way.loss.of(&logits, batch, self.network.classes());
        };
        self.way.loss.by(&logits, self.network.classes(), |logits| {
            let loss = single("loss", &score(logits, &batch.labels)?)?;
            match loss.track_op() {
                true => Ok(loss),
                false => Err(Error::user("`loss` does not depend on the logits that it is given")
                    .hint("compute it from the closure's logits, without detach() and without array()")),
            }
        })
    }
}

/// Loss and gradient of the flat weights on one training batch. `relax`: none for the network's default.
///
/// # Errors
/// As [`weight_gradient_by`].
pub fn weight_gradient(network: &Network, batch: &Batch, relax: Option<&Relax>) -> Result<(f64, Tensor)> {
    weight_gradient_by(network, batch, &Way { relax, ..Way::default() })
}

/// Loss and gradient of the flat weights on one training batch.
///
/// # Errors
/// Options that [`Loss::check`] refuses; images of another shape than the network's, labels beyond its classes; those
/// of [`bilevel::weight_gradient`].
pub fn weight_gradient_by(network: &Network, batch: &Batch, way: &Way) -> Result<(f64, Tensor)> {
    way.loss.check(network.has_auxiliary())?;
    let objective = Classification { network, train: batch, valid: None, way };
    let relax = |alphas: &_| way.relaxed(network, alphas);
    bilevel::weight_gradient(&objective, network.weights(), network.alphas(), &relax)
}

/// Validation loss and its gradient for every alpha; see [`bilevel::alpha_gradient`].
///
/// # Errors
/// As [`alpha_gradient_by`].
pub fn alpha_gradient(
    network: &Network,
    train: &Batch,
    valid: &Batch,
    relax: Option<&Relax>,
    order: &Order,
) -> Result<(f64, Vec<Tensor>)> {
    alpha_gradient_by(network, train, valid, order, &Way { relax, ..Way::default() })
}

/// [`alpha_gradient`] of another loss, with something added, or of some of the slots.
///
/// # Errors
/// Images of another shape than the network's, labels beyond its classes; those of [`bilevel::alpha_gradient`].
pub fn alpha_gradient_by(
    network: &Network,
    train: &Batch,
    valid: &Batch,
    order: &Order,
    way: &Way,
) -> Result<(f64, Vec<Tensor>)> {
    let objective = Classification { network, train, valid: Some(valid), way };
    let relax = |alphas: &_| way.relaxed(network, alphas);
    let (loss, parts) = bilevel::alpha_gradient(&objective, network.weights(), network.alphas(), &relax, order)?;
    match way.extra_gradient(network.alphas())? {
        None => Ok((loss, parts)),
        Some((extra, more)) => {
            let parts = parts.iter().zip(&more).map(|(part, more)| Ok((part + more)?));
            Ok((loss + extra, parts.collect::<Result<_>>()?))
        }
    }
}

/// A Hessian-vector product of the training loss; see [`bilevel::hessian_vector`].
///
/// # Errors
/// Images of another shape than the network's, labels beyond its classes; those of [`bilevel::hessian_vector`].
pub fn hessian_vector(network: &Network, batch: &Batch, v: &Tensor, with: With, way: &Way) -> Result<Vec<Tensor>> {
    let objective = Classification { network, train: batch, valid: None, way };
    let relax = |alphas: &_| way.relaxed(network, alphas);
    bilevel::hessian_vector(&objective, network.weights(), network.alphas(), &relax, v, with)
}
