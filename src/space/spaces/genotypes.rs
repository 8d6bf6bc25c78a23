//! Spaces whose cells are genotypes: a normal and a reduction cell, in which every node joins two operations.

use super::{CellSpace, Decision, INPUT, OP};
use crate::cell_form::Edge;
use crate::space::{CellKind, Genotype, Pair};
use crate::{Error, Result};

/// How codes and genotypes correspond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    pub nodes: usize,
    pub operations: Vec<String>,
    pub inputs: Inputs,
    /// One cell serves as normal and reduction cell.
    pub one_cell: bool,
    pub concat: Concat,
}

/// Which states a node may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// Two different ones: one decision.
    Distinct,
    /// Any two: a decision each.
    Any,
}

/// Which states make a cell's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concat {
    /// All nodes.
    Nodes,
    /// The nodes that no other node reads.
    LooseEnds,
}

/// The pairs of states that a node can read, the smaller state first.
fn pairs(states: usize) -> Vec<(usize, usize)> {
    (0..states).flat_map(|first| (first + 1..states).map(move |second| (first, second))).collect()
}

impl Cells {
    fn kinds(&self) -> &'static [CellKind] {
        if self.one_cell { &CellKind::BOTH[..1] } else { &CellKind::BOTH }
    }

    /// The decisions about a node, and how many there are.
    fn per_node(&self) -> usize {
        if self.inputs == Inputs::Distinct { 3 } else { 4 }
    }

    /// All decisions, node by node of the normal cell, then of the reduction cell: the states it reads and two
    /// operations, or state, operation, state, operation.
    pub(super) fn decisions(&self) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for (part, kind) in self.kinds().iter().enumerate() {
            for node in 0..self.nodes {
                let place = if self.one_cell { "the cell" } else { kind.name() };
                let mut add = |what: &str, choices: Vec<String>, kind: usize| {
                    let name = format!("{place}, state {}, {what}", node + 2);
                    decisions.push(Decision { name, choices, group: [0, part, kind] });
                };
                let states = || (0..node + 2).map(|state| state.to_string()).collect();
                match self.inputs {
                    Inputs::Distinct => {
                        let both = pairs(node + 2).iter().map(|(first, second)| format!("{first} {second}")).collect();
                        add("its inputs", both, INPUT);
                        add("its first op", self.operations.clone(), OP);
                        add("its second op", self.operations.clone(), OP);
                    }
                    Inputs::Any => {
                        add("its first input", states(), INPUT);
                        add("its first op", self.operations.clone(), OP);
                        add("its second input", states(), INPUT);
                        add("its second op", self.operations.clone(), OP);
                    }
                }
            }
        }
        decisions
    }
}

impl CellSpace {
    fn with_cells(&self) -> Result<&Cells> {
        self.cells.as_ref().ok_or_else(|| {
            Error::user(format!("cells of the space \"{}\" are codes, not genotypes", self.name))
                .hint("coded_genotype keeps a code with its space; space.words(code) says in words what it means")
        })
    }

    /// The genotype of a code.
    ///
    /// # Errors
    /// A code outside of the space; a space without genotypes.
    pub fn genotype(&self, code: &[usize]) -> Result<Genotype> {
        let cells = self.with_cells()?;
        self.check(code)?;
        let cell = |code: &[usize]| {
            let mut edges = Vec::with_capacity(2 * cells.nodes);
            for (node, choices) in code.chunks(cells.per_node()).enumerate() {
                let op = |choice: usize| cells.operations[choice].as_str();
                match (cells.inputs, choices) {
                    (Inputs::Any, &[first, first_op, second, second_op]) => {
                        edges.extend([Pair::new(op(first_op), first), Pair::new(op(second_op), second)]);
                    }
                    (_, &[inputs, first_op, second_op, ..]) => {
                        let (first, second) = pairs(node + 2)[inputs];
                        edges.extend([Pair::new(op(first_op), first), Pair::new(op(second_op), second)]);
                    }
                    _ => {}
                }
            }
            let read = |state: &usize| edges.iter().any(|edge| edge.input() == *state);
            let loose = |state: &usize| cells.concat == Concat::Nodes || !read(state);
            let concat: Vec<usize> = (2..cells.nodes + 2).filter(loose).collect();
            (edges, concat)
        };
        let half = cells.nodes * cells.per_node();
        let (normal, normal_concat) = cell(&code[..half]);
        let (reduce, reduce_concat) = if cells.one_cell { cell(code) } else { cell(&code[half..]) };
        Genotype::new(normal, normal_concat, reduce, reduce_concat)
    }

    /// The code of a genotype; which states it concatenates does not count.
    ///
    /// # Errors
    /// A genotype outside of the space, with the edge that does not belong there; a space without genotypes.
    pub fn code(&self, genotype: &Genotype) -> Result<Vec<usize>> {
        let cells = self.with_cells()?;
        let mut code = Vec::with_capacity(self.decisions.len());
        for &kind in cells.kinds() {
            for node in 2..cells.nodes + 2 {
                code.extend(self.node(cells, kind, node, genotype)?);
            }
            if let Some(beyond) = genotype.edges(kind).iter().find(|edge| edge.node >= cells.nodes + 2) {
                let nodes = format!("its cells have {} nodes, states 2 to {}", cells.nodes, cells.nodes + 1);
                return Err(self.outside(kind, beyond, &nodes));
            }
        }
        if cells.one_cell && genotype.edges(CellKind::Normal) != genotype.edges(CellKind::Reduction) {
            return Err(Error::user(format!("this is not a cell of the space \"{}\"", self.name))
                .hint("there one cell serves as normal and as reduction cell: both lists of edges are the same"));
        }
        Ok(code)
    }

    /// The choices about one node.
    fn node(&self, cells: &Cells, kind: CellKind, node: usize, genotype: &Genotype) -> Result<Vec<usize>> {
        let edges: Vec<&Edge> = genotype.edges(kind).iter().filter(|edge| edge.node == node).collect();
        let &[mut first, mut second] = edges.as_slice() else {
            return Err(Error::user(format!(
                "this is not a cell of the space \"{}\": {}, state {node} has {} edges, where every node has two",
                self.name,
                kind.name(),
                edges.len()
            )));
        };
        let op = |edge: &Edge| {
            let found = cells.operations.iter().position(|name| *name == edge.operation);
            found.ok_or_else(|| {
                let error = self.outside(kind, edge, &format!("its operations are {}", cells.operations.join(", ")));
                Error { message: format!("{}: it has no operation \"{}\"", error.message, edge.operation), ..error }
            })
        };
        if cells.inputs == Inputs::Any {
            return Ok(vec![first.input, op(first)?, second.input, op(second)?]);
        }
        if first.input > second.input {
            std::mem::swap(&mut first, &mut second);
        }
        let read = pairs(node).iter().position(|&pair| pair == (first.input, second.input));
        let read = read.ok_or_else(|| self.outside(kind, second, "its nodes read two different states"))?;
        Ok(vec![read, op(first)?, op(second)?])
    }

    fn outside(&self, kind: CellKind, edge: &Edge, rule: &str) -> Error {
        Error::user(format!(
            "this is not a cell of the space \"{}\": {}, ('{}', {}) into state {}",
            self.name,
            kind.name(),
            edge.operation,
            edge.input,
            edge.node
        ))
        .hint(rule)
    }
}
