//! The genotype: the discrete cells that a search leaves behind, as the literature writes them.
//!
//! `Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…], reduce_concat=range(2, 6))`. Entries
//! 2i and 2i + 1 of a list of pairs feed node i, whose state is i + 2; states 0 and 1 are the cell's inputs. A list of
//! triples names the node's state too (FairDARTS, Chu et al. 2020): `('sep_conv_3x3', 4, 0)` feeds state 4 from state 0,
//! and a node may have any number of edges, or none: then it does not exist. The same content as JSON has lists for
//! tuples.

use super::cell::CellKind;
use super::operations::Operations;
use super::python;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One incoming edge of a node: the operation and the state it reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair(pub String, pub usize);

impl Pair {
    pub fn new(operation: &str, input: usize) -> Self {
        Self(operation.to_string(), input)
    }

    pub fn operation(&self) -> &str {
        &self.0
    }

    /// The state it reads: 0 two cells back, 1 the previous cell, i + 2 node i.
    pub fn input(&self) -> usize {
        self.1
    }
}

/// An operation from one state of a cell to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The state it feeds: i + 2 for node i.
    pub node: usize,
    pub operation: String,
    /// The state it reads: 0 two cells back, 1 the previous cell, i + 2 node i.
    pub input: usize,
}

/// Two discrete cells. Equality is that of the networks they describe: the order of a node's edges does not count.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Genotype {
    normal: Cell,
    reduce: Cell,
}

#[derive(Clone, Debug)]
struct Cell {
    edges: Vec<Edge>,
    concat: Vec<usize>,
    /// Every node has two edges and they come in the nodes' order, so the text leaves the nodes out.
    paired: bool,
    /// Write the concatenation as a list because the text it was read from did.
    listed: bool,
}

/// The genotype as data: the field names of the literature.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Fields {
    normal: Vec<Entry>,
    normal_concat: Vec<usize>,
    reduce: Vec<Entry>,
    reduce_concat: Vec<usize>,
}

/// One edge as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "an edge is ('sep_conv_3x3', input) or ('sep_conv_3x3', node, input)")]
enum Entry {
    Pair(String, usize),
    Edge(String, usize, usize),
}

impl Genotype {
    /// A genotype of pairs, two for every node, and concatenated states.
    ///
    /// # Errors
    /// An odd number of pairs, none at all, an input that is not before its node, a concatenation of states that are no
    /// nodes or come twice.
    pub fn new(
        normal: Vec<Pair>,
        normal_concat: Vec<usize>,
        reduce: Vec<Pair>,
        reduce_concat: Vec<usize>,
    ) -> Result<Self> {
        let entries = |pairs: Vec<Pair>| pairs.into_iter().map(|Pair(name, input)| Entry::Pair(name, input)).collect();
        let (normal, reduce) = (entries(normal), entries(reduce));
        Self::checked(Fields { normal, normal_concat, reduce, reduce_concat })
    }

    fn checked(fields: Fields) -> Result<Self> {
        let normal = Cell::new(CellKind::Normal, fields.normal, fields.normal_concat)?;
        let reduce = Cell::new(CellKind::Reduction, fields.reduce, fields.reduce_concat)?;
        Ok(Self { normal, reduce })
    }

    /// Reads the literature's form or JSON.
    pub fn parse(text: &str) -> Result<Self> {
        let json = text.trim_start().starts_with('{');
        let value = match json {
            true => serde_json::from_str(text).map_err(|e| Error::user(format!("this is no genotype: {e}")))?,
            false => python::parse_call(text, "Genotype")?,
        };
        let mut genotype = Self::from_json(value)?;
        genotype.normal.listed = !json && python::is_listed(text, "normal_concat");
        genotype.reduce.listed = !json && python::is_listed(text, "reduce_concat");
        Ok(genotype)
    }

    /// Reads the fields `normal`, `normal_concat`, `reduce` and `reduce_concat`.
    pub fn from_json(value: serde_json::Value) -> Result<Self> {
        let fields: Fields = serde_json::from_value(value).map_err(|e| {
            Error::user(format!("this is no genotype: {e}")).hint(
                "the form is Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…], \
                 reduce_concat=range(2, 6))",
            )
        })?;
        Self::checked(fields)
    }

    /// The edges of a cell in the order in which they are listed.
    pub fn edges(&self, kind: CellKind) -> &[Edge] {
        &self.cell(kind).edges
    }

    /// The states whose channels are concatenated to the cell's output.
    pub fn concat(&self, kind: CellKind) -> &[usize] {
        &self.cell(kind).concat
    }

    /// Whether a cell is listed as pairs, two for every node.
    pub fn is_paired(&self, kind: CellKind) -> bool {
        self.cell(kind).paired
    }

    /// The states that exist besides the two inputs, ascending: those with an edge from a state that exists.
    pub fn nodes(&self, kind: CellKind) -> Vec<usize> {
        self.cell(kind).nodes()
    }

    fn cell(&self, kind: CellKind) -> &Cell {
        match kind {
            CellKind::Normal => &self.normal,
            CellKind::Reduction => &self.reduce,
        }
    }

    /// Sees that every operation is in the registry; an error with the closest name otherwise.
    pub fn check_operations(&self, operations: &Operations<'_>) -> Result<()> {
        for edge in self.normal.edges.iter().chain(&self.reduce.edges) {
            operations.get(&edge.operation)?;
        }
        Ok(())
    }

