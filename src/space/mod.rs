//! The search space: candidate operations, cells, the supernet, and the genotype that a search leaves behind.
//!
//! Everything here is a function over the graph builder. [`Operations`] knows the candidates by name, [`Supernet`] lays
//! them out in cells that share their mixing weights, [`Network`] is a compiled graph with weights, running statistics
//! and alphas, and [`derive`](derive::derive_cell) reads a [`Genotype`] off the alphas by the published rule.

mod alphas;
mod budget;
pub mod catalogue;
pub mod cell;
mod chance;
pub mod densenet;
pub mod derive;
pub mod discrete;
pub mod dropout;
mod file;
pub mod genotype;
pub mod network;
pub mod operations;
mod python;
mod recipe;
pub mod recurrent;
pub mod rules;
mod sample;
mod saved;
mod skeleton;
pub mod spaces;
mod state;
pub mod supernet;

pub use crate::cell_form::Edge;
pub use crate::legend::Legend;
pub use alphas::Alphas;
pub use cell::{CellKind, Mask};
pub use densenet::{DenseNetOptions, densenet};
pub use discrete::{Discrete, DiscreteOptions, DiscreteRecipe, Stem};
pub use genotype::{Genotype, Pair};
pub use network::{Moved, NamedMixing, Network, Statistics};
pub use operations::{DARTS_OPS, NormStyle, Operation, Operations, Target};
pub use recipe::Recipe;
pub use rules::{Candidates, Rule, Selection};
pub use sample::random_genotype;
pub use saved::SavedNetwork;
pub use spaces::{CellSpace, CodedCell};
pub use supernet::{Cost, Costs, Masks, Space, Supernet, SupernetOptions};
