//! What native functions reach of the process around the script: seed, device, settings, folders, output.
//!
//! One [`Host`] lives as long as one script; declarations capture it in an `Arc`. Everything a resumed run must find
//! again (random-number positions) can be read and set.

mod meter;
mod noted;

pub use meter::{Held, Meter};

use crate::engine::cuda::Launcher;
use crate::error::tell;
use crate::random::{Rng, Seed};
use crate::run::{Recorded, Run, WeakRun};
use crate::streams::Stdout;
use crate::{Error, Result};
use candle_core::{DType, Device};
use noted::Noted;
use rhai::Dynamic;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What the command line decides before a script runs.
pub struct Setup {
    /// The script's file; its folder may be read.
    pub script: PathBuf,
    pub seed: Seed,
    /// Where tensors live.
    pub device: Device,
    /// What the command line calls the device: "cpu", "cuda:0".
    pub device_name: String,
    /// The GPU that networks run on, if they run on one.
    pub networks: Option<Arc<dyn Launcher>>,
    /// The type of tensors, weights and losses: F32 or F64.
    pub dtype: DType,
    /// Worker threads; the size of the global rayon pool.
    pub threads: usize,
    /// Where `--out` wants the run folder.
    pub out: Option<PathBuf>,
    /// The folder of the run that is to go on, where one is.
    pub resume: Option<PathBuf>,
    /// Whether it may go on with other data than it began with.
    pub force: bool,
    /// `--set` values by parameter name, unparsed.
    pub settings: BTreeMap<String, String>,
    /// Folders named with `--data`.
    pub data: Vec<PathBuf>,
    /// Bytes that a script's tensors may hold at once.
    pub memory: u64,
    /// The folder in which the scores of cells are kept; none: nowhere.
    pub cells: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            script: "script.rhai".into(),
            seed: Seed(0),
            device: Device::Cpu,
            device_name: "cpu".into(),
            networks: None,
            dtype: DType::F32,
            threads: 1,
            out: None,
            resume: None,
            force: false,
            settings: BTreeMap::new(),
            data: vec![],
            memory: 8 << 30,
            cells: None,
        }
    }
}

/// A parameter of the script as it was read.
#[derive(Clone, Debug)]
pub struct ParamValue {
    pub name: String,
    pub value: Dynamic,
}

/// What is told on stderr besides results.
#[derive(Default)]
pub struct Notes {
    run: Mutex<WeakRun>,
    /// Lines that are told once.
    told: Mutex<BTreeSet<String>>,
}

impl Notes {
    /// Shows a line, unless it was shown before.
    pub fn show_once(&self, line: &str) {
        if lock(&self.told).insert(line.to_string()) {
            self.show(line);
        }
    }

    /// Shows a line: between those of the run's progress, where a run is on.
    pub fn show(&self, line: &str) {
        match self.run() {
            Some(run) => run.note(line),
            None => tell(line),
        }
    }

    /// The run that is on.
    pub fn run(&self) -> Option<Run> {
        lock(&self.run).upgrade()
    }

    /// The run between whose lines notes belong from now on.
    pub fn follow(&self, run: &Run) {
        *lock(&self.run) = run.downgrade();
    }
}

/// The process around one script.
pub struct Host {
    pub setup: Setup,
    pub meter: Arc<Meter>,
    pub notes: Arc<Notes>,
    sink: Mutex<Box<dyn Write + Send>>,
    /// The first failure to print.
    unprinted: OnceLock<String>,
    /// The code that the script ended with by itself.
    left: OnceLock<u8>,
    params: Mutex<Vec<ParamValue>>,
    /// What a scale that was chosen gives parameters instead of their defaults.
    presets: Mutex<BTreeMap<String, Dynamic>>,
    draws: Mutex<BTreeMap<String, u64>>,
    run_folder: Mutex<Option<PathBuf>>,
    /// The data sets read so far that lie in files, each by its name and the list of its files.
    data: Mutex<Vec<Noted>>,
    /// What the run that goes on was read from, once it is looked up.
    recorded: Mutex<Option<Recorded>>,
    resumed: AtomicBool,
}

impl Host {
    pub fn new(setup: Setup) -> Arc<Self> {
        Self::with_sink(setup, Box::new(Stdout))
    }

    /// A host whose scripts print into `sink`.
    pub fn with_sink(setup: Setup, sink: Box<dyn Write + Send>) -> Arc<Self> {
        let meter = Arc::new(Meter::new(setup.memory));
        let run_folder = Mutex::new(setup.resume.clone());
        Arc::new(Self {
            setup,
            meter,
            sink: Mutex::new(sink),
            unprinted: OnceLock::new(),
            left: OnceLock::new(),
            params: Mutex::default(),
            presets: Mutex::default(),
            draws: Mutex::default(),
            run_folder,
            data: Mutex::default(),
            recorded: Mutex::default(),
            resumed: AtomicBool::new(false),
            notes: Arc::default(),
        })
    }

