//! A recurrent cell in either of the forms that searches leave behind.

use super::genotype::RecurrentGenotype;
use super::recipe::CellRecipe;
use super::tree::RecurrentTree;
use crate::Result;
use crate::space::python;
use serde_json::Value;

/// A genotype, or a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundCell {
    Genotype(RecurrentGenotype),
    Tree(RecurrentTree),
}

impl FoundCell {
    /// Reads the text of either form, or JSON.
    ///
    /// # Errors
    /// As [`RecurrentGenotype::parse`] and [`RecurrentTree::parse`].
    pub fn parse(text: &str) -> Result<Self> {
        Self::from_json(&python::parse_genotype(text)?)
    }

    /// Reads the fields of either form.
    ///
    /// # Errors
    /// As [`RecurrentGenotype::from_json`] and [`RecurrentTree::from_json`].
    pub fn from_json(value: &Value) -> Result<Self> {
        match RecurrentTree::is_one(value) {
            true => RecurrentTree::from_json(value).map(Self::Tree),
            false => RecurrentGenotype::from_json(value).map(Self::Genotype),
        }
    }
}

impl From<FoundCell> for CellRecipe {
    fn from(cell: FoundCell) -> Self {
        match cell {
            FoundCell::Genotype(genotype) => genotype.into(),
            FoundCell::Tree(tree) => tree.into(),
        }
    }
}
