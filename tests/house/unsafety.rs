//! Every `unsafe` says why it is sound, and stands in a room that may hold one.

use crate::files::{File, none, rust};

/// The rooms that may hold `unsafe`: the engine's kernels and passes and its calls of NVIDIA's driver, the benches of
/// single kernels, and calls of the system (the environment and the allocator before threads start, a signal that is
/// ignored, closed streams, memory in use; in tests a signal, a terminal, kernels behind a C++ compiler).
const ROOMS: [&str; 12] = [
    "src/engine/cpu/",
    "src/engine/cuda/",
    "src/engine/recurrent/cpu/",
    "src/bench/primitives/",
    "src/bench/memory.rs",
    "src/bench/peaks.rs",
    "src/cli/hang_up.rs",
    "src/cli/workers.rs",
    "src/streams.rs",
    "tests/support/start.rs",
    "tests/cli/bench.rs",
    "tests/cuda/shim.rs",
];

/// A line's code, without what a comment or a string says.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or(line).split('"').next().unwrap_or(line)
}

/// Whether a line holds the word.
fn is_unsafe(line: &str) -> bool {
    code(line).split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == "unsafe")
}

/// Whether the comments or attributes right above line `at`, or above the statement that it continues, hold the mark.
fn explained(lines: &[&str], at: usize, mark: &str) -> bool {
    let mut comments = false;
    for line in lines[..at].iter().rev().map(|line| line.trim()) {
        let comment = line.starts_with("//") || line.starts_with("#[") || line.starts_with("$(#[");
        // A macro hands on the documentation that it is given.
        if comment && (line.contains(mark) || line == "$(#[$doc])*") {
            return true;
        }
        let goes_on = !comments && !line.is_empty() && !line.ends_with([';', '}', '{']);
        if !(comment || goes_on) {
            return false;
        }
        comments |= comment;
    }
    false
}

/// The lines that open what line `at` stands in, from the inside out.
fn around<'a>(lines: &[&'a str], at: usize) -> Vec<(usize, &'a str)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let (mut inside, mut found) = (indent(lines[at]), Vec::new());
    for (number, line) in lines[..at].iter().enumerate().rev() {
        if !line.trim().is_empty() && indent(line) < inside && !line.trim_start().starts_with("//") {
            inside = indent(line);
            found.push((number, *line));
        }
    }
    found
}

/// Whether a contract covers line `at`: that of the `unsafe fn` around it (its body passes the caller's promise on), of
/// the kernel that it is a part of, or of the trait whose method it is.
fn covered(lines: &[&str], at: usize) -> bool {
    let declared = code(lines[at]).contains("unsafe fn");
    around(lines, at).into_iter().any(|(number, line)| match line.trim() {
        line if is_unsafe(line) && line.contains("fn ") => true,
        "kernel! {" => true,
        line if line.contains("trait ") => declared && explained(lines, number, "# Safety"),
        line => declared && line.trim_start_matches("unsafe ").starts_with("impl") && line.contains(" for "),
    })
}

fn offenders(file: &File) -> Vec<String> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (at, (place, line)) in file.lines().enumerate() {
        let kernel =
            line.contains("pub fn ") && around(&lines, at).first().is_some_and(|(_, line)| *line == "kernel! {");
        if !(is_unsafe(line) || kernel) {
            continue;
        }
        let declared = code(line).contains("fn ") || code(line).contains("trait ");
        let mark = if declared { "# Safety" } else { "SAFETY:" };
        let told = line.contains(mark) || explained(&lines, at, mark);
        if !(told || !kernel && covered(&lines, at)) {
            found.push(place);
        }
    }
    found
}

#[test]
fn every_unsafe_says_why_it_is_sound() {
    none(rust().iter().flat_map(offenders));
}

#[test]
fn nothing_is_unsafe_outside_its_rooms() {
    let outside = |file: &&File| !ROOMS.iter().any(|room| file.path.starts_with(room));
    let files = rust();
    let lines = files.iter().filter(outside).flat_map(File::lines);
    none(lines.filter(|(_, line)| is_unsafe(line)).map(|(place, _)| place));
}
