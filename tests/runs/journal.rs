//! A run's folder tells everything about it: whole lines, every number of the charts, nothing overwritten.

use candlewick::error::Blame;
use candlewick::run::{
    Entry, Journal, MixingWeights, Plot, Progress, Run, RunFolder, RunInfo, claim, difference, figures, number, read,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

fn info() -> RunInfo {
    RunInfo { script: "first_search.rhai".into(), seed: 7, device: "cpu".into(), threads: 2, ..RunInfo::default() }
}

fn run_in(folder: &Path) -> candlewick::Result<Run> {
    Run::start(RunFolder::begin(folder, &info(), Some("print(1);\n"))?, Progress::hidden(), vec![], Entry::new())
}

fn fields(value: Value) -> Entry {
    value.as_object().cloned().unwrap_or_default()
}

fn weights(share: f64) -> BTreeMap<String, MixingWeights> {
    let edge = |from: &str| (from.to_string(), "0".to_string());
    let weights = MixingWeights {
        edges: vec![edge("c_{k-2}"), edge("c_{k-1}")],
        ops: vec!["none".into(), "skip_connect".into()],
        values: vec![vec![share, 1.0 - share]; 2],
    };
    BTreeMap::from([("normal".to_string(), weights)])
}

fn genotype() -> Value {
    json!({ "normal": [["skip_connect", 0], ["skip_connect", 1]], "normal_concat": [2],
            "reduce": [["skip_connect", 0], ["max_pool_3x3", 1]], "reduce_concat": [2] })
}

/// A search of two epochs of three steps, as a script would write it.
fn search(run: &Run) -> candlewick::Result<()> {
    for epoch in run.epochs(2) {
        let epoch = epoch?;
        for batch in run.steps((0..3).map(Ok), Some(3)) {
            let loss = 2.0 - epoch as f64 - 0.1 * f64::from(batch?);
            run.log(&fields(json!({ "train_loss": loss })))?;
        }
        run.log(&fields(json!({ "valid_loss": 1.5, "valid_accuracy": 0.5, "genotype": genotype() })))?;
        run.plot(&["train_loss".into(), "valid_loss".into(), "valid_accuracy".into()])?;
        run.plot_alphas(&weights(0.5 + 0.1 * epoch as f64))?;
        run.draw(&genotype())?;
    }
    Ok(())
}

#[test]
fn a_run_folder_holds_the_script_the_settings_and_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    search(&run_in(&path).unwrap()).unwrap();
    assert_eq!(std::fs::read_to_string(path.join("first_search.rhai")).unwrap(), "print(1);\n");
    let info: Value = serde_json::from_str(&std::fs::read_to_string(path.join("run.json")).unwrap()).unwrap();
    assert_eq!((&info["seed"], &info["device"], &info["threads"]), (&json!(7), &json!("cpu"), &json!(2)));
    assert!(info["started"].as_str().is_some_and(|time| time.ends_with('Z')), "{info}");
    assert!(info["candlewick"].is_string());
}

#[test]
fn lines_say_where_in_the_loop_they_were_logged() {
    let folder = tempfile::tempdir().unwrap();
    search(&run_in(folder.path()).unwrap()).unwrap();
    let lines = read(&folder.path().join("journal.jsonl")).unwrap();
    let place = |entry: &Entry| (entry["epoch"].as_u64(), entry["step"].as_u64());
    let steps: Vec<_> = lines.iter().filter(|entry| entry.contains_key("train_loss")).map(place).collect();
    assert_eq!(steps, (0..6).map(|step| (Some(step / 3), Some(step))).collect::<Vec<_>>());
    let epochs: Vec<_> = lines.iter().filter(|entry| entry.contains_key("valid_accuracy")).map(place).collect();
    assert_eq!(epochs, [(Some(0), Some(2)), (Some(1), Some(5))], "an epoch's line carries its last step");
    assert!(lines.iter().all(|entry| entry["time"].is_number()));
    let text = std::fs::read_to_string(folder.path().join("journal.jsonl")).unwrap();
    assert!(text.starts_with("{\"epoch\":0,\"step\":0,\"train_loss\":2.0,\"time\":"), "{text}");
}

#[test]
fn two_equal_runs_write_equal_journals_times_aside() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    search(&run_in(one.path()).unwrap()).unwrap();
    let run = run_in(other.path()).unwrap();
    search(&run).unwrap();
    let journal = |folder: &Path| read(&folder.join("journal.jsonl"));
    assert_eq!(difference(&journal(one.path()).unwrap(), &journal(other.path()).unwrap()), None);
    run.log(&fields(json!({ "train_loss": 0.25 }))).unwrap();
    let told = difference(&journal(one.path()).unwrap(), &journal(other.path()).unwrap());
    assert_eq!(told.as_deref(), Some("10 lines and 11 lines"));
    let mut changed = journal(one.path()).unwrap();
    changed[1].insert("train_loss".into(), json!(9.0));
    let told = difference(&journal(one.path()).unwrap(), &changed);
    assert_eq!(told.as_deref(), Some("line 2: train_loss is 1.9 and 9.0"));
}

