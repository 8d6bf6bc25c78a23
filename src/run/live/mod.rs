//! A run in progress: where the loop is, what it logs, which charts it wants, what it keeps.

mod charts;
mod loops;

pub use loops::{Epochs, Steps};

use super::checkpoint::{Header, Lasting};
use super::folder::{Reopened, RunFolder};
use super::journal::{Entry, Journal, value_of};
use super::keeper::Keeper;
use super::plots::Plot;
use super::progress::Progress;
use crate::error::{Blame, tell};
use crate::{Error, Result, interrupt};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// A handle on a run; clones are the same run. When the last one goes, charts that were put off are drawn.
#[derive(Clone)]
pub struct Run(Arc<Mutex<State>>);

/// A run that may be over; see [`Run::downgrade`].
#[derive(Clone, Default)]
pub struct WeakRun(Weak<Mutex<State>>);

impl WeakRun {
    pub fn upgrade(&self) -> Option<Run> {
        self.0.upgrade().map(Run)
    }
}

struct State {
    folder: RunFolder,
    journal: Journal,
    progress: Progress,
    started: Instant,
    epoch: u64,
    /// The current step, or the last one where none is running; counted from 0 over the whole run.
    step: u64,
    /// Steps begun so far.
    begun: u64,
    /// Whether a step is running: what is logged then is its.
    in_step: bool,
    /// Numbers logged by the running step.
    latest: Vec<(String, f64)>,
    /// Sum and count of what the epoch's steps logged.
    sums: BTreeMap<String, (f64, f64)>,
    /// The genotype logged last.
    genotype: Option<Value>,
    put_off: BTreeSet<Plot>,
    drawing: Duration,
    keeper: Keeper,
    /// What is yet to be written down of a run that goes on.
    reopened: Option<Reopened>,
    /// The charts by the names of their files.
    charts: BTreeMap<String, Plot>,
    /// Loops over epochs begun so far.
    loops: u64,
}

impl Run {
    /// A run that writes into `folder`; what `lasting` and `kept` (the script's values) hold is in its checkpoints.
    ///
    /// # Errors
    /// The folder holds a journal already, or cannot be written.
    pub fn start(
        folder: RunFolder,
        progress: Progress,
        lasting: Vec<Box<dyn Lasting>>,
        kept: Map<String, Value>,
    ) -> Result<Self> {
        let journal = Journal::create(&folder.journal())?;
        let keeper = Keeper::new(folder.checkpoints(), lasting, kept, None);
        Ok(Self::with(folder, journal, progress, keeper))
    }

    /// A run that goes on from its newest checkpoint, as soon as its loop over epochs begins. Until then nothing is
    /// written: it has been.
    ///
    /// # Errors
    /// There is no whole checkpoint; another process writes the run.
    pub fn resume(
        reopened: Reopened,
        mut progress: Progress,
        lasting: Vec<Box<dyn Lasting>>,
        kept: Map<String, Value>,
    ) -> Result<Self> {
        let folder = reopened.folder.clone();
        let mut journal = Journal::reopen(&folder.journal())?;
        let (saved, passed) = folder.checkpoints().newest(journal.length()?)?;
        for path in passed {
            progress.note(&format!("warning: {} is damaged; the checkpoint before it is taken", path.display()));
        }
        let keeper = Keeper::new(folder.checkpoints(), lasting, kept, Some(saved));
        let run = Self::with(folder, journal, progress, keeper);
        run.state().reopened = Some(reopened);
        Ok(run)
    }

