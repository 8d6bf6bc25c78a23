//! Recurrent networks: one time step as a graph of primitives over row vectors.
//!
//! A [`RecurrentGraph`] says how the token vector x of one time step and the states that the step before left make the
//! output and the next states, for every row of a batch. The engine runs it over a whole window. Like a
//! [`Graph`](super::Graph) it knows shapes, named weights, running statistics and mixing slots, and no device.

mod builder;
mod counts;
pub(crate) mod live;
mod op;
mod tables;

pub use builder::{Bias, MOST_PRIMITIVES, RecurrentGraph, Weight};
pub use op::{Function, MaskInfo, RecurrentOp, StateInfo};
