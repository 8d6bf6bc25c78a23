//! Runs a script of `scripts/searches` at its small scale and checks that it leaves what every search leaves.

use crate::binary::candlewick;
use crate::scripts::shipped;
use crate::start::start;
use candlewick::run::{Entry, difference, read};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Whether the tests that take minutes run: `CANDLEWICK_SLOW=1`.
pub fn slow() -> bool {
    std::env::var_os("CANDLEWICK_SLOW").is_some_and(|value| value == "1")
}

/// A finished search.
pub struct Search {
    pub name: String,
    pub stdout: String,
    folder: tempfile::TempDir,
}

/// The arguments that run the search NAME at its small scale into the folder `run`.
fn arguments(name: &str, settings: &[&str]) -> Vec<String> {
    let script = shipped(&format!("searches/{name}.rhai")).display().to_string();
    let fixed = ["run", &script, "--out", "run", "--set", "scale=small"].map(String::from);
    fixed.into_iter().chain(settings.iter().flat_map(|setting| ["--set".into(), setting.to_string()])).collect()
}

fn run(folder: &Path, arguments: &[String]) -> String {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = candlewick(folder, &arguments);
    ended.shows(0, &[]);
    ended.stdout
}

impl Search {
    /// Runs the search NAME at its small scale with further settings. It must end well, print a genotype (the last one
    /// that was logged), and leave a journal and charts.
    #[track_caller]
    pub fn run(name: &str, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let stdout = run(folder.path(), &arguments(name, settings));
        let search = Self { name: name.into(), stdout, folder };
        search.is_whole();
        search
    }

    #[track_caller]
    fn is_whole(&self) {
        let printed = self.stdout.lines().rev().find(|line| line.starts_with("Genotype("));
        let printed = printed.unwrap_or_else(|| panic!("{}: no genotype in {}", self.name, self.stdout));
        let journal = self.journal();
        assert!(journal.iter().all(|entry| ["epoch", "step", "time"].iter().all(|field| entry.contains_key(*field))));
        let logged = journal.iter().rev().find_map(|entry| entry.get("genotype"));
        let logged = logged.unwrap_or_else(|| panic!("{}: no genotype is logged", self.name));
        if logged.get("normal").is_some() {
            let printed: candlewick::space::Genotype = printed.parse().expect("it parses");
            assert_eq!(*logged, printed.to_json(), "{}: what is printed is what was logged last", self.name);
        }
        let charts = self.charts();
        assert!(!charts.is_empty(), "{}: no charts", self.name);
        for chart in charts {
            let picture = image::open(&chart).unwrap_or_else(|e| panic!("{}: {e}", chart.display()));
            assert!(picture.width() > 200 && picture.height() > 100, "{}", chart.display());
        }
    }

    /// The charts in `plots`, as PNG files.
    pub fn charts(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.path("plots")).expect("plots").map(|entry| entry.expect("an entry").path());
        files.filter(|path| path.extension().is_some_and(|ending| ending == "png")).collect()
    }

    /// A file in the run's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("run").join(name)
    }

    pub fn journal(&self) -> Vec<Entry> {
        read(&self.path("journal.jsonl")).expect("the journal can be read")
    }

    /// The values of a field, in the order of the journal; there must be some.
    #[track_caller]
    pub fn values(&self, field: &str) -> Vec<Value> {
        let values: Vec<Value> = self.journal().iter().filter_map(|entry| entry.get(field)).cloned().collect();
        assert!(!values.is_empty(), "{} logs no {field}", self.name);
        values
    }

    /// The numbers of a field, in the order of the journal; all of them finite.
    #[track_caller]
    pub fn numbers(&self, field: &str) -> Vec<f64> {
        let numbers: Vec<f64> = self.values(field).iter().filter_map(Value::as_f64).collect();
        assert!(numbers.iter().all(|number| number.is_finite()), "{}: {field}: {numbers:?}", self.name);
        numbers
    }

    /// The genotype that was found.
    #[track_caller]
    pub fn genotype(&self) -> candlewick::space::Genotype {
        let line = self.stdout.lines().rev().find(|line| line.starts_with("Genotype(")).expect("a genotype");
        line.parse().expect("it parses")
    }

    /// Whether the chart `plots/NAME` was drawn.
    pub fn drew(&self, chart: &str) -> bool {
        self.path(&format!("plots/{chart}.png")).is_file() && self.path(&format!("plots/{chart}.svg")).is_file()
    }
}

/// Runs the search NAME whole, and once more killed after its first epoch and resumed: both must leave the same journal
/// and print the same.
#[track_caller]
pub fn resumes(name: &str, settings: &[&str]) {
    let whole = Search::run(name, settings);
    let broken = tempfile::tempdir().expect("a folder");
    let arguments = arguments(name, settings);
    let given: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut child = start(broken.path(), &given);
    let (run_folder, begun) = (broken.path().join("run"), Instant::now());
    while !run_folder.join("checkpoint").read_dir().is_ok_and(|mut files| files.next().is_some()) {
        assert!(child.try_wait().expect("the child can be asked").is_none(), "{name} ended without a checkpoint");
        assert!(begun.elapsed() < Duration::from_secs(600), "{name}: no checkpoint came");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let stdout = run(broken.path(), &[arguments, vec!["--resume".into()]].concat());
    let [one, other] = [whole.path("journal.jsonl"), run_folder.join("journal.jsonl")];
    let [one, other] = [one, other].map(|journal| read(&journal).expect("a journal"));
    assert_eq!(difference(&one, &other), None, "{name}: the journals differ");
    assert_eq!(stdout, whole.stdout, "{name}: what is printed differs");
}

/// Runs the search NAME at its small scale with settings that it should refuse.
pub fn refused(name: &str, settings: &[&str]) -> crate::binary::Ended {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = arguments(name, settings);
    candlewick(folder.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}
