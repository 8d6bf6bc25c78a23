//! Drives the real binary as a user does: a script in a folder of its own, the exit code, what is printed, the error
//! page.

use std::path::Path;
use std::process::{Command, Stdio};

/// How a command ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Checks the exit code and that the page holds every one of the texts.
    #[track_caller]
    pub fn shows(&self, code: i32, texts: &[&str]) {
        for text in texts {
            assert!(self.stderr.contains(text), "no {text:?} in this page:\n{}", self.stderr);
        }
        assert_eq!(self.code, Some(code), "{}", self.stderr);
    }
}

/// The binary, to be started in `folder`; without input and without what the environment of the tests may hold.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_candlewick"));
    command.current_dir(folder).stdin(Stdio::null()).env_remove("CANDLEWICK_SIMD");
    command
}

/// Runs a command to its end.
#[track_caller]
pub fn finish(command: &mut Command) -> Ended {
    let output = command.output().expect("the binary runs");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs the binary in `folder`.
pub fn candlewick(folder: &Path, arguments: &[&str]) -> Ended {
    finish(command(folder).args(arguments))
}

/// A folder that holds `script` as `s.rhai`.
pub fn folder_with(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("s.rhai"), script).expect("the script is written");
    folder
}
