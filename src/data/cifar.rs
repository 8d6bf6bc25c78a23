//! CIFAR-10 and CIFAR-100 (A. Krizhevsky, 2009): what is known of them, and their original binary forms.
//!
//! A file is a row of records: the label (in CIFAR-100 the coarse one, then the fine one), then the red, green and blue
//! planes, each 32×32 row by row.
//! candle-datasets reads these too, but only whole files of 10,000 records and as floats, four times the memory.

use super::labels::check_range;
use super::list::of_tables;
use super::loaded::Loaded;
use super::options::ImageOptions;
use super::parts::Parts;
use super::set::Pixels;
use crate::shape::Shape;
use crate::{Error, Result, interrupt};
use std::path::{Path, PathBuf};

pub(super) const NAME: &str = "CIFAR-10";
pub(super) const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
pub(super) const SHAPE: Shape = Shape { channels: 3, height: 32, width: 32 };
/// The column of images in its parquet form.
pub(super) const IMAGE_COLUMN: &str = "img";
/// Normalisation as the DARTS authors' code has it (red, green, blue).
pub(super) const MEAN: [f32; 3] = [0.491_399_68, 0.482_158_27, 0.446_531_24];
pub(super) const STD: [f32; 3] = [0.247_032_33, 0.243_485_05, 0.261_587_68];

pub(super) const TRAIN_FILES: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
pub(super) const TEST_FILE: &str = "test_batch.bin";

const PIXELS: usize = 3 * 32 * 32;

/// CIFAR-100's two files.
pub(super) const HUNDRED: [&str; 2] = ["train.bin", "test.bin"];

/// Reads the six batches of `folder`.
pub(super) fn load(folder: &Path) -> Result<Loaded> {
    let names = TRAIN_FILES.iter().chain([&TEST_FILE]);
    let missing: Vec<&str> = names.copied().filter(|name| !folder.join(name).is_file()).collect();
    if !missing.is_empty() {
        return Err(Error::user(format!("{}: {} missing", folder.display(), missing.join(", ")))
            .hint(format!("CIFAR-10's binary form is {}, {TEST_FILE}", TRAIN_FILES.join(", "))));
    }
    let form = Form { labels: 1, label: 0, classes: CLASSES.len() };
    let train = read(folder, &TRAIN_FILES, form)?;
    let test = read(folder, &[TEST_FILE], form)?;
    let mut notes = Vec::new();
    let named = names_beside(folder, "batches.meta.txt", CLASSES.len(), &mut notes);
    if named.as_ref().is_some_and(|names| *names != CLASSES) {
        notes.push("classes are named by batches.meta.txt, which does not have CIFAR-10's names".into());
    }
    let classes = named.unwrap_or_else(|| CLASSES.map(String::from).to_vec());
    let normalisation = Some((MEAN.to_vec(), STD.to_vec()));
    let files: Vec<PathBuf> = TRAIN_FILES.iter().chain([&TEST_FILE]).map(|name| folder.join(name)).collect();
    let list = of_tables(files.iter().enumerate().map(|(k, file)| (if k < 5 { "train" } else { "test" }, &**file)));
    Ok(Loaded { normalisation, list, notes, ..Loaded::new(NAME, classes, Parts { train, test, valid: None }) })
}

/// Reads CIFAR-100's two files of `folder`, with its hundred fine labels or its twenty coarse ones.
pub(super) fn load_hundred(folder: &Path, options: &ImageOptions) -> Result<Loaded> {
    let (which, form) = match options.labels.as_deref() {
        None | Some("fine") => ("fine", Form { labels: 2, label: 1, classes: 100 }),
        Some("coarse") => ("coarse", Form { labels: 2, label: 0, classes: 20 }),
        Some(other) => return Err(Error::unknown("kind of label in CIFAR-100", other, ["fine", "coarse"])),
    };
    let [train, test] = HUNDRED.map(|name| read(folder, &[name], form));
    let mut notes = vec![format!("the {which} labels are read; labels: \"fine\" or \"coarse\" chooses")];
    let named = names_beside(folder, &format!("{which}_label_names.txt"), form.classes, &mut notes);
    let classes = named.unwrap_or_else(|| (0..form.classes).map(|class| class.to_string()).collect());
    let files = HUNDRED.map(|name| folder.join(name));
    let list = of_tables([("train", &*files[0]), ("test", &*files[1])]);
    let parts = Parts { train: train?, test: test?, valid: None };
    Ok(Loaded { list, notes, ..Loaded::new("CIFAR-100", classes, parts) })
}

/// The names of classes in a file that lies beside the data, one a line; none where there is no such file, or where it
/// has not the names of as many classes, which is told.
fn names_beside(folder: &Path, file: &str, classes: usize, notes: &mut Vec<String>) -> Option<Vec<String>> {
    let text = std::fs::read(folder.join(file)).ok()?;
    let text = String::from_utf8_lossy(&text);
    let names: Vec<String> = text.lines().map(|line| line.trim().to_string()).filter(|line| !line.is_empty()).collect();
    let mut distinct: Vec<&String> = names.iter().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() == classes && names.len() == classes {
        return Some(names);
    }
    let found = match names.len() == classes {
        true => format!("{} different ones", distinct.len()),
        false => names.len().to_string(),
    };
    notes.push(format!("{file} is not used: it should name {classes} classes, and names {found}"));
    None
}

/// How a record is built.
#[derive(Clone, Copy)]
struct Form {
    /// Bytes of labels, and which of them is wanted.
    labels: usize,
    label: usize,
    classes: usize,
}

fn read(folder: &Path, names: &[&str], form: Form) -> Result<Pixels> {
    let size = form.labels + PIXELS;
    let mut pixels = Pixels { bytes: Vec::new(), labels: Vec::new(), shape: SHAPE, listed: Vec::new() };
    for name in names {
        interrupt::check()?;
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(|error| Error::file(&path, &error))?;
        if bytes.is_empty() || bytes.len() % size != 0 {
            return Err(Error::user(format!(
                "{}: {} bytes are not a whole number of images",
                path.display(),
                bytes.len()
            ))
            .hint(format!("each image takes {size} bytes; the file is cut short or is something else")));
        }
        let labels: Vec<i64> = bytes.chunks_exact(size).map(|record| i64::from(record[form.label])).collect();
        pixels.labels.extend(check_range(&path, &labels, form.classes)?);
        pixels.bytes.extend(bytes.chunks_exact(size).flat_map(|record| &record[form.labels..]));
    }
    Ok(pixels)
}
