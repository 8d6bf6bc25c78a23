//! From a Rust closure to a function of a script: declarations, their argument and result types, their options, and the
//! rhai engine that they are installed in.

mod caught;
mod copies;
mod engine;
mod entry;
mod failure;
mod imports;
mod library;
mod native;
mod options;
mod text;
mod value;

pub use caught::compile;
pub use engine::{ARRAY_SIZE, CALL_DEPTH, MAP_SIZE, STACK_BYTES, STRING_SIZE, engine};
pub use entry::{Entry, Face, Parameter};
pub use failure::{Failure, carried};
pub use imports::{Declared, Sources, locate, read_script, unmarked};
pub use library::{Catalogue, Declaration, Library, Noun, TypeEntry};
pub use native::{Call, Native, quiet_panics};
pub use options::{Options, Spec, literal, unknown_option};
pub use value::{Argument, List, Mismatch, Output, ScriptType, describe_value, frozen, simple_type_name, type_name};
