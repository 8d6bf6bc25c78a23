//! Scoring a network on held-out images, in evaluation mode.

use super::loss::cross_entropy;
use crate::batch::Batch;
use crate::space::{Network, Statistics};
use crate::{Error, Result, interrupt};
use candle_core::{DType, Device, Tensor};
use std::sync::Arc;

/// Means over all examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Cross-entropy.
    pub loss: f64,
    /// Share of examples whose label has the largest logit.
    pub accuracy: f64,
    /// Share of examples whose label is among the five largest logits.
    pub top5: f64,
    pub examples: usize,
    /// Of each class, how many examples there are and how many of them have the largest logit there.
    pub classes: Vec<(usize, usize)>,
}

/// [`evaluate_by`] running statistics.
///
/// # Errors
/// As [`evaluate_by`].
pub fn evaluate(
    network: &Network,
    batches: impl IntoIterator<Item = Result<Batch>>,
    p: Option<&[Tensor]>,
) -> Result<Score> {
    evaluate_by(network, batches, p, None, Statistics::Running)
}

/// The network's loss and accuracy over `batches`, without gradients. `p`: the mixing weights of every slot block
/// (none: the default relaxation of the alphas); `active`: the slots that run (none: all). Ctrl-C stops it between
/// batches.
///
/// # Errors
/// No examples, labels beyond the classes; those of the batches and of the passes.
pub fn evaluate_by(
    network: &Network,
    batches: impl IntoIterator<Item = Result<Batch>>,
    p: Option<&[Tensor]>,
    active: Option<Arc<[bool]>>,
    statistics: Statistics,
) -> Result<Score> {
    let p = match p {
        Some(p) => p.to_vec(),
        None => network.relax_among(network.alphas(), active.as_deref())?,
    };
    let (mut loss, mut first, mut five, mut examples) = (0.0, 0, 0, 0);
    let mut classes = vec![(0, 0); network.classes()];
    for batch in batches {
        interrupt::check()?;
        let Batch { images, labels, .. } = batch?;
        // From a GPU once, as what follows counts image by image.
        let logits = network.score(&images, &p, active.clone(), statistics)?.to_device(&Device::Cpu)?;
        let labels = labels.to_device(&Device::Cpu)?;
        let mean = cross_entropy(&logits, &labels)?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        let labels = labels.to_dtype(DType::U32)?.to_vec1::<u32>()?;
        loss += mean * labels.len() as f64;
        examples += labels.len();
        for (row, &label) in logits.to_dtype(DType::F32)?.to_vec2::<f32>()?.iter().zip(&labels) {
            let rank = rank(row, label as usize);
            first += usize::from(rank < 1);
            let class = &mut classes[label as usize];
            *class = (class.0 + 1, class.1 + usize::from(rank < 1));
            five += usize::from(rank < 5);
        }
    }
    if examples == 0 {
        return Err(Error::user("there is nothing to evaluate: no examples"));
    }
    let mean = |count: usize| count as f64 / examples as f64;
    Ok(Score { loss: loss / examples as f64, accuracy: mean(first), top5: mean(five), examples, classes })
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