    pub fn seed(&self) -> Seed {
        self.setup.seed
    }

    /// The type of the script's tensors and networks.
    pub fn dtype(&self) -> DType {
        self.setup.dtype
    }

    pub fn device(&self) -> &Device {
        &self.setup.device
    }

    /// The GPU that networks run on, if they run on one.
    pub fn networks(&self) -> Option<&Arc<dyn Launcher>> {
        self.setup.networks.as_ref()
    }

    /// The folder the script lies in.
    pub fn script_folder(&self) -> &Path {
        folder_of(&self.setup.script)
    }

    /// Writes one line of results. A closed pipe is not an error: the reader has read enough. A script is not told of
    /// any other failure in the middle of a print: [`printed`](Self::printed) reports it at the end.
    pub fn print(&self, line: &str) {
        let mut sink = lock(&self.sink);
        if let Err(error) = writeln!(sink, "{line}").and_then(|()| sink.flush())
            && error.kind() != ErrorKind::BrokenPipe
            && self.unprinted.set(error.to_string()).is_ok()
        {
            self.notes.show(&format!("warning: nothing can be printed: {error}"));
        }
    }

    /// Checks that everything printed so far was written.
    ///
    /// # Errors
    /// A full disk or another failure of stdout.
    pub fn printed(&self) -> Result<()> {
        match self.unprinted.get() {
            Some(error) => Err(Error::run(format!("not everything could be printed: {error}"))),
            None => Ok(()),
        }
    }

    /// Notes that the script ends by itself, with this exit code.
    ///
    /// # Errors
    /// A number that is not an exit code.
    pub fn leave(&self, code: i64) -> Result<()> {
        let code = u8::try_from(code)
            .map_err(|_| Error::user(format!("{code} is not an exit code")).hint("exit codes run from 0 to 255"))?;
        let _ = self.left.set(code);
        Ok(())
    }

    /// The exit code that the script ended with by itself.
    pub fn left(&self) -> Option<u8> {
        self.left.get().copied()
    }

    /// Other defaults for the parameters that are read from now on.
    pub fn preset(&self, values: BTreeMap<String, Dynamic>) {
        *lock(&self.presets) = values;
    }

    /// The default that was preset for a parameter.
    pub fn preset_of(&self, name: &str) -> Option<Dynamic> {
        lock(&self.presets).get(name).cloned()
    }

    /// Notes a parameter's value as the script read it.
    pub fn note_param(&self, name: &str, value: Dynamic) {
        let mut params = lock(&self.params);
        params.retain(|p| p.name != name);
        params.push(ParamValue { name: name.into(), value });
    }

    /// The parameters read so far, in the order the script asked for them.
    pub fn params(&self) -> Vec<ParamValue> {
        lock(&self.params).clone()
    }

    /// The generator of the next draw from `stream`: each call moves the stream on by one step.
    pub fn draw(&self, stream: &str) -> Rng {
        let mut draws = lock(&self.draws);
        let step = draws.entry(stream.into()).or_insert(0);
        let rng = self.setup.seed.rng(stream, *step);
        *step += 1;
        rng
    }

    /// How far every stream of [`Host::draw`] has moved; a checkpoint keeps this.
    pub fn draws(&self) -> BTreeMap<String, u64> {
        lock(&self.draws).clone()
    }

    /// Puts the streams of [`Host::draw`] where a checkpoint left them.
    pub fn set_draws(&self, draws: BTreeMap<String, u64>) {
        *lock(&self.draws) = draws;
    }

    /// The run folder, made on first use: `--out`, or the first free one of `runs/SCRIPT`, `runs/SCRIPT-2` ….
    pub fn run_folder(&self) -> Result<PathBuf> {
        let mut folder = lock(&self.run_folder);
        if let Some(folder) = folder.as_ref() {
            return Ok(folder.clone());
        }
        let stem = self.setup.script.file_stem().map_or("script".into(), |s| s.to_string_lossy().into_owned());
        let path = crate::run::claim(self.setup.out.as_deref(), &stem)?;
        *folder = Some(path.clone());
        Ok(path)
    }

    /// The run folder, if there is one by now.
    pub fn begun_run(&self) -> Option<PathBuf> {
        lock(&self.run_folder).clone()
    }

    /// Whether a file lies in the run's own folder.
    pub fn is_written(&self, file: &Path) -> bool {
        self.begun_run().and_then(|folder| folder.canonicalize().ok()).is_some_and(|folder| file.starts_with(folder))
    }

