//! Runs scripts with the real binary: one written for a test, or one that the repository ships.

use crate::binary::{Ended, candlewick, folder_with};
use std::path::{Path, PathBuf};

/// Runs a script with further arguments.
pub fn run_with(script: &str, arguments: &[&str]) -> Ended {
    candlewick(folder_with(script).path(), &[&["run", "s.rhai"], arguments].concat())
}

/// Runs a script.
pub fn run(script: &str) -> Ended {
    run_with(script, &[])
}

/// A script that the repository ships.
pub fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}
