//! Results on stdout: text, or a table at a terminal and one JSON object per line where a program reads them.

use crate::bench::{Line, table};
use crate::streams::Stdout;
use anyhow::{Context, Result};
use std::io::{ErrorKind, IsTerminal, Write};

/// Whether stdout is a terminal.
pub(super) fn is_read_by_a_person() -> bool {
    std::io::stdout().is_terminal()
}

/// Prints lines that have the same columns.
pub(super) fn print_lines(lines: &[impl Line]) -> Result<()> {
    let text = match is_read_by_a_person() {
        true => table(&lines.iter().map(Line::cells).collect::<Vec<_>>()) + "\n",
        false => {
            let object = |line| Ok(serde_json::to_string(line)? + "\n");
            lines.iter().map(object).collect::<Result<String>>()?
        }
    };
    print(&text)
}

/// Prints text on stdout.
pub(super) fn print(text: &str) -> Result<()> {
    match Stdout.write_all(text.as_bytes()).and_then(|()| Stdout.flush()) {
        // A reader that has gone away wants no more.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("nothing can be printed"),
        _ => Ok(()),
    }
}
