//! The repository's files, as house rules read them.

use std::path::{Path, PathBuf};

/// The repository's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file by its path from the root, with `/` between its parts.
pub struct File {
    pub path: String,
    pub text: String,
}

impl File {
    /// Its lines, each with a reference to it for a message: `path:line: text`.
    pub fn lines(&self) -> impl Iterator<Item = (String, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (format!("{}:{}: {}", self.path, at + 1, line.trim()), line))
    }
}

/// The paths of all files below the root's `folders` ("": the root), without those that git ignores.
pub fn paths(folders: &[&str]) -> Vec<String> {
    let ignored = [root().join("target"), root().join("runs"), root().join(".git")];
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            match path.is_dir() {
                true if ignored.contains(&path) => {}
                true => open.push(path),
                false => {
                    let relative = path.strip_prefix(root()).expect("it lies below the root");
                    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
                    found.push(parts.join("/"));
                }
            }
        }
    }
    assert!(!found.is_empty());
    found.sort();
    found
}

/// The files below `folders` whose names end in one of `endings`.
pub fn files(folders: &[&str], endings: &[&str]) -> Vec<File> {
    let of_kind = paths(folders).into_iter().filter(|path| endings.iter().any(|ending| path.ends_with(ending)));
    let read = |path: String| {
        let text = std::fs::read_to_string(root().join(&path)).expect("sources are text");
        File { path, text }
    };
    of_kind.map(read).collect()
}

/// Rust's files: the library and the program, tests, benches and examples.
pub fn rust() -> Vec<File> {
    files(&["src", "tests", "benches", "examples"], &[".rs"])
}

/// Fails with a list of what breaks a rule.
#[track_caller]
pub fn none(offenders: impl IntoIterator<Item = String>) {
    let offenders: Vec<String> = offenders.into_iter().collect();
    assert!(offenders.is_empty(), "{} offenders:\n{}", offenders.len(), offenders.join("\n"));
}
