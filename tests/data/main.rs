//! What the data room promises: every source is read right, batches are a function of the seed alone, and bad input is
//! named.

mod bad_input;
mod balance;
mod batches;
mod files;
mod folders;
mod formats;
mod layouts;
mod odd_entries;
mod orientation;
mod script;
mod seen;
mod sources;
mod tensor_sets;
mod text;
mod text_script;
mod whole;

#[path = "../support/require.rs"]
mod require;
#[path = "../support/shared.rs"]
mod shared;