    fn with(folder: RunFolder, journal: Journal, progress: Progress, keeper: Keeper) -> Self {
        Self(Arc::new(Mutex::new(State {
            folder,
            journal,
            progress,
            started: Instant::now(),
            epoch: 0,
            step: 0,
            begun: 0,
            in_step: false,
            latest: Vec::new(),
            sums: BTreeMap::new(),
            genotype: None,
            put_off: BTreeSet::new(),
            drawing: Duration::ZERO,
            keeper,
            reopened: None,
            charts: BTreeMap::new(),
            loops: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is plain data and whole between any two statements, also after a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a line between those of the progress.
    pub fn note(&self, line: &str) {
        self.state().progress.note(line);
    }

    /// A handle that keeps no run alive.
    pub fn downgrade(&self) -> WeakRun {
        WeakRun(Arc::downgrade(&self.0))
    }

    pub fn folder(&self) -> PathBuf {
        self.state().folder.path().to_path_buf()
    }

    /// The epoch that is running, counted from 0.
    pub fn epoch(&self) -> u64 {
        self.state().epoch
    }

    /// The step that is running, or the last one that ran, counted from 0 over the whole run.
    pub fn step(&self) -> u64 {
        self.state().step
    }

    /// The values that the script keeps, by name.
    pub fn kept(&self) -> Map<String, Value> {
        self.state().keeper.kept.clone()
    }

    /// Sets the values that the script keeps.
    pub fn keep(&self, values: Map<String, Value>) {
        self.state().keeper.kept = values;
    }

    /// The numbers of `count` epochs, from 0, or in a resumed run from where its checkpoint stands. Between two epochs
    /// of the run's first such loop its state is kept. Ends with an error once Ctrl-C was pressed.
    pub fn epochs(&self, count: u64) -> Epochs {
        Epochs::new(self.clone(), count)
    }

    /// The items of `items`, one per step; `count` of them if that is known. Ends with an error once Ctrl-C was
    /// pressed.
    pub fn steps<T, I: Iterator<Item = Result<T>>>(&self, items: I, count: Option<u64>) -> Steps<I> {
        Steps::new(self.clone(), items, count)
    }

    /// Writes a line into the journal and shows its numbers.
    ///
    /// # Errors
    /// As [`Journal::log`]: reserved names, a loss that is not finite, a full disk.
    pub fn log(&self, fields: &Entry) -> Result<()> {
        let state = &mut *self.state();
        let written = state.write(fields);
        if written.as_ref().is_err_and(|error| error.blame == Blame::User) {
            return written;
        }
        let numbers = fields.iter().filter_map(|(name, value)| Some((name.clone(), value_of(value)?)));
        if state.in_step {
            for (name, value) in numbers {
                let sum = state.sums.entry(name.clone()).or_default();
                *sum = (sum.0 + value, sum.1 + 1.0);
                state.latest.push((name, value));
            }
        } else {
            // What the epoch's steps logged is summed up by its mean.
            let means = std::mem::take(&mut state.sums).into_iter().map(|(name, (sum, count))| (name, sum / count));
            let values: Vec<(String, f64)> = means.chain(numbers).collect();
            state.progress.summary(&values);
        }
        written
    }

    /// Ends the loop and draws every chart that was put off.
    pub fn finish(&self) -> Result<()> {
        self.state().finish()
    }
}

impl State {
    /// Puts the state back that a resumed run goes on from: its next epoch.
    fn restore(&mut self) -> Result<Option<u64>> {
        let changes = self.reopened.as_ref().map(|reopened| reopened.changes.join("; ")).unwrap_or_default();
        let restored = self.keeper.restore().map_err(|error| match changes.is_empty() {
            true => error,
            false => {
                let hint = format!("changed since the run began: {changes}; leave out the --set that does not fit");
                error.hint(hint)
            }
        });
        let Some(header) = restored? else { return Ok(None) };
        self.reopened.take().map_or(Ok(()), Reopened::go_on)?;
        self.journal.go_on(header.journal, Duration::from_secs_f64(header.elapsed))?;
        (self.epoch, self.step, self.begun) = (header.epoch.saturating_sub(1), header.step, header.begun);
        (self.genotype, self.put_off) = (header.genotype, header.put_off);
        let place = if header.epoch == 0 { "before epoch 1".into() } else { format!("after epoch {}", header.epoch) };
        self.progress.note(&format!("{} goes on {place}", self.folder.path().display()));
        Ok(Some(header.epoch))
    }

    /// Keeps the state that epoch `epoch` begins with.
    fn keep(&mut self, epoch: u64) -> Result<()> {
        self.journal.check_there()?;
        let elapsed = self.journal.elapsed();
        let header = Header {
            epoch,
            step: self.step,
            begun: self.begun,
            journal: self.journal.length()?,
            elapsed: elapsed.as_secs_f64(),
            genotype: self.genotype.clone(),
            put_off: self.put_off.clone(),
            ..Header::default()
        };
        self.keeper.take(header)?;
        if self.keeper.is_due(elapsed) { self.checkpoint() } else { Ok(()) }
    }

    /// Writes the state kept last.
    fn checkpoint(&mut self) -> Result<()> {
        if self.keeper.is_pending() {
            // A checkpoint must not know of lines that a power cut can take.
            let written = self.journal.sync().and_then(|()| self.keeper.write());
            return written.map_err(|error| Error { blame: Blame::Run, ..error });
        }
        Ok(())
    }

    fn write(&mut self, fields: &Entry) -> Result<()> {
        if let Some(genotype) = fields.get("genotype") {
            self.genotype = Some(genotype.clone());
        }
        self.journal.log(self.epoch, self.step, fields)
    }

    fn finish(&mut self) -> Result<()> {
        self.end_step();
        self.progress.end_steps();
        self.draw_all()
    }

    fn end_step(&mut self) {
        if std::mem::take(&mut self.in_step) {
            let latest = std::mem::take(&mut self.latest);
            self.progress.step(&latest);
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Whoever deleted the folder wants nothing written there; the run's error has said so.
        if self.journal.is_gone() {
            return;
        }
        if let Err(error) = self.checkpoint() {
            tell(&format!("warning: {error}"));
        }
        // Ctrl-C ends the run at once: the charts can be redrawn from the journal.
        if !interrupt::requested()
            && let Err(error) = self.finish()
        {
            tell(&format!("warning: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::Checkpoints;
    use super::super::journal::read;
    use super::*;
    use crate::files::faults::{Stop, stopping};
    use crate::run::{RunInfo, number};
    use std::path::Path;

    /// A short run, which ends early where the machine does; whether it came to its end.
    fn run_in(folder: &Path) -> Result<()> {
        let info = RunInfo { script: "s.rhai".into(), ..RunInfo::default() };
        let run = Run::start(RunFolder::begin(folder, &info, None)?, Progress::hidden(), vec![], Entry::new())?;
        for epoch in run.epochs(2) {
            epoch?;
            for step in run.steps((0..2).map(Ok), Some(2)) {
                let _: i32 = step?;
                run.log(&Entry::from_iter([("train_loss".to_string(), number(1.0))]))?;
            }
        }
        Ok(())
    }

    #[test]
    fn a_checkpoint_knows_of_no_line_that_a_power_cut_takes() {
        let mut kept = 0;
        for changes in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let ended = stopping(Stop::PowerCut, changes, || run_in(folder.path()));
            let journal = folder.path().join("journal.jsonl");
            let length = std::fs::metadata(&journal).map_or(0, |file| file.len());
            let checkpoints = Checkpoints::new(folder.path().join("checkpoint"));
            if !checkpoints.is_empty().unwrap() {
                kept += 1;
                let (newest, passed) = checkpoints.newest(length).unwrap();
                assert!(passed.is_empty(), "after {changes}: {passed:?} knows more than the {length} bytes there are");
                assert!(read(&journal).unwrap().len() as u64 >= newest.header.begun);
            }
            // The run's last checkpoint is written as its handle goes.
            if ended.is_ok() && changes > 40 {
                break;
            }
        }
        assert!(kept > 10, "{kept} stops found a checkpoint");
    }
}
