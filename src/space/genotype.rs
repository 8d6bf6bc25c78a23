//! The genotype: the discrete cells that a search leaves behind, as the literature writes them.
//!
//! `Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…], reduce_concat=range(2, 6))`, in
//! the forms that [`cell_form`](crate::cell_form) knows. The same content as JSON has lists for tuples.

use super::cell::CellKind;
use super::operations::Operations;
use super::python;
use super::recurrent::RecurrentTree;
use super::spaces::CodedCell;
use crate::cell_form::{CellForm, Edge, EdgeText, NORMAL, RECURRENT, REDUCE};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
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

/// Two discrete cells. Equality is that of the networks they describe: the order of a node's edges does not count.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Genotype {
    /// In the order of [`CellKind::BOTH`].
    cells: [CellForm; 2],
    /// Write the concatenations as lists because the text they were read from did.
    listed: [bool; 2],
}

impl Genotype {
    /// A genotype of pairs, two for every node, and concatenated states.
    ///
    /// # Errors
    /// An odd number of pairs, none at all, an input that is not before its node, a concatenation of states that are
    /// not nodes or come twice.
    pub fn new(
        normal: Vec<Pair>,
        normal_concat: Vec<usize>,
        reduce: Vec<Pair>,
        reduce_concat: Vec<usize>,
    ) -> Result<Self> {
        let entries =
            |pairs: Vec<Pair>| pairs.into_iter().map(|Pair(name, input)| EdgeText::Pair(name, input)).collect();
        let normal = CellForm::new(&NORMAL, entries(normal), Some(normal_concat))?;
        let reduce = CellForm::new(&REDUCE, entries(reduce), Some(reduce_concat))?;
        Ok(Self { cells: [normal, reduce], listed: [false; 2] })
    }

    /// A genotype of edges that name their nodes; all nodes that exist are concatenated.
    ///
    /// # Errors
    /// A cell without edges, an input that is not before its node.
    pub fn of_edges(normal: Vec<EdgeText>, reduce: Vec<EdgeText>) -> Result<Self> {
        let cells = [CellForm::new(&NORMAL, normal, None)?, CellForm::new(&REDUCE, reduce, None)?];
        Ok(Self { cells, listed: [false; 2] })
    }

    /// The same with another operation and input of the edge at `index` (from 0) of one cell's list.
    ///
    /// # Errors
    /// An index beyond the list; an input that is not before the edge's node.
    pub fn replaced(&self, kind: CellKind, index: usize, operation: &str, input: usize) -> Result<Self> {
        let cell = self.cell(kind);
        let mut entries = cell.entries();
        let count = entries.len();
        let Some(entry) = entries.get_mut(index) else {
            return Err(Error::user(format!(
                "the {} cell has {count} edges, so there is no edge {index}",
                kind.name()
            ))
            .hint("edges count from 0"));
        };
        *entry = match entry {
            EdgeText::Pair(..) => EdgeText::Pair(operation.into(), input),
            EdgeText::Edge(_, node, _) => EdgeText::Edge(operation.into(), *node, input),
        };
        let fields = [&NORMAL, &REDUCE][kind as usize];
        let mut other = self.clone();
        other.cells[kind as usize] = CellForm::new(fields, entries, Some(cell.concat().to_vec()))?;
        Ok(other)
    }

