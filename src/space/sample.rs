//! Cells drawn at random from a search space, the baseline that a search has to beat (Li and Talwalkar 2019).

use super::genotype::{Genotype, Pair};
use crate::random::Rng;
use crate::{Error, Result};
use rand::RngExt;

/// A genotype of `nodes` nodes: each reads two different states before it, every pair of states and every operation
/// other than "none" as likely as any other. All nodes are concatenated.
///
/// # Errors
/// No node, or no operation to choose.
pub fn random_genotype(nodes: usize, operations: &[String], rng: &mut Rng) -> Result<Genotype> {
    let choice: Vec<&String> = operations.iter().filter(|name| *name != "none").collect();
    if choice.is_empty() || !(1..=64).contains(&nodes) {
        return Err(Error::user(format!("a cell of {nodes} nodes and {} operations cannot be drawn", choice.len()))
            .hint("a cell has from 1 to 64 nodes, and takes at least one operation other than \"none\""));
    }
    let mut cell = || -> Vec<Pair> {
        let mut pairs = Vec::with_capacity(2 * nodes);
        for node in 0..nodes {
            let states = node as u32 + 2;
            let first = rng.random_range(0..states);
            // One of the others, counted from the first on.
            let second = (first + rng.random_range(1..states)) % states;
            for input in [first.min(second), first.max(second)] {
                pairs.push(Pair::new(choice[rng.random_range(0..choice.len() as u32) as usize], input as usize));
            }
        }
        pairs
    };
    let concat: Vec<usize> = (2..nodes + 2).collect();
    Genotype::new(cell(), concat.clone(), cell(), concat)
}
