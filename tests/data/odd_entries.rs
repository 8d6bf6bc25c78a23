//! What lies in class folders besides plain files with plain names.

use crate::files::open;
use crate::folders::lay;
use std::fs::write;
use tempfile::tempdir;

#[test]
fn pipes_and_sockets_are_counted_and_never_opened() {
    let folder = tempdir().unwrap();
    lay(folder.path(), &[("cat/*.png", 5), ("dog/*.png", 5)]);
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("cat/pipe.png")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("dog/s.png")).unwrap();
    std::os::unix::fs::symlink("/dev/null", folder.path().join("dog/null.png")).unwrap();
    let data = open(folder.path()).unwrap();
    assert_eq!(data.train.len() + data.test.len(), 10);
    assert!(data.notes[0].contains("3 that are neither files nor folders"), "{}", data.notes[0]);
    assert!(!data.notes[0].contains("lead nowhere"), "{}", data.notes[0]);
}

#[test]
fn names_with_line_breaks_and_colours_are_told_in_one_plain_line() {
    let folder = tempdir().unwrap();
    lay(folder.path(), &[("cat/*.png", 4), ("dog\nof two lines/*.png", 4), ("cat/\u{1b}[31mred\n*.png", 1)]);
    let data = open(folder.path()).unwrap();
    assert_eq!(data.classes(), ["cat", "dog\\x0Aof two lines"]);
    assert_eq!(data.train.len() + data.test.len(), 9);
    write(folder.path().join("cat/\u{1b}[31mred\n0.png"), "words").unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(error.message.contains("cat/\\x1B[31mred\\x0A0.png: it is not an image"), "{error}");
}
