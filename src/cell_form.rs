//! Discrete cells as the literature writes them: lists of operations with the states they read.
//!
//! A convolutional cell reads the outputs of the two cells before it, states 0 and 1; node i is state i + 2. In a list
//! of pairs, `('sep_conv_3x3', 0)`, entries 2i and 2i + 1 feed node i. A list of triples names the node's state too
//! (FairDARTS, Chu et al. 2020): `('sep_conv_3x3', 4, 0)` feeds state 4 from state 0, and a node may have any number of
//! edges, or none: then it does not exist. A recurrent cell reads one state, which combines the input with the hidden
//! state; pair i feeds node i, state i + 1. This is the form alone: what a cell computes is known in `space/`, how it
//! is drawn in `chart/`.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The fields in which a genotype holds one of its cells.
#[derive(Debug, PartialEq, Eq)]
pub struct Fields {
    /// The field of the edges; it names the cell in messages.
    pub edges: &'static str,
    /// The field of the states that make the cell's output.
    pub concat: &'static str,
    /// The states that the cell reads; its nodes follow.
    pub inputs: usize,
    /// Pairs that feed one node.
    pub pairs: usize,
    /// Whether its output may hold states that it reads: not where its nodes are smaller.
    pub passes_on: bool,
}

pub const NORMAL: Fields = Fields { edges: "normal", concat: "normal_concat", inputs: 2, pairs: 2, passes_on: true };
pub const REDUCE: Fields = Fields { edges: "reduce", concat: "reduce_concat", inputs: 2, pairs: 2, passes_on: false };
pub const RECURRENT: Fields = Fields { edges: "recurrent", concat: "concat", inputs: 1, pairs: 1, passes_on: false };

/// An operation from one state of a cell to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The state it feeds.
    pub node: usize,
    pub operation: String,
    /// The state it reads.
    pub input: usize,
}

/// One edge as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "an edge is ('sep_conv_3x3', input) or ('sep_conv_3x3', node, input)")]
pub enum EdgeText {
    Pair(String, usize),
    Edge(String, usize, usize),
}

/// One discrete cell.
#[derive(Clone, Debug)]
pub struct CellForm {
    fields: &'static Fields,
    edges: Vec<Edge>,
    concat: Vec<usize>,
    /// Every node has as many edges as it has pairs and they come in the nodes' order, so the text leaves the nodes
    /// out.
    paired: bool,
}

/// Far above any cell of the literature.
const MOST_STATES: usize = 256;

impl CellForm {
    /// A cell of these edges and concatenated states; without states all its nodes are concatenated.
    ///
    /// # Errors
    /// Pairs that do not fill their last node, pairs among triples, no edge at all, an input that is not before its
    /// node, a concatenation of states that are not nodes or come twice.
    pub fn new(fields: &'static Fields, entries: Vec<EdgeText>, concat: Option<Vec<usize>>) -> Result<Self> {
        let (name, pairs) = (fields.edges, fields.pairs);
        let paired = entries.iter().all(|entry| matches!(entry, EdgeText::Pair(..)));
        if !paired && entries.iter().any(|entry| matches!(entry, EdgeText::Pair(..))) {
            return Err(Error::user(format!("{name} mixes pairs (op, input) with triples (op, node, input)")));
        }
        if entries.is_empty() {
            return Err(Error::user(format!("{name} has no edges")));
        }
        if paired && !entries.len().is_multiple_of(pairs) {
            return Err(Error::user(format!(
                "{name} has {} pairs, but every node takes two (entries 2i and 2i + 1 feed node i)",
                entries.len()
            )));
        }
        let edge = |(index, entry): (usize, EdgeText)| match entry {
            EdgeText::Pair(operation, input) => Edge { node: index / pairs + fields.inputs, operation, input },
            EdgeText::Edge(operation, node, input) => Edge { node, operation, input },
        };
        let edges = entries.into_iter().enumerate().map(edge).collect();
        let mut cell = Self { fields, edges, concat: vec![], paired };
        cell.check_edges()?;
        cell.concat = concat.unwrap_or_else(|| cell.nodes());
        cell.check_concat()?;
        Ok(cell)
    }

