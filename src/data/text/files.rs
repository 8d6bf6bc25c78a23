//! Where text comes from: the novel inside the binary, a folder of three files, or one file.

use super::austen;
use crate::data::Listed;
use crate::error::closest;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The names of the parts, and the words by which a file's name tells which one it is.
const PARTS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("valid", &["valid", "validation", "val", "dev"]),
    ("test", &["test", "testing"]),
];

/// Where a text is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextSource {
    /// The novel inside the binary.
    Austen,
    /// A folder or a file; whoever opens it has checked that it may be read.
    Path(PathBuf),
}

impl TextSource {
    /// The texts known by name.
    pub const NAMES: [&str; 1] = ["austen"];

    /// One of [`NAMES`](Self::NAMES), or else a folder or file (`./austen` is always one).
    pub fn parse(text: &str) -> Self {
        match text {
            "austen" => Self::Austen,
            path => Self::Path(path.into()),
        }
    }
}

/// Text as it was found, and where.
pub(super) enum Found {
    /// Training, validation and test text in files of their own.
    Three(Box<[Part; 3]>),
    /// One text to be cut.
    One(Part),
}

/// A text and the file that it is from, for messages.
pub(super) struct Part {
    pub file: String,
    pub text: String,
    /// What was read; none of what is inside the binary.
    pub listed: Option<Listed>,
}

impl Found {
    /// Reads a source; its name for titles comes with it.
    pub fn read(source: &TextSource) -> Result<(String, Self)> {
        let path = match source {
            TextSource::Austen => {
                let part = Part { file: "the embedded novel".into(), text: austen::load()?, listed: None };
                return Ok(("austen".into(), Self::One(part)));
            }
            TextSource::Path(path) => path,
        };
        let name = path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        if path.is_dir() {
            let [train, valid, test] = find(path)?;
            let parts = [Part::read("train", &train)?, Part::read("valid", &valid)?, Part::read("test", &test)?];
            return Ok((name, Self::Three(parts.into())));
        }
        if !path.exists() {
            let error = Error::user(format!("there is no file or folder {}", path.display()));
            return Err(match closest(&path.to_string_lossy(), TextSource::NAMES) {
                Some(near) => error.hint(format!("did you mean \"{near}\"?")),
                None => error.hint("give a text file, a folder with train, valid and test files, or \"austen\""),
            });
        }
        Ok((name, Self::One(Part::read("text", path)?)))
    }
}

impl Part {
    /// Reads a file of UTF-8; a byte-order mark is not part of its text.
    fn read(part: &str, path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::file(path, &error))?;
        let listed = Some(Listed::whole(part, path, &bytes));
        let file = path.display().to_string();
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(Error::user(format!("{file}: this is UTF-16")).hint("save it as UTF-8"));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            let byte = error.as_bytes()[before.len()];
            Error::user(format!("{file}: line {line} is not UTF-8 (byte 0x{byte:02x})"))
                .hint("save it as UTF-8: old files are often ISO-8859-1 or Windows-1252")
        })?;
        let text = text.strip_prefix('\u{feff}').map(String::from).unwrap_or(text);
        match text.is_empty() {
            true => Err(Error::user(format!("{file}: this file is empty")).hint("a text needs at least some lines")),
            false => Ok(Self { file, text, listed }),
        }
    }
}

/// The files of a folder that hold the three parts.
fn find(folder: &Path) -> Result<[PathBuf; 3]> {
    let failed = |error| Error::file(folder, &error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && entry.path().is_file() {
            names.push(name);
        }
    }
    names.sort();
    let file = |(part, words): (&str, &[&str])| {
        let mine: Vec<&String> = names.iter().filter(|name| says(name, words)).collect();
        match mine[..] {
            [one] => Ok(folder.join(one)),
            [] => Err(lacking(folder, part, &names)),
            [first, second, ..] => {
                Err(Error::user(format!("{}: both {first} and {second} could be the {part} text", folder.display()))
                    .hint(format!("leave one file with \"{part}\" in its name")))
            }
        }
    };
    let [train, valid, test] = PARTS.map(file);
    Ok([train?, valid?, test?])
}

/// Whether one of the words stands in a file's name, between points, dashes and underscores.
fn says(name: &str, words: &[&str]) -> bool {
    name.split(['.', '-', '_', ' ']).any(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)))
}

fn lacking(folder: &Path, part: &str, names: &[String]) -> Error {
    let found = match names.len() {
        0 => "it holds no files".to_string(),
        n => format!("it holds {}{}", names[..n.min(5)].join(", "), if n > 5 { " and more" } else { "" }),
    };
    let hint = match names {
        [one] => format!("to cut one text into three, name the file: text(\"…/{one}\")"),
        _ => {
            "looked for three files named like train.txt, valid.txt and test.txt, or ptb.train.txt, wiki.valid.tokens …"
                .into()
        }
    };
    Error::user(format!("{}: there is no {part} text; {found}", folder.display())).hint(hint)
}
