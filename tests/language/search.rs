//! A recurrent search from the shipped script: it learns, it draws, it resumes to the bit, and threads change nothing.

use crate::binary::{candlewick, command, finish};
use crate::scripts::shipped;
use candlewick::run::{Entry, difference, read};
use std::path::Path;

/// A search of a minute at the most.
const SMALL: [&str; 16] = [
    "--set",
    "hidden=16",
    "--set",
    "nodes=3",
    "--set",
    "batch=64",
    "--set",
    "epochs=2",
    "--set",
    "vocabulary=300",
    "--set",
    "order=2",
    "--set",
    "dropoutx=0.25",
    "--set",
    "lr=5",
];

fn arguments<'a>(script: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", script, "--out", out][..], &SMALL, more].concat()
}

fn journal(run: &Path) -> Vec<Entry> {
    read(&run.join("journal.jsonl")).expect("a journal")
}

#[test]
fn a_search_learns_draws_and_resumes_to_the_bit_with_any_number_of_threads() {
    let script = shipped("rnn_darts.rhai").display().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    candlewick(folder.path(), &arguments(&script, "whole", &["--threads", "1"])).shows(0, &[]);
    let whole = folder.path().join("whole");
    let perplexities: Vec<f64> =
        journal(&whole).iter().filter_map(|entry| entry.get("valid_perplexity")?.as_f64()).collect();
    assert_eq!(perplexities.len(), 2);
    assert!(perplexities[1] < perplexities[0] && perplexities[0] < 300.0, "{perplexities:?}");
    for chart in
        ["alphas-recurrent.png", "alphas.png", "cells.png", "valid_perplexity.png", "train_loss-valid_loss.png"]
    {
        assert!(whole.join("plots").join(chart).exists(), "{chart}");
    }

    candlewick(folder.path(), &arguments(&script, "threads", &["--threads", "2"])).shows(0, &[]);
    assert_eq!(difference(&journal(&whole), &journal(&folder.path().join("threads"))), None);

    // The first epoch alone, then the rest of it.
    let first: Vec<&str> = arguments(&script, "parts", &[]);
    let first: Vec<&str> = first.iter().map(|a| if *a == "epochs=2" { "epochs=1" } else { a }).collect();
    candlewick(folder.path(), &first).shows(0, &[]);
    candlewick(folder.path(), &arguments(&script, "parts", &["--resume"])).shows(0, &[]);
    assert_eq!(difference(&journal(&whole), &journal(&folder.path().join("parts"))), None);
}

#[test]
fn a_cell_is_trained_and_goes_on_with_a_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = shipped("rnn_train.rhai").display().to_string();
    let settings =
        ["--set", "hidden=24", "--set", "batch=64", "--set", "epochs=2", "--set", "vocabulary=300", "--set", "lr=5"];
    candlewick(folder.path(), &[&["run", &script, "--out", "trained"][..], &settings].concat()).shows(0, &[]);
    let best = folder.path().join("trained/best.safetensors").display().to_string();
    let predict = shipped("rnn_predict.rhai").display().to_string();
    let network = format!("network={best}");
    let same = ["--set", &network, "--set", "count=12", "--set", "begin=It is a"];
    let ended = finish(command(folder.path()).args(["run", &predict]).args(same));
    ended.shows(0, &[]);
    assert!(ended.stdout.starts_with("It is a ") && ended.stdout.len() > 30, "{}", ended.stdout);
    let again = finish(command(folder.path()).args(["run", &predict]).args(same));
    assert_eq!(ended.stdout, again.stdout, "one seed, one text");
    let missing = ["--set", "network=trained/bst.safetensors"];
    finish(command(folder.path()).args(["run", &predict]).args(missing)).shows(2, &["bst.safetensors"]);
}
