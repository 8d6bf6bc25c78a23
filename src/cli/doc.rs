//! `candlewick doc [NAME]`: what scripts can call, with examples; `--write DIR` writes it as files.

use super::Outcome;
use super::lines::print;
use crate::script::{self, Catalogue, reference, searches};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    /// A function, method, property, type or noun; without it, everything in brief.
    name: Option<String>,
    /// Write reference.md and candlewick.d.rhai into a folder, and the table of its searches into its README.md.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

pub fn doc(arguments: Arguments) -> Outcome {
    let catalogue = script::catalogue();
    if let Some(folder) = &arguments.write {
        write(folder, "reference.md", &reference::markdown(&catalogue))?;
        write(folder, "candlewick.d.rhai", &reference::definitions(&catalogue))?;
        if let Some(page) = searches::page_with_table(folder)? {
            write(folder, "README.md", &page)?;
        }
    }
    match arguments.name {
        Some(name) => print(&about(&catalogue, &name)?),
        None if arguments.write.is_none() => print(&reference::overview(&catalogue)),
        None => Ok(()),
    }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, text).map_err(|error| Error::file(&path, &error))
}

fn about(catalogue: &Catalogue, name: &str) -> Result<String> {
    let bare = name.trim_end_matches("()");
    let entries: Vec<String> = catalogue
        .entries
        .iter()
        .filter(|e| e.name == bare || e.title() == bare)
        .map(|e| reference::entry_text(e))
        .collect();
    if !entries.is_empty() {
        return Ok(entries.join("\n"));
    }
    let noun = catalogue.nouns.iter().find(|n| n.name == bare).map(|n| n.name);
    let noun = noun.or_else(|| catalogue.types.iter().find(|t| t.name == bare).map(|t| t.noun));
    match noun {
        Some(noun) => Ok(reference::noun_text(catalogue, noun)),
        None => {
            let mut known: Vec<&str> = catalogue.entries.iter().map(|e| e.name.as_str()).collect();
            known.extend(catalogue.nouns.iter().map(|n| n.name));
            let error = Error::unknown("function", name, known);
            // The whole list is `candlewick doc`.
            let far = error.hint.as_deref().is_none_or(|hint| hint.starts_with("one of"));
            Err(if far { error.hint("`candlewick doc` lists everything") } else { error })
        }
    }
}