    /// Whether the run that a script starts goes on with an old one; true once, for the first.
    pub fn take_resume(&self) -> bool {
        self.setup.resume.is_some() && !self.resumed.swap(true, Ordering::Relaxed)
    }

    /// The path a script may read under the name `path`, looked up in the script's folder, then from where the command
    /// was started, then among what the run wrote.
    ///
    /// # Errors
    /// Where nothing is there, or where it lies outside the script's folder, the `--data` folders, the run folder and
    /// what the command line names.
    pub fn readable(&self, path: &str) -> Result<PathBuf> {
        let named = &*at_home(path);
        let beside = self.script_folder().join(named);
        // A name given with --set means what it means to the shell.
        let here_first = self.named().any(|value| value == path);
        let written = lock(&self.run_folder).as_ref().map(|folder| folder.join(named));
        let mut candidates = vec![beside, named.to_path_buf()];
        if here_first {
            candidates.reverse();
        }
        candidates.extend(written);
        let found: Vec<PathBuf> = candidates.iter().filter_map(|c| c.canonicalize().ok()).collect();
        let allowed = self.allowed();
        match found.iter().find(|real| allowed.iter().any(|root| real.starts_with(root))) {
            Some(real) => Ok(real.clone()),
            None if !found.is_empty() => Err(outside(path, "read")),
            // Existence is not told about places that may not be read.
            None if is_inside(named) || here_first || allowed.iter().any(|root| named.starts_with(root)) => {
                Err(Error::user(format!("there is no file or folder \"{path}\"")).hint(format!(
                    "relative names are looked up in the script's folder, {}, then where the command was started",
                    self.script_folder().display()
                )))
            }
            None => Err(outside(path, "read")),
        }
    }

    /// What may be read: the script's folder, `--data` folders, files and folders named with `--set`, the run folder.
    fn allowed(&self) -> Vec<PathBuf> {
        let named = self.named().map(|path| at_home(path).into_owned());
        let roots = std::iter::once(self.script_folder().to_path_buf()).chain(self.setup.data.iter().cloned());
        let roots = roots.chain(named).chain(self.setup.out.clone()).chain(lock(&self.run_folder).clone());
        roots.filter_map(|root| root.canonicalize().ok()).collect()
    }

    /// What `--set` names, one thing or several with commas between them.
    fn named(&self) -> impl Iterator<Item = &str> {
        let several = |value: &&String| value.contains(',');
        let parts = self.setup.settings.values().filter(several).flat_map(|value| value.split(','));
        self.setup.settings.values().map(String::as_str).chain(parts.filter(|part| !part.is_empty()))
    }

    /// The path inside the run folder that a script may write under the name `path`; missing folders are made.
    ///
    /// # Errors
    /// For absolute names and names with `..`, and for links that lead out of the run folder.
    pub fn writable(&self, path: &str) -> Result<PathBuf> {
        let named = Path::new(path);
        if !is_inside(named) || named.as_os_str().is_empty() {
            return Err(outside(path, "write"));
        }
        if crate::run::is_own(named) {
            return Err(Error::user(format!("\"{path}\" belongs to the run itself")).hint("choose another name"));
        }
        let folder = self.run_folder()?;
        let target = folder.join(named);
        let parent = folder_of(&target).to_path_buf();
        // A link on the way could lead out: the deepest part that exists decides before anything is made.
        let existing = parent.ancestors().find(|a| a.exists()).unwrap_or(&folder);
        let real = existing.canonicalize().map_err(|e| Error::file(existing, &e))?;
        let root = folder.canonicalize().map_err(|e| Error::file(&folder, &e))?;
        if !real.starts_with(&root) || target.is_symlink() {
            return Err(outside(path, "write"));
        }
        std::fs::create_dir_all(&parent).map_err(|e| Error::file(&parent, &e))?;
        Ok(target)
    }
}

/// A path with the user's folder in place of a leading `~`, which a shell leaves as it is behind `--set data=`.
fn at_home(path: &str) -> Cow<'_, Path> {
    let home = || std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    match path.strip_prefix('~') {
        Some("") => home().map_or(Path::new(path).into(), Cow::Owned),
        Some(rest) if rest.starts_with('/') => {
            home().map_or(Path::new(path).into(), |home| home.join(rest.trim_start_matches('/')).into())
        }
        _ => Path::new(path).into(),
    }
}

/// Whether a relative name stays below where it starts.
pub(super) fn is_inside(path: &Path) -> bool {
    path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
}

/// The folder of a file, "." for a bare name.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn outside(path: &str, what: &str) -> Error {
    let hint = match what {
        "read" => "a script reads its own folder, folders given with --data, and files named with --set",
        _ => "a script writes inside its run folder: give a relative name without \"..\"",
    };
    Error::user(format!("the script may not {what} \"{path}\"")).hint(hint)
}

/// A poisoned lock guards plain data that is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
