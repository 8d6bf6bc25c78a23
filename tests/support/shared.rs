//! Where the reference files lie: the small fixture in the repository, others in the folder that `CANDLEWICK_SHARED`
//! names.

use std::path::{Path, PathBuf};

/// The reference file or folder at `path`: of the repository (below `tests/`), or else of `$CANDLEWICK_SHARED`
/// (`../shared` where it is not set). Where neither has it the test says on stderr that it is skipped; with
/// `CANDLEWICK_REQUIRE=1` it fails.
#[track_caller]
pub fn reference(path: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("CANDLEWICK_SHARED").map(PathBuf::from).unwrap_or_else(|| root.join("../shared"));
    let found =
        [root.join("tests"), shared.clone()].into_iter().map(|folder| folder.join(path)).find(|file| file.exists());
    if found.is_none() {
        let file = shared.join(path);
        crate::require::skipped(&format!("there is no {} (CANDLEWICK_SHARED names its folder)", file.display()));
    }
    found
}
