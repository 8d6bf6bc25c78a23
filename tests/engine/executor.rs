//! The executor that these tests hold against the exact one.

use candlewick::Result;
use candlewick::engine::{Engine, Target};
use candlewick::graph::Graph;
use std::sync::Arc;

pub fn compile(graph: &Arc<Graph>) -> Result<Engine> {
    Engine::compile_for(graph.clone(), Target::best()?)
}
