//! The run folder: the script as it ran, `run.json`, the journal, `data/`, `checkpoint/` and `plots/`.

use super::checkpoint::Checkpoints;
use super::data;
use super::journal::check_free;
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

const INFO: &str = "run.json";
const JOURNAL: &str = "journal.jsonl";
const CHECKPOINTS: &str = "checkpoint";
const PLOTS: &str = "plots";

/// What `run.json` says about a run: enough to repeat it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The script's file name.
    pub script: String,
    /// The script's parameters as it read them.
    pub parameters: Map<String, Value>,
    /// What `--set` gave, as it was written.
    pub settings: BTreeMap<String, String>,
    /// The folders that `--data` gave.
    pub data: Vec<PathBuf>,
    pub seed: u64,
    /// "cpu", "cuda:0".
    pub device: String,
    /// "f32" or "f64".
    #[serde(default = "single")]
    pub precision: String,
    pub threads: usize,
    /// The engine's instruction set: "avx512", "avx2", "portable".
    pub simd: String,
    /// The types of what the loop changes: networks, optimizers, batches.
    pub state: Vec<String>,
}

/// Runs from before there was a choice.
fn single() -> String {
    "f32".into()
}

/// `run.json` as it is written.
#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    info: RunInfo,
    /// The version that wrote it.
    candlewick: String,
    /// RFC 3339, UTC.
    started: String,
    /// When it went on, if it was interrupted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resumed: Vec<String>,
}

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

/// Whether a path inside a run folder is one of those that only the run itself writes.
pub fn is_own(path: &Path) -> bool {
    let first = path.components().find(|part| *part != Component::CurDir);
    first.is_some_and(|first| [INFO, JOURNAL, CHECKPOINTS, data::FOLDER].iter().any(|own| first.as_os_str() == *own))
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
    let failed = |path: &Path, error| Error::file(path, &error).hint("runs are kept there; --out names another folder");
    std::fs::create_dir_all(runs).map_err(|error| failed(runs, error))?;
    for number in 1u64.. {
        let path = runs.join(if number == 1 { stem.to_string() } else { format!("{stem}-{number}") });
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&path, error)),
        }
    }
    Err(Error::run(format!("{}: no free name for a run of {stem}", runs.display())))
}

/// The folder of the newest run of the script STEM in `runs/`: the one of the largest number.
///
/// # Errors
/// There is none.
pub fn newest(stem: &str) -> Result<PathBuf> {
    newest_in(Path::new("runs"), stem)
}

