//! The list of what a data set was read from: which file went into which part. A run keeps it, so that its split can be
//! looked up, and so that it does not go on with other data than it began with.

use super::encoded::{Encoded, Files};
use super::names;
use super::parts::Parts;
use std::collections::BTreeMap;
use std::path::Path;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// "train", "test" or "valid".
    pub part: String,
    /// The class, where a file has one.
    pub class: String,
    /// The path inside the data set's folder, with `/`.
    pub file: String,
    pub bytes: u64,
}

/// The files of a folder with a folder per class, in order.
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
                bytes: std::fs::metadata(folder.join(&**name)).map_or(0, |file| file.len()),
            });
        }
    }
    list
}

/// Files that hold many images each.
pub(super) fn of_tables<'a>(parts: impl IntoIterator<Item = (&'a str, &'a Path)>) -> Vec<Listed> {
    let listed = |(part, path): (&str, &Path)| Listed {
        part: part.into(),
        class: String::new(),
        file: path.file_name().map(names::text).unwrap_or_default(),
        bytes: std::fs::metadata(path).map_or(0, |file| file.len()),
    };
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
    tell("of another size:", both().filter(|(_, a, b)| a.bytes != b.bytes).map(|(file, ..)| file).collect());
    let moved = both().filter(|(_, a, b)| (&a.part, &a.class) != (&b.part, &b.class));
    tell("in another part or class:", moved.map(|(file, ..)| file).collect());
    (!told.is_empty()).then(|| told.join("; "))
}
