//! The written documentation is what the declarations say.

use crate::files::root;
use candlewick::script::{self, reference, searches};

#[track_caller]
fn is_fresh(name: &str, wanted: &str) {
    let found = std::fs::read_to_string(root().join("scripts").join(name)).unwrap_or_default();
    assert!(found == wanted, "scripts/{name} is stale; write it with `cargo run -- doc --write scripts`");
}

#[test]
fn the_reference_is_fresh() {
    is_fresh("reference.md", &reference::markdown(&script::catalogue()));
}

#[test]
fn the_editor_definitions_are_fresh() {
    is_fresh("candlewick.d.rhai", &reference::definitions(&script::catalogue()));
}

#[test]
fn the_table_of_searches_is_fresh() {
    let page = searches::page_with_table(&root().join("scripts")).expect("a place for the table");
    is_fresh("README.md", &page.expect("a page and searches"));
}
