//! The house: rules that a machine can check, and documents that say what the program does.

mod arrows;
mod files;
mod paths;
mod readme;
mod reference;
mod rules;
mod unsafety;

#[path = "../support/binary.rs"]
mod binary;
