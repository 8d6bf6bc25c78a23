//! The noun `data` as scripts meet it: loops over epochs, a sandbox that holds, errors that help.

use crate::files::*;
use candlewick::random::Seed;
use candlewick::script::{Host, Page, Script, Setup, on_script_thread};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::tempdir;

/// Collects what a script prints.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a script that lies in `folder`; what it printed, or its error page.
pub fn run(folder: &Path, seed: u64, script: &str) -> Result<String, Box<Page>> {
    let sink = Sink::default();
    let setup = Setup { script: folder.join("search.rhai"), seed: Seed(seed), ..Setup::default() };
    let host = Host::with_sink(setup, Box::new(sink.clone()));
    on_script_thread(|| Script::compile(host, script.into())?.run()).unwrap()?;
    let printed = sink.0.lock().unwrap().clone();
    Ok(String::from_utf8(printed).unwrap())
}

/// The message and hint with which `script` fails.
pub fn failure(folder: &Path, script: &str) -> String {
    let page = run(folder, 0, script).expect_err(script);
    format!("{} / {}", page.message, page.hint.unwrap_or_default())
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
    run(folder.path(), 0, script).unwrap();
}

#[test]
fn two_halves_have_orders_of_their_own_and_the_seed_decides_both() {
    let folder = tempdir().unwrap();
    let script = r#"
        for half in images("digits").train.split(0.5) {
            print(half.batches(16).next().indices);
        }
    "#;
    let printed = |seed| run(folder.path(), seed, script).unwrap();
    assert_eq!(printed(1), printed(1));
    assert_ne!(printed(1), printed(2));
    let text = printed(1);
    let lines: Vec<&str> = text.lines().collect();
    assert_ne!(lines[0], lines[1]);
}

#[test]
fn values_print_as_what_they_are() {
    let folder = tempdir().unwrap();
    let script = r#"
        let data = images("digits");
        print(data);
        print(data.test);
        print(data.train.batches(64));
        print(data.train.batches(64).epoch(3));
        print(data.train.batches(64).next());
    "#;
    let expected = "digits: 1438 training and 359 test images of 1×8×8, 10 classes\n\
                    359 images of 1×8×8\n\
                    batches of 64 out of 1438 images of 1×8×8\n\
                    epoch 3: 23 batches\n\
                    a batch of 64 images\n";
    assert_eq!(run(folder.path(), 0, script).unwrap(), expected);
}

#[test]
fn folders_are_read_from_beside_the_script_and_from_nowhere_else() {
    let (folder, elsewhere) = (tempdir().unwrap(), tempdir().unwrap());
    let own = folder.path().join("clothes");
    std::fs::create_dir(&own).unwrap();
    idx_folder(&own);
    idx_folder(elsewhere.path());
    run(folder.path(), 0, r#"assert(images("clothes").train.len() == 6);"#).unwrap();
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
    says(r#"images("digits").tests"#, "did you mean `test`?");
    says(r#"let b = images("digits").train.batches(64); b.position = [0, 99];"#, "23 batches");
    says(r#"let b = images("digits").train.batches(64); b.position = [1];"#, "[epoch, batch]");
}
