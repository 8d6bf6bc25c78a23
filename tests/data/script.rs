//! The noun `data` as scripts meet it: examples that run, a sandbox that holds, errors that help.

use crate::files::*;
use candlewick::random::Seed;
use candlewick::script::{Catalogue, Failure, Host, Library, Setup, data};
use rhai::{Engine, EvalAltResult};
use std::path::Path;
use tempfile::tempdir;

/// An engine with nothing but this noun and `assert`, for a script in `folder`.
fn engine(folder: &Path, seed: u64) -> (Engine, Catalogue) {
    let host = Host::new(Setup { script: folder.join("search.rhai"), seed: Seed(seed), ..Setup::default() });
    let mut engine = Engine::new();
    engine.register_fn("assert", |condition: bool| -> Result<(), Box<EvalAltResult>> {
        if condition { Ok(()) } else { Err("the assertion does not hold".into()) }
    });
    let mut library = Library::new(host);
    data::declare(&mut library);
    let catalogue = library.install(&mut engine);
    (engine, catalogue)
}

/// The message and hint with which `script` fails.
fn failure(folder: &Path, script: &str) -> String {
    match *engine(folder, 0).0.run(script).expect_err(script) {
        EvalAltResult::ErrorRuntime(value, _) => {
            let Failure(error) = value.try_cast().expect("one of our errors");
            format!("{} / {}", error.message, error.hint.unwrap_or_default())
        }
        other => panic!("{other}"),
    }
}

#[test]
fn every_entry_is_documented_and_its_example_runs() {
    let folder = tempdir().unwrap();
    let (_, catalogue) = engine(folder.path(), 0);
    assert!(catalogue.entries.len() > 20);
    for entry in &catalogue.entries {
        assert!(!entry.doc.is_empty() && !entry.example.is_empty(), "{}", entry.title());
        engine(folder.path(), 0).0.run(entry.example).unwrap_or_else(|error| panic!("{}: {error}", entry.title()));
    }
}

#[test]
fn an_epoch_is_a_loop_and_may_be_broken_off() {
    let folder = tempdir().unwrap();
    let script = r#"
        let data = images("digits");
        let train = data.train.batches(100, #{ augment: "standard", drop_last: true });
        let epoch = train.epoch(1);
        let first = [];
        for batch in epoch { first.push(batch.indices); break; }
        let count = 0;
        for batch in epoch { if count == 0 { first.push(batch.indices); } count += batch.len(); }
        assert(first[0] == first[1]);
        assert(count == 1400);
    "#;
    engine(folder.path(), 0).0.run(script).unwrap();
}

#[test]
fn two_halves_have_orders_of_their_own_and_the_seed_decides_both() {
    let folder = tempdir().unwrap();
    let script = r#"
        let halves = images("digits").train.split(0.5);
        let a = halves[0].batches(16);
        let b = halves[1].batches(16);
        [a.next().indices, b.next().indices].to_json()
    "#;
    let run = |seed| engine(folder.path(), seed).0.eval::<String>(script).unwrap();
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let lists: Vec<Vec<usize>> = serde_json::from_str(&run(1)).unwrap();
    assert_ne!(lists[0], lists[1]);
}

#[test]
fn folders_are_read_from_beside_the_script_and_from_nowhere_else() {
    let (folder, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    let own = folder.path().join("clothes");
    std::fs::create_dir(&own).unwrap();
    idx_folder(&own);
    idx_folder(elsewhere.path());
    engine(folder.path(), 0).0.run(r#"assert(images("clothes").train.len() == 6);"#).unwrap();
    let text = failure(folder.path(), &format!("images({:?})", elsewhere.path().display().to_string()));
    assert!(text.contains("may not read") && text.contains("--data"), "{text}");
    let text = failure(folder.path(), r#"images("../secrets")"#);
    assert!(text.contains("may not read"), "{text}");
}

#[test]
fn slips_are_named() {
    let folder = tempdir().unwrap();
    let says = |script: &str, part: &str| {
        let text = failure(folder.path(), script);
        assert!(text.contains(part), "{script}: \"{part}\" is missing in: {text}");
    };
    says(r#"images("digit")"#, "did you mean \"digits\"?");
    says(r#"images("digits", #{ sise: 16 })"#, "did you mean `size`?");
    says(r#"images("digits", #{ size: [1, 2, 3] })"#, "[height, width]");
    says(r#"images("digits", #{ size: "big" })"#, "option `size` must be");
    says(r#"images("digits", #{ channels: 2 })"#, "1 (grey) or 3 (colour)");
    says(r#"images("digits").train.batches(64, #{ augment: "standart" })"#, "did you mean \"standard\"?");
    says(r#"images("digits").train.batches(64, #{ suffle: true })"#, "did you mean `shuffle`?");
    says(r#"images("digits").train.batches(0)"#, "at least one image");
    says(r#"images("digits").train.batches(6.4)"#, "must be an int");
    says(r#"images("digits").train.split(1.5)"#, "leaves one part empty");
    says(r#"let b = images("digits").train.batches(64); b.position = [0, 99];"#, "23 batches");
    says(r#"let b = images("digits").train.batches(64); b.position = [1];"#, "[epoch, batch]");
}
