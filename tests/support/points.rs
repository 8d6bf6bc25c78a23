//! Checks where an error page points.

use crate::binary::Ended;

impl Ended {
    /// Checks that the page points at the script's `line` and `column` (from 1): the place, the line itself, a caret
    /// below the column.
    #[track_caller]
    pub fn points_at(&self, script: &str, line: usize, column: usize) {
        let text = script.lines().nth(line - 1).expect("the script has such a line");
        let margin = " ".repeat(line.to_string().len());
        let caret = " ".repeat(column - 1);
        let drawn = format!(
            " {margin}--> s.rhai:{line}:{column}\n {margin} |\n {line} | {}\n {margin} | {caret}^\n",
            text.trim_end()
        );
        assert!(self.stderr.contains(&drawn), "the page should hold\n{drawn}but is\n{}", self.stderr);
    }
}
