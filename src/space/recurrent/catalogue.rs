//! The recurrent cells of the literature by name, with the repository that each was read from.

use super::genotype::RecurrentGenotype;
use crate::error::closest;
use crate::{Error, Result};
use serde::Deserialize;
use std::sync::LazyLock;

/// A published recurrent cell.
#[derive(Clone, Debug, Deserialize)]
pub struct PublishedCell {
    pub name: String,
    /// Repository, file and commit.
    pub source: String,
    /// What the name does not say; empty for nothing.
    #[serde(default)]
    pub note: String,
    #[serde(flatten)]
    pub genotype: RecurrentGenotype,
}

/// A test reads every entry, so the text is sound.
static CATALOGUE: LazyLock<Vec<PublishedCell>> =
    LazyLock::new(|| serde_json::from_str(include_str!("catalogue.json")).expect("the built-in catalogue is sound"));

/// All published recurrent cells.
pub fn recurrent_cells() -> &'static [PublishedCell] {
    &CATALOGUE
}

/// The published recurrent cell of this name.
///
/// # Errors
/// An unknown name, with the closest one.
pub fn recurrent_cell(name: &str) -> Result<RecurrentGenotype> {
    if let Some(found) = recurrent_cells().iter().find(|entry| entry.name == name) {
        return Ok(found.genotype.clone());
    }
    let error = Error::user(format!("there is no recurrent genotype \"{name}\""));
    Err(match closest(name, recurrent_cells().iter().map(|entry| entry.name.as_str())) {
        Some(close) => error.hint(format!("did you mean \"{close}\"?")),
        None => error.hint("recurrent_genotypes() lists the names"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::recurrent::Activations;

    #[test]
    fn every_published_cell_is_sound_and_of_known_activations() {
        assert_eq!(recurrent_cells().len(), 6);
        for cell in recurrent_cells() {
            assert!(cell.genotype.nodes().all(|(name, _)| Activations::new().get(name).is_ok()), "{}", cell.name);
            assert_eq!(RecurrentGenotype::parse(&cell.genotype.to_string()).expect("it is read"), cell.genotype);
        }
        let error = recurrent_cell("DARTSV2").expect_err("there is none");
        assert_eq!(error.hint.as_deref(), Some("did you mean \"DARTS_V2\"?"));
    }
}
