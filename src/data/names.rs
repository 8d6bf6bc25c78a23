//! What names of files and folders say: which are images, which are litter, which are parts of a data set.

use crate::error::escaped;
use std::ffi::OsStr;
use unicode_normalization::UnicodeNormalization;

/// Endings of the files that are read.
pub(super) const ENDINGS: [&str; 21] = [
    "png", "apng", "jpg", "jpeg", "jpe", "jfif", "jfi", "jif", "pjpeg", "pjp", "bmp", "dib", "gif", "webp", "tif",
    "tiff", "pnm", "pbm", "pgm", "ppm", "pam",
];
/// Endings of pictures that are not read.
const UNREAD: [&str; 24] = [
    "heic", "heif", "hif", "avif", "jxl", "jp2", "j2k", "jpf", "svg", "psd", "xcf", "ico", "tga", "exr", "hdr", "dds",
    "qoi", "cr2", "cr3", "nef", "arw", "dng", "raf", "orf",
];
/// What operating systems and notebooks leave in folders, in small letters; beside names that begin with a dot.
const LITTER: [&str; 12] = [
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "icon\r",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "__pycache__",
];
const TRAIN: [&str; 6] = ["train", "training", "trainset", "trainingset", "traindata", "trn"];
const TEST: [&str; 6] = ["test", "testing", "tests", "testset", "testdata", "tst"];
const VALID: [&str; 8] = ["val", "valid", "validation", "validate", "valset", "validationset", "dev", "eval"];
/// Words beside those: "train_images".
const FILLERS: [&str; 8] = ["set", "data", "dataset", "images", "image", "imgs", "split", "folder"];

/// A name as text: composed (NFC), so that names that look alike are alike; bytes that are no text as `\xF1`, and
/// control characters likewise.
pub(super) fn text(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        text.push_str(&escaped(&chunk.valid().nfc().collect::<String>()));
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02X}")));
    }
    text
}

/// Whether a file or folder of this name is none of the user's.
pub(super) fn is_litter(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.starts_with(b".") || LITTER.iter().any(|litter| bytes.eq_ignore_ascii_case(litter.as_bytes()))
}

/// The ending of a name in small letters.
pub(super) fn ending(name: &OsStr) -> Option<String> {
    let bytes = name.as_encoded_bytes();
    let dot = bytes.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0)?;
    Some(String::from_utf8_lossy(&bytes[dot + 1..]).to_lowercase()).filter(|ending| !ending.is_empty())
}

/// Whether a file of this name is read.
pub(super) fn is_image(name: &OsStr) -> bool {
    ending(name).is_some_and(|ending| ENDINGS.contains(&&*ending))
}

/// Whether files of this ending are pictures that are not read.
pub(super) fn is_unread_picture(ending: &str) -> bool {
    UNREAD.contains(&ending)
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Test,
    Valid,
}

/// The part that a folder's name means, and the words before it: "Training", "train_images", "seg_train".
pub(super) fn part(name: &str) -> Option<(String, Part)> {
    let lower = name.to_lowercase();
    let mut words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    while words.len() > 1 && words.last().is_some_and(|word| FILLERS.contains(word)) {
        words.pop();
    }
    let word = words.pop()?;
    let parts = [(&TRAIN[..], Part::Train), (&TEST[..], Part::Test), (&VALID[..], Part::Valid)];
    let (_, part) = parts.into_iter().find(|(names, _)| names.contains(&word))?;
    Some((words.join("_"), part))
}

/// Whether a folder of this name says no more than that images lie in it: "images".
pub(super) fn means_images(name: &str) -> bool {
    FILLERS.contains(&&*name.to_lowercase())
}

/// Whether a name looks like that of a part, even if it is not known for one: "test1", "Training (2)".
pub(super) fn looks_like_part(name: &str) -> bool {
    let lower = name.to_lowercase();
    let word = lower.split(|c: char| !c.is_alphabetic()).find(|word| !word.is_empty()).unwrap_or_default();
    [&TRAIN[..], &TEST[..], &VALID[..]].concat().contains(&word)
}
