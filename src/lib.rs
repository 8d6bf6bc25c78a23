//! candlewick: differentiable architecture search as short Rhai scripts on a fused engine.
//!
//! The rooms and the direction in which they may depend on one another are drawn in `ARCHITECTURE.md`.

pub mod batch;
pub mod bench;
pub mod bytes;
pub mod cell_form;
pub mod chart;
pub mod cli;
pub mod data;
pub mod engine;
pub mod error;
pub mod export;
pub mod files;
pub mod fingerprint;
pub mod graph;
pub mod interrupt;
pub mod learn;
pub mod legend;
pub mod parameter;
pub mod random;
pub mod run;
pub mod script;
pub mod shape;
pub mod space;
pub mod streams;

pub use error::{Error, Result};
pub use parameter::Parameter;
