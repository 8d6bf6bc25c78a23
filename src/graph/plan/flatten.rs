//! Sums of sums become one sum before anything is lowered: every sum costs a pass over memory.

use super::readers::Readers;
use crate::graph::{Graph, Node, Op, Term};
use std::collections::HashMap;

/// The terms of all sums, where an inner sum that has no other reader is replaced by its terms. Such inner sums are
/// left out.
pub(super) fn flatten_sums(
    graph: &Graph,
    nodes: impl Iterator<Item = Node>,
    readers: &[Readers],
) -> HashMap<Node, Vec<Term>> {
    let mut sums: HashMap<Node, Vec<Term>> = HashMap::new();
    for node in nodes {
        let Op::Sum { terms } = graph.op(node) else { continue };
        let mut flat = Vec::new();
        for term in terms {
            let inner = match readers[term.node.index()].all {
                1 => sums.get(&term.node).and_then(|inner| inner.iter().map(|t| through(t, term)).collect()),
                _ => None,
            };
            match inner {
                Some(opened) => {
                    sums.remove(&term.node);
                    flat.extend::<Vec<Term>>(opened);
                }
                None => flat.push(*term),
            }
        }
        sums.insert(node, flat);
    }
    sums
}

/// A term of an inner sum as a term of the outer one; none where it would have two factors.
fn through(inner: &Term, outer: &Term) -> Option<Term> {
    let one = [inner.slot.is_some(), outer.slot.is_some(), inner.drop.is_some(), outer.drop.is_some()];
    let factors = one.into_iter().filter(|&factor| factor).count();
    let term = Term { node: inner.node, slot: inner.slot.or(outer.slot), drop: inner.drop.or(outer.drop) };
    (factors <= 1).then_some(term)
}
