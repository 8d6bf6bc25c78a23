//! Recurrent cells as time steps: the search cell, the cell of a genotype, and the other cells of the literature.
//!
//! A row vector times a matrix, y = x·W, gives gates and candidates side by side. Every cell has the state `h`; those
//! with a memory have `c` too. The masks `x` and `h` are variational dropout of the token vector and of what the
//! matrices see of the states (Gal & Ghahramani 2016): one mask a window.

use super::activations::{Activation, Activations};
use super::genotype::RecurrentGenotype;
use crate::graph::recurrent::{RecurrentGraph, Weight};
use crate::graph::{Init, Node, Slot};
use crate::{Error, Result};

/// The block of alphas of a search cell.
pub const ALPHAS: &str = "alphas";
/// The mask of the token vector.
pub const INPUT_MASK: &str = "x";
/// The mask of the states as matrices see them.
pub const HIDDEN_MASK: &str = "h";
/// The most nodes of a cell.
pub const MOST_NODES: usize = 64;

/// Weights of DARTS' recurrent cells start uniform within this bound (`docs/darts.md` B1).
const BOUND: Init = Init::Uniform(0.04);

/// The row of the alphas that belongs to the edge from state `input` into node `node` (from 1).
pub fn edge(node: usize, input: usize) -> usize {
    node * (node - 1) / 2 + input
}

/// Edges of a search cell: node i reads the states 0 to i − 1.
pub fn edge_count(nodes: usize) -> usize {
    nodes * (nodes + 1) / 2
}

/// The search cell (`docs/darts.md` B1): every node mixes all activations on all edges, and one batch norm serves all
/// states. Alphas: edges × activations; "none" contributes zero.
///
/// # Errors
/// Sizes beyond their bounds, and what an activation's builder refuses.
pub fn search_cell(width: usize, nodes: usize, activations: &[Activation<'_>]) -> Result<RecurrentGraph> {
    check_nodes(nodes)?;
    let mut graph = RecurrentGraph::new(width)?;
    let g = &mut graph;
    let (h, first) = gated_input(g, width, |g, x| g.tanh(x))?;
    let mut states = vec![g.norm("bn", first)?];
    let alphas = g.slots(ALPHAS, edge_count(nodes), activations.len())?;
    for node in 1..=nodes {
        let weight = node_weight(g, node, width)?;
        let mut terms = Vec::new();
        for (input, &state) in states.iter().enumerate() {
            let (gate, candidate) = halves(g, state, weight, width)?;
            for (column, activation) in activations.iter().enumerate() {
                let Some(value) = activation.apply(g, candidate)? else { continue };
                let slot = alphas.offset + edge(node, input) * alphas.columns + column;
                terms.push((g.blend(state, value, gate)?, Slot(slot as u32)));
            }
        }
        let mixed = g.mixed(&terms)?;
        states.push(g.norm("bn", mixed)?);
    }
    let output = g.mean(&states[1..])?;
    finish(graph, h, output)
}

/// The cell of a genotype (`docs/darts.md` B1), without batch norm.
///
/// # Errors
/// Unknown activations, sizes beyond their bounds.
pub fn genotype_cell(
    width: usize,
    genotype: &RecurrentGenotype,
    activations: &Activations<'_>,
) -> Result<RecurrentGraph> {
    check_nodes(genotype.nodes().len())?;
    let mut graph = RecurrentGraph::new(width)?;
    let g = &mut graph;
    let (h, first) = gated_input(g, width, |g, x| g.tanh(x))?;
    let mut states = vec![first];
    for (index, (name, input)) in genotype.nodes().enumerate() {
        let weight = node_weight(g, index + 1, width)?;
        let (gate, candidate) = halves(g, states[input], weight, width)?;
        let value = activations.get(name)?.apply(g, candidate)?.ok_or_else(|| {
            Error::user(format!("node {} has the activation \"none\": it would be zero", index + 1))
                .hint("a genotype's nodes have an activation each, such as tanh or identity")
        })?;
        states.push(g.blend(states[input], value, gate)?);
    }
    let averaged: Vec<Node> = genotype.concat().iter().map(|&state| states[state]).collect();
    let output = g.mean(&averaged)?;
    finish(graph, h, output)
}

/// A recurrent highway network of this depth (Zilly et al. 2017, equations 6 to 9, carry gate 1 − t): the token vector
/// enters at the first step of the depth only. The gates' biases start at −2.
///
/// # Errors
/// No depth, sizes beyond their bounds.
pub fn highway_cell(inputs: usize, width: usize, depth: usize) -> Result<RecurrentGraph> {
    check_nodes(depth)?;
    let mut graph = RecurrentGraph::new(inputs)?;
    let g = &mut graph;
    let h = g.state("h", width)?;
    let mut state = h;
    for step in 0..depth {
        let masked = g.mask(HIDDEN_MASK, state)?;
        let read = match step {
            0 => vec![g.mask(INPUT_MASK, g.input())?, masked],
            _ => vec![masked],
        };
        let rows = read.iter().map(|&node| g.width(node)).sum();
        let made = |g: &mut RecurrentGraph, of: &str, start: Init| {
            let weight = g.weight(&format!("{of}.{step}.weight"), rows, width, BOUND)?;
            let bias = g.bias(&format!("{of}.{step}.bias"), width, start)?;
            g.product(&read, weight, Some(bias))
        };
        let candidate = made(g, "candidate", BOUND)?;
        let gate = made(g, "gate", Init::Constant(-2.0))?;
        let (candidate, gate) = (g.tanh(candidate)?, g.sigmoid(gate)?);
        state = g.blend(state, candidate, gate)?;
    }
    finish(graph, h, state)
}

/// How an LSTM's input and forget gates go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gates {
    /// Each its own (Hochreiter & Schmidhuber 1997).
    Free,
    /// i = min(1 − f, o) ("capped", Melis et al. 2018, section 3).
    Capped,
}