    /// The cell in these fields of a genotype as JSON; `None` where it has none of them.
    ///
    /// # Errors
    /// Fields of another form, and as [`new`](Self::new).
    pub fn read(genotype: &Value, fields: &'static Fields) -> Result<Option<Self>> {
        let Some(entries) = genotype.get(fields.edges) else { return Ok(None) };
        let form = |name: &str, error: &dyn fmt::Display| {
            Error::user(format!("this is not a genotype: {name}: {error}")).hint(
                "the form is Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…], \
                 reduce_concat=range(2, 6))",
            )
        };
        let entries = Vec::<EdgeText>::deserialize(entries).map_err(|error| form(fields.edges, &error))?;
        let concat = genotype.get(fields.concat).map(Vec::<usize>::deserialize).transpose();
        Self::new(fields, entries, concat.map_err(|error| form(fields.concat, &error))?).map(Some)
    }

    /// What a genotype calls it: "normal".
    pub fn name(&self) -> &'static str {
        self.fields.edges
    }

    /// The states that it reads; its nodes follow.
    pub fn inputs(&self) -> usize {
        self.fields.inputs
    }

    /// The edges in the order in which they are listed.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The states that make the cell's output.
    pub fn concat(&self) -> &[usize] {
        &self.concat
    }

    /// Whether it is listed as pairs.
    pub fn is_paired(&self) -> bool {
        self.paired
    }

    /// The states that exist besides the inputs, ascending: those with an edge from a state that exists.
    pub fn nodes(&self) -> Vec<usize> {
        let inputs = self.inputs();
        let mut exists = vec![true; inputs];
        let last = self.edges.iter().map(|edge| edge.node).max().unwrap_or(0);
        for state in inputs..=last {
            exists.push(self.edges.iter().any(|edge| edge.node == state && exists[edge.input]));
        }
        (inputs..=last).filter(|&state| exists[state]).collect()
    }

    /// The edges as they are written.
    pub fn entries(&self) -> Vec<EdgeText> {
        let entry = |Edge { node, operation, input }: &Edge| match self.paired {
            true => EdgeText::Pair(operation.clone(), *input),
            false => EdgeText::Edge(operation.clone(), *node, *input),
        };
        self.edges.iter().map(entry).collect()
    }

    fn check_edges(&self) -> Result<()> {
        let (name, inputs) = (self.name(), self.inputs());
        for Edge { node, operation, input } in &self.edges {
            if *node < inputs {
                return Err(Error::user(format!(
                    "{name}: ('{operation}', {node}, {input}) feeds an input of the cell"
                ))
                .hint(format!("nodes are states {inputs}, {}, …; the cell reads those before", inputs + 1)));
            }
            if *node > MOST_STATES {
                return Err(Error::user(format!("{name}: a cell has no more than {MOST_STATES} states, not {node}")));
            }
            if input >= node {
                return Err(Error::user(format!(
                    "{name}: ('{operation}', {input}) feeds state {node}, which can only read states 0 to {}",
                    node - 1
                )));
            }
        }
        Ok(())
    }

    fn check_concat(&self) -> Result<()> {
        let (concat, inputs) = (self.fields.concat, self.inputs());
        if self.concat.is_empty() {
            return Err(Error::user(format!("{concat} is empty: the cell would have no output")));
        }
        let nodes = self.nodes();
        for (index, state) in self.concat.iter().enumerate() {
            // A list of triples says by silence that a node does not exist; its concatenation may say the whole range.
            let last = nodes.last().copied().unwrap_or(inputs - 1);
            if (*state < inputs && !self.fields.passes_on) || (self.paired && *state > last) {
                return Err(Error::user(format!("{concat} lists state {state}, which is not a node of the cell"))
                    .hint(format!("nodes are states {inputs} to {last}")));
            }
            if self.concat[..index].contains(state) {
                return Err(Error::user(format!("{concat} lists state {state} twice")));
            }
        }
        match self.concat.iter().any(|state| nodes.contains(state)) {
            true => Ok(()),
            false => Err(Error::user(format!("no state of {concat} has an edge: the cell would have no output"))),
        }
    }
}

impl fmt::Display for EdgeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EdgeText::Pair(operation, input) => write!(f, "('{operation}', {input})"),
            EdgeText::Edge(operation, node, input) => write!(f, "('{operation}', {node}, {input})"),
        }
    }
}
