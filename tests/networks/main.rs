//! Networks: the search space and published cells, what passes change, learning, and what a saved file brings back.

mod coded;
mod discrete;
mod dropout;
mod genotypes;
mod in_scripts;
mod learning;
mod masks;
mod norms;
mod optimizers;
mod outputs;
mod passes;
mod saved;
mod scoring;
mod scratch;
mod space;
mod spaces;
mod targets;
mod ways;

#[path = "../support/require.rs"]
mod require;
#[path = "../support/shared.rs"]
mod shared;
