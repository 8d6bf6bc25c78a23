//! Cells as graphs: states, ops from the state they read to the node they feed, and how large each is drawn.

use super::canvas::Letters;
use super::palette::INK;
use crate::cell_form::{CellForm, Edge};

/// A cell: its first states are what it reads, the following ones its nodes.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub title: String,
    /// The names of the states it reads, `c_{k-2}` say.
    pub inputs: Vec<String>,
    /// The names of its nodes; those that have none are called 0, 1 ….
    pub nodes: Vec<String>,
    pub ops: Vec<Op>,
    /// The name of what it gives.
    pub output: String,
    /// States whose concatenation or mean is the cell's output.
    pub concat: Vec<usize>,
    /// Nodes that are what it gives themselves.
    pub ends: Vec<usize>,
}

/// An op on the edge between two states; without a name the value goes there as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    pub name: String,
    pub from: usize,
    pub to: usize,
}

impl Cell {
    /// A convolutional cell, which reads the outputs of the two cells before it.
    pub fn convolutional(title: impl Into<String>, ops: Vec<Op>, concat: Vec<usize>) -> Self {
        let inputs = (0..2).map(|state| state_name(state, 2)).collect();
        Self { title: title.into(), inputs, output: "c_{k}".into(), ops, concat, ..Self::default() }
    }

    /// A recurrent cell: state 0 combines the input and the hidden state.
    pub fn recurrent(title: impl Into<String>, ops: Vec<Op>, concat: Vec<usize>) -> Self {
        let inputs = vec!["x_{t}, h_{t-1}".into()];
        Self { title: title.into(), inputs, output: "h_{t}".into(), ops, concat, ..Self::default() }
    }

    /// A cell as a genotype has it.
    pub fn of(form: &CellForm) -> Self {
        let op = |edge: &Edge| Op { name: edge.operation.clone(), from: edge.input, to: edge.node };
        let (title, ops) = (cell_title(form.name()), form.edges().iter().map(op).collect());
        match form.inputs() {
            1 => Self::recurrent(title, ops, form.concat().to_vec()),
            _ => Self::convolutional(title, ops, form.concat().to_vec()),
        }
    }

    /// A state's name: as given, or 0, 1 … for nodes.
    pub fn state_name(&self, state: usize) -> String {
        let given = self.inputs.iter().chain(&self.nodes).nth(state);
        given.cloned().unwrap_or_else(|| state_name(state, self.inputs.len()))
    }

    /// Whether a state of this name is one that the cell reads or gives.
    pub(super) fn is_outer(&self, name: &str) -> bool {
        let ends = self.ends.iter().map(|&state| self.state_name(state));
        name == self.output || self.inputs.iter().any(|input| input == name) || ends.into_iter().any(|end| end == name)
    }
}

/// The heading for a kind of cell, by the name that genotypes and alphas have for it.
pub fn cell_title(kind: &str) -> String {
    match kind {
        "normal" => "Normal cell".into(),
        "reduce" => "Reduction cell".into(),
        "recurrent" => "Recurrent cell".into(),
        other => other.replace('_', " "),
    }
}

/// The name of a state of a cell that reads `inputs` others: `c_{k-2}`, `c_{k-1}` for those, 0, 1 … for its nodes.
pub fn state_name(state: usize, inputs: usize) -> String {
    match state < inputs {
        true => format!("c_{{k-{}}}", inputs - state),
        false => (state - inputs).to_string(),
    }
}

/// Size of the letters on labels.
pub(super) const EM: f64 = 15.5;
/// Length of an arrow's head.
pub(super) const HEAD: f64 = 9.0;

/// The size of a label's box.
pub(super) fn label_size(text: &str) -> (f64, f64) {
    (Letters::new(EM, INK).width(text) + 14.0, EM + 9.5)
}

/// The size of a state's box, given how many curves end and begin at it.
pub(super) fn state_size(name: &str, ends: usize, begins: usize) -> (f64, f64) {
    let width = Letters::new(EM + 1.0, INK).semi_bold().width(name) + 20.0;
    let ports = |count: usize, apart: f64| 18.0 + apart * count.saturating_sub(1) as f64;
    (width.max(36.0), ports(ends, END_GAP).max(ports(begins, BEGIN_GAP)).max(36.0))
}

/// Between the curves that end at a state: room for their heads.
pub(super) const END_GAP: f64 = 11.0;
/// Between the curves that begin at a state.
pub(super) const BEGIN_GAP: f64 = 6.0;
