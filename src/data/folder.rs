//! Image files in one folder per class: `cat/1.png`, `dog/1.jpg` …, under `train/` and `test/` where they are divided
//! already.

use super::encoded::{Encoded, Files, decode};
use super::labels::hold_out;
use super::loaded::Loaded;
use super::options::ImageOptions;
use crate::random::Seed;
use crate::{Error, Result, interrupt};
use rand::seq::SliceRandom;
use std::path::{Path, PathBuf};

const ENDINGS: [&str; 13] =
    ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "pnm", "pbm", "pgm", "ppm", "pam"];
const TEST_NAMES: [&str; 4] = ["test", "val", "valid", "validation"];

/// The names in a folder in ascending order, hidden ones left out.
pub(super) fn entries(folder: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::file(folder, &error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The folder's own name, for titles.
pub(super) fn display_name(folder: &Path) -> String {
    folder.file_name().map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Reads one folder per class. Without a test folder, a share of each class (`ImageOptions::test`) is held out, chosen
/// by `ImageOptions::seed`.
pub(super) fn load(folder: &Path, options: &ImageOptions) -> Result<Loaded> {
    let (classes, train, test) = files(folder, options)?;
    let decoded = decode(train, test, options)?;
    Ok(Loaded { notes: decoded.notes, ..Loaded::new(display_name(folder), classes, decoded.train, decoded.test) })
}

/// The classes, and the files of training and test images.
pub(super) fn files(folder: &Path, options: &ImageOptions) -> Result<(Vec<String>, Files, Files)> {
    // A trained network may be judged by the images of one class.
    let least = if options.like.is_some() { 1 } else { 2 };
    let names = subfolders(folder, least)?;
    let named = |wanted: &str| names.iter().find(|name| name.eq_ignore_ascii_case(wanted));
    Ok(match named("train") {
        Some(train) => {
            let train = folder.join(train);
            let classes = subfolders(&train, least)?;
            let files = list(&train, &classes, &classes)?;
            match TEST_NAMES.iter().find_map(|name| named(name)) {
                Some(test) => {
                    options.no_held_out("this folder")?;
                    let test = folder.join(test);
                    let held = list(&test, &subfolders(&test, 1)?, &classes)?;
                    (classes, files, held)
                }
                None => divide(files, classes, options)?,
            }
        }
        None => divide(list(folder, &names, &names)?, names, options)?,
    })
}

/// Holds out a share of each class.
fn divide((files, labels): Files, classes: Vec<String>, options: &ImageOptions) -> Result<(Vec<String>, Files, Files)> {
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.shuffle(&mut Seed(options.seed).rng("held-out images", 0));
    let (train, test) = hold_out(&order, &labels, &classes, options.held_out())?;
    let part = |rows: &[usize]| rows.iter().map(|&row| (files[row].clone(), labels[row])).unzip();
    let parts = (part(&train), part(&test));
    Ok((classes, parts.0, parts.1))
}

/// The class folders, at least so many, in ascending order: by number where all names are numbers.
fn subfolders(folder: &Path, least: usize) -> Result<Vec<String>> {
    let mut names = entries(folder)?;
    names.retain(|name| folder.join(name).is_dir());
    if names.len() < least && !names.iter().any(|name| name.eq_ignore_ascii_case("train")) {
        return Err(Error::user(format!("{}: {} class folder(s)", folder.display(), names.len()))
            .hint("put the images into one folder per class, at least two of them"));
    }
    if names.iter().all(|name| name.parse::<u64>().is_ok()) {
        names.sort_by_key(|name| name.parse::<u64>().ok());
    }
    Ok(names)
}

/// All image files of the class folders `present` with their labels, indices in `classes`.
fn list(folder: &Path, present: &[String], classes: &[String]) -> Result<Files> {
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    for name in present {
        interrupt::check()?;
        let path = folder.join(name);
        let label = classes.iter().position(|class| class == name).ok_or_else(|| {
            Error::user(format!("{}: there is no training folder of this class", path.display()))
                .hint(format!("classes in training: {}", classes.join(", ")))
        })?;
        let members: Vec<PathBuf> = entries(&path)?.iter().filter(|n| is_image(n)).map(|n| path.join(n)).collect();
        if members.is_empty() {
            return Err(Error::user(format!("{}: this class folder holds no images", path.display()))
                .hint(format!("image files end in {}", ENDINGS.join(", "))));
        }
        labels.resize(labels.len() + members.len(), label as u32);
        files.extend(members.into_iter().map(Encoded::File));
    }
    Ok((files, labels))
}

pub(super) fn is_image(name: &str) -> bool {
    let ending = Path::new(name).extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}
