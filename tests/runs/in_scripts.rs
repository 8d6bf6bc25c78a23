//! What scripts do with runs: loops, journal, charts, and the errors of their misuse. (`tests/script/examples.rs` runs
//! the examples.)

use candlewick::random::Seed;
use candlewick::run::{Entry, difference, read};
use candlewick::script::{Host, Page, Script, Setup};
use std::path::Path;

/// Runs a script whose run folder is `out`.
fn run(text: &str, out: &Path) -> Result<(), Box<Page>> {
    let setup = Setup { out: Some(out.to_path_buf()), seed: Seed(3), ..Setup::default() };
    Script::compile(Host::with_sink(setup, Box::new(std::io::sink())), text.into())?.run()
}

/// The error of a script that fails.
#[track_caller]
fn failure(text: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    match run(text, &folder.path().join("run")) {
        Err(page) => (page.message, page.hint.unwrap_or_default()),
        Ok(()) => panic!("it ran: {text}"),
    }
}

const SEARCH: &str = r#"
    let data   = images("digits");
    let epochs = param("epochs", 2, "passes over the data");
    let train  = data.train.take(300).batches(100);
    let run    = start_run([train]);
    for epoch in run.epochs(epochs) {
        for batch in run.steps(train) {
            let loss = 0.0;
            for index in batch.indices { loss += index; }
            run.log(#{ train_loss: loss / 100.0 });
        }
        run.log(#{ valid_loss: 1.0 / (epoch + 1), valid_accuracy: 0.5 });
        run.plot("train_loss", "valid_loss", "valid_accuracy");
        run.plot_alphas(#{ normal: #{ ops: ["none", "skip_connect"], values: [[0.4, 0.6], [0.5, 0.5]] } });
        run.draw(#{ normal: [["skip_connect", 0], ["skip_connect", 1]], normal_concat: [2] });
    }
"#;

#[test]
fn a_search_leaves_its_journal_its_settings_and_its_charts() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("mine");
    run(SEARCH, &out).unwrap();
    let journal = read(&out.join("journal.jsonl")).unwrap();
    let steps: Vec<u64> =
        journal.iter().filter(|e| e.contains_key("train_loss")).filter_map(|e| e["step"].as_u64()).collect();
    assert_eq!(steps, [0, 1, 2, 3, 4, 5], "three batches an epoch");
    for name in ["train_loss-valid_loss-valid_accuracy", "alphas-normal", "alphas", "cells"] {
        assert!(out.join(format!("plots/{name}.png")).is_file() && out.join(format!("plots/{name}.svg")).is_file());
    }
    let info: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("run.json")).unwrap()).unwrap();
    assert_eq!(info["parameters"]["epochs"], 2);
    assert_eq!((info["seed"].as_u64(), info["device"].as_str()), (Some(3), Some("cpu")));
    assert_eq!(info["state"], serde_json::json!(["batches"]));
    assert!(["avx512", "avx2", "portable"].contains(&info["simd"].as_str().unwrap_or_default()));
}

#[test]
fn two_runs_with_one_seed_write_equal_journals() {
    let folder = tempfile::tempdir().unwrap();
    let journal = |name: &str| -> Vec<Entry> {
        let out = folder.path().join(name);
        run(SEARCH, &out).unwrap();
        read(&out.join("journal.jsonl")).unwrap()
    };
    assert_eq!(difference(&journal("one"), &journal("other")), None);
}

#[test]
fn a_loss_that_is_not_a_number_ends_the_script_and_names_the_step() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let text = "let run = start_run();\n\
                for step in run.steps(5) { run.log(#{ train_loss: if step < 2 { 1.0 } else { 0.0 / 0.0 } }); }";
    let page = run(text, &out).expect_err("it went on");
    assert_eq!(page.message, "train_loss is NaN at step 2 of epoch 0");
    assert_eq!(page.location.map(|location| location.line), Some(2));
    assert_eq!(read(&out.join("journal.jsonl")).unwrap().len(), 3);
}

#[test]
fn misuse_is_told_with_what_would_be_right() {
    let cases = [
        ("start_run([3])", "the int 3 has no state", "list networks"),
        ("start_run(); start_run();", "already holds a run", "a script starts one run"),
        ("for b in start_run().steps(\"train\") {}", "not the string \"train\"", "run.steps(train)"),
        ("start_run().log(#{ step: 3 })", "cannot be called \"step\"", "choose another name"),
        ("start_run().log(#{ f: |x| x })", "is not data", "take what you need"),
        ("let r = start_run(); r.log(#{ train_loss: 1.0 }); r.plot(\"train_los\")", "train_los", "train_loss"),
        ("start_run().plot_alphas(3)", "not the int 3", "#{ normal:"),
        ("start_run().plot_alphas(#{ normal: #{ values: [[1.0]] } })", "`ops`", "#{ ops:"),
        ("start_run().plot_alphas(#{ normal: #{ ops: [\"a\"], values: [[1.0]] } })", "1 rows", "2, 5, 9, 14"),
        ("start_run().plot_alphas(#{ normal: #{ ops: [\"a\"], values: [[1.0], [1.0, 2.0]] } })", "lengths [1, 2]", ""),
        ("start_run().draw(#{ normal: [[\"none\", 5], [\"none\", 0]] })", "can only read states 0 to 1", ""),
        ("start_run().draw(#{ normal: [[\"none\", 0]] })", "normal has 1 pairs", ""),
        ("start_run().draw(#{ normal: [[\"none\", \"x\"]] })", "an edge is ('sep_conv_3x3', input)", "normal_concat"),
        ("start_run().draw(3)", "not a genotype", "normal_concat"),
    ];
    for (script, message, hint) in cases {
        let (told, hinted) = failure(script);
        assert!(told.contains(message), "{script}: {told}");
        assert!(hinted.contains(hint), "{script}: {hinted}");
    }
}
