//! Where images come from: a name or a folder, and which reader knows what lies there.

use super::download::Download;
use super::loaded::Loaded;
use super::options::ImageOptions;
use super::set::Images;
use super::{cifar, digits, folder, idx, parquet, pickle};
use crate::error::closest;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The data sets known by name.
pub const NAMES: [&str; 4] = ["digits", "cifar10", "fashion-mnist", "mnist"];

/// Where images are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The digits inside the binary.
    Digits,
    /// A data set to be fetched once and kept in the Hugging Face cache.
    Download(Download),
    /// A folder; the caller has checked that it may be read.
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
/// batches or CIFAR-100's two, IDX files (plain or gzipped), or images in one folder per class, with or without
/// `train/` and `test/`.
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
    let (path, layout) = Layout::find(path)?;
    match layout {
        Layout::Idx(_) | Layout::Hundred => options.no_held_out("this folder")?,
        Layout::Cifar => options.no_held_out(cifar::NAME)?,
        Layout::Parquet(_) | Layout::Classes => {}
    }
    match layout {
        Layout::Parquet(names) => parquet::load(&path, &names, options),
        Layout::Cifar => cifar::load(&path),
        Layout::Hundred => cifar::load_hundred(&path, options),
        Layout::Idx(names) => idx::load(&path, &names, options),
        Layout::Classes => folder::load(&path, options),
    }
}

/// How a folder holds its images; with the names in it where they matter.
pub(super) enum Layout {
    Parquet(Vec<String>),
    Cifar,
    Hundred,
    Idx(Vec<String>),
    Classes,
}

impl Layout {
    /// Finds out what a folder holds, or the only folder in it: data sets are often unpacked into one of their own.
    /// Gives the folder with the files.
    ///
    /// # Errors
    /// As [`Layout::of`].
    pub fn find(path: &Path) -> Result<(PathBuf, Self)> {
        let layout = Self::of(path)?;
        if matches!(layout, Self::Classes)
            && let names = folder::entries(path)?
            && let [inner] = &names.iter().map(|name| path.join(name)).filter(|p| p.is_dir()).collect::<Vec<_>>()[..]
        {
            match Self::of(inner) {
                Ok(found @ (Self::Parquet(_) | Self::Cifar | Self::Hundred | Self::Idx(_))) => {
                    return Ok((inner.clone(), found));
                }
                Err(_) if let Some(refusal) = pickle::refusal(inner, &folder::entries(inner)?) => return Err(refusal),
                _ => {}
            }
        }
        Ok((path.to_path_buf(), layout))
    }

    /// Finds out by names what a folder holds.
    ///
    /// # Errors
    /// A folder that is not there or cannot be read, and one that holds no images in a known form; the hint lists what
    /// was looked for.
    fn of(path: &Path) -> Result<Self> {
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
        if any(&parquet::is_table) {
            Ok(Self::Parquet(names))
        } else if let Some(tables) = parquet::in_parts(path, &names)? {
            Ok(Self::Parquet(tables))
        } else if any(&|name| name == cifar::TEST_FILE || cifar::TRAIN_FILES.contains(&name)) {
            Ok(Self::Cifar)
        } else if cifar::HUNDRED.iter().all(|file| any(&|name| name == *file)) {
            Ok(Self::Hundred)
        } else if any(&idx::looks_like) {
            Ok(Self::Idx(names))
        } else if let Some(refusal) = pickle::refusal(path, &names) {
            Err(refusal)
        } else if has_folders(path) {
            Ok(Self::Classes)
        } else {
            let found = match names.len() {
                0 => "it is empty".to_string(),
                n => format!("it holds {}{}", names[..n.min(5)].join(", "), if n > 5 { " and more" } else { "" }),
            };
            let error = Error::user(format!("{}: no images found; {found}", path.display()));
            if let Some(advice) = names.iter().find_map(|name| other_form(name)) {
                return Err(error.hint(advice));
            }
            Err(error.hint(
                "looked for train-*.parquet and test-*.parquet, for data_batch_1.bin to data_batch_5.bin and \
                 test_batch.bin, for CIFAR-100's train.bin and test.bin, for train-images-idx3-ubyte and its three \
                 companions (plain or .gz), and for one folder per class",
            ))
        }
    }
}

/// What to do about a file that holds images in a form that is not read.
fn other_form(name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    let archive = [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar"];
    let table = [".npz", ".npy", ".mat", ".arrow", ".tfrecord", ".tfrecords", ".h5", ".hdf5", ".pkl", ".pt", ".lmdb"];
    if ends(&archive) {
        return Some(format!("{name} is an archive: unpack it, and give the folder that it makes"));
    }
    (ends(&table) || lower.contains(".tfrecord-")).then(|| {
        format!(
            "{name} is of a form that is not read: write its images as files into one folder per class, or as parquet \
             with the columns image and label"
        )
    })
}

/// Whether there is a folder in a folder; its name may be no text.
fn has_folders(path: &Path) -> bool {
    std::fs::read_dir(path).into_iter().flatten().flatten().any(|entry| entry.path().is_dir())
}
