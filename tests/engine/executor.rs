//! The executor that these tests hold against the exact one.

use candlewick::Result;
use candlewick::engine::{Engine, Target};
use candlewick::graph::Graph;
use std::sync::Arc;

/// Whether it trains within a limit on memory.
pub const LIMITS_MEMORY: bool = true;

pub fn compile(graph: &Arc<Graph>) -> Result<Engine> {
    Engine::compile_for(graph.clone(), Target::best()?)
}
