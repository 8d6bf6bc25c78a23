//! Recurrent networks on the engine: every primitive against central differences and the exact executor, random time
//! steps, the field's cells, reference values of another program, carried states, the same bits for any number of
//! threads.

mod cells;
mod compare;
mod counts;
mod differences;
mod errors;
mod fixtures;
mod noisy;
mod passes;
mod random_steps;
mod same_bits;
mod tolerance;

#[path = "../support/noise.rs"]
mod noise;
#[path = "../support/require.rs"]
mod require;
#[path = "../support/shared.rs"]
mod shared;