    /// Reads the literature's form or JSON.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    pub fn parse(text: &str) -> Result<Self> {
        if text.contains('|') && text.contains('~') {
            return Err(Error::user(
                "this is an architecture of NAS-Bench-201 (op~input, a group for each node), not a genotype",
            )
            .hint("its cells have one kind and no concatenation; a genotype has a normal and a reduction cell"));
        }
        let json = text.trim_start().starts_with('{');
        let mut value = python::parse_genotype(text)?;
        let fields = [&NORMAL, &REDUCE];
        for fields in fields {
            if let Some(edges) = value.get_mut(fields.edges) {
                python::flatten_nodes(edges);
            }
        }
        let listed = fields.map(|fields| !json && python::is_listed(text, fields.concat));
        Ok(Self { listed, ..Self::from_json(&value)? })
    }

    /// Reads the fields `normal`, `normal_concat`, `reduce` and `reduce_concat`.
    ///
    /// # Errors
    /// A field that is missing or of another form, and as [`new`](Self::new).
    pub fn from_json(value: &Value) -> Result<Self> {
        let is_recurrent = value.get(RECURRENT.edges).is_some() || RecurrentTree::is_one(value);
        if value.get(NORMAL.edges).is_none() && is_recurrent {
            return Err(Error::user("this is the genotype of a recurrent cell, not of convolutional ones")
                .hint("recurrent_genotype(…) reads it"));
        }
        if CodedCell::is_one(value) {
            return Err(Error::user("this is a code with its space, not a genotype of two cells")
                .hint("coded_genotype(…) reads it, and scripts/train_coded.rhai trains it"));
        }
        for name in [NORMAL.concat, REDUCE.concat] {
            if value.get(name).is_none() {
                return Err(missing(name));
            }
        }
        Self::from_fields(value)
    }

    /// Reads the fields `normal` and `reduce`, and where they are given `normal_concat` and `reduce_concat`; otherwise
    /// all nodes are concatenated.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    pub fn from_fields(value: &Value) -> Result<Self> {
        let cell = |fields| CellForm::read(value, fields)?.ok_or_else(|| missing(fields.edges));
        Ok(Self { cells: [cell(&NORMAL)?, cell(&REDUCE)?], listed: [false; 2] })
    }

    /// Both cells, the normal one first.
    pub fn cells(&self) -> &[CellForm; 2] {
        &self.cells
    }

    /// The edges of a cell in the order in which they are listed.
    pub fn edges(&self, kind: CellKind) -> &[Edge] {
        self.cell(kind).edges()
    }

    /// The states whose channels are concatenated to the cell's output.
    pub fn concat(&self, kind: CellKind) -> &[usize] {
        self.cell(kind).concat()
    }

    /// Whether a cell is listed as pairs, two for every node.
    pub fn is_paired(&self, kind: CellKind) -> bool {
        self.cell(kind).is_paired()
    }

    /// The states that exist besides the two inputs, ascending: those with an edge from a state that exists.
    pub fn nodes(&self, kind: CellKind) -> Vec<usize> {
        self.cell(kind).nodes()
    }

    fn cell(&self, kind: CellKind) -> &CellForm {
        &self.cells[kind as usize]
    }

    /// Checks that every operation is in the registry.
    ///
    /// # Errors
    /// One that is not, with the closest name.
    pub fn check_operations(&self, operations: &Operations<'_>) -> Result<()> {
        for edge in self.cells.iter().flat_map(CellForm::edges) {
            operations.get(&edge.operation)?;
        }
        Ok(())
    }

    /// As one line of JSON.
    pub fn to_json(&self) -> Value {
        let [normal, reduce] = &self.cells;
        serde_json::json!({
            "normal": normal.entries(), "normal_concat": normal.concat(),
            "reduce": reduce.entries(), "reduce_concat": reduce.concat(),
        })
    }
}

fn missing(field: &str) -> Error {
    Error::user(format!("this is not a genotype: missing field `{field}`")).hint(
        "the form is Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…], \
         reduce_concat=range(2, 6))",
    )
}

/// What a cell computes, whatever the order and form of its text: sorted edges and concatenated states that exist.
fn meaning(cell: &CellForm) -> (Vec<&Edge>, Vec<usize>) {
    let nodes = cell.nodes();
    let exists = |state: usize| state < cell.inputs() || nodes.contains(&state);
    let mut edges: Vec<&Edge> = cell.edges().iter().filter(|edge| exists(edge.input)).collect();
    edges.sort();
    (edges, cell.concat().iter().copied().filter(|&state| exists(state)).collect())
}

impl PartialEq for Genotype {
    fn eq(&self, other: &Self) -> bool {
        self.cells.iter().zip(&other.cells).all(|(one, other)| meaning(one) == meaning(other))
    }
}

impl Eq for Genotype {}

impl fmt::Display for Genotype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let edges = |cell: &CellForm| {
            let list: Vec<String> = cell.entries().iter().map(EdgeText::to_string).collect();
            format!("[{}]", list.join(", "))
        };
        let concat = |cell: &CellForm, listed: bool| {
            let states = cell.concat();
            let (first, end) = (states[0], states[0] + states.len());
            match !listed && states.iter().copied().eq(first..end) {
                true => format!("range({first}, {end})"),
                false => format!("{states:?}"),
            }
        };
        let ([normal, reduce], listed) = (&self.cells, self.listed);
        write!(f, "Genotype(normal={}, normal_concat={}", edges(normal), concat(normal, listed[0]))?;
        write!(f, ", reduce={}, reduce_concat={})", edges(reduce), concat(reduce, listed[1]))
    }
}

impl FromStr for Genotype {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl TryFrom<Value> for Genotype {
    type Error = Error;

    fn try_from(value: Value) -> Result<Self> {
        Self::from_json(&value)
    }
}

impl From<Genotype> for Value {
    fn from(genotype: Genotype) -> Self {
        genotype.to_json()
    }
}
