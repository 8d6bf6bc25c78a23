//! The handwritten digits that travel inside the binary: 1,797 images of 8×8 grey levels 0..16 (E. Alpaydin and
//! C. Kaynak, 1998, the test set of UCI's Optical Recognition of Handwritten Digits, as scikit-learn ships it;
//! `digits/digits.rst` tells its story).
//!
//! The file runs from writer to writer, so the last fifth of each class, which is held out for testing, comes mostly
//! from other hands than the rest.

use super::labels::hold_out;
use super::loaded::Loaded;
use super::options::ImageOptions;
use super::parts::Parts;
use super::set::Pixels;
use crate::shape::Shape;
use crate::{Error, Result};
use flate2::read::GzDecoder;

const CSV: &[u8] = include_bytes!("digits.csv.gz");
const SHAPE: Shape = Shape { channels: 1, height: 8, width: 8 };
const LEVELS: u8 = 16;

pub(super) fn load(options: &ImageOptions) -> Result<Loaded> {
    let (bytes, labels) = read().map_err(|error| Error::run(format!("the embedded digits are damaged: {error}")))?;
    let classes: Vec<String> = (0..10).map(|digit| digit.to_string()).collect();
    let order: Vec<usize> = (0..labels.len()).collect();
    let (train, test) = hold_out(&order, &labels, &classes, options.held_out())?;
    let part = |rows: &[usize]| Pixels {
        bytes: rows.iter().flat_map(|&row| &bytes[row * SHAPE.len()..][..SHAPE.len()]).copied().collect(),
        labels: rows.iter().map(|&row| labels[row]).collect(),
        shape: SHAPE,
        listed: Vec::new(),
    };
    let parts = Parts { train: part(&train), test: part(&test), valid: None };
    Ok(Loaded { levels: LEVELS, ..Loaded::new("digits", classes, parts) })
}

/// One line per image: 64 levels row by row, then the digit.
fn read() -> Result<(Vec<u8>, Vec<u32>), csv::Error> {
    let mut table = csv::ReaderBuilder::new().has_headers(false).from_reader(GzDecoder::new(CSV));
    let (mut bytes, mut labels) = (Vec::new(), Vec::new());
    for line in table.deserialize::<Vec<u8>>() {
        let mut line = line?;
        labels.extend(line.pop().map(u32::from));
        bytes.extend(line);
    }
    Ok((bytes, labels))
}