    /// As one line of JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "normal": self.normal.entries(), "normal_concat": self.normal.concat,
            "reduce": self.reduce.entries(), "reduce_concat": self.reduce.concat,
        })
    }
}

impl Cell {
    fn new(kind: CellKind, entries: Vec<Entry>, concat: Vec<usize>) -> Result<Self> {
        let name = kind.name();
        let paired = entries.iter().all(|entry| matches!(entry, Entry::Pair(..)));
        if !paired && entries.iter().any(|entry| matches!(entry, Entry::Pair(..))) {
            return Err(Error::user(format!("{name} mixes pairs (op, input) with triples (op, node, input)")));
        }
        if paired && (entries.is_empty() || !entries.len().is_multiple_of(2)) {
            return Err(Error::user(format!(
                "{name} has {} pairs, but every node takes two (entries 2i and 2i + 1 feed node i)",
                entries.len()
            )));
        }
        let edge = |(index, entry): (usize, Entry)| match entry {
            Entry::Pair(operation, input) => Edge { node: index / 2 + 2, operation, input },
            Entry::Edge(operation, node, input) => Edge { node, operation, input },
        };
        let edges = entries.into_iter().enumerate().map(edge).collect();
        let cell = Self { edges, concat, paired, listed: false };
        cell.check(name)?;
        Ok(cell)
    }

    fn check(&self, name: &str) -> Result<()> {
        for Edge { node, operation, input } in &self.edges {
            if *node < 2 {
                return Err(Error::user(format!(
                    "{name}: ('{operation}', {node}, {input}) feeds an input of the cell"
                ))
                .hint("nodes are states 2, 3, …; states 0 and 1 are the outputs of the two cells before"));
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
        if self.concat.is_empty() {
            return Err(Error::user(format!("{name}_concat is empty: the cell would have no output")));
        }
        let nodes = self.nodes();
        for (index, state) in self.concat.iter().enumerate() {
            // A list of triples says by silence that a node does not exist; its concatenation may say the whole range.
            let last = nodes.last().copied().unwrap_or(1);
            if *state < 2 || (self.paired && *state > last) {
                return Err(Error::user(format!("{name}_concat lists state {state}, which is no node of the cell"))
                    .hint(format!("nodes are states 2 to {last}")));
            }
            if self.concat[..index].contains(state) {
                return Err(Error::user(format!("{name}_concat lists state {state} twice")));
            }
        }
        match self.concat.iter().any(|state| nodes.contains(state)) {
            true => Ok(()),
            false => Err(Error::user(format!("no state of {name}_concat has an edge: the cell would have no output"))),
        }
    }

    fn nodes(&self) -> Vec<usize> {
        let mut exists = vec![true, true];
        let last = self.edges.iter().map(|edge| edge.node).max().unwrap_or(1);
        for state in 2..=last {
            exists.push(self.edges.iter().any(|edge| edge.node == state && exists[edge.input]));
        }
        (2..=last).filter(|&state| exists[state]).collect()
    }

    fn entries(&self) -> Vec<Entry> {
        let entry = |Edge { node, operation, input }: &Edge| match self.paired {
            true => Entry::Pair(operation.clone(), *input),
            false => Entry::Edge(operation.clone(), *node, *input),
        };
        self.edges.iter().map(entry).collect()
    }

    /// What the cell computes, whatever the order and form of its text: sorted edges and concatenated states that exist.
    fn meaning(&self) -> (Vec<&Edge>, Vec<usize>) {
        let nodes = self.nodes();
        let exists = |state: usize| state < 2 || nodes.contains(&state);
        let mut edges: Vec<&Edge> = self.edges.iter().filter(|edge| exists(edge.input)).collect();
        edges.sort();
        (edges, self.concat.iter().copied().filter(|&state| exists(state)).collect())
    }
}

/// Far above any cell of the literature.
const MOST_STATES: usize = 256;

impl PartialEq for Genotype {
    fn eq(&self, other: &Self) -> bool {
        CellKind::BOTH.into_iter().all(|kind| self.cell(kind).meaning() == other.cell(kind).meaning())
    }
}

impl Eq for Genotype {}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Pair(operation, input) => write!(f, "('{operation}', {input})"),
            Entry::Edge(operation, node, input) => write!(f, "('{operation}', {node}, {input})"),
        }
    }
}

impl fmt::Display for Genotype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let edges = |cell: &Cell| {
            let list: Vec<String> = cell.entries().iter().map(Entry::to_string).collect();
            format!("[{}]", list.join(", "))
        };
        let concat = |cell: &Cell| {
            let states = &cell.concat;
            let (first, end) = (states[0], states[0] + states.len());
            match !cell.listed && states.iter().copied().eq(first..end) {
                true => format!("range({first}, {end})"),
                false => format!("{states:?}"),
            }
        };
        write!(
            f,
            "Genotype(normal={}, normal_concat={}, reduce={}, reduce_concat={})",
            edges(&self.normal),
            concat(&self.normal),
            edges(&self.reduce),
            concat(&self.reduce)
        )
    }
}

impl FromStr for Genotype {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<Fields> for Genotype {
    type Error = Error;

    fn try_from(fields: Fields) -> Result<Self> {
        Self::checked(fields)
    }
}

impl From<Genotype> for Fields {
    fn from(genotype: Genotype) -> Self {
        Fields {
            normal: genotype.normal.entries(),
            normal_concat: genotype.normal.concat,
            reduce: genotype.reduce.entries(),
            reduce_concat: genotype.reduce.concat,
        }
    }
}
