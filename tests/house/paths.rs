//! Files that pages and comments name exist.

use crate::files::{File, files, none, paths, root, rust};

/// Endings of files that the repository holds; what a program writes when it runs has others, or is excepted.
const ENDINGS: [&str; 6] = [".rs", ".rhai", ".md", ".py", ".sh", ".toml"];

/// Names of files that stand for a user's own in examples.
const EXAMPLES: [&str; 3] = ["search.rhai", "my_script.rhai", "s.rhai"];

/// The words of a text that look like paths of the repository's files.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let parts = |c: char| c.is_alphanumeric() || "/._-".contains(c);
    let words = text.split(move |c| !parts(c)).map(|word| word.trim_matches('.').trim_start_matches("./"));
    let is_path = |word: &&str| {
        if word.contains("//") {
            return false;
        }
        let stem = ENDINGS.iter().find_map(|ending| word.strip_suffix(ending));
        // Capital letters alone stand for a name: X.rs, FILE.md.
        stem.is_some_and(|stem| stem.chars().any(|c| c.is_lowercase()) || ["README", "ARCHITECTURE"].contains(&stem))
    };
    words.filter(is_path)
}

/// What people read of a file: its comments, or all of a page.
fn prose(file: &File) -> String {
    if file.path.ends_with(".md") {
        return file.text.clone();
    }
    let comment = |line: &str| {
        let line = line.trim_start();
        let from = if line.starts_with("//") { Some(0) } else { line.find(" // ") };
        from.map(|from| line[from..].to_string())
    };
    file.text.lines().filter_map(comment).collect::<Vec<_>>().join("\n")
}

#[test]
fn files_that_comments_and_pages_name_exist() {
    let all = paths(&[""]);
    // A path may be told from the root or from any folder inside.
    let exists = |name: &str| all.iter().any(|path| path == name || path.ends_with(&format!("/{name}")));
    let mut offenders = Vec::new();
    for file in rust().into_iter().chain(files(&[""], &[".md", ".rhai"])) {
        for name in named(&prose(&file)).filter(|name| !EXAMPLES.contains(name) && !exists(name)) {
            offenders.push(format!("{}: {name}", file.path));
        }
    }
    offenders.sort();
    offenders.dedup();
    none(offenders);
}

#[test]
fn links_of_pages_lead_somewhere() {
    let pages = files(&[""], &[".md"]);
    let mut offenders = Vec::new();
    let mut links = 0;
    for page in &pages {
        let folder = root().join(&page.path);
        let folder = folder.parent().expect("a page lies in a folder");
        for link in page.text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()) {
            links += 1;
            let file = link.split('#').next().unwrap_or_default();
            if !link.starts_with("http") && !file.is_empty() && !folder.join(file).exists() {
                offenders.push(format!("{}: {link}", page.path));
            }
        }
    }
    assert!(links > 10, "{links} links in {} pages", pages.len());
    none(offenders);
}
