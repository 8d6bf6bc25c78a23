//! A network around a few primitives, held against the exact executor.

use super::compare::{Case, expect, run};
use candlewick::engine::Draws;
use candlewick::graph::{Conv, Graph, Node};

/// Builds a network around `body`: input → body → a probe that remembers where each pixel was (a plain global pool
/// would hide shifted pixels) → linear, runs it and compares everything.
#[track_caller]
pub fn check(
    name: &str,
    channels: usize,
    size: (usize, usize),
    batch: usize,
    body: impl FnOnce(&mut Graph, Node) -> Node,
) {
    check_with(name, channels, size, batch, None, Draws::default(), body);
}

/// [`check`] with a mask and draws.
#[track_caller]
pub fn check_with(
    name: &str,
    channels: usize,
    size: (usize, usize),
    batch: usize,
    active: Option<Vec<bool>>,
    draws: Draws,
    body: impl FnOnce(&mut Graph, Node) -> Node,
) {
    let mut graph = Graph::new(channels, size.0, size.1);
    let input = graph.input();
    let out = body(&mut graph, input);
    let shape = graph.shape(out);
    let kernel = Conv { kernel: (shape.height, shape.width), padding: (0, 0), ..Conv::square(5, 1) };
    let head = graph.conv("probe", out, kernel).unwrap();
    let logits = graph.linear("head", head, 3).unwrap();
    graph.set_output(logits);
    let case = Case { active, draws, ..Case::new(graph, batch) };
    let expected = expect(&case, 1, 400).unwrap_or_else(|| panic!("{name}: no seed is fit for single precision"));
    if let Err(message) = run(&case, &expected) {
        panic!("{name}: {message}");
    }
}
