//! The commands and the shipped scripts, as a user runs them.

mod bench;
mod devices;
mod output;
mod search;
mod training;

#[path = "../support/binary.rs"]
mod binary;
#[path = "../support/scripts.rs"]
mod scripts;
