//! Sets of numbers that a script made: what is wrong with them is found here, image by image.

use super::mirrors::Mirrors;
use super::set::{Facts, ImageSet, Stored, Values};
use crate::legend::Legend;
use crate::shape::Shape;
use crate::{Error, Result};
use std::sync::Arc;

/// Images as numbers, with a label for each.
pub struct Given {
    pub name: String,
    /// [N, C, H, W].
    pub numbers: Vec<f32>,
    pub shape: Shape,
    pub labels: Vec<f64>,
    /// Class names; without them as many classes as the largest label asks for, called 0, 1, 2 ….
    pub classes: Option<Vec<String>>,
    /// Whether networks see the numbers less their mean, over their standard deviation, channel by channel.
    pub normalise: bool,
    /// A set whose classes and scaling these images get in the place of their own.
    pub like: Option<ImageSet>,
}

impl Given {
    /// The set of these images in their order.
    ///
    /// # Errors
    /// No images, a number of labels that is not theirs, a number that is not finite, a label that counts no class, a
    /// class name that comes twice.
    pub fn set(self) -> Result<ImageSet> {
        let labels = self.checked()?;
        let facts = self.facts(&labels)?;
        let classes = facts.legend.classes.len();
        if let Some((image, label)) = labels.iter().enumerate().find(|(_, label)| **label as usize >= classes) {
            return Err(Error::user(format!("image {image} has label {label}, but there are {classes} classes"))
                .hint("the first class has label 0"));
        }
        let rows = (0..labels.len() as u32).collect();
        let values = Values::Numbers(self.numbers);
        Ok(ImageSet::new(Stored { values, labels, shape: self.shape, listed: vec![] }, Arc::new(facts), rows))
    }

    fn facts(&self, labels: &[u32]) -> Result<Facts> {
        if let Some(like) = &self.like {
            if like.shape() != self.shape {
                let (other, own) = (like.shape(), self.shape);
                return Err(Error::user(format!("images of {own:#} cannot be like a set of {other:#}")));
            }
            return Ok(like.facts_for(self.name.clone()));
        }
        let classes = match &self.classes {
            Some(classes) => classes.clone(),
            None => (0..=labels.iter().copied().max().unwrap_or(0)).map(|class| class.to_string()).collect(),
        };
        let mut legend = Legend { classes, ..Legend::plain(0, self.shape.channels) };
        if self.normalise {
            (legend.mean, legend.std) = moments(&self.numbers, self.shape);
        }
        legend.check(legend.classes.len(), self.shape.channels)?;
        let mirrors = Mirrors::of(&legend.classes);
        let name = self.name.clone();
        Ok(Facts { name, legend, levels: 1, as_given: !self.normalise, mirrors, list: Arc::default() })
    }

    /// Looks at every number; gives the labels.
    fn checked(&self) -> Result<Vec<u32>> {
        let images = self.numbers.len().checked_div(self.shape.len()).unwrap_or(0);
        if images == 0 {
            return Err(Error::user(format!(
                "a set needs at least one image, and pixels: {images} of {:#}",
                self.shape
            )));
        }
        if self.labels.len() != images {
            return Err(Error::user(format!("{} labels for {images} images", self.labels.len()))
                .hint("one label for each image, in the same order"));
        }
        if let Some(at) = self.numbers.iter().position(|number| !number.is_finite()) {
            let Shape { channels, height, width } = self.shape;
            let (row, column) = (at / width % height, at % width);
            return Err(Error::user(format!(
                "image {} holds {} (channel {}, row {row}, column {column})",
                at / self.shape.len(),
                self.numbers[at],
                at / (height * width) % channels
            ))
            .hint("images are finite numbers"));
        }
        let label = |(image, &label): (usize, &f64)| match label >= 0.0 && label.fract() == 0.0 && label < 65_536.0 {
            true => Ok(label as u32),
            false => Err(Error::user(format!("image {image} has label {label}"))
                .hint("labels are whole numbers from 0 to 65535, 0 for the first class")),
        };
        self.labels.iter().enumerate().map(label).collect()
    }
}

/// Mean and (biased) standard deviation of each channel.
fn moments(numbers: &[f32], shape: Shape) -> (Vec<f32>, Vec<f32>) {
    let plane = shape.pixels();
    let of_channel = |channel: usize| {
        let values = || {
            let planes = numbers.chunks_exact(shape.len()).map(move |image| &image[channel * plane..][..plane]);
            planes.flatten().map(|&value| f64::from(value))
        };
        let count = (numbers.len() / shape.channels) as f64;
        let mean = values().sum::<f64>() / count;
        let deviation = (values().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt() as f32;
        // A channel that never changes carries nothing; dividing by 1 leaves it at zero.
        (mean as f32, if deviation > 1e-6 * mean.abs() as f32 && deviation.is_normal() { deviation } else { 1.0 })
    };
    (0..shape.channels).map(of_channel).unzip()
}
