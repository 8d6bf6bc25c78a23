//! The house: rules that a machine can check, and documents that say what the program does.

mod readme;
mod reference;
mod rules;
