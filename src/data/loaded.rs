//! What a reader brings back, and what is settled once it is in memory: shape, classes, order and normalisation.

use super::encoded::reshape;
use super::list::Listed;
use super::mirrors::Mirrors;
use super::options::{Expected, ImageOptions};
use super::parts::Parts;
use super::set::{Facts, ImageSet, Images, Pixels};
use crate::error::closest;
use crate::legend::Legend;
use crate::random::Seed;
use crate::{Error, Result};
use rand::seq::SliceRandom;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a reader brings back.
pub(super) struct Loaded {
    pub name: String,
    pub classes: Vec<String>,
    pub levels: u8,
    pub parts: Parts<Pixels>,
    /// Mean and standard deviation where a paper has fixed them; otherwise they are taken from the training images.
    pub normalisation: Option<(Vec<f32>, Vec<f32>)>,
    pub notes: Vec<String>,
    /// What follows the counts in the line that sums up what was read.
    pub remarks: String,
    /// The files that all this was read from.
    pub list: Vec<Listed>,
}

impl Loaded {
    pub fn new(name: impl Into<String>, classes: Vec<String>, parts: Parts<Pixels>) -> Self {
        Self {
            name: name.into(),
            classes,
            levels: 255,
            parts,
            normalisation: None,
            notes: Vec::new(),
            remarks: String::new(),
            list: Vec::new(),
        }
    }

    /// Brings the images to one shape, settles classes and normalisation, and shuffles what came class by class.
    ///
    /// # Errors
    /// Labels out of range, a class without training images, classes that the network of `like` does not know.
    pub fn settle(mut self, options: &ImageOptions) -> Result<Images> {
        let shape = options.shape(self.parts.train.shape);
        let levels = self.levels;
        for part in self.parts.iter_mut() {
            self.levels = reshape(part, levels, shape)?;
        }

        self.check_labels()?;
        let (mean, std) = match (&options.like, self.normalisation.take()) {
            (Some(Expected { legend, .. }), _) => {
                self.rename(&legend.classes)?;
                (legend.mean.clone(), legend.std.clone())
            }
            (None, Some((mean, std))) if mean.len() == shape.channels => (mean, std),
            _ => moments(&self.parts.train, self.levels),
        };
        if options.like.is_none() {
            self.check_classes()?;
        }
        let background = options.look().background;
        // Of data that come by name there is nothing to be told.
        if !self.list.is_empty() {
            self.notes.insert(0, self.summary());
        }
        self.notes.extend(alike(&self.classes));
        let train = &self.parts.train.labels;
        let mut train_rows: Vec<u32> = (0..train.len() as u32).collect();
        if train.is_sorted() && !train.is_empty() {
            // Parts are cut by order (`split`, `take`); in an order by class they would lack classes.
            train_rows.shuffle(&mut Seed(options.seed).rng("order of images", 0));
            self.notes.push("the training images came class by class and were shuffled once".into());
        }
        let mirrors = Mirrors::of(&self.classes);
        let list: Arc<[Listed]> = self.list.into();
        let facts = Arc::new(Facts {
            name: self.name,
            legend: Legend { classes: self.classes, mean, std, background },
            levels: self.levels,
            as_given: false,
            mirrors,
            list: list.clone(),
        });
        let in_order = |pixels: Pixels| {
            let rows = (0..pixels.labels.len() as u32).collect();
            ImageSet::new(pixels, facts.clone(), rows)
        };
        Ok(Images {
            train: ImageSet::new(self.parts.train, facts.clone(), train_rows),
            test: in_order(self.parts.test),
            valid: self.parts.valid.map(in_order),
            notes: self.notes,
            list,
        })
    }

    /// What was read, in one line.
    fn summary(&self) -> String {
        let [train, test] = [&self.parts.train, &self.parts.test].map(|part| part.labels.len());
        let valid = self.parts.valid.as_ref().map(|part| format!(", {} validation", part.labels.len()));
        let (classes, valid) = (self.classes.len(), valid.unwrap_or_default());
        format!("{classes} classes, {train} training{valid} and {test} test images{}", self.remarks)
    }

