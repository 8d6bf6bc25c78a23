//! What becomes of a test that lacks something outside the repository.

use std::io::Write;

/// Says on stderr (past the capture of passing tests) that the calling test is skipped and why; fails where
/// `CANDLEWICK_REQUIRE=1` asks for everything, as continuous integration does.
#[track_caller]
pub fn skipped(reason: &str) {
    let required = std::env::var_os("CANDLEWICK_REQUIRE").is_some_and(|value| value == "1");
    assert!(!required, "CANDLEWICK_REQUIRE=1, but {reason}");
    let test = std::thread::current().name().unwrap_or("a test").to_string();
    writeln!(std::io::stderr(), "{test} is skipped or cut short: {reason}").expect("stderr can be written to");
}
