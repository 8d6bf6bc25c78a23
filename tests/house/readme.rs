//! The README shows the search as it is: its script, its pictures, its commands.

use std::path::Path;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("a README")
}

#[test]
fn the_first_search_stands_whole_in_the_readme() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/first_search.rhai");
    let script = std::fs::read_to_string(script).expect("the script");
    assert!(readme().contains(script.trim_end()), "copy scripts/first_search.rhai into the README");
}

#[test]
fn pictures_and_files_that_the_readme_names_exist() {
    let text = readme();
    let links: Vec<&str> = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 5);
    for link in links.into_iter().filter(|link| !link.starts_with("http")) {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(link).exists(), "the README names {link}");
    }
}
