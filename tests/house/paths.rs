//! Links of pages lead to files that exist.

use crate::files::{files, none, root};

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
