//! Where the reference files lie that are no part of the repository: `$CANDLEWICK_SHARED`, or `shared` beside it.

use std::path::PathBuf;

/// The reference file at `path`; none, with a word about it, where it is absent.
pub fn reference(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("CANDLEWICK_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let file = root.join(path);
    if file.exists() {
        return Some(file);
    }
    eprintln!("passed over: there is no {} (set CANDLEWICK_SHARED to the folder that holds it)", file.display());
    None
}
