//! What to do where some classes have many more images than others: weigh their losses, or draw their images as often.

use crate::random::Rng;
use crate::{Error, Result};
use rand::seq::SliceRandom;

/// How much each class counts in the loss.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ClassWeights {
    /// Every image counts 1.
    #[default]
    Even,
    /// An image of class c counts N/(K · n_c): N images in all, n_c of them of class c, K classes that have any. So
    /// all classes weigh the same in sum, and the mean weight of an image is 1 (G. King and L. Zeng, "Logistic
    /// Regression in Rare Events Data", 2001; scikit-learn's "balanced").
    Balanced,
    /// An image of class c counts the c-th number.
    Given(Vec<f32>),
}

impl ClassWeights {
    /// The weight of each class; none where all images count 1. `counts`: images of each class.
    ///
    /// # Errors
    /// Another number of weights than of classes; one that is negative or not finite; all of them 0.
    pub(super) fn settle(&self, counts: &[usize]) -> Result<Option<Vec<f32>>> {
        match self {
            Self::Even => Ok(None),
            Self::Balanced => Ok(Some(balanced(counts))),
            Self::Given(weights) if weights.len() != counts.len() => {
                Err(Error::user(format!("there are {} weights for {} classes", weights.len(), counts.len()))
                    .hint("one number for each class, in the order of data.classes"))
            }
            Self::Given(weights) => match weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
                Some(weight) => Err(Error::user(format!("a class cannot weigh {weight}"))),
                None if weights.iter().all(|&weight| weight == 0.0) => Err(Error::user("all classes weigh nothing")),
                None => Ok(Some(weights.clone())),
            },
        }
    }
}

/// [`ClassWeights::Balanced`]; 0 for classes without images.
fn balanced(counts: &[usize]) -> Vec<f32> {
    let all: usize = counts.iter().sum();
    let classes = counts.iter().filter(|&&count| count > 0).count();
    let weight = |&count: &usize| if count == 0 { 0.0 } else { all as f64 / (classes * count) as f64 };
    counts.iter().map(|count| weight(count) as f32).collect()
}

/// Which images an epoch visits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sampling {
    /// Every image once.
    #[default]
    Once,
    /// As many images of every class, and as many in all as there are: a rare class's images come several times, of a
    /// common class's some wait for another epoch. (On oversampling see M. Buda, A. Maki and M. Mazurowski, "A
    /// systematic study of the class imbalance problem in convolutional neural networks", 2018.)
    Balanced,
}

impl Sampling {
    pub const NAMES: [&str; 2] = ["once", "balanced"];

    /// "once" or "balanced".
    ///
    /// # Errors
    /// Another name, with the closer of the two.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "once" => Ok(Self::Once),
            "balanced" => Ok(Self::Balanced),
            _ => Err(Error::unknown("sampling", name, Self::NAMES)),
        }
    }
}

/// The images of an epoch in which every class has as many places (one more or less where they do not divide). Within
/// a class no image has its next turn before all others had theirs.
pub(super) fn order(labels: &[u32], rng: &mut Rng) -> Vec<usize> {
    let classes = labels.iter().max().map_or(0, |&largest| largest as usize + 1);
    let mut images = vec![Vec::new(); classes];
    labels.iter().enumerate().for_each(|(index, &label)| images[label as usize].push(index));
    images.retain(|images| !images.is_empty());
    // Who has the places that are left over is drawn.
    images.shuffle(rng);
    let (each, over) = (labels.len() / images.len().max(1), labels.len() % images.len().max(1));
    let mut order = Vec::with_capacity(labels.len());
    for (class, mut images) in images.into_iter().enumerate() {
        let mut left = each + usize::from(class < over);
        while left > 0 {
            images.shuffle(rng);
            let turn = left.min(images.len());
            order.extend_from_slice(&images[..turn]);
            left -= turn;
        }
    }
    order.shuffle(rng);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Seed;

    #[test]
    fn balanced_weights_give_every_class_the_same_sum() {
        // Ten images: 6, 3 and 1 of three classes, none of a fourth: 10/(3·6), 10/(3·3), 10/3.
        let weights = ClassWeights::Balanced.settle(&[6, 3, 1, 0]).unwrap().unwrap();
        assert_eq!(weights, [10.0 / 18.0, 10.0 / 9.0, 10.0 / 3.0, 0.0].map(|weight: f64| weight as f32));
        let sum: f32 = weights.iter().zip([6.0, 3.0, 1.0, 0.0]).map(|(weight, count)| weight * count).sum();
        assert!((sum - 10.0).abs() < 1e-5, "{sum}");
        assert_eq!(ClassWeights::Even.settle(&[6, 3]).unwrap(), None);
    }

    #[test]
    fn weights_that_mean_nothing_are_refused() {
        let refused = |weights: &[f32]| ClassWeights::Given(weights.to_vec()).settle(&[2, 3]).unwrap_err().to_string();
        assert!(refused(&[1.0]).contains("1 weights for 2 classes"));
        assert!(refused(&[1.0, -1.0]).contains("cannot weigh -1"));
        assert!(refused(&[f32::NAN, 1.0]).contains("cannot weigh NaN"));
        assert!(refused(&[0.0, 0.0]).contains("weigh nothing"));
    }

    #[test]
    fn a_balanced_epoch_has_every_class_as_often_and_takes_turns_within_it() {
        // 17 of class 0, 4 of class 2, 1 of class 3.
        let labels: Vec<u32> = [vec![0; 17], vec![2; 4], vec![3; 1]].concat();
        let drawn = |step| order(&labels, &mut Seed(1).rng("order", step));
        for step in 0..20 {
            let order = drawn(step);
            assert_eq!(order.len(), labels.len());
            let mut turns = vec![0; labels.len()];
            order.iter().for_each(|&index| turns[index] += 1);
            for class in [0, 2, 3] {
                let own: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == class).map(|i| turns[i]).collect();
                assert!([7, 8].contains(&own.iter().sum()), "{class}: {own:?}");
                assert!(own.iter().max().unwrap() - own.iter().min().unwrap() <= 1, "{class}: {own:?}");
            }
        }
        assert_ne!(drawn(0), drawn(1));
        assert_eq!(drawn(0), drawn(0));
    }
}