#[test]
fn a_loss_that_is_not_a_number_stops_the_run_and_is_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_in(folder.path()).unwrap();
    let mut stopped = None;
    for batch in run.steps((0..5).map(Ok), None) {
        let loss = if batch.unwrap() == 3 { f64::NAN } else { 1.0 };
        if let Err(error) = run.log(&Entry::from_iter([("train_loss".to_string(), number(loss))])) {
            stopped = Some(error);
            break;
        }
    }
    let error = stopped.expect("it went on");
    assert_eq!(error.message, "train_loss is NaN at step 3 of epoch 0");
    assert_eq!(error.blame, Blame::User);
    let last = read(&folder.path().join("journal.jsonl")).unwrap().pop();
    assert_eq!(last.and_then(|mut entry| entry.remove("train_loss")), Some(json!("NaN")));
    // What is not a loss may be anything.
    run.log(&Entry::from_iter([("gradient_norm".to_string(), number(f64::INFINITY))])).unwrap();
}

#[test]
fn a_journal_cut_off_in_its_last_line_can_still_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    std::fs::write(&path, "{\"epoch\":0,\"step\":0}\n{\"epoch\":0,\"step\":1}\n{\"epoch\":0,\"st").unwrap();
    assert_eq!(read(&path).unwrap().len(), 2);
    std::fs::write(&path, "{\"epoch\":0,\"step\":0}\n{\"epoch\":0,\"st\n{\"epoch\":0,\"step\":1}\n").unwrap();
    let error = read(&path).err().map(|e| e.message).unwrap_or_default();
    assert!(error.contains("line 2 is not a JSON object"), "{error}");
    let error = read(&folder.path().join("nothing.jsonl")).err().and_then(|e| e.hint);
    assert!(error.is_some_and(|hint| hint.contains("journal.jsonl")));
}

#[test]
fn the_journals_own_names_cannot_be_logged() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(&folder.path().join("journal.jsonl")).unwrap();
    let error = journal.log(0, 0, &fields(json!({ "step": 3 }))).err();
    assert!(error.is_some_and(|e| e.blame == Blame::User && e.message.contains("\"step\"")));
}

#[test]
fn a_folder_that_holds_a_run_is_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("mine");
    let path = claim(Some(&out), "first_search").unwrap();
    assert_eq!(path, out);
    drop(run_in(&path).unwrap());
    let error = claim(Some(&out), "first_search").err();
    let hint = error.as_ref().and_then(|e| e.hint.clone()).unwrap_or_default();
    assert!(error.is_some_and(|e| e.blame == Blame::User && e.message.contains("already holds a run")));
    assert!(hint.contains("--out"), "{hint}");
    assert!(run_in(&out).is_err());
}

#[test]
fn charts_are_drawn_while_it_runs_and_again_from_the_journal_alone() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_in(folder.path()).unwrap();
    search(&run).unwrap();
    run.finish().unwrap();
    let names = ["train_loss-valid_loss-valid_accuracy", "alphas-normal", "alphas", "cells"];
    for name in names {
        for extension in ["svg", "png"] {
            let path = folder.path().join("plots").join(format!("{name}.{extension}"));
            assert!(path.is_file(), "{}", path.display());
        }
    }
    let journal = read(&folder.path().join("journal.jsonl")).unwrap();
    for (plot, count) in [(Plot::Curves(vec!["valid_loss".into()]), 1), (Plot::Alphas, 2), (Plot::Cells, 1)] {
        assert_eq!(figures(&plot, &journal).unwrap().len(), count);
    }
    let svg = std::fs::read_to_string(folder.path().join("plots/train_loss-valid_loss-valid_accuracy.svg")).unwrap();
    assert!(svg.contains("\nepoch\n") && svg.contains("\naccuracy\n") && svg.contains("\ntrain_loss\n"));
}

#[test]
fn plotting_what_was_never_logged_names_the_closest_field() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_in(folder.path()).unwrap();
    let nothing = run.plot(&["train_loss".into()]).err().and_then(|e| e.hint);
    assert_eq!(nothing.as_deref(), Some("log it first"));
    run.log(&fields(json!({ "train_loss": 1.0 }))).unwrap();
    let error = run.plot(&["train_los".into()]).err();
    assert_eq!(error.and_then(|e| e.hint).as_deref(), Some("did you mean \"train_loss\"?"));
    let error = run.draw(&json!({ "normal": [["skip_connect", 7]], "normal_concat": [2] })).err();
    assert!(error.is_some_and(|e| e.message.contains("normal has 1 pairs")));
}

/// A sink that can be looked into.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().map(|mut text| text.extend_from_slice(bytes)).ok();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn without_a_terminal_progress_is_plain_lines() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink::default();
    let run_folder = RunFolder::begin(folder.path(), &info(), None).unwrap();
    search(&Run::start(run_folder, Progress::lines(Box::new(sink.clone())), vec![], Entry::new()).unwrap()).unwrap();
    let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "one summary an epoch, and quick steps are not worth a line: {text}");
    assert!(lines[0].starts_with("epoch 1/2  train_loss 1.9000  valid_accuracy 0.5000  valid_loss 1.5000"), "{text}");
    assert!(!text.contains('\u{1b}'), "no control sequences");
}
