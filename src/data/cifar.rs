//! CIFAR-10 (A. Krizhevsky, 2009): what is known of it, and its original form of six binary batches.
//!
//! A batch is a row of records of 3,073 bytes: the label, then the red, green and blue planes, each 32×32 row by row.
//! candle-datasets reads these too, but only whole files of 10,000 records and as floats, four times the memory.

use super::labels::check_range;
use super::loaded::Loaded;
use super::set::Pixels;
use crate::shape::Shape;
use crate::{Error, Result, interrupt};
use std::path::Path;

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

const RECORD: usize = 1 + 3 * 32 * 32;

/// Reads the six batches of `folder`.
pub(super) fn load(folder: &Path) -> Result<Loaded> {
    let names = TRAIN_FILES.iter().chain([&TEST_FILE]);
    let missing: Vec<&str> = names.copied().filter(|name| !folder.join(name).is_file()).collect();
    if !missing.is_empty() {
        return Err(Error::user(format!("{}: {} missing", folder.display(), missing.join(", ")))
            .hint(format!("CIFAR-10's binary form is {}, {TEST_FILE}", TRAIN_FILES.join(", "))));
    }
    let train = read(folder, &TRAIN_FILES)?;
    let test = read(folder, &[TEST_FILE])?;
    let classes = CLASSES.map(String::from).to_vec();
    Ok(Loaded { normalisation: Some((MEAN.to_vec(), STD.to_vec())), ..Loaded::new(NAME, classes, train, test) })
}

fn read(folder: &Path, names: &[&str]) -> Result<Pixels> {
    let mut pixels = Pixels { bytes: Vec::new(), labels: Vec::new(), shape: SHAPE };
    for name in names {
        interrupt::check()?;
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(|error| Error::file(&path, &error))?;
        if bytes.is_empty() || bytes.len() % RECORD != 0 {
            return Err(Error::user(format!(
                "{}: {} bytes are not a whole number of images",
                path.display(),
                bytes.len()
            ))
            .hint(format!("each image takes {RECORD} bytes; the file is cut short or is something else")));
        }
        let labels: Vec<i64> = bytes.chunks_exact(RECORD).map(|record| i64::from(record[0])).collect();
        pixels.labels.extend(check_range(&path, &labels, CLASSES.len())?);
        pixels.bytes.extend(bytes.chunks_exact(RECORD).flat_map(|record| &record[1..]));
    }
    Ok(pixels)
}
