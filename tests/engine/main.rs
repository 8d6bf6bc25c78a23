//! The engine: every primitive and every fusion against the exact executor, which is held against hand-computed values
//! and central differences; within a limit on memory, to the last bit, and against reference values of another program.

mod check;
mod compare;
mod decoder_loss;
mod exact;
mod executor;
mod fixture_script;
mod fixtures;
mod geometry;
mod gradients;
mod kinks;
mod memory;
mod random_graphs;
mod same_bits;
mod siblings;
mod simd;
mod whole_maps;

#[path = "../support/binary.rs"]
mod binary;
#[path = "../support/noise.rs"]
mod noise;
#[path = "../support/points.rs"]
mod points;
#[path = "../support/require.rs"]
mod require;
#[path = "../support/scripts.rs"]
mod scripts;
#[path = "../support/shared.rs"]
mod shared;
