//! What cannot be printed: a reader that has gone away, a disk that is full.

use crate::binary::{command, folder_with};
use std::process::Stdio;

const SCRIPT: &str = "// Prints.\nprint(\"result\");\n";

/// Every way of printing results.
const PRINTING: [&[&str]; 6] = [
    &["doc"],
    &["doc", "softmax"],
    &["check", "s.rhai"],
    &["run", "s.rhai"],
    &["run", "s.rhai", "--help"],
    &["run", "--help"],
];

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_fails_the_command_and_panics_nowhere() {
    let folder = folder_with(SCRIPT);
    for arguments in PRINTING {
        let full = std::fs::File::create("/dev/full").expect("Linux has it");
        let child =
            command(folder.path()).args(arguments).stdout(full).stderr(Stdio::piped()).spawn().expect("it runs");
        let ended = child.wait_with_output().expect("it ends");
        let page = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {page}");
        assert!(page.contains("printed") && page.contains("No space left"), "{arguments:?}: {page}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_gone_away_has_read_enough() {
    let folder = folder_with(SCRIPT);
    for arguments in PRINTING {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let child =
            command(folder.path()).args(arguments).stdout(writer).stderr(Stdio::piped()).spawn().expect("it runs");
        let ended = child.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}
