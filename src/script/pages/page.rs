//! The error page: what went wrong, where, and what would be right.
//!
//! ```text
//! error: there is no function `sofmax`
//!   --> search.rhai:3:9
//!    |
//!  3 | let p = sofmax(alphas, 1);
//!    |         ^
//!    in relax, called at search.rhai:12:11
//!   hint: did you mean `softmax`?
//! ```

use super::explain;
use crate::Error;
use crate::error::Blame;
use crate::script::binding::{Catalogue, Sources};
use rhai::{EvalAltResult, Position};
use std::fmt::{self, Write};
use unicode_width::UnicodeWidthStr;

/// A location in a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub file: String,
    pub line: usize,
    /// From 1; `None` where only the line is known.
    pub column: Option<usize>,
    /// The line itself.
    pub text: Option<String>,
}

/// A script function that was being called.
#[derive(Clone, Debug)]
pub struct Frame {
    pub function: String,
    pub called_at: Option<Location>,
}

/// An error with its location in the script.
#[derive(Clone, Debug)]
pub struct Page {
    pub message: String,
    pub hint: Option<String>,
    pub blame: Blame,
    pub location: Option<Location>,
    pub trace: Vec<Frame>,
}

impl From<Error> for Page {
    fn from(error: Error) -> Self {
        Self { message: error.message, hint: error.hint, blame: error.blame, location: None, trace: vec![] }
    }
}

impl fmt::Display for Page {
    /// The page without colours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Page {}

impl Page {
    /// The page of an error at a location.
    pub fn at(error: Error, location: Option<Location>) -> Self {
        Self { location, ..Self::from(error) }
    }

    /// The page of what rhai reports for the script in `file`.
    pub fn from_rhai(error: &EvalAltResult, file: &str, sources: &Sources, catalogue: &Catalogue) -> Self {
        let mut file = file.to_string();
        let mut trace = vec![];
        let mut inner = error;
        loop {
            match inner {
                EvalAltResult::ErrorInFunctionCall(function, source, next, position) => {
                    let called_at = location(&file, *position, sources);
                    let closure = function.starts_with("anon$");
                    let function = if closure { "a closure".to_string() } else { format!("`{function}`") };
                    trace.push(Frame { function, called_at });
                    if !source.is_empty() {
                        file.clone_from(source);
                    }
                    inner = next;
                }
                EvalAltResult::ErrorInModule(module, next, position) => {
                    let called_at = location(&file, *position, sources);
                    trace.push(Frame { function: format!("the module {module}"), called_at });
                    if !module.is_empty() {
                        file.clone_from(module);
                    }
                    inner = next;
                }
                _ => break,
            }
        }
        trace.reverse();
        let error = explain::explain(inner, sources, catalogue);
        Self { trace, ..Self::at(error, location(&file, inner.position(), sources)) }
    }

    pub fn exit_code(&self) -> i32 {
        Error { blame: self.blame, message: String::new(), hint: None }.exit_code()
    }

    /// The page as text, with terminal colours or without.
    pub fn render(&self, colour: bool) -> String {
        let paint =
            |code: &str, text: &str| if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() };
        let mut page = format!("{} {}\n", paint("1;31", "error:"), paint("1", &self.message));
        if let Some(location) = &self.location {
            let number = location.line.to_string();
            let margin = " ".repeat(number.len());
            let bar = paint("34", "|");
            let _ = writeln!(page, " {margin}{} {}", paint("34", "-->"), locus(location));
            if let Some(text) = &location.text {
                let _ = writeln!(page, " {margin} {bar}");
                let _ = writeln!(page, " {} {bar} {}", paint("34", &number), text.trim_end());
                if let Some(column) = location.column {
                    let before: String = text.chars().take(column.saturating_sub(1)).collect();
                    let pad = blank(&before);
                    let _ = writeln!(page, " {margin} {bar} {pad}{}", paint("1;31", "^"));
                }
            }
        }
        for frame in &self.trace {
            let at =
                frame.called_at.as_ref().map_or(String::new(), |location| format!(", called at {}", locus(location)));
            let _ = writeln!(page, "   in {}{at}", frame.function);
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(page, "  {} {hint}", paint("1;36", "hint:"));
        }
        page
    }
}

/// Blanks as wide as a text is shown, so that a caret stands under what follows it. Tabs stay tabs, however wide they
/// are; characters of many scripts are two columns wide, accents none.
fn blank(text: &str) -> String {
    let parts: Vec<String> = text.split('\t').map(|part| " ".repeat(part.width())).collect();
    parts.join("\t")
}

fn locus(location: &Location) -> String {
    match location.column {
        Some(column) => format!("{}:{}:{column}", location.file, location.line),
        None => format!("{}:{}", location.file, location.line),
    }
}

/// The location of a rhai position in `file`.
pub fn location(file: &str, position: Position, sources: &Sources) -> Option<Location> {
    let line = position.line()?;
    Some(Location { file: file.into(), line, column: sources.column(file, position), text: sources.line(file, line) })
}
