//! Scripts: tensors with their gradients, examples of every function, values that never change, and a page for every
//! mistake.

mod convolution;
mod errors;
mod examples;
mod limits;
mod methods;
mod moves;
mod network_errors;
mod presets;
mod samples;
mod tensors;
mod traps;
mod values;

#[path = "../support/binary.rs"]
mod binary;
#[path = "../support/points.rs"]
mod points;
#[path = "../support/scripts.rs"]
mod scripts;
#[path = "../support/start.rs"]
mod start;
