//! What every script in `scripts/searches` owes its reader: it says what it does, it is short, it has a small scale,
//! and reading it finds no mistakes.

use crate::binary::candlewick;
use crate::scripts::shipped;
use candlewick::script::searches::lines_of_code;
use std::path::{Path, PathBuf};

/// The most lines of code.
const LINES: usize = 60;

fn searches() -> Vec<(PathBuf, String)> {
    let folder = std::fs::read_dir(shipped("searches")).expect("the folder");
    let paths = folder.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "rhai"))
        .map(|path| (path.clone(), std::fs::read_to_string(path).expect("text")))
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

#[test]
fn every_search_is_short() {
    for (path, text) in searches() {
        let lines = lines_of_code(&text);
        assert!(lines <= LINES, "{}: {lines} lines of code", path.display());
    }
}

#[test]
fn every_search_opens_with_its_idea_its_source_and_how_to_run_it() {
    for (path, text) in searches() {
        let head: Vec<&str> = text.lines().take_while(|line| line.starts_with("//")).collect();
        let head = head.join("\n");
        for owed in ["candlewick run scripts/searches/", "scale=small", " 20"] {
            assert!(head.contains(owed), "{}: the head comment lacks {owed:?}:\n{head}", path.display());
        }
    }
}

#[test]
fn every_search_has_a_small_scale_and_no_mistake_that_reading_finds() {
    let all = searches();
    let paths: Vec<String> = all.iter().map(|(path, _)| path.display().to_string()).collect();
    for (path, text) in &all {
        assert!(text.contains("presets(#{") && text.contains("small: #{"), "{}", path.display());
    }
    let arguments: Vec<&str> = std::iter::once("check").chain(paths.iter().map(String::as_str)).collect();
    candlewick(Path::new("."), &arguments).shows(0, &[]);
}

#[test]
fn every_search_has_a_test() {
    let tests = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/searches")).expect("the tests");
    let tests: String =
        tests.map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("text")).collect();
    for (path, _) in searches() {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(tests.contains(&format!("\"{name}\"")), "no test in tests/searches runs {name}");
    }
}
