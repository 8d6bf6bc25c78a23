//! The loss of image classification: cross-entropy, with smoothed labels and an auxiliary head where there is one.

use crate::batch::{Batch, largest_label};
use crate::{Error, Result};
use candle_core::{D, DType, Tensor};

/// Mean cross-entropy over a batch. `logits`: images × classes; `labels`: the class of each image.
///
/// # Errors
/// A label beyond the classes; another number of labels than of images.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    Loss::default().smoothed(logits, labels, None)
}

/// How logits are scored in training.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// ε (Szegedy et al. 2016): labels are 1 − ε at the right class plus ε/classes at every class.
    pub label_smoothing: f64,
    /// What an auxiliary head's loss is multiplied by; none: by 0.4 (the paper's) where the network has such a head.
    pub auxiliary: Option<f64>,
}

/// The paper's weight of an auxiliary head's loss (Liu et al. 2019, section 3.2).
const AUXILIARY: f64 = 0.4;

impl Loss {
    /// Checks that the numbers make sense for a network with an auxiliary head or without one.
    ///
    /// # Errors
    /// Smoothing outside of [0, 1), a negative weight, a weight for a head that is not there.
    pub fn check(&self, has_auxiliary: bool) -> Result<()> {
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return Err(Error::user(format!(
                "label_smoothing must be at least 0 and below 1, not {}",
                self.label_smoothing
            )));
        }
        match self.auxiliary {
            Some(_) if !has_auxiliary => Err(Error::user("this network has no auxiliary head")
                .hint("discrete(…, #{ auxiliary: true }) gives it one")),
            Some(weight) if !(weight.is_finite() && weight >= 0.0) => {
                Err(Error::user(format!("the weight of the auxiliary loss must be at least 0, not {weight}")))
            }
            _ => Ok(()),
        }
    }

    /// The loss of a batch: the mean over its images, each as much as its targets weigh. `output`: images × classes,
    /// or × 2 · classes where the second half is an auxiliary head's.
    ///
    /// # Errors
    /// Labels that are no classes, or beyond `classes`; another number of labels than of images; targets of another
    /// shape.
    pub fn of(&self, output: &Tensor, batch: &Batch, classes: usize) -> Result<Tensor> {
        let labels = batch.classes()?;
        self.by(output, classes, |logits| self.smoothed(logits, &labels, batch.targets.as_ref()))
    }

    /// The loss of a batch by `score`, a function of logits, images × classes; with an auxiliary head that of its
    /// logits is added.
    ///
    /// # Errors
    /// Those of `score`.
    pub(super) fn by(
        &self,
        output: &Tensor,
        classes: usize,
        score: impl Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let width = output.dim(D::Minus1)?;
        let main = score(&output.narrow(1, 0, classes)?)?;
        let weight = self.auxiliary.unwrap_or(AUXILIARY);
        if width == classes || weight == 0.0 {
            return Ok(main);
        }
        let auxiliary = score(&output.narrow(1, classes, width - classes)?)?;
        Ok((main + auxiliary.affine(weight, 0.0)?)?)
    }

    fn smoothed(&self, logits: &Tensor, labels: &Tensor, targets: Option<&Tensor>) -> Result<Tensor> {
        let classes = logits.dims().last().copied().unwrap_or(0);
        let labels = labels.to_dtype(DType::U32)?;
        let largest = largest_label(&labels)? as usize;
        if largest >= classes {
            return Err(Error::user(format!("a label is {largest}, but the network has only {classes} classes"))
                .hint("labels count from 0"));
        }
        let log_p = candle_nn::ops::log_softmax(logits, D::Minus1)?;
        if let Some(targets) = targets {
            return self.towards(&log_p, targets);
        }
        let right = candle_nn::loss::nll(&log_p, &labels)?;
        if self.label_smoothing == 0.0 {
            return Ok(right);
        }
        let any = log_p.mean_all()?.neg()?;
        Ok((right.affine(1.0 - self.label_smoothing, 0.0)? + any.affine(self.label_smoothing, 0.0)?)?)
    }

    /// −1/N · Σ over images and classes of target · log p. Divided by the images and not by the sum of their weights,
    /// so that the mean over batches is the gradient of the whole set's weighted loss, however small the batches are.
    fn towards(&self, log_p: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let &[images, classes] = log_p.dims() else {
            return Err(Error::user(format!("targets are of logits images × classes, not {:?}", log_p.dims())));
        };
        if targets.dims() != log_p.dims() {
            return Err(Error::user(format!("targets {:?} do not fit logits {:?}", targets.dims(), log_p.dims())));
        }
        let mut targets = targets.to_dtype(log_p.dtype())?;
        if self.label_smoothing > 0.0 {
            let weights = targets.sum_keepdim(D::Minus1)?;
            let spread = weights.affine(self.label_smoothing / classes as f64, 0.0)?;
            targets = targets.affine(1.0 - self.label_smoothing, 0.0)?.broadcast_add(&spread)?;
        }
        Ok((targets * log_p)?.sum_all()?.affine(-1.0 / images as f64, 0.0)?)
    }
}
