//! The run folder: the script as it ran, `run.json`, the journal, and `plots/`.

use crate::{Error, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const INFO: &str = "run.json";
const JOURNAL: &str = "journal.jsonl";
const PLOTS: &str = "plots";

/// What `run.json` says about a run: enough to repeat it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RunInfo {
    /// The script's file name.
    pub script: String,
    /// The script's parameters as it read them.
    pub parameters: Map<String, Value>,
    pub seed: u64,
    /// "cpu", "cuda:0".
    pub device: String,
    pub threads: usize,
    /// The engine's instruction set: "avx512", "avx2", "portable".
    pub simd: String,
    /// The types of what the loop changes: networks, optimizers, batches.
    pub state: Vec<String>,
}

/// `run.json` as it is written.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    info: &'a RunInfo,
    candlewick: &'static str,
    /// RFC 3339, UTC.
    started: String,
}

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

/// Makes the folder for a run: `out` if given, else the first free one of `runs/STEM`, `runs/STEM-2` …; two processes
/// that ask at once get two folders.
///
/// # Errors
/// `out` holds a run already; the folder cannot be made.
pub fn claim(out: Option<&Path>, stem: &str) -> Result<PathBuf> {
    if let Some(out) = out {
        refuse_a_run(out)?;
        std::fs::create_dir_all(out).map_err(|e| Error::file(out, &e))?;
        return Ok(out.to_path_buf());
    }
    claim_in(Path::new("runs"), stem)
}

fn claim_in(runs: &Path, stem: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(runs).map_err(|e| Error::file(runs, &e))?;
    for number in 1u64.. {
        let path = runs.join(if number == 1 { stem.to_string() } else { format!("{stem}-{number}") });
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::file(&path, &error)),
        }
    }
    Err(Error::run(format!("{}: no free name for a run of {stem}", runs.display())))
}

fn refuse_a_run(path: &Path) -> Result<()> {
    match [INFO, JOURNAL].iter().any(|name| path.join(name).exists()) {
        true => Err(Error::user(format!("{} already holds a run", path.display())).hint(
            "a script starts one run, in a folder of its own; give --out another one, or leave it out for runs/NAME",
        )),
        false => Ok(()),
    }
}

impl RunFolder {
    /// Turns a folder (see [`claim`]) into a run's: writes the script, if there is one to copy, and `run.json`.
    ///
    /// # Errors
    /// The folder holds a run already, or cannot be written.
    pub fn begin(path: &Path, info: &RunInfo, source: Option<&str>) -> Result<Self> {
        refuse_a_run(path)?;
        std::fs::create_dir_all(path.join(PLOTS)).map_err(|e| Error::file(path, &e))?;
        let folder = Self { path: path.to_path_buf() };
        let script = path.join(Path::new(&info.script).file_name().unwrap_or("script.rhai".as_ref()));
        if let Some(source) = source {
            std::fs::write(&script, source).map_err(|e| Error::file(&script, &e))?;
        }

        let started = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let record = Record { info, candlewick: env!("CARGO_PKG_VERSION"), started };
        let text = serde_json::to_string_pretty(&record).map_err(|e| Error::run(format!("{INFO}: {e}")))?;
        let path = folder.path.join(INFO);
        let mut file = std::fs::File::create_new(&path).map_err(|e| Error::file(&path, &e))?;
        writeln!(file, "{text}").map_err(|e| Error::file(&path, &e))?;
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    /// Where charts go.
    pub fn plots(&self) -> PathBuf {
        self.path.join(PLOTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_gets_a_folder_of_its_own() -> Result<()> {
        let runs = tempfile::tempdir().map_err(|e| Error::run(e.to_string()))?;
        let names: Vec<PathBuf> = (0..3).map(|_| claim_in(runs.path(), "darts")).collect::<Result<_>>()?;
        assert_eq!(names, ["darts", "darts-2", "darts-3"].map(|name| runs.path().join(name)));
        Ok(())
    }
}
