//! Where images come from, and what is settled once they are in memory: their shape, classes, order and normalisation.

use super::download::Download;
use super::encoded::reshape;
use super::options::ImageOptions;
use super::set::{Facts, ImageSet, Images, Pixels};
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
/// class without training images; a download that fails, or any in a build without the feature `hub`.
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

/// Reads what a folder holds.
fn from_folder(path: &Path, options: &ImageOptions) -> Result<Loaded> {
    let layout = Layout::of(path)?;
    match layout {
        Layout::Parquet(_) | Layout::Idx(_) => options.no_held_out("this folder")?,
        Layout::Cifar => options.no_held_out(cifar::NAME)?,
        Layout::Classes => {}
    }
    match layout {
        Layout::Parquet(names) => parquet::load(path, &names, options),
        Layout::Cifar => cifar::load(path),
        Layout::Idx(names) => idx::load(path, &names),
        Layout::Classes => folder::load(path, options),
    }
}

/// How a folder holds its images; with the names in it where they matter.
pub(super) enum Layout {
    Parquet(Vec<String>),
    Cifar,
    Idx(Vec<String>),
    Classes,
}

impl Layout {
    /// Finds out by names what a folder holds.
    pub fn of(path: &Path) -> Result<Self> {
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
            Ok(Self::Parquet(names))
        } else if any(&|name| name == cifar::TEST_FILE || cifar::TRAIN_FILES.contains(&name)) {
            Ok(Self::Cifar)
        } else if any(&idx::looks_like) {
            Ok(Self::Idx(names))
        } else if names.iter().any(|name| path.join(name).is_dir()) {
            Ok(Self::Classes)
        } else {
            let found = match names.len() {
                0 => "it is empty".to_string(),
                n => format!("it holds {}{}", names[..n.min(5)].join(", "), if n > 5 { " and more" } else { "" }),
            };
            Err(Error::user(format!("{}: no images found; {found}", path.display())).hint(
                "looked for train-*.parquet and test-*.parquet, for data_batch_1.bin to data_batch_5.bin and \
                 test_batch.bin, for train-images-idx3-ubyte and its three companions (plain or .gz), and for one \
                 folder a class",
            ))
        }
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
        let shape = options.shape(self.train.shape);
        let levels = self.levels;
        self.levels = reshape(&mut self.train, levels, shape)?;
        reshape(&mut self.test, levels, shape)?;

        self.check_labels()?;
        let (mean, std) = match (&options.like, self.normalisation.take()) {
            (Some(like), _) => {
                self.rename(&like.classes)?;
                (like.mean.clone(), like.std.clone())
            }
            (None, Some((mean, std))) if mean.len() == shape.channels => (mean, std),
            _ => moments(&self.train, self.levels),
        };
        if options.like.is_none() {
            self.check_classes()?;
        }
        let mut train_rows: Vec<u32> = (0..self.train.labels.len() as u32).collect();
        if self.train.labels.is_sorted() && !self.train.labels.is_empty() {
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

    /// Every label names a class.
    fn check_labels(&self) -> Result<()> {
        for labels in [&self.train.labels, &self.test.labels] {
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
        match (0..self.classes.len()).find(|class| !self.train.labels.contains(&(*class as u32))) {
            None => Ok(()),
            Some(class) => Err(Error::user(format!(
                "class \"{}\" has no training image but {} test images",
                self.classes[class],
                images(&self.test, class)
            ))
            .hint("every class needs training images")),
        }
    }

    /// Counts the classes as `classes` does, by their names.
    fn rename(&mut self, classes: &[String]) -> Result<()> {
        let place = |class: &String| {
            classes.iter().position(|known| known == class).map(|place| place as u32).ok_or_else(|| {
                let error = Error::user(format!(
                    "{} has a class \"{class}\", which the network does not tell apart",
                    self.name
                ));
                match closest(class, classes.iter().map(String::as_str)) {
                    Some(near) => error.hint(format!("did you mean \"{near}\"? Its classes: {}", classes.join(", "))),
                    None => error.hint(format!("its classes: {}", classes.join(", "))),
                }
            })
        };
        let places = self.classes.iter().map(place).collect::<Result<Vec<u32>>>()?;
        for label in self.train.labels.iter_mut().chain(&mut self.test.labels) {
            *label = places[*label as usize];
        }
        self.classes = classes.to_vec();
        Ok(())
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
