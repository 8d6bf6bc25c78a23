//! The published rule that reads a discrete cell off relaxed alphas (`docs/darts.md` A6; Liu et al. 2019, section 2.4).

use super::cell::{Mask, edge_count, incoming};
use super::genotype::Pair;
use crate::{Error, Result};
use std::cmp::Ordering;

/// How many incoming edges every node keeps.
const KEPT: usize = 2;

/// The pairs (operation, input state) of one cell, node by node, the stronger edge first.
///
/// `probabilities` is edges × operations, already relaxed (softmax over all candidates, "none" among them). An edge is
/// as strong as its best candidate other than "none"; every node keeps its two strongest edges, ties going to the
/// smaller predecessor, and on each the best candidate, ties going to the lower index. `operations` need not hold
/// "none"; a candidate that `mask` leaves out is never chosen.
///
/// # Errors
/// Rows of the wrong number or length, values that are not finite, and nodes with fewer than two edges to choose from.
pub fn derive_cell(
    probabilities: &[Vec<f64>],
    operations: &[String],
    nodes: usize,
    mask: Option<&Mask>,
) -> Result<Vec<Pair>> {
    let edges = edge_count(nodes);
    if probabilities.len() != edges || probabilities.iter().any(|row| row.len() != operations.len()) {
        let widths: Vec<usize> = probabilities.iter().map(Vec::len).collect();
        return Err(Error::user(format!(
            "a cell of {nodes} nodes has {edges} edges × {} operations, but there are {} rows of lengths {widths:?}",
            operations.len(),
            probabilities.len()
        )));
    }
    if let Some(edge) = probabilities.iter().position(|row| row.iter().any(|p| !p.is_finite())) {
        return Err(Error::user(format!("the probabilities of edge {edge} are not finite: {:?}", probabilities[edge])));
    }

    let selectable = |edge: usize, column: usize| {
        operations[column] != "none" && mask.is_none_or(|mask| mask.get(edge).is_some_and(|row| row[column]))
    };
    let mut pairs = Vec::with_capacity(KEPT * nodes);
    for node in 0..nodes {
        let mut candidates: Vec<(usize, Best)> = incoming(node)
            .enumerate()
            .filter_map(|(input, edge)| {
                let open = (0..operations.len()).filter(|&column| selectable(edge, column));
                Some((input, best(open.map(|column| (column, probabilities[edge][column])))?))
            })
            .collect();
        if candidates.len() < KEPT {
            return Err(Error::user(format!(
                "node {node} keeps {KEPT} edges, but only {} of its edges carry an operation other than \"none\"",
                candidates.len()
            )));
        }
        // Stable, so that among equally strong edges the smaller predecessor stays in front.
        candidates.sort_by(|(_, a), (_, b)| b.strength.partial_cmp(&a.strength).unwrap_or(Ordering::Equal));
        let kept = candidates.into_iter().take(KEPT);
        pairs.extend(kept.map(|(input, best)| Pair::new(&operations[best.column], input)));
    }
    Ok(pairs)
}

/// The strongest candidate of an edge.
struct Best {
    column: usize,
    strength: f64,
}

/// The first of the largest values.
fn best(values: impl Iterator<Item = (usize, f64)>) -> Option<Best> {
    values.fold(None, |best: Option<Best>, (column, strength)| match best {
        Some(best) if best.strength >= strength => Some(best),
        _ => Some(Best { column, strength }),
    })
}
