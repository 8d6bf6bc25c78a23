//! Recurrent cells and language models, as scripts have them: counts, reference values, searches that resume,
//! activations of one's own, gradients, what is refused.

mod activations;
mod counts;
mod fixture;
mod gradients;
mod memory;
mod refused;
mod saved;
mod search;
mod trees;

#[path = "../support/binary.rs"]
mod binary;
#[path = "../support/points.rs"]
mod points;
#[path = "../support/require.rs"]
mod require;
#[path = "../support/scripts.rs"]
mod scripts;
#[path = "../support/shared.rs"]
mod shared;
