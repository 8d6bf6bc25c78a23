//! What a network makes of each image of a set: its mistakes, what it takes for what, and how far its probabilities can
//! be trusted.

use crate::batch::Batch;
use crate::space::{Network, Statistics};
use crate::{Error, Result, interrupt};
use candle_core::{D, DType};

/// The answer to one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The class that the image is of.
    pub label: usize,
    /// The class that the network finds likeliest, the first of them in a tie.
    pub answer: usize,
    /// The probability that it gives that class.
    pub probability: f64,
}

impl Verdict {
    pub fn is_right(&self) -> bool {
        self.answer == self.label
    }
}

/// The answers to all images of a set, in its order.
#[derive(Clone, Debug, PartialEq)]
pub struct Examination {
    classes: usize,
    verdicts: Vec<Verdict>,
}

/// How well one class is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassScore {
    /// Images of the class.
    pub count: usize,
    /// The share of them that the network names right; none without images.
    pub recall: Option<f64>,
    /// The share of the images that it takes for this class which are of it; none where it takes none for it.
    pub precision: Option<f64>,
}

/// Intervals of confidence, as many as in the paper's tables.
const BINS: usize = 15;

/// Asks `network`, in evaluation mode at the default relaxation of its alphas, about all images of `batches`. Ctrl-C
/// stops it between batches.
///
/// # Errors
/// No images; a label beyond the classes; an answer that is not a number; those of the batches and of the passes.
pub fn examine(network: &Network, batches: impl IntoIterator<Item = Result<Batch>>) -> Result<Examination> {
    let p = network.relax(network.alphas())?;
    let mut verdicts = Vec::new();
    for batch in batches {
        interrupt::check()?;
        let batch = batch?;
        let labels = batch.classes()?.to_vec1::<u32>()?;
        let logits = network.score(&batch.images, &p, None, Statistics::Running)?.to_dtype(DType::F64)?;
        let probabilities = candle_nn::ops::softmax(&logits, D::Minus1)?.to_vec2::<f64>()?;
        for (row, label) in probabilities.iter().zip(labels) {
            verdicts.push(verdict(row, label as usize)?);
        }
    }
    Examination::new(network.classes(), verdicts)
}

fn verdict(probabilities: &[f64], label: usize) -> Result<Verdict> {
    if probabilities.iter().any(|p| p.is_nan()) {
        return Err(Error::run("the network's answer to an image is not a number").hint("its weights are broken"));
    }
    let mut answer = 0;
    for (class, &p) in probabilities.iter().enumerate() {
        if p > probabilities[answer] {
            answer = class;
        }
    }
    Ok(Verdict { label, answer, probability: probabilities[answer] })
}

impl Examination {
    /// The answers of a network that knows `classes` classes.
    ///
    /// # Errors
    /// No answers, or a class beyond these.
    pub fn new(classes: usize, verdicts: Vec<Verdict>) -> Result<Self> {
        if verdicts.is_empty() {
            return Err(Error::user("there is nothing to examine: no images"));
        }
        match verdicts.iter().map(|verdict| verdict.label.max(verdict.answer)).max() {
            Some(class) if class >= classes => {
                Err(Error::user(format!("a label is {class}, but there are only {classes} classes"))
                    .hint("labels count from 0"))
            }
            _ => Ok(Self { classes, verdicts }),
        }
    }

    pub fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// The share of images that are named right.
    pub fn accuracy(&self) -> f64 {
        self.mean(|verdict| f64::from(u8::from(verdict.is_right())))
    }

    /// The mean probability of the answers.
    pub fn confidence(&self) -> f64 {
        self.mean(|verdict| verdict.probability)
    }

    /// The expected calibration error: answers fall into 15 intervals of equal width by their probability; in each,
    /// the accuracy should be the mean probability; the mean of the absolute differences, each as heavy as its images
    /// (C. Guo, G. Pleiss, Y. Sun and K. Weinberger, "On Calibration of Modern Neural Networks", 2017, equation 3).
    pub fn calibration_error(&self) -> f64 {
        let mut gaps = [0.0; BINS];
        for verdict in &self.verdicts {
            // Interval m holds what lies above (m − 1)/M, up to m/M.
            let bin = (verdict.probability * BINS as f64).ceil() as usize;
            gaps[bin.clamp(1, BINS) - 1] += f64::from(u8::from(verdict.is_right())) - verdict.probability;
        }
        gaps.iter().map(|gap| gap.abs()).sum::<f64>() / self.verdicts.len() as f64
    }

