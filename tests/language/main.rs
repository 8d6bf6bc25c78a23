//! Recurrent cells and language models, as scripts have them: counts, reference values, searches that resume, what is
//! refused.

mod counts;
mod fixture;
mod refused;
mod search;

#[path = "../support/binary.rs"]
mod binary;
#[path = "../support/require.rs"]
mod require;
#[path = "../support/scripts.rs"]
mod scripts;
#[path = "../support/shared.rs"]
mod shared;
