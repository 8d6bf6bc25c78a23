//! The shipped scripts, run as a stranger runs them: a cell, a journal, charts. Small here; set `CANDLEWICK_SLOW=1` to
//! run the first search whole.

use crate::binary::{Ended, candlewick};
use crate::scripts::shipped;
use candlewick::run::{Entry, read};
use candlewick::space::{CellKind, Genotype};
use std::path::Path;

/// A finished search.
struct Search {
    folder: tempfile::TempDir,
    ended: Ended,
}

impl Search {
    /// Runs a shipped script with parameters; it must end well.
    #[track_caller]
    fn run(script: &str, parameters: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = shipped(script).display().to_string();
        let mut arguments = vec!["run", &path, "--out", "run"];
        arguments.extend(parameters.iter().flat_map(|parameter| ["--set", parameter]));
        let ended = candlewick(folder.path(), &arguments);
        ended.shows(0, &[]);
        Self { folder, ended }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("run").join(name)
    }

    fn journal(&self) -> Vec<Entry> {
        read(&self.path("journal.jsonl")).expect("the journal can be read")
    }

    /// The genotype that was printed.
    #[track_caller]
    fn genotype(&self) -> Genotype {
        let line = self.ended.stdout.lines().find(|line| line.starts_with("Genotype("));
        line.unwrap_or_else(|| panic!("no genotype in {}", self.ended.stdout)).parse().expect("it parses")
    }

    /// The values of a field, in the order of the journal.
    #[track_caller]
    fn numbers(&self, field: &str) -> Vec<f64> {
        let numbers: Vec<f64> =
            self.journal().iter().filter_map(|entry| entry.get(field)).filter_map(|value| value.as_f64()).collect();
        assert!(!numbers.is_empty() && numbers.iter().all(|number| number.is_finite()), "{field}: {numbers:?}");
        numbers
    }

    /// A search of `epochs` epochs on a supernet of `nodes` nodes leaves what every search leaves.
    #[track_caller]
    fn is_whole(&self, epochs: usize, nodes: usize) {
        let genotype = self.genotype();
        assert!(CellKind::BOTH.iter().all(|kind| genotype.edges(*kind).len() == 2 * nodes));
        let journal = self.journal();
        assert!(journal.iter().all(|entry| ["epoch", "step", "time"].iter().all(|name| entry.contains_key(*name))));
        let last = journal.iter().rev().find_map(|entry| entry.get("genotype")).expect("genotypes are logged");
        assert_eq!(*last, genotype.to_json(), "what is printed is what was logged last");
        assert!(self.numbers("train_loss").len() > epochs);
        assert_eq!((self.numbers("valid_loss").len(), self.numbers("valid_accuracy").len()), (epochs, epochs));
        assert!(self.numbers("valid_accuracy").iter().all(|accuracy| (0.0..=1.0).contains(accuracy)));
        let charts = ["train_loss-valid_loss-valid_accuracy", "alphas-normal", "alphas-reduce", "alphas", "cells"];
        for chart in charts {
            is_a_chart(&self.path(&format!("plots/{chart}")));
        }
    }
}

/// Both files hold a picture.
#[track_caller]
fn is_a_chart(path: &Path) {
    let picture = image::open(path.with_extension("png")).unwrap_or_else(|e| panic!("{}.png: {e}", path.display()));
    assert!(picture.width() > 200 && picture.height() > 100, "{}", path.display());
    let svg = std::fs::read_to_string(path.with_extension("svg")).expect("an SVG");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{}", path.display());
}

#[test]
fn the_first_search_leaves_a_cell_a_journal_and_charts() {
    let search = Search::run("first_search.rhai", &["epochs=2", "channels=4", "layers=3", "batch=64"]);
    search.is_whole(2, 4);
    let steps: Vec<u64> = search.journal().iter().filter_map(|entry| entry["step"].as_u64()).collect();
    assert!(steps.is_sorted() && steps.last() == Some(&23), "719 images, 64 a step, two epochs: {steps:?}");
    assert!(search.path("run.json").is_file() && search.path("first_search.rhai").is_file());
    assert!(search.ended.stdout.contains("accuracy of the supernet on 359 digits"), "{}", search.ended.stdout);
}

#[test]
fn the_first_search_as_it_is_finds_a_good_supernet() {
    if std::env::var_os("CANDLEWICK_SLOW").is_none_or(|value| value != "1") {
        eprintln!("skipped: the whole search runs where CANDLEWICK_SLOW is 1");
        return;
    }
    let search = Search::run("first_search.rhai", &[]);
    search.is_whole(20, 4);
    let accuracy = search.numbers("valid_accuracy");
    assert!(accuracy.last().is_some_and(|accuracy| *accuracy >= 0.90), "{accuracy:?}");
}

#[test]
fn both_relaxations_of_ones_own_search() {
    for relaxation in ["gumbel", "sparsemax"] {
        let search = Search::run("own_relaxation.rhai", &["epochs=1", &format!("relaxation={relaxation}")]);
        search.is_whole(1, 4);
        assert_eq!(search.numbers("temperature"), [5.0]);
    }
}

#[test]
fn an_operation_of_ones_own_takes_part() {
    let search = Search::run("own_operation.rhai", &["epochs=1"]);
    search.is_whole(1, 4);
    assert!(search.ended.stdout.contains("squeezed_conv: "), "{}", search.ended.stdout);
}

#[test]
fn the_paper_s_search_runs_in_both_orders() {
    let small = ["data=digits", "limit=128", "channels=4", "layers=3", "nodes=2", "epochs=1", "batch=16"];
    let losses = ["order=1", "order=2"].map(|order| {
        let search = Search::run("darts.rhai", &[&small[..], &[order]].concat());
        search.is_whole(1, 2);
        search.numbers("train_loss")
    });
    assert_ne!(losses[0], losses[1], "the orders find different alphas");
}

#[test]
fn partial_channels_leave_the_alphas_alone_at_first() {
    let small = ["data=digits", "limit=128", "channels=8", "layers=3", "nodes=2", "epochs=2", "frozen=1", "batch=32"];
    let search = Search::run("pc_darts.rhai", &small);
    search.is_whole(2, 2);
    let weights: Vec<_> = search.journal().iter().filter_map(|entry| entry.get("alphas").cloned()).collect();
    assert!(weights.len() == 3 && weights[0] == weights[1] && weights[1] != weights[2], "{weights:?}");
    is_a_chart(&search.path("plots/alphas-betas_normal"));
}

#[test]
fn nothing_is_wrong_with_any_script() {
    let scripts = std::fs::read_dir(shipped("")).expect("scripts can be listed");
    let names: Vec<String> =
        scripts.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    // The editor's definitions are not a script.
    let runnable = |name: &&String| name.ends_with(".rhai") && !name.ends_with(".d.rhai");
    let checked: Vec<&String> = names.iter().filter(runnable).collect();
    assert!(checked.len() >= 5, "{names:?}");
    for name in checked {
        let path = shipped(name).display().to_string();
        candlewick(Path::new("."), &["check", &path]).shows(0, &[]);
    }
}
