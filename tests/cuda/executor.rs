//! The executor that these tests hold against the exact one.

use crate::shim::Shim;
use candlewick::Result;
use candlewick::engine::Engine;
use candlewick::graph::Graph;
use std::sync::Arc;

pub fn compile(graph: &Arc<Graph>) -> Result<Engine> {
    if let Some(gpu) = crate::gpu::asked_for() {
        return Engine::compile_on(graph.clone(), gpu);
    }
    let shim = Shim::new(0).expect("there is a C++ compiler: cuda tests begin with `Shim::new`");
    Engine::compile_on(graph.clone(), Arc::new(shim))
}
