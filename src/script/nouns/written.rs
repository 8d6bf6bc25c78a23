//! Genotypes as scripts point to them: a text, a file of one, or a search's journal.

use crate::script::binding::Call;
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// What a script's text about a genotype leads to: `parse` reads it, or the text in the file of this name; `from_json`
/// what was logged last, where that is a journal.
///
/// # Errors
/// A file that cannot be read, a journal without a genotype; those of the two readers, with the file's name.
pub fn genotype_of<T>(
    call: &Call<'_>,
    source: &str,
    parse: impl Fn(&str) -> Result<T>,
    from_json: impl Fn(&Value) -> Result<T>,
) -> Result<T> {
    let is_file = !source.contains(['(', '{', '\n']) && source.contains(['.', '/']);
    if !is_file {
        return parse(source);
    }
    let path = call.host().readable(source)?;
    let inside = |error: Error| Error { message: format!("{}: {}", path.display(), error.message), ..error };
    if path.extension().is_some_and(|ending| ending == "jsonl") {
        return from_json(&last_logged(&path)?).map_err(inside);
    }
    parse(&std::fs::read_to_string(&path).map_err(|error| Error::file(&path, &error))?).map_err(inside)
}

/// Whether a text is a name, such as those of published cells.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

/// The last genotype in a run's journal.
fn last_logged(path: &Path) -> Result<Value> {
    let logged = crate::run::read(path)?.into_iter().rev().find_map(|mut entry| entry.remove("genotype"));
    logged.ok_or_else(|| {
        Error::user(format!("{}: no genotype was logged in this run", path.display()))
            .hint("run.log(#{ genotype: derive(net) }) and run.draw(…) do")
    })
}
