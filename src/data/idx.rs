//! IDX, the form of MNIST and of its many successors: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same
//! for `t10k`, plain or gzipped.
//!
//! A file is a magic number, as many big-endian 32-bit sizes as it has dimensions, then one byte per value.
//! candle-datasets reads the plain form alone, and trusts the sizes that a damaged header promises.

use super::folder::display_name;
use super::labels::{check_range, infer_classes};
use super::loaded::Loaded;
use super::set::Pixels;
use crate::shape::Shape;
use crate::{Error, Result, interrupt};
use flate2::read::MultiGzDecoder;
use std::io::Read;
use std::path::{Path, PathBuf};

const IMAGES: u32 = 0x0000_0803;
const LABELS: u32 = 0x0000_0801;
const DAMAGED: &str = "the file is damaged or is something else: fetch or copy it again";
const GZIP: [u8; 2] = [0x1f, 0x8b];

pub(super) const FASHION: &str = "Fashion-MNIST";
pub(super) const FASHION_CLASSES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// Whether a file's name is one of this form's.
pub(super) fn looks_like(name: &str) -> bool {
    name.contains("idx") && name.contains("ubyte")
}

/// Reads the four files of `folder`, whose entries are `names`.
///
/// The form has no class names. Classes are named by their number, or as Fashion-MNIST's where the folder's name says
/// "fashion" and there are ten.
pub(super) fn load(folder: &Path, names: &[String]) -> Result<Loaded> {
    let find = |set: &[&str], kind: &str| {
        let fits = |name: &&String| looks_like(name) && name.contains(kind) && set.iter().any(|s| name.starts_with(s));
        names.iter().find(fits).map(|name| folder.join(name)).ok_or_else(|| {
            Error::user(format!("{}: no {}-{kind} file", folder.display(), set[0])).hint(
                "the four files are train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and \
                 t10k-labels-idx1-ubyte, each plain or with .gz",
            )
        })
    };
    let read = |set: &[&str]| -> Result<_> {
        let (images, labels) = (find(set, "images")?, find(set, "labels")?);
        Ok((read_images(&images)?, read_labels(&labels)?, images, labels))
    };
    let (train_images, train_labels, train_file, labels_file) = read(&["train"])?;
    let (test_images, test_labels, test_file, test_labels_file) = read(&["t10k", "test"])?;

    let count = infer_classes(&[(&labels_file, &train_labels)])?;
    let fashion = display_name(folder).to_lowercase().contains("fashion") && count == FASHION_CLASSES.len();
    let (name, classes) = match fashion {
        true => (FASHION.to_string(), FASHION_CLASSES.map(String::from).to_vec()),
        false => (display_name(folder), (0..count).map(|class| class.to_string()).collect()),
    };
    let train = pair(train_images, check_range(&labels_file, &train_labels, count)?, &train_file)?;
    let test = pair(test_images, check_range(&test_labels_file, &test_labels, count)?, &test_file)?;
    if train.shape != test.shape {
        return Err(Error::user(format!(
            "{}: test images are {}×{}, training images {}×{}",
            test_file.display(),
            test.shape.height,
            test.shape.width,
            train.shape.height,
            train.shape.width
        ))
        .hint("training and test images are of one size"));
    }
    Ok(Loaded::new(name, classes, train, test))
}

fn pair((bytes, shape): (Vec<u8>, Shape), labels: Vec<u32>, file: &Path) -> Result<Pixels> {
    let images = bytes.len() / shape.len();
    if images != labels.len() {
        return Err(Error::user(format!("{}: {images} images, but {} labels beside it", file.display(), labels.len()))
            .hint("the two files belong to different sets, or one is cut short"));
    }
    Ok(Pixels { bytes, labels, shape })
}

fn read_images(path: &PathBuf) -> Result<(Vec<u8>, Shape)> {
    let (sizes, bytes) = read::<3>(path, IMAGES, "images")?;
    Ok((bytes, Shape { channels: 1, height: sizes[1], width: sizes[2] }))
}

fn read_labels(path: &PathBuf) -> Result<Vec<i64>> {
    let ([_], bytes) = read::<1>(path, LABELS, "labels")?;
    Ok(bytes.into_iter().map(i64::from).collect())
}

/// The sizes in the header and the values after it.
fn read<const DIMENSIONS: usize>(path: &PathBuf, magic: u32, what: &str) -> Result<([usize; DIMENSIONS], Vec<u8>)> {
    interrupt::check()?;
    let mut bytes = std::fs::read(path).map_err(|error| Error::file(path, &error))?;
    if bytes.starts_with(&GZIP) {
        let mut plain = Vec::new();
        MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).map_err(|error| {
            Error::user(format!("{}: the gzip data are damaged: {error}", path.display())).hint(DAMAGED)
        })?;
        bytes = plain;
    }
    let wrong = |problem: String| Error::user(format!("{}: {problem}", path.display())).hint(DAMAGED);
    let word = |index: usize| bytes.get(4 * index..4 * index + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    let header = 4 * (1 + DIMENSIONS);
    match word(0) {
        Some(found) if found == magic => {}
        Some(found) => {
            return Err(wrong(format!("not an IDX file of {what}"))
                .hint(format!("it starts with {found:#010x}, which should be {magic:#010x}")));
        }
        None => return Err(wrong(format!("cut short: {} bytes, no whole header", bytes.len()))),
    }
    let mut sizes = [0; DIMENSIONS];
    for (index, size) in sizes.iter_mut().enumerate() {
        *size = word(index + 1).ok_or_else(|| wrong("cut short within its header".into()))? as usize;
    }
    let promised = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let shape = sizes.map(|size| size.to_string()).join("×");
    if promised == Some(0) {
        return Err(wrong(format!("its header promises {shape} values: nothing at all")));
    }
    let held = bytes.len() - header;
    if promised != Some(held) {
        let state = if promised.is_some_and(|p| p < held) { "too long" } else { "cut short" };
        return Err(wrong(format!("{state}: {held} bytes after a header that promises {shape}")));
    }
    bytes.drain(..header);
    Ok((sizes, bytes))
}
