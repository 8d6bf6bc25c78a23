//! The search space: candidate operations, cells, the supernet, and the genotype that a search leaves behind.
//!
//! Everything here is a function over the graph builder. [`Operations`] knows the candidates by name, [`Supernet`] lays
//! them out in cells that share their mixing weights, [`Network`] is a compiled graph with weights, running statistics and
//! alphas, and [`derive`](derive::derive_cell) reads a [`Genotype`] off the alphas by the published rule.

pub mod cell;
pub mod derive;
pub mod genotype;
pub mod network;
pub mod operations;
mod python;
pub mod supernet;

pub use cell::{CellKind, Mask};
pub use genotype::{Genotype, Pair};
pub use network::{Alphas, Mode, Network};
pub use operations::{DARTS_OPS, NormStyle, Operation, Operations, Place};
pub use supernet::{Cost, Costs, Masks, Space, Supernet, SupernetOptions};
