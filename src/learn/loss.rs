//! The loss of image classification: cross-entropy, with smoothed labels and an auxiliary head where there is one.

use crate::{Error, Result};
use candle_core::{D, DType, Tensor};

/// Mean cross-entropy over a batch. `logits`: images × classes; `labels`: the class of each image.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    Loss::default().smoothed(logits, labels)
}

/// How logits are scored in training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// ε (Szegedy et al. 2016): labels are 1 − ε at the right class plus ε/classes at every class.
    pub label_smoothing: f64,
    /// What the auxiliary head's loss is multiplied by.
    pub auxiliary: f64,
}

impl Default for Loss {
    /// No smoothing, and the paper's 0.4 for an auxiliary head (`darts.md` A7).
    fn default() -> Self {
        Self { label_smoothing: 0.0, auxiliary: 0.4 }
    }
}

impl Loss {
    /// Sees that the numbers make sense.
    pub fn check(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return Err(Error::user(format!(
                "label_smoothing is at least 0 and below 1, not {}",
                self.label_smoothing
            )));
        }
        match self.auxiliary.is_finite() && self.auxiliary >= 0.0 {
            true => Ok(()),
            false => Err(Error::user(format!("the auxiliary loss's weight is at least 0, not {}", self.auxiliary))),
        }
    }

    /// The mean loss of a batch. `output`: images × classes, or × 2 · classes where the second half is an auxiliary
    /// head's.
    pub fn of(&self, output: &Tensor, labels: &Tensor, classes: usize) -> Result<Tensor> {
        let width = output.dim(D::Minus1)?;
        let main = self.smoothed(&output.narrow(1, 0, classes)?, labels)?;
        if width == classes || self.auxiliary == 0.0 {
            return Ok(main);
        }
        let auxiliary = self.smoothed(&output.narrow(1, classes, width - classes)?, labels)?;
        Ok((main + auxiliary.affine(self.auxiliary, 0.0)?)?)
    }

    fn smoothed(&self, logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let classes = logits.dims().last().copied().unwrap_or(0);
        let labels = labels.to_dtype(DType::U32)?;
        let largest = labels.to_vec1::<u32>()?.into_iter().max().unwrap_or(0) as usize;
        if largest >= classes {
            return Err(Error::user(format!(
                "a label is {largest}, but the network tells only {classes} classes apart"
            ))
            .hint("labels count from 0"));
        }
        let log_p = candle_nn::ops::log_softmax(logits, D::Minus1)?;
        let right = candle_nn::loss::nll(&log_p, &labels)?;
        if self.label_smoothing == 0.0 {
            return Ok(right);
        }
        let any = log_p.mean_all()?.neg()?;
        Ok((right.affine(1.0 - self.label_smoothing, 0.0)? + any.affine(self.label_smoothing, 0.0)?)?)
    }
}
