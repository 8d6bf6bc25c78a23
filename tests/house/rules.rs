//! The house rules that a machine can check.

use std::path::{Path, PathBuf};

fn sources() -> Vec<(PathBuf, String)> {
    let mut files = vec![];
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("sources are text");
                files.push((path, text));
            }
        }
    }
    assert!(!files.is_empty());
    files
}

#[track_caller]
fn none(offenders: Vec<String>) {
    assert!(offenders.is_empty(), "{offenders:#?}");
}

#[test]
fn every_file_opens_with_what_it_is() {
    let bare = |text: &str| !text.starts_with("//! ") || text.lines().next().is_none_or(|line| line.len() < 20);
    none(sources().into_iter().filter(|(_, text)| bare(text)).map(|(path, _)| path.display().to_string()).collect());
}

#[test]
fn no_file_is_long() {
    let long = |(path, text): (PathBuf, String)| {
        let lines = text.lines().count();
        (lines > 450).then(|| format!("{}: {lines} lines", path.display()))
    };
    none(sources().into_iter().filter_map(long).collect());
}

#[test]
fn nothing_is_left_to_be_done() {
    let marks = ["todo!", "unimplemented!", "dbg!", "FIXME", "XXX"];
    let mut offenders = vec![];
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                offenders.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    none(offenders);
}
