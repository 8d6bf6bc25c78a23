//! The discrete recurrent cell that a search leaves behind, as the literature writes it.
//!
//! `Genotype(recurrent=[('sigmoid', 0), …], concat=range(1, 9))`: pair i is the activation of node i + 1 and the state
//! that it reads; state 0 combines the token vector with the hidden state, and the cell's output is the mean of the
//! states in `concat` (`docs/darts.md` B1). The same content as JSON has lists for tuples.

use crate::cell_form::{CellForm, EdgeText, NORMAL, RECURRENT};
use crate::space::python;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A discrete recurrent cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct RecurrentGenotype {
    cell: CellForm,
}

impl RecurrentGenotype {
    /// A cell of (activation, state it reads) for nodes 1, 2, …; without `concat` the output is the mean of all nodes.
    ///
    /// # Errors
    /// No nodes, a state that is not before its node, a mean of states that are not nodes or come twice.
    pub fn new(nodes: Vec<(String, usize)>, concat: Option<Vec<usize>>) -> Result<Self> {
        let pairs = nodes.into_iter().map(|(activation, input)| EdgeText::Pair(activation, input)).collect();
        Ok(Self { cell: CellForm::new(&RECURRENT, pairs, concat)? })
    }

    /// Reads the literature's form or JSON.
    ///
    /// # Errors
    /// Text of another form, a genotype of convolutional cells, and as [`new`](Self::new).
    pub fn parse(text: &str) -> Result<Self> {
        Self::from_json(&python::parse_genotype(text)?)
    }

    /// Reads the field `recurrent` and, where it is given, `concat`.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_json(value: &Value) -> Result<Self> {
        let form = "the form is Genotype(recurrent=[('tanh', 0), …], concat=range(1, 9))";
        let cell = CellForm::read(value, &RECURRENT)?.ok_or_else(|| match value.get(NORMAL.edges) {
            Some(_) => Error::user("this is a genotype of convolutional cells, not of a recurrent one").hint(form),
            None => Error::user("this is not a recurrent genotype: missing field `recurrent`").hint(form),
        })?;
        match cell.is_paired() {
            true => Ok(Self { cell }),
            false => Err(Error::user("a recurrent cell's node reads one state: (activation, state)").hint(form)),
        }
    }

    /// For nodes 1, 2, …: the activation and the state it reads.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (&str, usize)> {
        self.cell.edges().iter().map(|edge| (edge.operation.as_str(), edge.input))
    }

    /// The states whose mean is the output.
    pub fn concat(&self) -> &[usize] {
        self.cell.concat()
    }

    /// The cell, to be drawn.
    pub fn form(&self) -> &CellForm {
        &self.cell
    }

    /// As one line of JSON.
    pub fn to_json(&self) -> Value {
        serde_json::json!({ "recurrent": self.cell.entries(), "concat": self.concat() })
    }
}

impl PartialEq for RecurrentGenotype {
    /// Whether both are one cell: the order of the averaged states does not count.
    fn eq(&self, other: &Self) -> bool {
        let averaged = |genotype: &Self| {
            let mut states = genotype.concat().to_vec();
            states.sort_unstable();
            states
        };
        self.nodes().eq(other.nodes()) && averaged(self) == averaged(other)
    }
}

impl Eq for RecurrentGenotype {}

impl fmt::Display for RecurrentGenotype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<String> = self.cell.entries().iter().map(EdgeText::to_string).collect();
        let states = self.concat();
        let (first, end) = (states[0], states[0] + states.len());
        write!(f, "Genotype(recurrent=[{}], concat=", nodes.join(", "))?;
        match states.iter().copied().eq(first..end) {
            true => write!(f, "range({first}, {end}))"),
            false => write!(f, "{states:?})"),
        }
    }
}

impl TryFrom<Value> for RecurrentGenotype {
    type Error = Error;

    fn try_from(value: Value) -> Result<Self> {
        Self::from_json(&value)
    }
}

impl From<RecurrentGenotype> for Value {
    fn from(genotype: RecurrentGenotype) -> Self {
        genotype.to_json()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENAS: &str = "Genotype(recurrent=[('tanh', 0), ('relu', 1)], concat=[2])";

    #[test]
    fn a_genotype_is_read_and_written_in_the_literature_s_form_and_as_json() {
        let cell = RecurrentGenotype::parse(ENAS).expect("it is a genotype");
        assert_eq!(cell.nodes().collect::<Vec<_>>(), [("tanh", 0), ("relu", 1)]);
        assert_eq!(cell.to_string(), "Genotype(recurrent=[('tanh', 0), ('relu', 1)], concat=range(2, 3))");
        assert_eq!(RecurrentGenotype::parse(&cell.to_json().to_string()).expect("JSON"), cell);
        let all = RecurrentGenotype::new(vec![("tanh".into(), 0), ("relu".into(), 0)], None).expect("a cell");
        assert_eq!(all.concat(), [1, 2]);
    }

    #[test]
    fn other_genotypes_are_refused_by_what_they_are() {
        let refused = |text: &str| RecurrentGenotype::parse(text).expect_err("it is not one").message;
        let cnn = "Genotype(normal=[('skip_connect', 0)], normal_concat=[2], reduce=[], reduce_concat=[])";
        assert!(refused(cnn).contains("convolutional cells"));
        assert!(refused("Genotype(concat=[1])").contains("missing field `recurrent`"));
        assert!(refused("Genotype(recurrent=[('tanh', 1)], concat=[1])").contains("can only read states 0 to 0"));
        assert!(refused("Genotype(recurrent=[('tanh', 1, 0)], concat=[1])").contains("reads one state"));
    }
}