    /// Every label names a class.
    fn check_labels(&self) -> Result<()> {
        for labels in self.parts.iter().map(|part| &part.labels) {
            if let Some((record, label)) = labels.iter().enumerate().find(|(_, l)| **l as usize >= self.classes.len()) {
                return Err(Error::user(format!("{}: image {record} has label {label}", self.name))
                    .hint(format!("there are {} classes, so labels run from 0", self.classes.len())));
            }
        }
        Ok(())
    }

    /// Every class has something to be learnt from.
    fn check_classes(&self) -> Result<()> {
        let images = |pixels: &Pixels, class: usize| pixels.labels.iter().filter(|l| **l as usize == class).count();
        match (0..self.classes.len()).find(|class| !self.parts.train.labels.contains(&(*class as u32))) {
            None => Ok(()),
            Some(class) => Err(Error::user(format!(
                "class \"{}\" has no training image but {} test images",
                self.classes[class],
                images(&self.parts.test, class)
            ))
            .hint("every class needs training images")),
        }
    }

    /// Counts the classes as `classes` does, by their names.
    fn rename(&mut self, classes: &[String]) -> Result<()> {
        let number = |class: &String| {
            classes.iter().position(|known| known == class).map(|number| number as u32).ok_or_else(|| {
                let error =
                    Error::user(format!("{} has a class \"{class}\", which the network does not know", self.name));
                match closest(class, classes.iter().map(String::as_str)) {
                    Some(near) => error.hint(format!("did you mean \"{near}\"? Its classes: {}", classes.join(", "))),
                    None => error.hint(format!("its classes: {}", classes.join(", "))),
                }
            })
        };
        let numbers = self.classes.iter().map(number).collect::<Result<Vec<u32>>>()?;
        for label in self.parts.iter_mut().flat_map(|part| &mut part.labels) {
            *label = numbers[*label as usize];
        }
        self.classes = classes.to_vec();
        Ok(())
    }
}

/// Tells of classes that may be one, written in two ways.
fn alike(classes: &[String]) -> Option<String> {
    let plain = |name: &str| name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    let twice: Vec<String> = classes
        .iter()
        .filter_map(|name| known.insert(plain(name), name).map(|other| format!("{other:?} and {name:?}")))
        .collect();
    let (first, more) = (twice.first()?, twice.len() - 1);
    let more = if more > 0 { format!(", and {more} more such pairs") } else { String::new() };
    Some(format!("{first} are two classes that differ only in capitals or spaces{more}; if they are one, rename them"))
}

/// Mean and (biased) standard deviation of each channel, of bytes divided by `levels`. Exact sums of integers, so the
/// result depends on nothing but the images.
fn moments(pixels: &Pixels, levels: u8) -> (Vec<f32>, Vec<f32>) {
    let plane = pixels.shape.height * pixels.shape.width;
    let (mut sums, mut squares) = (vec![0u64; pixels.shape.channels], vec![0u64; pixels.shape.channels]);
    for image in pixels.bytes.chunks_exact(pixels.shape.len()) {
        for (channel, plane) in image.chunks_exact(plane).enumerate() {
            sums[channel] += plane.iter().map(|&v| u64::from(v)).sum::<u64>();
            squares[channel] += plane.iter().map(|&v| u64::from(v) * u64::from(v)).sum::<u64>();
        }
    }
    let count = (pixels.labels.len() * plane) as f64;
    let one = |(&sum, &square): (&u64, &u64)| {
        let mean = sum as f64 / count;
        let deviation = (square as f64 / count - mean * mean).max(0.0).sqrt();
        // A channel that never changes carries nothing; dividing by 1 leaves it at zero.
        let deviation = if deviation < 1e-6 { f64::from(levels) } else { deviation };
        ((mean / f64::from(levels)) as f32, (deviation / f64::from(levels)) as f32)
    };
    sums.iter().zip(&squares).map(one).unzip()
}
