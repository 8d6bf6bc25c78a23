//! Networks as graphs of primitives, and the plans that the engine runs.
//!
//! A [`Graph`] is what candidates, cells, supernets and discrete networks are built with, from Rust and from scripts.
//! It knows shapes, named weights, running statistics and mixing slots; parameter and multiply-add counts are read off
//! it. [`plan`] turns a graph into fused steps and stages; [`recurrent`] has the graphs of recurrent networks. Nothing
//! here knows a device.

pub mod bounds;
mod builder;
mod combine;
mod counts;
mod fingerprint;
mod live;
mod op;
pub mod plan;
pub mod recurrent;
mod weights;

pub use crate::shape::Shape;
pub use builder::Graph;
pub use op::{Activation, Conv, Node, NoiseKind, Op, Pool, PoolKind, Probability, Slot, SlotBlock, Term};
pub use weights::{Init, NormInfo, WeightInfo};
