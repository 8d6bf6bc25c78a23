//! Scoring a network on held-out images, in evaluation mode.

use super::classify::{OwnLoss, single};
use super::loss::cross_entropy;
use crate::batch::Batch;
use crate::space::{Network, Statistics};
use crate::{Error, Result, interrupt};
use candle_core::{DType, Device, Tensor};
use std::sync::Arc;

/// What a network is worth on some examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The mean over the examples of cross-entropy, or of the loss that was asked for.
    pub loss: f64,
    pub examples: usize,
    /// None where labels or outputs are real numbers: no output hits them.
    pub hits: Option<Hits>,
}

/// How often a network is right.
#[derive(Clone, Debug, PartialEq)]
pub struct Hits {
    /// Share of examples whose label has the largest logit.
    pub accuracy: f64,
    /// Share of examples whose label is among the five largest logits.
    pub top5: f64,
    /// Of each class, how many examples there are and how many of them have the largest logit there.
    pub classes: Vec<(usize, usize)>,
}

/// [`evaluate_by`] running statistics and cross-entropy.
///
/// # Errors
/// As [`evaluate_by`].
pub fn evaluate(
    network: &Network,
    batches: impl IntoIterator<Item = Result<Batch>>,
    p: Option<&[Tensor]>,
) -> Result<Score> {
    evaluate_by(network, batches, p, None, Statistics::Running, None)
}

/// The network's loss and accuracy over `batches`, without gradients. `p`: the mixing weights of every slot block
/// (none: the default relaxation of the alphas); `active`: the slots that run (none: all); `score`: the mean loss of a
/// batch (none: cross-entropy). Ctrl-C stops it between batches.
///
/// # Errors
/// No examples, labels beyond the classes, real numbers as labels without a loss for them; those of the batches and of
/// the passes.
pub fn evaluate_by(
    network: &Network,
    batches: impl IntoIterator<Item = Result<Batch>>,
    p: Option<&[Tensor]>,
    active: Option<Arc<[bool]>>,
    statistics: Statistics,
    score: Option<&OwnLoss>,
) -> Result<Score> {
    let p = match p {
        Some(p) => p.to_vec(),
        None => network.relax_among(network.alphas(), active.as_deref())?,
    };
    let (mut loss, mut examples) = (0.0, 0);
    // One output is a number, not a class.
    let classified = score.is_none() || network.classes() > 1;
    let mut counts = classified.then(|| Counts { first: 0, five: 0, classes: vec![(0, 0); network.classes()] });
    for batch in batches {
        interrupt::check()?;
        let batch = batch?;
        // From a GPU once, as what follows counts image by image.
        let logits = network.score(&batch.images, &p, active.clone(), statistics)?.to_device(&Device::Cpu)?;
        let labels = batch.labels.to_device(&Device::Cpu)?;
        let mean = match score {
            Some(score) => single("loss", &score(&logits, &labels)?)?,
            None => cross_entropy(&logits, &batch.classes()?.to_device(&Device::Cpu)?)?,
        };
        loss += mean.to_dtype(DType::F64)?.to_scalar::<f64>()? * batch.len() as f64;
        examples += batch.len();
        if let Some(found) = &mut counts
            && !(batch.has_classes() && found.add(&logits, &labels.to_vec1::<u32>()?)?)
        {
            counts = None;
        }
    }
    if examples == 0 {
        return Err(Error::user("there is nothing to evaluate: no examples"));
    }
    let mean = |count: usize| count as f64 / examples as f64;
    let hits = |Counts { first, five, classes }| Hits { accuracy: mean(first), top5: mean(five), classes };
    Ok(Score { loss: loss / examples as f64, examples, hits: counts.map(hits) })
}

/// Examples whose label has the largest logit, or one of the five largest.
struct Counts {
    first: usize,
    five: usize,
    classes: Vec<(usize, usize)>,
}

impl Counts {
    /// Counts a batch; whether all of its labels are among the classes.
    fn add(&mut self, logits: &Tensor, labels: &[u32]) -> Result<bool> {
        for (row, &label) in logits.to_dtype(DType::F32)?.to_vec2::<f32>()?.iter().zip(labels) {
            let Some(class) = self.classes.get_mut(label as usize) else { return Ok(false) };
            let rank = rank(row, label as usize);
            let right = usize::from(rank < 1);
            *class = (class.0 + 1, class.1 + right);
            self.first += right;
            self.five += usize::from(rank < 5);
        }
        Ok(true)
    }
}

/// How many classes come before `label` by falling logit, equal ones in index order. A logit that is NaN comes
/// before every other, so a broken network scores nothing.
fn rank(logits: &[f32], label: usize) -> usize {
    let own = logits[label];
    let before = |(class, &logit): (usize, &f32)| {
        let below = logit < own || (logit == own && class >= label);
        !below
    };
    logits.iter().enumerate().filter(|&entry| before(entry)).count()
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn ranks_count_better_classes_and_never_reward_nan() {
        assert_eq!(rank(&[0.1, 0.9, 0.5], 1), 0);
        assert_eq!(rank(&[0.1, 0.9, 0.5], 0), 2);
        assert_eq!(rank(&[0.5, 0.5, 0.5], 2), 2);
        assert_eq!(rank(&[0.1, f32::NAN, 0.5], 2), 1);
        assert_eq!(rank(&[f32::NAN, f32::NAN, f32::NAN], 0), 3);
    }
}
