//! Siblings: which narrow tensors share lanes.
//!
//! A tensor of four channels fills a quarter of a block, so its convolutions would waste three quarters of arithmetic
//! and memory. But the candidates of all edges that leave one state are alike: the same operations on the same tensor,
//! each with its own weights and for its own sum. Here the sums of a cell become a *family*, each with a share of the
//! block's lanes, and terms that are made by the same operations become a *bundle*, which the plan lowers as one tensor
//! with each member in its sum's share.
//!
//! A family's block is filled step by step: when a sum is due, all bundles in which it has a member join the running
//! total, whose share is then the sum. The last sum has the first share, so the bundles of late states, which have
//! members for late sums only, fill a block from the front.

use super::LANES;
use super::readers::Readers;
use crate::graph::{Graph, Node, Op, Slot, Term};
use std::collections::{BTreeMap, HashMap};

/// Sums that share a block.
pub(super) struct Family {
    /// By share of the lanes: the sums, the last of the graph first.
    pub sums: Vec<Node>,
    pub bundles: Vec<Bundle>,
}

impl Family {
    /// How many shares a block holds.
    pub fn shares(channels: usize) -> usize {
        LANES / channels
    }
}

/// Terms that are made by the same operations, at most one per sum.
pub(super) struct Bundle {
    /// By share: the term's node and mixing weight.
    pub members: Vec<Option<(Node, Option<Slot>)>>,
    /// What the members' chains read.
    pub bottom: Node,
    /// The first sum with a member.
    pub due: Node,
}

/// All families, and the family and share of each of their sums.
#[derive(Default)]
pub(super) struct Siblings {
    pub families: Vec<Family>,
    pub share_of: HashMap<Node, (usize, usize)>,
}

/// How a term is made: the primitives that have no other reader, without their weights, from the term down to its
/// bottom.
type Chain = (Vec<Op>, Node);

/// By sum: its terms with their chains, numbered where one chain occurs several times.
type Chains = BTreeMap<Node, Vec<((Chain, usize), Term)>>;

pub(super) fn find(graph: &Graph, sums: &HashMap<Node, Vec<Term>>, readers: &[Readers]) -> Siblings {
    let mut chains = Chains::new();
    for (&sum, terms) in sums {
        let shape = graph.shape(sum);
        let narrow = Family::shares(shape.channels.min(LANES)) > 1 && shape.pixels() > 1;
        if !narrow || terms.iter().any(|term| term.drop.is_some()) {
            continue;
        }
        let mut seen: HashMap<Chain, usize> = HashMap::new();
        let own = chains.entry(sum).or_default();
        for term in terms.iter().filter(|term| !matches!(graph.op(term.node), Op::Zero { .. })) {
            let chain = chain_of(graph, term.node, shape.channels, readers);
            let count = seen.entry(chain.clone()).or_default();
            *count += 1;
            own.push(((chain, *count), *term));
        }
    }
    let mut siblings = Siblings::default();
    for cell in alike(&chains) {
        let channels = graph.shape(cell[0]).channels;
        for sums in cell.rchunks(Family::shares(channels)) {
            let sums: Vec<Node> = sums.iter().rev().copied().collect();
            let bundles = bundles_of(&sums, &chains);
            let shared = bundles.iter().filter(|b| b.members.iter().flatten().count() > 1).count();
            if 2 * shared < bundles.len() || sums.len() < 2 {
                continue;
            }
            for (share, &sum) in sums.iter().enumerate() {
                siblings.share_of.insert(sum, (siblings.families.len(), share));
            }
            siblings.families.push(Family { sums, bundles });
        }
    }
    siblings
}

/// Sums grouped by having a chain with a convolution in common, directly or through other sums; in the graph's order.
fn alike(chains: &Chains) -> Vec<Vec<Node>> {
    let mut groups: Vec<Vec<Node>> = Vec::new();
    let mut group_of: HashMap<&Chain, usize> = HashMap::new();
    for (&sum, own) in chains {
        let weighted = |chain: &Chain| {
            chain.0.iter().any(|op| matches!(op, Op::Conv { .. } | Op::Depthwise { .. } | Op::Halve { .. }))
        };
        let keys: Vec<&Chain> = own.iter().map(|((chain, _), _)| chain).filter(|chain| weighted(chain)).collect();
        let known: Vec<usize> = keys.iter().filter_map(|key| group_of.get(key).copied()).collect();
        let group = known.iter().copied().min().unwrap_or_else(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        for other in known.into_iter().filter(|&other| other != group) {
            let moved = std::mem::take(&mut groups[other]);
            groups[group].extend(moved);
            group_of.values_mut().filter(|of| **of == other).for_each(|of| *of = group);
        }
        groups[group].push(sum);
        keys.into_iter().for_each(|key| {
            group_of.insert(key, group);
        });
    }
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups.retain(|group| !group.is_empty());
    groups
}

fn bundles_of(sums: &[Node], chains: &Chains) -> Vec<Bundle> {
    let mut bundles: Vec<Bundle> = Vec::new();
    let mut index_of: HashMap<&(Chain, usize), usize> = HashMap::new();
    for (share, sum) in sums.iter().enumerate().rev() {
        for (key, term) in &chains[sum] {
            let index = *index_of.entry(key).or_insert_with(|| {
                bundles.push(Bundle { members: vec![None; sums.len()], bottom: key.0.1, due: *sum });
                bundles.len() - 1
            });
            bundles[index].members[share] = Some((term.node, term.slot));
        }
    }
    for bundle in &mut bundles {
        let filled = bundle.members.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        bundle.members.truncate(filled);
    }
    bundles
}

/// From a term down through primitives that have no other reader and that are, like their inputs, no wider than the
/// sum.
fn chain_of(graph: &Graph, term: Node, channels: usize, readers: &[Readers]) -> Chain {
    let (mut ops, mut at) = (Vec::new(), term);
    while readers[at.index()].all == 1 && graph.shape(at).channels <= channels {
        let (op, input) = match graph.op(at).clone() {
            Op::Conv { input, conv, bias, .. } => {
                (Op::Conv { input: Node(0), conv, weight: 0, bias: bias.map(|_| 0) }, input)
            }
            Op::Depthwise { input, conv, .. } => (Op::Depthwise { input: Node(0), conv, weight: 0 }, input),
            Op::Halve { input, channels, .. } => (Op::Halve { input: Node(0), channels, weights: [0; 2] }, input),
            Op::Norm { input, affine, .. } => {
                (Op::Norm { input: Node(0), norm: 0, affine: affine.map(|_| [0; 2]) }, input)
            }
            Op::Activate { input, activation } => (Op::Activate { input: Node(0), activation }, input),
            Op::Pool { input, pool } => (Op::Pool { input: Node(0), pool }, input),
            _ => break,
        };
        if graph.shape(input).channels > channels {
            break;
        }
        ops.push(op);
        at = input;
    }
    (ops, at)
}
