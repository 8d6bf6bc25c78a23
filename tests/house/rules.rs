//! The house rules that a machine can check line by line.

use crate::files::{File, files, none, paths, rust};

/// The most lines of a file.
const LINES: usize = 450;

/// The most characters of a line.
const COLUMNS: usize = 120;

/// What people write: Rust, scripts, and the programs of other languages beside the benches.
fn written() -> Vec<File> {
    let others = files(&["scripts", "benches", "tests", ".ci"], &[".rhai", ".py", ".sh", "run"]);
    // Written by `candlewick doc --write scripts`.
    rust().into_iter().chain(others).filter(|file| file.path != "scripts/candlewick.d.rhai").collect()
}

#[test]
fn every_file_opens_with_what_it_is() {
    let bare = |text: &str| !text.starts_with("//! ") || text.lines().next().is_none_or(|line| line.len() < 20);
    none(rust().into_iter().filter(|file| bare(&file.text)).map(|file| file.path));
    let scripts = written().into_iter().filter(|file| file.path.ends_with(".rhai"));
    none(scripts.filter(|file| !file.text.starts_with("// ")).map(|file| file.path));
}

#[test]
fn no_file_is_long() {
    let long = written().into_iter().map(|file| (file.text.lines().count(), file.path));
    none(long.filter(|(lines, _)| *lines > LINES).map(|(lines, path)| format!("{path}: {lines} lines")));
}

/// The lines of a page that can be broken: a table's rows cannot, and a fenced block is what a program takes or prints.
fn prose(page: &File) -> impl Iterator<Item = (String, &str)> {
    let mut fenced = false;
    page.lines().filter(move |(_, line)| {
        let line = line.trim_start();
        let fence = line.starts_with("```");
        fenced ^= fence;
        !(fenced || fence || line.starts_with('|'))
    })
}

#[test]
fn no_line_is_long() {
    let (files, pages) = (written(), files(&[""], &[".md"]));
    // Written by `candlewick doc --write scripts`.
    let pages = pages.iter().filter(|page| page.path != "scripts/reference.md");
    let lines = files.iter().flat_map(File::lines).chain(pages.flat_map(prose));
    none(lines.filter(|(_, line)| line.chars().count() > COLUMNS).map(|(place, _)| place));
}

#[test]
fn nothing_is_left_to_be_done() {
    // Put together here, so that this file does not hold them.
    let marks = ["todo!", "unimplemented!", "dbg!", "FIX_ME", "X_X_X"].map(|mark| mark.replace('_', ""));
    let skipped = ["#[ign_ore", "#[should_pan_ic"].map(|mark| mark.replace('_', ""));
    let mut offenders = Vec::new();
    for file in written().into_iter().filter(|file| file.path != "tests/house/rules.rs") {
        let left = |line: &str| marks.iter().chain(&skipped).any(|mark| line.contains(mark));
        offenders.extend(file.lines().filter(|(_, line)| left(line)).map(|(place, _)| place));
    }
    none(offenders);
}

#[test]
fn a_module_with_parts_is_a_folder_with_a_mod_rs() {
    let all = paths(&["src", "tests"]);
    let folder = |path: &str| path.strip_suffix(".rs").map(|stem| format!("{stem}/"));
    let beside = |path: &&String| folder(path).is_some_and(|folder| all.iter().any(|other| other.starts_with(&folder)));
    none(all.iter().filter(beside).cloned());
}

/// Turns of phrase that readers stumble over, each with what to write instead.
const PHRASES: [(&str, &str); 12] = [
    ("nought", "zero"),
    (" is no ", " is not a "),
    (" has not \"", "does not have"),
    ("anew", "again, re-"),
    ("way back", "backward pass"),
    ("passed over", "skipped"),
    ("turned round", "flipped"),
    ("made again", "recomputed, rebuilt"),
    ("hears of", "is told, is updated"),
    ("multiply-adds an image", "multiply-adds per image"),
    ("floats an image", "floats per image"),
    (" one at least", "at least one"),
];

/// Good English in which one of [`PHRASES`] occurs.
const FINE: [&str; 3] = ["here is no ", "is no longer", "is no more"];

#[test]
fn text_is_plain() {
    let mut offenders = Vec::new();
    for file in written().into_iter().chain(files(&[""], &[".md"])).filter(|file| file.path != "tests/house/rules.rs") {
        for (place, line) in file.lines() {
            let line = FINE.iter().fold(line.to_string(), |line, fine| line.replace(fine, ""));
            let found = PHRASES.iter().filter(|(phrase, _)| line.contains(phrase));
            offenders.extend(found.map(|(phrase, better)| format!("{place}\n    \"{phrase}\": write \"{better}\"")));
        }
    }
    none(offenders);
}
