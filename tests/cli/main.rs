//! The commands and the shipped scripts, as a user runs them.

mod bench;
mod devices;
mod output;
mod own_images;
mod search;
mod training;

#[path = "../support/binary.rs"]
mod binary;
#[cfg(all(feature = "gpu", not(feature = "cuda"), target_os = "linux"))]
#[path = "../support/require.rs"]
mod require;
#[path = "../support/scripts.rs"]
mod scripts;