/// The LSTM: c' = f·c + i·tanh(g), h' = o·tanh(c'). The matrices hold i, f, g, o side by side (capped: f, g, o), with a
/// bias each; weights start uniform in ±1/√width.
///
/// # Errors
/// Sizes beyond their bounds.
pub fn lstm_cell(inputs: usize, width: usize, gates: Gates) -> Result<RecurrentGraph> {
    let mut graph = RecurrentGraph::new(inputs)?;
    let g = &mut graph;
    let (h, c) = (g.state("h", width)?, g.state("c", width)?);
    let init = Init::Uniform(1.0 / (width as f32).sqrt());
    let parts = if gates == Gates::Free { 4 } else { 3 };
    let from_x = g.weight("input.weight", inputs, parts * width, init)?;
    let from_h = g.weight(HIDDEN_WEIGHT, width, parts * width, init)?;
    let (of_x, of_h) = (g.bias("input.bias", parts * width, init)?, g.bias("hidden.bias", parts * width, init)?);
    let (x, hidden) = (g.mask(INPUT_MASK, g.input())?, g.mask(HIDDEN_MASK, h)?);
    let x = g.product(&[x], from_x, Some(of_x))?;
    let hidden = g.product(&[hidden], from_h, Some(of_h))?;
    let all = g.add(x, hidden)?;
    let part = |g: &mut RecurrentGraph, index: usize| g.slice(all, index * width, width);
    let offset = parts - 3;
    let forget = part(g, offset)?;
    let forget = g.sigmoid(forget)?;
    let candidate = part(g, offset + 1)?;
    let candidate = g.tanh(candidate)?;
    let out = part(g, offset + 2)?;
    let out = g.sigmoid(out)?;
    let input = match gates {
        Gates::Free => {
            let input = part(g, 0)?;
            g.sigmoid(input)?
        }
        Gates::Capped => {
            // min(a, o) = a − relu(a − o)
            let coupled = g.affine(forget, -1.0, 1.0)?;
            let over = g.subtract(coupled, out)?;
            let over = g.relu(over)?;
            g.subtract(coupled, over)?
        }
    };
    let (kept, added) = (g.multiply(forget, c)?, g.multiply(input, candidate)?);
    let memory = g.add(kept, added)?;
    let seen = g.tanh(memory)?;
    let output = g.multiply(out, seen)?;
    g.set_next(c, memory)?;
    finish(graph, h, output)
}

/// The matrix of a cell between its states, which DropConnect thins (Merity et al. 2018).
pub const HIDDEN_WEIGHT: &str = "hidden.weight";

/// State h and node 0 of a DARTS cell: s₀ = h + sigmoid(c₀)·(f(h₀) − h) with (c₀ | h₀) = [x·mₓ, h·mₕ] W₀.
fn gated_input(
    g: &mut RecurrentGraph,
    width: usize,
    f: impl Fn(&mut RecurrentGraph, Node) -> Result<Node>,
) -> Result<(Node, Node)> {
    let h = g.state("h", width)?;
    let weight = g.weight("w0", 2 * width, 2 * width, BOUND)?;
    let (x, hidden) = (g.mask(INPUT_MASK, g.input())?, g.mask(HIDDEN_MASK, h)?);
    let both = g.product(&[x, hidden], weight, None)?;
    let (gate, candidate) = (g.slice(both, 0, width)?, g.slice(both, width, width)?);
    let (gate, candidate) = (g.sigmoid(gate)?, f(g, candidate)?);
    Ok((h, g.blend(h, candidate, gate)?))
}

/// Gate and candidate of an edge: (c | h) = (s·mₕ) W, the gate through the sigmoid.
fn halves(g: &mut RecurrentGraph, state: Node, weight: Weight, width: usize) -> Result<(Node, Node)> {
    let masked = g.mask(HIDDEN_MASK, state)?;
    let both = g.product(&[masked], weight, None)?;
    let (gate, candidate) = (g.slice(both, 0, width)?, g.slice(both, width, width)?);
    Ok((g.sigmoid(gate)?, candidate))
}

/// The matrix of a node (from 1), which all of its edges share.
fn node_weight(g: &mut RecurrentGraph, node: usize, width: usize) -> Result<Weight> {
    g.weight(&format!("ws.{}", node - 1), width, 2 * width, BOUND)
}

fn finish(mut graph: RecurrentGraph, h: Node, output: Node) -> Result<RecurrentGraph> {
    graph.set_next(h, output)?;
    graph.set_output(output);
    Ok(graph)
}

fn check_nodes(nodes: usize) -> Result<()> {
    match (1..=MOST_NODES).contains(&nodes) {
        true => Ok(()),
        false => Err(Error::user(format!("a recurrent cell has from 1 to {MOST_NODES} nodes, not {nodes}"))),
    }
}
