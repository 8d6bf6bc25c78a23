//! The journal: one JSON object per line, with what was logged, when and where in the loop.
//!
//! A line holds `epoch` and `step` (both count from 0; `step` over the whole run), the logged fields, and `time`
//! (seconds since the run started). Each is handed to the system in one write, so a killed run leaves whole lines. JSON
//! has no number for NaN and the infinities: they are written as the strings "NaN", "inf" and "-inf".

use crate::{Error, Result, files};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A line's fields, or those to be logged.
pub type Entry = Map<String, Value>;

/// What the journal adds to every line.
const OWN: [&str; 3] = ["epoch", "step", "time"];

/// A journal being written.
pub struct Journal {
    file: File,
    path: PathBuf,
    started: Instant,
    names: BTreeSet<String>,
    /// Whether lines are only checked, because a run that is resumed logs them a second time.
    shut: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    epoch: u64,
    step: u64,
    #[serde(flatten)]
    fields: &'a Entry,
    time: f64,
}

impl Journal {
    /// A new journal.
    ///
    /// # Errors
    /// The file exists or cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create_new(path).map_err(|e| Error::file(path, &e))?;
        lock(&file, path)?;
        Ok(Self { file, path: path.to_path_buf(), started: Instant::now(), names: BTreeSet::new(), shut: false })
    }

    /// The journal of a run that is to go on: it stays as it is until [`go_on`](Self::go_on).
    ///
    /// # Errors
    /// There is no such file, it is not a journal, or another process writes it.
    pub fn reopen(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().append(true).open(path).map_err(|e| Error::file(path, &e))?;
        lock(&file, path)?;
        let names =
            read(path)?.into_iter().flatten().map(|(name, _)| name).filter(|name| !OWN.contains(&name.as_str()));
        Ok(Self { file, path: path.to_path_buf(), started: Instant::now(), names: names.collect(), shut: true })
    }

    /// Goes on after the first `length` bytes; what was written after them is cut off. The run had taken `elapsed`.
    pub fn go_on(&mut self, length: u64, elapsed: Duration) -> Result<()> {
        self.file.set_len(length).map_err(|e| Error::file(&self.path, &e))?;
        self.started = Instant::now().checked_sub(elapsed).unwrap_or_else(Instant::now);
        self.shut = false;
        Ok(())
    }

    /// The bytes written so far.
    pub fn length(&mut self) -> Result<u64> {
        self.file.seek(SeekFrom::End(0)).map_err(|e| Error::file(&self.path, &e))
    }

    /// Makes sure that what was written is on the disk.
    pub fn sync(&self) -> Result<()> {
        files::sync(&self.file, &self.path).map_err(|e| Error::file(&self.path, &e))
    }

    /// The time since the run started, what it took before it was resumed included.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Writes one line.
    ///
    /// # Errors
    /// A field has a name the journal uses itself. A loss (any field whose name ends in "loss") is not finite: the line
    /// is written, and the error says which loss, where. The disk is full.
    pub fn log(&mut self, epoch: u64, step: u64, fields: &Entry) -> Result<()> {
        if let Some(name) = OWN.iter().find(|name| fields.contains_key(**name)) {
            return Err(Error::user(format!("a logged field cannot be called \"{name}\""))
                .hint("epoch, step and time are in every line of the journal; choose another name"));
        }
        let time = (self.started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        let mut line = serde_json::to_vec(&Line { epoch, step, fields, time })
            .map_err(|e| Error::run(format!("{}: {e}", self.path.display())))?;
        line.push(b'\n');
        if self.shut {
            return Ok(());
        }
        self.check_there()?;
        files::append(&self.file, &self.path, &line)
            .map_err(|e| Error { blame: crate::error::Blame::Run, ..Error::file(&self.path, &e) })?;
        self.names.extend(fields.keys().cloned());

        let lost = fields
            .iter()
            .find(|(name, value)| name.ends_with("loss") && value_of(value).is_some_and(|v| !v.is_finite()));
        match lost {
            // The settings of the search are the cause, and the user's to fix.
            Some((name, value)) => Err(Error::user(format!(
                "{name} is {} at step {step} of epoch {epoch}",
                value.as_str().unwrap_or_default()
            ))
            .hint(format!(
                "a smaller learning rate or clipping may help; the journal up to here is {}",
                self.path.display()
            ))),
            None => Ok(()),
        }
    }

    /// Whether the file was deleted while it was written.
    #[cfg(unix)]
    pub fn is_gone(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        self.file.metadata().is_ok_and(|file| file.nlink() == 0)
    }

    /// Whether the file was deleted while it was written.
    #[cfg(not(unix))]
    pub fn is_gone(&self) -> bool {
        !self.path.exists()
    }

    /// Checks that the file was not deleted meanwhile.
    ///
    /// # Errors
    /// It was: what would be written now, nobody could read.
    pub fn check_there(&self) -> Result<()> {
        match self.is_gone() {
            true => Err(Error::run(format!("{} was deleted while the run went on", self.path.display()))
                .hint("the run's folder belongs to the run until it ends; start it again")),
            false => Ok(()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all fields logged so far.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }
}

/// Checks that no process writes the journal, if there is one.
///
/// # Errors
/// One does.
pub fn check_free(path: &Path) -> Result<()> {
    File::open(path).map_or(Ok(()), |file| lock(&file, path))
}

/// Checks that no other process writes the run, and keeps others from it as long as the file is open.
fn lock(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(Error::user(format!("another process is writing {}", path.display())).hint("one run, one process"))
        }
        // Some file systems have no locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// A number as the journal writes it.
pub fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map(Value::Number).unwrap_or_else(|| {
        let name = match value {
            v if v.is_nan() => "NaN",
            v if v > 0.0 => "inf",
            _ => "-inf",
        };
        Value::String(name.into())
    })
}

/// The number that a journal's value stands for, "NaN", "inf" and "-inf" among them.
pub fn value_of(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(name) => match name.as_str() {
            "NaN" => Some(f64::NAN),
            "inf" => Some(f64::INFINITY),
            "-inf" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// The lines of a journal. A last line that was cut off (the machine died while it was written) is left out.
///
/// # Errors
/// There is no such file; any other line is not a JSON object (the error names it).
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let text = std::fs::read(path).map_err(|e| {
        let error = Error::file(path, &e);
        match e.kind() {
            ErrorKind::NotFound => error.hint("a run's journal is called journal.jsonl and lies in its folder"),
            _ => error,
        }
    })?;
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let mut entries = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(entry) => entries.push(entry),
            // Only a line without its end can have been cut off.
            Err(_) if index + 1 == lines.len() => {}
            Err(error) => {
                let message = format!("{}: line {} is not a JSON object: {error}", path.display(), index + 1);
                return Err(Error::user(message).hint("each line of a journal is one JSON object"));
            }
        }
    }
    Ok(entries)
}

/// In what two journals differ first, times aside; `None` if they tell the same.
pub fn difference(one: &[Entry], other: &[Entry]) -> Option<String> {
    for (index, (a, b)) in one.iter().zip(other).enumerate() {
        let names: BTreeSet<&String> = a.keys().chain(b.keys()).filter(|name| *name != "time").collect();
        if let Some(name) = names.into_iter().find(|name| a.get(*name) != b.get(*name)) {
            let show = |entry: &Entry| entry.get(name).map_or("nothing".to_string(), Value::to_string);
            return Some(format!("line {}: {name} is {} and {}", index + 1, show(a), show(b)));
        }
    }
    (one.len() != other.len()).then(|| format!("{} lines and {} lines", one.len(), other.len()))
}
