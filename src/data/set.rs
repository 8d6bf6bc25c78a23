//! Labelled images in memory: bytes, or numbers that a script made, shared by every view of them, and the facts needed
//! to turn them into what a network sees.

use super::list::Listed;
use super::mirrors::Mirrors;
use super::options::Expected;
use crate::fingerprint::Fingerprint;
use crate::legend::Legend;
use crate::shape::Shape;
use crate::{Error, Result};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Images as they are read: `bytes` is [N, C, H, W], contiguous; `labels` has N entries.
#[derive(Debug)]
pub(super) struct Pixels {
    pub bytes: Vec<u8>,
    pub labels: Vec<u32>,
    pub shape: Shape,
    /// Of each image, which file of the list it was read from; empty where files hold many images.
    pub listed: Vec<u32>,
}

/// What images are kept as, [N, C, H, W].
#[derive(Debug)]
pub(super) enum Values {
    Bytes(Vec<u8>),
    Numbers(Vec<f32>),
}

/// The images of a set and of all its parts.
#[derive(Debug)]
pub(super) struct Stored {
    pub values: Values,
    pub labels: Vec<u32>,
    pub shape: Shape,
    /// As in [`Pixels`].
    pub listed: Vec<u32>,
}

impl From<Pixels> for Stored {
    fn from(Pixels { bytes, labels, shape, listed }: Pixels) -> Self {
        Self { values: Values::Bytes(bytes), labels, shape, listed }
    }
}

impl Stored {
    fn fingerprint(&self) -> Fingerprint {
        let values = match &self.values {
            Values::Bytes(bytes) => Fingerprint::of(bytes),
            Values::Numbers(numbers) => Fingerprint::of(bytemuck::cast_slice(numbers)),
        };
        values.and_numbers(&self.labels)
    }
}

/// One image, [C, H, W].
#[derive(Clone, Copy, Debug)]
pub enum Image<'a> {
    /// Of 0 to [`ImageSet::levels`].
    Bytes(&'a [u8]),
    Numbers(&'a [f32]),
}

/// What is true of a data set as a whole, training and test images alike.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub name: String,
    pub legend: Legend,
    /// What means 1.0: 255, or 16 for the digits; 1 for numbers.
    pub levels: u8,
    /// Whether these are numbers as networks see them: none scales them as it was trained on.
    pub as_given: bool,
    pub mirrors: Mirrors,
    /// The files that were read.
    pub list: Arc<[Listed]>,
}

/// A set of labelled images, or a part of one: views share the images and cost four bytes for each.
#[derive(Clone, Debug)]
pub struct ImageSet {
    stored: Arc<Stored>,
    facts: Arc<Facts>,
    /// Which images, in which order, this view shows.
    rows: Arc<[u32]>,
    /// That of all images and labels, once it is known.
    known: Arc<OnceLock<Fingerprint>>,
}

/// A data set: the images to learn from and those to judge by.
#[derive(Clone, Debug)]
pub struct Images {
    pub train: ImageSet,
    pub test: ImageSet,
    /// For choosing between networks, where the data come with a third part.
    pub valid: Option<ImageSet>,
    /// What was decided on the way in and a reader of the results should know (images resized, an order shuffled).
    pub notes: Vec<String>,
    /// The files that were read, and into which part.
    pub list: Arc<[Listed]>,
}

impl Images {
    pub fn name(&self) -> &str {
        &self.train.facts.name
    }

    pub fn classes(&self) -> &[String] {
        self.train.classes()
    }

    pub fn shape(&self) -> Shape {
        self.train.shape()
    }
}

impl ImageSet {
    pub(super) fn new(images: impl Into<Stored>, facts: Arc<Facts>, rows: Vec<u32>) -> Self {
        Self { stored: Arc::new(images.into()), facts, rows: rows.into(), known: Arc::default() }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn shape(&self) -> Shape {
        self.stored.shape
    }

    /// The data set's name ("digits", "CIFAR-10", a folder's name).
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// Class names and the scale of pixels.
    pub fn legend(&self) -> &Legend {
        &self.facts.legend
    }

    /// Class names; label k is the k-th of them.
    pub fn classes(&self) -> &[String] {
        &self.facts.legend.classes
    }

    /// Per channel, the mean subtracted from pixels scaled to 0..1.
    pub fn mean(&self) -> &[f32] {
        &self.facts.legend.mean
    }

    /// Per channel, the standard deviation that pixels are divided by after that.
    pub fn std(&self) -> &[f32] {
        &self.facts.legend.std
    }

    /// The byte that stands for full brightness; 1 where images are numbers.
    pub fn levels(&self) -> u8 {
        self.facts.levels
    }

    /// Whether an image's mirror image still shows its class, as far as the names of the classes tell.
    pub fn mirrors(&self) -> bool {
        self.facts.mirrors == Mirrors::Yes
    }

    /// The rule that decided that, in words.
    pub fn mirror_rule(&self) -> &'static str {
        self.facts.mirrors.rule()
    }

    /// The label of image `index`, if there is such an image.
    pub fn label(&self, index: usize) -> Option<u32> {
        self.rows.get(index).map(|&row| self.stored.labels[row as usize])
    }

    /// The file that image `index` was read from, inside the data set's folder; none where files hold many images.
    pub fn file(&self, index: usize) -> Option<&str> {
        let row = *self.rows.get(index)? as usize;
        let listed = self.facts.list.get(*self.stored.listed.get(row)? as usize)?;
        Some(&listed.file)
    }

    /// All labels, in this set's order.
    pub fn labels(&self) -> Vec<u32> {
        self.rows.iter().map(|&row| self.stored.labels[row as usize]).collect()
    }

