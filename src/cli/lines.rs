//! Results on stdout: a table where somebody reads it at a terminal, one JSON object a line where a program does.

use crate::bench::{Line, table};
use crate::{Error, Result};
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
            let objects: Result<Vec<String>, serde_json::Error> = lines.iter().map(serde_json::to_string).collect();
            objects.map_err(|e| Error::run(e.to_string()))?.iter().map(|object| format!("{object}\n")).collect()
        }
    };
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has gone away wants no more.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::run(format!("nothing can be printed: {error}")))
        }
        _ => Ok(()),
    }
}