fn newest_in(runs: &Path, stem: &str) -> Result<PathBuf> {
    let number = |name: &str| match name.strip_prefix(stem)? {
        "" => Some(1),
        rest => rest.strip_prefix('-')?.parse::<u64>().ok(),
    };
    let entries = std::fs::read_dir(runs).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let numbered = entries.filter_map(|path| Some((number(path.file_name()?.to_str()?)?, path)));
    numbered.filter(|(_, path)| path.join(INFO).is_file()).max().map(|(_, path)| path).ok_or_else(|| {
        Error::user(format!("{} holds no run of {stem}", runs.display()))
            .hint("--resume goes on with the newest run of the script, or with the one whose folder --out names")
    })
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
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
        folder.copy_script(info, source)?;
        let (candlewick, started) = (env!("CARGO_PKG_VERSION").into(), now());
        folder.write(&Record { info: info.clone(), candlewick, started, resumed: Vec::new() })?;
        Ok(folder)
    }

    /// Opens the folder of a run that is to go on, now as `info` says. Nothing is written before
    /// [`Reopened::go_on`]: a run that does not go on stays as it is.
    ///
    /// # Errors
    /// The folder holds no run; another process is writing it.
    pub fn reopen(path: &Path, info: &RunInfo, source: Option<&str>) -> Result<Reopened> {
        let folder = Self { path: path.to_path_buf() };
        let record = folder.record()?;
        check_free(&folder.journal())?;
        let before = std::fs::read_to_string(folder.script(&record.info)).ok();
        let script = source.filter(|source| before.as_deref() != Some(*source)).map(String::from);
        Ok(Reopened { changes: changes(&record.info, info), folder, record, info: info.clone(), script })
    }

    /// What `run.json` in the folder `path` says.
    ///
    /// # Errors
    /// The folder holds no run.
    pub fn info(path: &Path) -> Result<RunInfo> {
        Ok(Self { path: path.to_path_buf() }.record()?.info)
    }

    /// Whether the run in the folder `path` can go on.
    pub fn has_checkpoint(path: &Path) -> bool {
        Self { path: path.to_path_buf() }.checkpoints().is_empty().is_ok_and(|none| !none)
    }

    fn record(&self) -> Result<Record> {
        let path = self.path.join(INFO);
        let text = std::fs::read_to_string(&path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => Error::user(format!("{} holds no run", self.path.display()))
                .hint(format!("a run's folder has a file {INFO}")),
            _ => Error::file(&path, &e),
        })?;
        serde_json::from_str(&text).map_err(|e| Error::user(format!("{}: {e}", path.display())))
    }

    fn write(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_string_pretty(record).map_err(|e| Error::run(format!("{INFO}: {e}")))?;
        files::replace(&self.path.join(INFO), format!("{text}\n").as_bytes())
    }

    fn script(&self, info: &RunInfo) -> PathBuf {
        self.path.join(Path::new(&info.script).file_name().unwrap_or("script.rhai".as_ref()))
    }

    fn copy_script(&self, info: &RunInfo, source: Option<&str>) -> Result<()> {
        let script = self.script(info);
        source.map_or(Ok(()), |text| std::fs::write(&script, text).map_err(|e| Error::file(&script, &e)))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    /// Where the run's state is kept.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.path.join(CHECKPOINTS))
    }

    /// Puts the journal aside as `journal-1.jsonl`, `journal-2.jsonl` …, for the run starts over.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn put_journal_aside(&self) -> Result<()> {
        let mut names = (1u64..).map(|number| self.path.join(format!("journal-{number}.jsonl")));
        let free = names.find(|path| !path.exists()).unwrap_or_else(|| self.journal());
        match std::fs::rename(self.journal(), &free) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file(&free, &error)),
            _ => Ok(()),
        }
    }

    /// Where charts go.
    pub fn plots(&self) -> PathBuf {
        self.path.join(PLOTS)
    }
}

/// A run's folder, opened to go on with.
pub struct Reopened {
    pub folder: RunFolder,
    /// The parameters that have other values than the run began with, in words.
    pub changes: Vec<String>,
    record: Record,
    info: RunInfo,
    /// The script, if it is another one than before.
    script: Option<String>,
}

impl Reopened {
    /// Whether the script is another one than the run began with.
    pub fn is_other_script(&self) -> bool {
        self.script.is_some()
    }

    /// Writes down that the run goes on, and as what.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn go_on(mut self) -> Result<()> {
        self.folder.copy_script(&self.info, self.script.as_deref())?;
        self.record.resumed.push(now());
        self.folder.write(&Record { info: self.info, ..self.record })
    }
}

/// The parameters that two runs have different values of: "channels is 8, was 4".
fn changes(before: &RunInfo, now: &RunInfo) -> Vec<String> {
    let other = |(name, value): (&String, &Value)| {
        let old = before.parameters.get(name)?;
        (old != value).then(|| format!("{name} is {value}, was {old}"))
    };
    now.parameters.iter().filter_map(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_gets_a_folder_of_its_own() -> Result<()> {
        let runs = tempfile::tempdir().map_err(|e| Error::run(e.to_string()))?;
        let names: Vec<PathBuf> = (0..3).map(|_| claim_in(runs.path(), "darts")).collect::<Result<_>>()?;
        assert_eq!(names, ["darts", "darts-2", "darts-3"].map(|name| runs.path().join(name)));
        assert!(newest_in(runs.path(), "darts").is_err(), "none of them holds a run");
        for name in &names[..2] {
            RunFolder::begin(name, &RunInfo::default(), None)?;
        }
        RunFolder::begin(&runs.path().join("darts_against_random"), &RunInfo::default(), None)?;
        assert_eq!(newest_in(runs.path(), "darts")?, names[1]);
        Ok(())
    }
}
