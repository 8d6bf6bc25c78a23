//! Drives the real binary as a user does: a script in a folder of its own, the exit code, what is printed, the error page.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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

    /// Checks that the page points at the script's `line` and `column` (from 1): the place, the line itself, a caret below
    /// the column.
    #[track_caller]
    pub fn points_at(&self, script: &str, line: usize, column: usize) {
        let text = script.lines().nth(line - 1).expect("the script has such a line");
        let margin = " ".repeat(line.to_string().len());
        let caret = " ".repeat(column - 1);
        let drawn = format!(
            " {margin}--> s.rhai:{line}:{column}\n {margin} |\n {line} | {}\n {margin} | {caret}^\n",
            text.trim_end()
        );
        assert!(self.stderr.contains(&drawn), "the page should hold\n{drawn}but is\n{}", self.stderr);
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

/// Starts the binary in `folder`, its output to be read while it runs.
pub fn start(folder: &Path, arguments: &[&str]) -> Child {
    command(folder).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs")
}

/// A folder that holds `script` as `s.rhai`.
pub fn folder_with(script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("s.rhai"), script).expect("the script is written");
    folder
}

/// Runs a script with further arguments.
pub fn run_with(script: &str, arguments: &[&str]) -> Ended {
    candlewick(folder_with(script).path(), &[&["run", "s.rhai"], arguments].concat())
}

/// Runs a script.
pub fn run(script: &str) -> Ended {
    run_with(script, &[])
}

/// Checks a script.
pub fn check(script: &str) -> Ended {
    candlewick(folder_with(script).path(), &["check", "s.rhai"])
}

/// A script that the repository ships.
pub fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

/// The values of `CANDLEWICK_SIMD` that this processor can run.
pub fn simd_paths() -> Vec<&'static str> {
    use candlewick::engine::cpu::Isa;
    Isa::ALL.iter().filter(|(_, isa)| isa.available()).map(|(name, _)| *name).collect()
}
