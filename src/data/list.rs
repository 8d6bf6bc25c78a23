//! The list of what a data set was read from: which file went into which part, and what it held. A run keeps it, so
//! that its split can be looked up, and so that it does not go on with other data than it began with.

use super::encoded::{Encoded, Files};
use super::names;
use super::parts::Parts;
use crc32fast::Hasher;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// "train", "test" or "valid"; "text" of one that is cut into three, "table" of a table.
    pub part: String,
    /// The class, where a file has one.
    pub class: String,
    /// The path inside the data set's folder, with `/`.
    pub file: String,
    pub content: Content,
}

impl Listed {
    /// A file that was read as a whole.
    pub fn whole(part: &str, path: &Path, bytes: &[u8]) -> Self {
        Self { content: Content::of(bytes), ..Self::named(part, path) }
    }

    /// A file by its name alone.
    fn named(part: &str, path: &Path) -> Self {
        let file = path.file_name().map(names::text).unwrap_or_default();
        Self { part: part.into(), class: String::new(), file, content: Content::default() }
    }
}

/// What a file held when it was read, as far as it takes to notice that it holds something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub bytes: u64,
    /// Its checksum; none of a file that could not be read, and in the lists of runs before there was one.
    pub crc32: Option<u32>,
}

impl Content {
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, crc32: Some(crc32fast::hash(bytes)) }
    }

    /// That of a file, which is read for it piece by piece.
    fn of_file(path: &Path) -> Self {
        let read = || -> std::io::Result<Self> {
            let (mut file, mut sum) = (std::fs::File::open(path)?, Hasher::new());
            let (mut piece, mut bytes) = (vec![0; 1 << 20], 0);
            loop {
                match file.read(&mut piece)? {
                    0 => return Ok(Self { bytes, crc32: Some(sum.finalize()) }),
                    count => {
                        sum.update(&piece[..count]);
                        bytes += count as u64;
                    }
                }
            }
        };
        read().unwrap_or_default()
    }

    /// Whether both can be of one file.
    fn agrees(&self, other: &Self) -> bool {
        self.bytes == other.bytes && (self.crc32 == other.crc32 || self.crc32.is_none() || other.crc32.is_none())
    }
}

/// The files of a folder with a folder per class, in order; what they hold is known once they are read.
pub(super) fn of_files(root: &Path, classes: &[String], parts: &Parts<Files>) -> Vec<Listed> {
    let mut list = Vec::with_capacity(parts.iter().map(|(images, _)| images.len()).sum());
    for ((images, labels), part) in parts.iter().zip(["train", "test", "valid"]) {
        let (mut last, mut prefix) = (None, String::new());
        for (image, label) in images.iter().zip(labels) {
            let Encoded::File { folder, name } = image else { continue };
            if last != Some(folder) {
                let below = folder.strip_prefix(root).unwrap_or(folder);
                prefix = below.iter().map(|part| names::text(part) + "/").collect();
                last = Some(folder);
            }
            list.push(Listed {
                part: part.into(),
                class: classes.get(*label as usize).cloned().unwrap_or_default(),
                file: format!("{prefix}{}", names::text(name)),
                content: Content::default(),
            });
        }
    }
    list
}

/// Files that hold many images each.
pub(super) fn of_tables<'a>(parts: impl IntoIterator<Item = (&'a str, &'a Path)>) -> Vec<Listed> {
    let listed = |(part, path): (&str, &Path)| Listed { content: Content::of_file(path), ..Listed::named(part, path) };
    parts.into_iter().map(listed).collect()
}

/// In what two lists differ, in words; `None` if they are the same.
pub fn difference(before: &[Listed], now: &[Listed]) -> Option<String> {
    let by_file = |list: &'_ [Listed]| -> BTreeMap<String, Listed> {
        list.iter().map(|one| (one.file.clone(), one.clone())).collect()
    };
    let (old, new) = (by_file(before), by_file(now));
    let mut told = Vec::new();
    let mut tell = |what: &str, files: Vec<&String>| {
        if let [first, ..] = files[..] {
            let more = if files.len() > 1 { format!(" and {} more", files.len() - 1) } else { String::new() };
            told.push(format!("{what} {first}{more}"));
        }
    };
    tell("gone:", old.keys().filter(|file| !new.contains_key(*file)).collect());
    tell("new:", new.keys().filter(|file| !old.contains_key(*file)).collect());
    let both = || old.iter().filter_map(|(file, old)| Some((file, old, new.get(file)?)));
    let size = |one: &Listed| one.content.bytes;
    tell("of another size:", both().filter(|(_, a, b)| size(a) != size(b)).map(|(file, ..)| file).collect());
    let changed = both().filter(|(_, a, b)| size(a) == size(b) && !a.content.agrees(&b.content));
    tell("with other content:", changed.map(|(file, ..)| file).collect());
    let moved = both().filter(|(_, a, b)| (&a.part, &a.class) != (&b.part, &b.class));
    tell("in another part or class:", moved.map(|(file, ..)| file).collect());
    (!told.is_empty()).then(|| told.join("; "))
}
