//! Starts the real binary and leaves it running, for the tests that interrupt it.

use crate::binary::command;
use std::path::Path;
use std::process::{Child, Stdio};

/// Starts the binary in `folder`, its output to be read while it runs.
pub fn start(folder: &Path, arguments: &[&str]) -> Child {
    command(folder).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs")
}

/// Presses Ctrl-C for a running child.
#[cfg(unix)]
pub fn interrupt(child: &Child) {
    signal(child, libc::SIGINT);
}

/// Sends a signal to a running child.
#[cfg(unix)]
pub fn signal(child: &Child, signal: i32) {
    // SAFETY: a signal to a child of our own that has not been waited for, as the borrow shows.
    unsafe { libc::kill(child.id() as i32, signal) };
}
