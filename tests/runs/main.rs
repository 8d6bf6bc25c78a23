//! Runs: what they leave on disk, how they go on after an interruption, and the charts they draw.

mod answers;
mod charts;
mod in_scripts;
mod journal;
mod kept;
mod resume;

#[path = "../support/binary.rs"]
mod binary;
#[path = "../support/require.rs"]
mod require;
#[path = "../support/scripts.rs"]
mod scripts;
#[path = "../support/shared.rs"]
mod shared;
#[path = "../support/start.rs"]
mod start;
