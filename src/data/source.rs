//! Where images come from, and what is settled once they are in memory: their shape, classes, order and normalisation.

use super::encoded::reshape;
use super::hub::Download;
use super::options::ImageOptions;
use super::set::{Facts, ImageSet, ImageShape, Images, Pixels};
use super::{cifar, digits, folder, idx, parquet};
use crate::error::closest;
use crate::random::Seed;
use crate::{Error, Result};
use rand::seq::SliceRandom;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The data sets known by name.
pub const NAMES: [&str; 4] = ["digits", "cifar10", "fashion-mnist", "mnist"];

/// Where images are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The digits inside the binary.
    Digits,
    /// A data set to be fetched once and kept in the Hugging Face cache.
    Download(Download),
    /// A folder; whoever opens it has checked that it may be read.
    Folder(PathBuf),
}

impl Source {
    /// One of [`NAMES`], or else a folder (`./digits` is always one).
    pub fn parse(text: &str) -> Self {
        match text {
            "digits" => Self::Digits,
            "cifar10" => Self::Download(Download::Cifar10),
            "fashion-mnist" => Self::Download(Download::FashionMnist),
            "mnist" => Self::Download(Download::Mnist),
            folder => Self::Folder(folder.into()),
        }
    }
}

/// Reads a data set into memory.
///
/// A folder may hold CIFAR-10 or the like as parquet (`train-*.parquet`, `test-*.parquet`), CIFAR-10's six binary
/// batches, IDX files (plain or gzipped), or images in one folder a class, with or without `train/` and `test/`.
///
/// # Errors
/// A folder that is not there or holds none of these; a damaged file (named, with the record); labels out of range or a
/// class without training images; a download that fails.
pub fn images(source: &Source, options: &ImageOptions) -> Result<Images> {
    options.check()?;
    let loaded = match source {
        Source::Digits => digits::load(options)?,
        Source::Download(download) => {
            options.no_held_out(download.name())?;
            download.load(options)?
        }
        Source::Folder(path) => from_folder(path, options)?,
    };
    loaded.settle(options)
}

/// Finds out by names what a folder holds.
fn from_folder(path: &Path, options: &ImageOptions) -> Result<Loaded> {
    if !path.exists() {
        let name = path.to_string_lossy();
        let error = Error::user(format!("there is no folder {}", path.display()));
        return Err(match closest(&name, NAMES) {
            Some(near) => error.hint(format!("did you mean \"{near}\"?")),
            None => error.hint(format!("give a folder of images, or one of {}", NAMES.join(", "))),
        });
    }
    if !path.is_dir() {
        return Err(
            Error::user(format!("{} is not a folder", path.display())).hint("give the folder that holds the files")
        );
    }
    let names = folder::entries(path)?;
    let any = |test: &dyn Fn(&str) -> bool| names.iter().any(|name| test(name));
    if any(&|name| name.ends_with(".parquet")) {
        options.no_held_out("this folder")?;
        parquet::load(path, &names, options)
    } else if any(&|name| name == cifar::TEST_FILE || cifar::TRAIN_FILES.contains(&name)) {
        options.no_held_out(cifar::NAME)?;
        cifar::load(path)
    } else if any(&idx::looks_like) {
        options.no_held_out("this folder")?;
        idx::load(path, &names)
    } else if names.iter().any(|name| path.join(name).is_dir()) {
        folder::load(path, options)
    } else {
        let found = match names.len() {
            0 => "it is empty".to_string(),
            n => format!("it holds {}{}", names[..n.min(5)].join(", "), if n > 5 { " and more" } else { "" }),
        };
        Err(Error::user(format!("{}: no images found; {found}", path.display())).hint(
            "looked for train-*.parquet and test-*.parquet, for data_batch_1.bin to data_batch_5.bin and test_batch.bin, \
             for train-images-idx3-ubyte and its three companions (plain or .gz), and for one folder a class",
        ))
    }
}

/// What a reader brings back.
pub(super) struct Loaded {
    pub name: String,
    pub classes: Vec<String>,
    pub levels: u8,
    pub train: Pixels,
    pub test: Pixels,
    /// Mean and standard deviation where a paper has fixed them; otherwise they are taken from the training images.
    pub normalisation: Option<(Vec<f32>, Vec<f32>)>,
    pub notes: Vec<String>,
}

impl Loaded {
    pub fn new(name: impl Into<String>, classes: Vec<String>, train: Pixels, test: Pixels) -> Self {
        Self { name: name.into(), classes, levels: 255, train, test, normalisation: None, notes: Vec::new() }
    }

    fn settle(mut self, options: &ImageOptions) -> Result<Images> {
        let stored = self.train.shape;
        let (height, width) = options.size.unwrap_or((stored.height, stored.width));
        let shape = ImageShape { channels: options.channels.unwrap_or(stored.channels), height, width };
        let levels = self.levels;
        self.levels = reshape(&mut self.train, levels, shape)?;
        reshape(&mut self.test, levels, shape)?;

        self.check_classes()?;
        let (mean, std) = match self.normalisation.take() {
            Some((mean, std)) if mean.len() == shape.channels => (mean, std),
            _ => moments(&self.train, self.levels),
        };
        let mut train_rows: Vec<u32> = (0..self.train.labels.len() as u32).collect();
        if self.train.labels.is_sorted() {
            // Parts are cut by order (`split`, `take`); in an order by class they would lack classes.
            train_rows.shuffle(&mut Seed(options.seed).rng("order of images", 0));
            self.notes.push("the training images came class by class and were shuffled once".into());
        }
        let test_rows = (0..self.test.labels.len() as u32).collect();
        let mirrors = !self.classes.iter().all(|class| class.chars().count() == 1);
        let facts = Arc::new(Facts { name: self.name, classes: self.classes, levels: self.levels, mean, std, mirrors });
        Ok(Images {
            train: ImageSet::new(self.train, facts.clone(), train_rows),
            test: ImageSet::new(self.test, facts, test_rows),
            notes: self.notes,
        })
    }

    /// Every label names a class, and every class has something to be learnt from.
    fn check_classes(&self) -> Result<()> {
        let count = |pixels: &Pixels| -> Result<Vec<usize>> {
            let mut counts = vec![0; self.classes.len()];
            for (record, &label) in pixels.labels.iter().enumerate() {
                *counts.get_mut(label as usize).ok_or_else(|| {
                    Error::user(format!("{}: image {record} has label {label}", self.name))
                        .hint(format!("there are {} classes, so labels run from 0", self.classes.len()))
                })? += 1;
            }
            Ok(counts)
        };
        let (train, test) = (count(&self.train)?, count(&self.test)?);
        match train.iter().position(|&images| images == 0) {
            None => Ok(()),
            Some(class) => Err(Error::user(format!(
                "class \"{}\" has no training image but {} test images",
                self.classes[class], test[class]
            ))
            .hint("every class needs training images")),
        }
    }
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
