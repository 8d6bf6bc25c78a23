//! The cells of the literature by name, with the repository that each was read from, and the reduced search spaces.
//!
//! `catalogue.json` is part of the program. Its genotypes have the fields of [`Genotype`]; a space lists, for each edge
//! of a cell, the names of its candidates.

use super::cell::Mask;
use super::genotype::Genotype;
use super::supernet::Masks;
use crate::error::closest;
use crate::{Error, Result};
use serde::Deserialize;
use std::sync::LazyLock;

/// A published cell.
#[derive(Clone, Debug, Deserialize)]
pub struct Published {
    pub name: String,
    /// Repository, file and commit.
    pub source: String,
    /// What the name does not say; empty for nothing.
    #[serde(default)]
    pub note: String,
    #[serde(flatten)]
    pub genotype: Genotype,
}

/// A search space whose edges carry different candidates (RobustDARTS, Zela et al. 2020).
#[derive(Clone, Debug, Deserialize)]
pub struct ReducedSpace {
    pub name: String,
    pub source: String,
    /// For each edge of a normal cell, in the order of the alphas' rows, the names of its candidates.
    pub normal: Vec<Vec<String>>,
    /// The same for reduction cells.
    pub reduce: Vec<Vec<String>>,
}

impl ReducedSpace {
    /// All candidates, each once, in the order in which edges name them.
    pub fn operations(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.normal.iter().chain(&self.reduce).flatten() {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// Which of [`operations`](Self::operations) each edge carries.
    pub fn masks(&self) -> Masks {
        let operations = self.operations();
        let mask = |edges: &[Vec<String>]| -> Mask {
            let row = |names: &Vec<String>| operations.iter().map(|op| names.iter().any(|name| name == op)).collect();
            edges.iter().map(row).collect()
        };
        Masks { normal: Some(mask(&self.normal)), reduce: Some(mask(&self.reduce)) }
    }
}

#[derive(Deserialize)]
struct Catalogue {
    genotypes: Vec<Published>,
    spaces: Vec<ReducedSpace>,
}

/// A test reads every entry, so the text is sound.
static CATALOGUE: LazyLock<Catalogue> =
    LazyLock::new(|| serde_json::from_str(include_str!("catalogue.json")).expect("the built-in catalogue is sound"));

/// All published cells, related ones side by side.
pub fn published() -> &'static [Published] {
    &CATALOGUE.genotypes
}

/// The published cell of this name.
///
/// # Errors
/// An unknown name, with the closest one.
pub fn genotype(name: &str) -> Result<Genotype> {
    if let Some(found) = published().iter().find(|entry| entry.name == name) {
        return Ok(found.genotype.clone());
    }
    let error = Error::user(format!("there is no genotype \"{name}\""));
    Err(match closest(name, published().iter().map(|entry| entry.name.as_str())) {
        Some(close) => error.hint(format!("did you mean \"{close}\"?")),
        None => error.hint("genotypes() lists the names"),
    })
}

/// The name of a published cell that is this one; of several the first.
pub fn name_of(genotype: &Genotype) -> Option<&'static str> {
    published().iter().find(|entry| entry.genotype == *genotype).map(|entry| entry.name.as_str())
}

/// The reduced space of this name, S1 to S4.
///
/// # Errors
/// An unknown name, with the closest one.
pub fn reduced_space(name: &str) -> Result<&'static ReducedSpace> {
    let names = CATALOGUE.spaces.iter().map(|space| space.name.as_str());
    let found = CATALOGUE.spaces.iter().find(|space| space.name == name);
    found.ok_or_else(|| Error::unknown("reduced space", name, names))
}
