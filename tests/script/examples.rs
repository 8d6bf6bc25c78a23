//! Every declared function has documentation and an example that runs.

use candlewick::script::{self, Host, Script, Setup};

#[test]
fn everything_declared_is_documented_with_an_example() {
    let lacking: Vec<String> = script::catalogue()
        .entries
        .iter()
        .filter(|entry| entry.doc.is_empty() || entry.example.is_empty())
        .map(|entry| entry.signature())
        .collect();
    assert!(lacking.is_empty(), "without documentation or example: {lacking:#?}");
}

#[test]
fn every_example_runs() {
    let mut failures = vec![];
    for entry in &script::catalogue().entries {
        if let Err(page) = run(&entry.example) {
            failures.push(format!("{}\n{page}", entry.signature()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn check_finds_nothing_wrong_in_any_example() {
    let mut failures = vec![];
    for entry in &script::catalogue().entries {
        let pages = script::on_script_thread(|| match load(&entry.example, &std::env::temp_dir()) {
            Ok(script) => script.check(),
            Err(page) => vec![*page],
        });
        for page in pages.expect("the thread runs") {
            failures.push(format!("{}\n{}", entry.signature(), page.render(false)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn load(example: &str, folder: &std::path::Path) -> Result<Script, Box<script::Page>> {
    let setup = Setup { script: folder.join("example.rhai"), out: Some(folder.join("run")), ..Setup::default() };
    Script::compile(Host::with_sink(setup, Box::new(std::io::sink())), example.to_string())
}

fn run(example: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let result = script::on_script_thread(|| load(example, folder.path())?.run()).expect("the thread runs");
    result.map_err(|page| page.render(false))
}
