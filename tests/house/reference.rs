//! The written documentation is what the declarations say.

use candlewick::script::{self, reference};
use std::path::Path;

#[track_caller]
fn is_fresh(name: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name);
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "scripts/{name} is stale; `cargo run -- doc --write scripts` makes it anew");
}

#[test]
fn the_reference_is_fresh() {
    is_fresh("reference.md", &reference::markdown(&script::catalogue()));
}

#[test]
fn the_editor_definitions_are_fresh() {
    is_fresh("candlewick.d.rhai", &reference::definitions(&script::catalogue()));
}