    /// Image `index` as it is kept, if there is such an image.
    pub fn image(&self, index: usize) -> Option<Image<'_>> {
        let size = self.shape().len();
        let first = *self.rows.get(index)? as usize * size;
        Some(match &self.stored.values {
            Values::Bytes(bytes) => Image::Bytes(&bytes[first..][..size]),
            Values::Numbers(numbers) => Image::Numbers(&numbers[first..][..size]),
        })
    }

    /// The bytes of image `index`, [C, H, W], if there is such an image and it is kept as bytes.
    pub fn pixels(&self, index: usize) -> Option<&[u8]> {
        match self.image(index)? {
            Image::Bytes(bytes) => Some(bytes),
            Image::Numbers(_) => None,
        }
    }

    /// Image `index` to be looked at, [C, H, W] from 0 to 255, if there is such an image. Of numbers the smallest of
    /// the image is black, the largest white.
    pub fn shown(&self, index: usize) -> Option<Vec<u8>> {
        let level = |share: f64| (share * 255.0).round() as u8;
        Some(match self.image(index)? {
            Image::Bytes(bytes) => {
                bytes.iter().map(|&byte| level(f64::from(byte) / f64::from(self.levels()))).collect()
            }
            Image::Numbers(numbers) => {
                let (least, most) =
                    numbers.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), &number| {
                        (least.min(number), most.max(number))
                    });
                let range = f64::from(most) - f64::from(least);
                let share =
                    |&number: &f32| if range > 0.0 { (f64::from(number) - f64::from(least)) / range } else { 0.5 };
                numbers.iter().map(|number| level(share(number))).collect()
            }
        })
    }

    /// Tells sets apart that a network would see differently: by their images in order, the labels, and what pixels are
    /// scaled by.
    pub fn fingerprint(&self) -> Fingerprint {
        let all = self.known.get_or_init(|| self.stored.fingerprint());
        let Facts { legend, levels, mirrors, .. } = &*self.facts;
        let facts = format!("{:?} {:?} {:?} {levels} {mirrors:?}", self.shape(), legend.mean, legend.std);
        all.and_numbers(&self.rows).and_text(&facts)
    }

    /// Images of each class, in the order of [`classes`](Self::classes).
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes().len()];
        for &row in self.rows.iter() {
            counts[self.stored.labels[row as usize] as usize] += 1;
        }
        counts
    }

    /// Two sets by order, the first with ⌊`fraction`·N⌋ images; nothing is shuffled (DARTS' `train_portion`).
    ///
    /// # Errors
    /// A fraction that leaves one of the two empty.
    pub fn split(&self, fraction: f64) -> Result<(Self, Self)> {
        // The small addend keeps 0.29·100 = 28.999… from losing an image.
        let first = (fraction * self.len() as f64 + 1e-6).floor();
        if !(fraction > 0.0 && fraction < 1.0) || first < 1.0 || first as usize >= self.len() {
            return Err(Error::user(format!("a split at {fraction} of {} images leaves one part empty", self.len()))
                .hint("give a fraction between 0 and 1: split(0.5) makes two halves"));
        }
        Ok((self.slice(0..first as usize), self.slice(first as usize..self.len())))
    }

    /// The first `count` images.
    ///
    /// # Errors
    /// No image at all, or more than there are.
    pub fn take(&self, count: usize) -> Result<Self> {
        if count == 0 || count > self.len() {
            return Err(Error::user(format!("cannot take {count} of {} images", self.len()))
                .hint(format!("take between 1 and {}", self.len())));
        }
        Ok(self.slice(0..count))
    }

    /// The images at these indices, in this order; one may be named twice.
    ///
    /// # Errors
    /// An index beyond the end, or no index at all.
    pub fn subset(&self, indices: &[usize]) -> Result<Self> {
        if indices.is_empty() {
            return Err(Error::user("a subset needs at least one image"));
        }
        let rows = indices.iter().map(|&index| self.rows.get(index).copied().ok_or_else(|| self.beyond(index)));
        Ok(Self { rows: rows.collect::<Result<_>>()?, ..self.clone() })
    }

    /// The same images as a network has to see them: scaled as those that it was trained on, unless they are numbers
    /// that are to be left as they are.
    ///
    /// # Errors
    /// Images of another shape, or of other classes.
    pub fn as_expected(&self, expected: &Expected) -> Result<Self> {
        let hint = "images(source, #{ like: net }) reads them as the network needs them";
        let Expected { shape, legend } = expected;
        if self.shape() != *shape {
            let own = self.shape();
            let message = format!("the network is for images of {shape:#}, these are {own:#}");
            return Err(Error::user(message).hint(hint));
        }
        if self.classes() != legend.classes {
            return Err(Error::user(format!(
                "the network's {} classes are {}; these images have {}: {}",
                legend.classes.len(),
                legend.classes.join(", "),
                self.classes().len(),
                self.classes().join(", ")
            ))
            .hint(hint));
        }
        if self.facts.as_given {
            return Ok(self.clone());
        }
        let facts = Facts { legend: legend.clone(), ..(*self.facts).clone() };
        Ok(Self { facts: Arc::new(facts), ..self.clone() })
    }

    /// What is true of this set, for numbers of a script's own.
    pub(super) fn facts_for(&self, name: String) -> Facts {
        Facts { name, list: Arc::default(), ..(*self.facts).clone() }
    }

    /// The error for an image that is not there.
    pub fn beyond(&self, index: usize) -> Error {
        Error::user(format!("there is no image {index}"))
            .hint(format!("this set has {} images, counted from 0", self.len()))
    }

    fn slice(&self, range: Range<usize>) -> Self {
        Self { rows: self.rows[range].into(), ..self.clone() }
    }
}
