//! What the data room promises: every source is read right, batches are a function of the seed alone, and bad input is
//! named.

mod bad_input;
mod batches;
mod files;
mod script;
mod sources;
mod text;
mod text_script;

#[path = "../support/require.rs"]
mod require;
#[path = "../support/shared.rs"]
mod shared;