    /// Counts of images: a row for what they are, a column for what the network takes them for.
    pub fn confusion(&self) -> Vec<Vec<usize>> {
        let mut counts = vec![vec![0; self.classes]; self.classes];
        for verdict in &self.verdicts {
            counts[verdict.label][verdict.answer] += 1;
        }
        counts
    }

    /// How well each class is known.
    pub fn class_scores(&self) -> Vec<ClassScore> {
        let (mut own, mut named, mut right) = (vec![0; self.classes], vec![0; self.classes], vec![0; self.classes]);
        for verdict in &self.verdicts {
            own[verdict.label] += 1;
            named[verdict.answer] += 1;
            right[verdict.label] += usize::from(verdict.is_right());
        }
        let share = |part: usize, all: usize| (all > 0).then(|| part as f64 / all as f64);
        let of = |class: usize| ClassScore {
            count: own[class],
            recall: share(right[class], own[class]),
            precision: share(right[class], named[class]),
        };
        (0..self.classes).map(of).collect()
    }

    /// The images that are named wrong, those first of whose wrong class the network is surest.
    pub fn mistakes(&self) -> Vec<usize> {
        let mut wrong: Vec<usize> = (0..self.verdicts.len()).filter(|&i| !self.verdicts[i].is_right()).collect();
        wrong.sort_by(|&a, &b| self.verdicts[b].probability.total_cmp(&self.verdicts[a].probability));
        wrong
    }

    fn mean(&self, of: impl Fn(&Verdict) -> f64) -> f64 {
        self.verdicts.iter().map(of).sum::<f64>() / self.verdicts.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six images of three classes, by hand.
    fn six() -> Examination {
        let verdict = |(label, answer, probability)| Verdict { label, answer, probability };
        let all = [(0, 0, 0.9), (0, 0, 0.8), (0, 1, 0.7), (1, 1, 0.6), (1, 0, 0.95), (1, 1, 0.6)];
        Examination::new(3, all.map(verdict).to_vec()).unwrap()
    }

    #[test]
    fn counts_precision_and_recall_are_those_of_the_matrix() {
        let found = six();
        assert_eq!(found.confusion(), [[2, 1, 0], [1, 2, 0], [0, 0, 0]]);
        let third = Some(2.0 / 3.0);
        let known = ClassScore { count: 3, recall: third, precision: third };
        assert_eq!(found.class_scores(), [known, known, ClassScore { count: 0, recall: None, precision: None }]);
        assert_eq!((found.accuracy(), found.mistakes()), (4.0 / 6.0, vec![4, 2]));
    }

    #[test]
    fn the_calibration_error_is_that_of_equation_3() {
        // Each probability is alone in its fifteenth (0.6 and 0.6 share (8/15, 9/15]): gaps 0.1, 0.2, −0.7, −0.95 and
        // 2 − 1.2; the 0.9 lies in (13/15, 14/15], the 0.95 above.
        let expected = (0.1 + 0.2 + 0.7 + 0.95 + 0.8) / 6.0;
        assert!((six().calibration_error() - expected).abs() < 1e-12, "{}", six().calibration_error());
        // A network that is right as often as it says.
        let verdict = |answer| Verdict { label: 0, answer, probability: 0.75 };
        let honest = Examination::new(2, [0, 0, 0, 1].map(verdict).to_vec()).unwrap();
        assert!(honest.calibration_error() < 1e-12);
    }

    #[test]
    fn broken_answers_and_none_are_refused() {
        assert!(verdict(&[f64::NAN, 0.5], 0).is_err());
        assert_eq!(verdict(&[0.5, 0.5], 1).unwrap().answer, 0);
        assert!(Examination::new(2, vec![]).is_err());
        assert!(Examination::new(2, vec![Verdict { label: 2, answer: 0, probability: 1.0 }]).is_err());
    }
}
