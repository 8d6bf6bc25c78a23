//! Every `unsafe` stands in a room that may hold one.

use crate::files::{File, none, rust};

/// The rooms that may hold `unsafe`: the engine's kernels and passes, the benches of single kernels, and calls of the
/// system (the environment before threads start, memory in use; in tests an allocator, a signal, a terminal).
const ROOMS: [&str; 7] = [
    "src/engine/cpu/",
    "src/bench/primitives/",
    "src/bench/memory.rs",
    "src/bench/peaks.rs",
    "src/cli/workers.rs",
    "tests/support/start.rs",
    "tests/cli/bench.rs",
];

/// A line's code, without what a comment or a string says.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or(line).split('"').next().unwrap_or(line)
}

/// Whether a line holds the word.
fn is_unsafe(line: &str) -> bool {
    code(line).split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == "unsafe")
}

#[test]
fn nothing_is_unsafe_outside_its_rooms() {
    let outside = |file: &&File| !ROOMS.iter().any(|room| file.path.starts_with(room));
    let files = rust();
    let lines = files.iter().filter(outside).flat_map(File::lines);
    none(lines.filter(|(_, line)| is_unsafe(line)).map(|(place, _)| place));
}
