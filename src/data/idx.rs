//! IDX, the form of MNIST and of its many successors: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same
//! for `t10k`, plain or gzipped.
//!
//! A file is a magic number that names the values' type, as many big-endian 32-bit sizes as it has dimensions, then the
//! values: bytes, seldom other integers or floats.
//! candle-datasets reads the plain form alone, and trusts the sizes that a damaged header promises.

use super::folder::display_name;
use super::labels::{check_range, infer_classes};
use super::list::of_tables;
use super::loaded::Loaded;
use super::options::ImageOptions;
use super::parts::Parts;
use super::set::Pixels;
use crate::shape::Shape;
use crate::{Error, Result, interrupt};
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

const DAMAGED: &str = "the file is damaged or is something else: fetch or copy it again";
const GZIP: [u8; 2] = [0x1f, 0x8b];

pub(super) const FASHION: &str = "Fashion-MNIST";
pub(super) const FASHION_CLASSES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// Whether a file's name is one of this form's.
pub(super) fn looks_like(name: &str) -> bool {
    name.contains("idx") && ["byte", "short", "int", "float", "double"].iter().any(|kind| name.contains(kind))
}

/// What stands before "train" or "test" in the names of EMNIST's files, or in that of their folder; their images are
/// stored turned over their diagonal.
const EMNIST: &str = "emnist";
const FOUR: &str = "the four files are train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and \
                    t10k-labels-idx1-ubyte, each plain or with .gz; EMNIST's begin with emnist-letters- or the like";

/// The four files of a set.
#[derive(Default)]
struct Four {
    train: [Option<PathBuf>; 2],
    test: [Option<PathBuf>; 2],
}

/// The sets in a folder, by what their files' names begin with ("" or "emnist-letters-").
fn sets(folder: &Path, names: &[String]) -> BTreeMap<String, Four> {
    let mut sets: BTreeMap<String, Four> = BTreeMap::new();
    for name in names.iter().filter(|name| looks_like(name)) {
        let place = |set: &str| {
            let begins = |(at, _): &(usize, &str)| *at == 0 || !name.as_bytes()[at - 1].is_ascii_alphanumeric();
            name.match_indices(set).find(begins).map(|(at, _)| at)
        };
        let (prefix, is_train) = match (place("train"), place("t10k").or(place("test"))) {
            (Some(at), _) => (&name[..at], true),
            (None, Some(at)) => (&name[..at], false),
            (None, None) => continue,
        };
        let four = sets.entry(prefix.to_string()).or_default();
        let part = if is_train { &mut four.train } else { &mut four.test };
        let kind = usize::from(name.contains("labels"));
        // Some archives unpack each file into a folder of its own name.
        let path = folder.join(name);
        let inner = path.join(name);
        if path.is_file() || inner.is_file() {
            part[kind].get_or_insert(if path.is_file() { path } else { inner });
        }
    }
    sets
}

/// Reads the four files of `folder`, whose entries are `names`.
///
/// The form has no class names. Classes are named by their number, or as those of Fashion-MNIST where the folder's name
/// says "fashion" and there are ten, or as those of EMNIST where the files' names say which of its sets they are.
pub(super) fn load(folder: &Path, names: &[String], options: &ImageOptions) -> Result<Loaded> {
    let mut sets = sets(folder, names);
    let prefixes: Vec<String> = sets.keys().cloned().collect();
    let (prefix, four) = match sets.pop_first() {
        Some(set) if sets.is_empty() => set,
        Some(_) => {
            let found = prefixes.join(", ");
            return Err(Error::user(format!("{}: several sets in one folder: {found}", folder.display()))
                .hint("put the four files of one set into a folder of their own"));
        }
        None => (String::new(), Four::default()),
    };
    let missing =
        |set: &str, kind: &str| Error::user(format!("{}: no {prefix}{set}-{kind} file", folder.display())).hint(FOUR);
    let read = |[images, labels]: [Option<PathBuf>; 2], set: &str| -> Result<_> {
        let images = images.ok_or_else(|| missing(set, "images"))?;
        let labels = labels.ok_or_else(|| missing(set, "labels"))?;
        Ok((read_images(&images)?, read_labels(&labels)?, images, labels))
    };
    let (train_images, train_labels, train_file, labels_file) = read(four.train, "train")?;
    let (test_images, test_labels, test_file, test_labels_file) = read(four.test, "t10k")?;

    // Some sets count from one.
    let first = i64::from(!train_labels.is_empty() && !train_labels.contains(&0) && train_labels.contains(&1));
    let shifted: Vec<i64> = train_labels.iter().map(|label| label - first).collect();
    let test_shifted: Vec<i64> = test_labels.iter().map(|label| label - first).collect();
    let count = infer_classes(&[(&labels_file, &shifted)])?;
    let is_emnist = [&prefix, &display_name(folder)].iter().any(|name| name.to_lowercase().contains(EMNIST));
    let fashion = display_name(folder).to_lowercase().contains("fashion") && count == FASHION_CLASSES.len();
    let (name, classes) = match (fashion, emnist_classes(count).filter(|_| is_emnist)) {
        (true, _) => (FASHION.to_string(), FASHION_CLASSES.map(String::from).to_vec()),
        (_, Some(classes)) if prefix.is_empty() => (display_name(folder), classes),
        (_, Some(classes)) => (prefix.trim_end_matches('-').to_string(), classes),
        _ => (display_name(folder), (0..count).map(|class| (class as i64 + first).to_string()).collect()),
    };
    let mut train = pair(train_images, check_range(&labels_file, &shifted, count)?, &train_file)?;
    let mut test = pair(test_images, check_range(&test_labels_file, &test_shifted, count)?, &test_file)?;
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
    let mut notes = Vec::new();
    if options.transpose.unwrap_or(is_emnist) {
        transpose(&mut train);
        transpose(&mut test);
        if options.transpose.is_none() {
            notes.push(
                "EMNIST stores its images turned over their diagonal: they are turned back; transpose: false \
                        leaves them"
                    .into(),
            );
        }
    }
    let list = of_tables([
        ("train", &*train_file),
        ("train", &*labels_file),
        ("test", &*test_file),
        ("test", &*test_labels_file),
    ]);
    Ok(Loaded { notes, list, ..Loaded::new(name, classes, Parts { train, test, valid: None }) })
}

