//! From relaxed alphas to a recurrent genotype, and cells drawn at random from the same space.

use super::cells::{MOST_NODES, edge, edge_count};
use super::genotype::RecurrentGenotype;
use crate::random::Rng;
use crate::{Error, Result};
use rand::RngExt;

/// The published rule (`docs/darts.md` B2): every node keeps the one predecessor whose best activation other than
/// "none" is the most probable, ties going to the smaller predecessor, with that activation; the output is the mean of
/// all nodes. `probabilities`: edges × activations, relaxed over all of them.
///
/// # Errors
/// Rows of the wrong number or length, values that are not finite, no activation besides "none".
pub fn derive(probabilities: &[Vec<f64>], activations: &[String], nodes: usize) -> Result<RecurrentGenotype> {
    let edges = edge_count(nodes);
    if probabilities.len() != edges || probabilities.iter().any(|row| row.len() != activations.len()) {
        return Err(Error::user(format!(
            "a recurrent cell of {nodes} nodes has {edges} edges × {} activations; the probabilities given have \
             another shape",
            activations.len()
        )));
    }
    if let Some(row) = probabilities.iter().position(|row| row.iter().any(|p| !p.is_finite())) {
        return Err(Error::user(format!("the probabilities of edge {row} are not finite: {:?}", probabilities[row])));
    }
    let open: Vec<usize> = (0..activations.len()).filter(|&column| activations[column] != "none").collect();
    let pair = |node: usize| {
        let choices = (0..node).flat_map(|input| open.iter().map(move |&column| (input, column)));
        let strength = |&(input, column): &(usize, usize)| probabilities[edge(node, input)][column];
        // The first of the strongest: the smaller predecessor, then the smaller index.
        let best = choices.reduce(|best, other| if strength(&other) > strength(&best) { other } else { best });
        best.map(|(input, column)| (activations[column].clone(), input))
            .ok_or_else(|| Error::user("there is no activation to choose besides \"none\""))
    };
    RecurrentGenotype::new((1..=nodes).map(pair).collect::<Result<_>>()?, None)
}

/// A cell drawn at random: for each node every state before it and every activation other than "none" as likely as any
/// other.
///
/// # Errors
/// No nodes or too many, no activation to choose.
pub fn random_cell(nodes: usize, activations: &[String], rng: &mut Rng) -> Result<RecurrentGenotype> {
    let choice: Vec<&String> = activations.iter().filter(|name| *name != "none").collect();
    if choice.is_empty() || !(1..=MOST_NODES).contains(&nodes) {
        return Err(Error::user(format!("a cell of {nodes} nodes and {} activations cannot be drawn", choice.len()))
            .hint(format!(
                "a cell has from 1 to {MOST_NODES} nodes, and at least one activation other than \"none\""
            )));
    }
    let pair = |node: usize| {
        let input = rng.random_range(0..node as u32) as usize;
        (choice[rng.random_range(0..choice.len() as u32) as usize].clone(), input)
    };
    RecurrentGenotype::new((1..=nodes).map(pair).collect(), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Seed;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_node_keeps_its_strongest_edge_and_ties_go_to_the_smaller_state() {
        let activations = names(&["none", "tanh", "relu"]);
        let even = vec![vec![1.0 / 3.0; 3]; 3];
        let cell = derive(&even, &activations, 2).expect("a cell");
        assert_eq!(cell.nodes().collect::<Vec<_>>(), [("tanh", 0), ("tanh", 0)]);
        let rows = vec![vec![0.98, 0.01, 0.01], vec![0.1, 0.3, 0.6], vec![0.05, 0.7, 0.25]];
        let cell = derive(&rows, &activations, 2).expect("a cell");
        assert_eq!(cell.nodes().collect::<Vec<_>>(), [("tanh", 0), ("tanh", 1)]);
        assert_eq!(cell.concat(), [1, 2]);
        assert!(derive(&rows, &names(&["none", "tanh"]), 2).is_err());
    }

    #[test]
    fn random_cells_choose_all_states_and_no_none() {
        let activations = names(&["none", "tanh", "relu", "sigmoid", "identity"]);
        let mut rng = Seed(3).rng("cells", 0);
        let mut seen = [false; 4];
        for _ in 0..200 {
            let cell = random_cell(4, &activations, &mut rng).expect("a cell");
            for (node, (activation, input)) in cell.nodes().enumerate() {
                assert!(activation != "none" && input <= node);
                seen[input] = true;
            }
        }
        assert_eq!(seen, [true; 4]);
        assert!(random_cell(4, &names(&["none"]), &mut rng).is_err());
    }
}
