//! Recurrent cells and the language models that they make (`docs/darts.md` B).
//!
//! Everything is a function over the step graph's builder: [`Activations`] knows the candidates by name, `cells` lays
//! them out as a search cell or a genotype's, beside the other cells of the literature; a [`LanguageModel`] has an
//! embedding, layers of one kind of cell, and a decoder tied to the embedding.

pub mod activations;
mod catalogue;
pub mod cells;
mod derive;
mod dropouts;
mod found;
mod genotype;
mod memory;
mod model;
mod parts;
mod passes;
mod recipe;
mod saved;
mod tree;
mod weights;

pub use activations::{Activation, Activations, DARTS_ACTIVATIONS};
pub use catalogue::{PublishedCell, recurrent_cell, recurrent_cells};
pub use derive::{derive, random_cell};
pub use dropouts::Dropouts;
pub use found::FoundCell;
pub use genotype::RecurrentGenotype;
pub use memory::{Keeper, Memory};
pub use model::{BIAS, EMBEDDING, LATENT, LanguageModel, PRIOR, PROJECTION};
pub use parts::LayerParts;
pub use passes::{Hidden, LEAST, Passed};
pub use recipe::{CellRecipe, LanguageRecipe};
pub(in crate::space) use saved::LANGUAGE_KIND;
pub use saved::SavedLanguage;
pub use tree::{Combination, RecurrentTree, TreeStep};
pub use weights::Weights;
