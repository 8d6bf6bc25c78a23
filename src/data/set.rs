//! Labelled images in memory: bytes shared by every view of them, and the facts needed to turn them into numbers.

use crate::{Error, Result};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Channels, height and width of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl ImageShape {
    /// Values in one image.
    pub fn len(self) -> usize {
        self.channels * self.height * self.width
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}×{}", self.channels, self.height, self.width)
    }
}

/// The images themselves: `bytes` is [N, C, H, W], contiguous; `labels` has N entries.
#[derive(Debug)]
pub(super) struct Pixels {
    pub bytes: Vec<u8>,
    pub labels: Vec<u32>,
    pub shape: ImageShape,
}

/// What is true of a data set as a whole, training and test images alike.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub name: String,
    pub classes: Vec<String>,
    /// The byte that means 1.0: 255, or 16 for the digits.
    pub levels: u8,
    /// Per channel, of bytes divided by `levels`.
    pub mean: Vec<f32>,
    pub std: Vec<f32>,
    pub mirrors: bool,
}

/// A set of labelled images, or a part of one: views share the bytes and cost four bytes an image.
#[derive(Clone, Debug)]
pub struct ImageSet {
    pixels: Arc<Pixels>,
    facts: Arc<Facts>,
    /// Which images, in which order, this view shows.
    rows: Arc<[u32]>,
}

/// A data set: the images to learn from and those to judge by.
#[derive(Clone, Debug)]
pub struct Images {
    pub train: ImageSet,
    pub test: ImageSet,
    /// What was decided on the way in and a reader of the results should know (images resized, an order shuffled).
    pub notes: Vec<String>,
}

impl Images {
    pub fn name(&self) -> &str {
        &self.train.facts.name
    }

    pub fn classes(&self) -> &[String] {
        &self.train.facts.classes
    }

    pub fn shape(&self) -> ImageShape {
        self.train.shape()
    }
}

impl ImageSet {
    pub(super) fn new(pixels: Pixels, facts: Arc<Facts>, rows: Vec<u32>) -> Self {
        Self { pixels: Arc::new(pixels), facts, rows: rows.into() }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn shape(&self) -> ImageShape {
        self.pixels.shape
    }

    /// The data set's name ("digits", "CIFAR-10", a folder's name).
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// Class names; label k is the k-th of them.
    pub fn classes(&self) -> &[String] {
        &self.facts.classes
    }

    /// Per channel, the mean subtracted from pixels scaled to 0..1.
    pub fn mean(&self) -> &[f32] {
        &self.facts.mean
    }

    /// Per channel, the standard deviation that pixels are divided by after that.
    pub fn std(&self) -> &[f32] {
        &self.facts.std
    }

    /// The byte that stands for full brightness.
    pub fn levels(&self) -> u8 {
        self.facts.levels
    }

    /// Whether an image's mirror image still shows its class: not so for written characters, which are recognised by
    /// class names of one character each.
    pub fn mirrors(&self) -> bool {
        self.facts.mirrors
    }

    /// The label of image `index`, if there is such an image.
    pub fn label(&self, index: usize) -> Option<u32> {
        self.rows.get(index).map(|&row| self.pixels.labels[row as usize])
    }

    /// All labels, in this set's order.
    pub fn labels(&self) -> Vec<u32> {
        self.rows.iter().map(|&row| self.pixels.labels[row as usize]).collect()
    }

    /// The bytes of image `index`, [C, H, W], if there is such an image.
    pub fn pixels(&self, index: usize) -> Option<&[u8]> {
        let size = self.shape().len();
        self.rows.get(index).map(|&row| &self.pixels.bytes[row as usize * size..][..size])
    }

    /// Images of each class, in the order of [`classes`](Self::classes).
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes().len()];
        for &row in self.rows.iter() {
            counts[self.pixels.labels[row as usize] as usize] += 1;
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

    /// The images at these places, in this order; one may be named twice.
    ///
    /// # Errors
    /// A place beyond the end, or no place at all.
    pub fn subset(&self, places: &[usize]) -> Result<Self> {
        if places.is_empty() {
            return Err(Error::user("a subset needs at least one image"));
        }
        let rows = places.iter().map(|&place| self.rows.get(place).copied().ok_or_else(|| self.beyond(place)));
        Ok(Self { rows: rows.collect::<Result<_>>()?, ..self.clone() })
    }

    /// The same images, to be scaled by other numbers than their own; see [`mean`](Self::mean) and [`std`](Self::std).
    ///
    /// # Errors
    /// Another number of channels.
    pub fn normalised_by(&self, mean: &[f32], std: &[f32]) -> Result<Self> {
        let channels = self.shape().channels;
        if mean.len() != channels || std.len() != channels {
            return Err(Error::user(format!("these images have {channels} channels, not {}", mean.len())));
        }
        let facts = Facts { mean: mean.to_vec(), std: std.to_vec(), ..(*self.facts).clone() };
        Ok(Self { facts: Arc::new(facts), ..self.clone() })
    }

    /// The error for an image that is not there.
    pub(super) fn beyond(&self, place: usize) -> Error {
        Error::user(format!("there is no image {place}"))
            .hint(format!("this set has {} images, counted from 0", self.len()))
    }

    fn slice(&self, range: Range<usize>) -> Self {
        Self { rows: self.rows[range].into(), ..self.clone() }
    }
}