/// The classes of EMNIST's sets (G. Cohen et al., 2017): ten digits, 26 letters, 47 of both without the small letters
/// that look like large ones, 62 of both.
fn emnist_classes(count: usize) -> Option<Vec<String>> {
    let digits = || ('0'..='9').chain('A'..='Z');
    let classes: Vec<char> = match count {
        10 => ('0'..='9').collect(),
        26 => ('A'..='Z').collect(),
        47 => digits().chain("abdefghnqrt".chars()).collect(),
        62 => digits().chain('a'..='z').collect(),
        _ => return None,
    };
    Some(classes.into_iter().map(String::from).collect())
}

/// Turns images over their diagonal.
fn transpose(pixels: &mut Pixels) {
    let Shape { height, width, .. } = pixels.shape;
    let mut turned = vec![0; pixels.shape.len()];
    for image in pixels.bytes.chunks_exact_mut(pixels.shape.len()) {
        for (place, value) in turned.iter_mut().enumerate() {
            *value = image[place % height * width + place / height];
        }
        image.copy_from_slice(&turned);
    }
    (pixels.shape.height, pixels.shape.width) = (width, height);
}

fn pair((bytes, shape): (Vec<u8>, Shape), labels: Vec<u32>, file: &Path) -> Result<Pixels> {
    let images = bytes.len() / shape.len();
    if images != labels.len() {
        return Err(Error::user(format!("{}: {images} images, but {} labels beside it", file.display(), labels.len()))
            .hint("the two files belong to different sets, or one is cut short"));
    }
    Ok(Pixels { bytes, labels, shape, listed: Vec::new() })
}

fn read_images(path: &Path) -> Result<(Vec<u8>, Shape)> {
    let (sizes, values) = read::<3>(path, "images")?;
    let shape = Shape { channels: 1, height: sizes[1], width: sizes[2] };
    let values = match values {
        Values::Bytes(bytes) => return Ok((bytes, shape)),
        Values::Numbers(values) => values,
    };
    // Floats are brightness from 0 to 1, or bytes by another name.
    let largest = values.iter().copied().fold(0.0, f64::max);
    let gain = if largest <= 1.0 { 255.0 } else { 1.0 };
    match values.iter().find(|value| !(0.0..=255.0).contains(*value)) {
        Some(value) => Err(Error::user(format!("{}: a pixel is {value}", path.display()))
            .hint("pixels run from 0 to 1 or from 0 to 255")),
        None => Ok((values.iter().map(|value| (value * gain).round() as u8).collect(), shape)),
    }
}

fn read_labels(path: &Path) -> Result<Vec<i64>> {
    Ok(match read::<1>(path, "labels")?.1 {
        Values::Bytes(bytes) => bytes.into_iter().map(i64::from).collect(),
        Values::Numbers(values) => match values.iter().position(|value| value.fract() != 0.0) {
            Some(record) => {
                return Err(Error::user(format!("{}: record {record} has label {}", path.display(), values[record]))
                    .hint("labels are whole numbers"));
            }
            None => values.into_iter().map(|value| value as i64).collect(),
        },
    })
}

/// The values of a file.
enum Values {
    Bytes(Vec<u8>),
    Numbers(Vec<f64>),
}

/// Bytes of a value of the type that a header names.
fn width(kind: u8) -> Option<usize> {
    match kind {
        8 | 9 => Some(1),
        0x0B => Some(2),
        0x0C | 0x0D => Some(4),
        0x0E => Some(8),
        _ => None,
    }
}

/// The sizes in the header and the values after it.
fn read<const DIMENSIONS: usize>(path: &Path, what: &str) -> Result<([usize; DIMENSIONS], Values)> {
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
    let magic = 0x0800 | DIMENSIONS as u32;
    let kind = match word(0).map(u32::to_be_bytes) {
        Some([0, 0, kind, dimensions]) if usize::from(dimensions) == DIMENSIONS && width(kind).is_some() => kind,
        Some(found) => {
            let found = u32::from_be_bytes(found);
            return Err(wrong(format!("not an IDX file of {what}"))
                .hint(format!("it starts with {found:#010x}, which should be {magic:#010x}")));
        }
        None => return Err(wrong(format!("cut short: {} bytes, no whole header", bytes.len()))),
    };
    let mut sizes = [0; DIMENSIONS];
    for (index, size) in sizes.iter_mut().enumerate() {
        *size = word(index + 1).ok_or_else(|| wrong("cut short within its header".into()))? as usize;
    }
    let width = width(kind).unwrap_or(1);
    let promised = sizes.iter().try_fold(width, |product, &size| product.checked_mul(size));
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
    let number = |value: &[u8]| match *value {
        [a] => f64::from(a as i8),
        [a, b] => f64::from(i16::from_be_bytes([a, b])),
        [a, b, c, d] if kind == 0x0C => f64::from(i32::from_be_bytes([a, b, c, d])),
        [a, b, c, d] => f64::from(f32::from_be_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => f64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => 0.0,
    };
    let values = match kind {
        8 => Values::Bytes(bytes),
        _ => Values::Numbers(bytes.chunks_exact(width).map(number).collect()),
    };
    Ok((sizes, values))
}
