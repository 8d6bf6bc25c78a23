//! The genotype: the discrete cells that a search leaves behind, as the literature writes them.
//!
//! `Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…], reduce_concat=range(2, 6))`. Entries
//! 2i and 2i + 1 of a list feed node i, whose state is i + 2; states 0 and 1 are the cell's inputs. The same content as
//! JSON has pairs as two-element lists.

use super::cell::CellKind;
use super::operations::Operations;
use super::python;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One incoming edge of a node: the operation and the state it reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// Two discrete cells. Equality is that of the networks they describe: the order of the two pairs of a node does not count.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Genotype {
    fields: Fields,
    /// By kind: write the concatenation as a list, even of a run of states, because the text it was read from did.
    listed: [bool; 2],
}

/// The genotype as data: the field names of the literature.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Fields {
    normal: Vec<Pair>,
    normal_concat: Vec<usize>,
    reduce: Vec<Pair>,
    reduce_concat: Vec<usize>,
}

impl Genotype {
    /// A genotype of these pairs and concatenated states.
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
        Self::checked(Fields { normal, normal_concat, reduce, reduce_concat }, [false; 2])
    }

    fn checked(fields: Fields, listed: [bool; 2]) -> Result<Self> {
        check_cell(CellKind::Normal, &fields.normal, &fields.normal_concat)?;
        check_cell(CellKind::Reduction, &fields.reduce, &fields.reduce_concat)?;
        Ok(Self { fields, listed })
    }

    /// Reads the literature's form or JSON.
    pub fn parse(text: &str) -> Result<Self> {
        let json = text.trim_start().starts_with('{');
        let value = match json {
            true => serde_json::from_str(text).map_err(|e| Error::user(format!("this is no genotype: {e}")))?,
            false => python::parse_call(text, "Genotype")?,
        };
        let fields: Fields = serde_json::from_value(value).map_err(|e| {
            Error::user(format!("this is no genotype: {e}")).hint(
                "the form is Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…], \
                 reduce_concat=range(2, 6))",
            )
        })?;
        let listed = |kind: CellKind| !json && python::is_listed(text, &format!("{}_concat", kind.name()));
        Self::checked(fields, CellKind::BOTH.map(listed))
    }

    /// The pairs of a cell, two for every node.
    pub fn pairs(&self, kind: CellKind) -> &[Pair] {
        match kind {
            CellKind::Normal => &self.fields.normal,
            CellKind::Reduction => &self.fields.reduce,
        }
    }

    /// The states whose channels are concatenated to the cell's output.
    pub fn concat(&self, kind: CellKind) -> &[usize] {
        match kind {
            CellKind::Normal => &self.fields.normal_concat,
            CellKind::Reduction => &self.fields.reduce_concat,
        }
    }

    /// Sees that every operation is in the registry; an error with the closest name otherwise.
    pub fn check_operations(&self, operations: &Operations<'_>) -> Result<()> {
        for pair in self.fields.normal.iter().chain(&self.fields.reduce) {
            operations.get(pair.operation())?;
        }
        Ok(())
    }

    /// As one line of JSON.
    pub fn to_json(&self) -> serde_json::Value {
        let Fields { normal, normal_concat, reduce, reduce_concat } = &self.fields;
        serde_json::json!({
            "normal": normal, "normal_concat": normal_concat, "reduce": reduce, "reduce_concat": reduce_concat,
        })
    }
}

fn check_cell(kind: CellKind, pairs: &[Pair], concat: &[usize]) -> Result<()> {
    let name = kind.name();
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(Error::user(format!(
            "{name} has {} pairs, but every node takes two (entries 2i and 2i + 1 feed node i)",
            pairs.len()
        )));
    }
    for (index, pair) in pairs.iter().enumerate() {
        let state = index / 2 + 2;
        if pair.input() >= state {
            return Err(Error::user(format!(
                "{name}: ('{}', {}) feeds state {state}, which can only read states 0 to {}",
                pair.operation(),
                pair.input(),
                state - 1
            )));
        }
    }
    let states = 2..pairs.len() / 2 + 2;
    if concat.is_empty() {
        return Err(Error::user(format!("{name}_concat is empty: the cell would have no output")));
    }
    for (index, state) in concat.iter().enumerate() {
        if !states.contains(state) {
            return Err(Error::user(format!("{name}_concat lists state {state}, which is no node of the cell"))
                .hint(format!("nodes are states {} to {}", states.start, states.end - 1)));
        }
        if concat[..index].contains(state) {
            return Err(Error::user(format!("{name}_concat lists state {state} twice")));
        }
    }
    Ok(())
}

impl PartialEq for Genotype {
    fn eq(&self, other: &Self) -> bool {
        CellKind::BOTH.into_iter().all(|kind| {
            self.concat(kind) == other.concat(kind)
                && self.pairs(kind).len() == other.pairs(kind).len()
                && self.pairs(kind).chunks(2).zip(other.pairs(kind).chunks(2)).all(|(a, b)| same_node(a, b))
        })
    }
}

impl Eq for Genotype {}

/// Addition commutes: the two pairs of a node may come in either order.
fn same_node(a: &[Pair], b: &[Pair]) -> bool {
    a == b || a.iter().eq(b.iter().rev())
}

impl fmt::Display for Genotype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = |kind| {
            let list: Vec<String> = self.pairs(kind).iter().map(|p| format!("('{}', {})", p.0, p.1)).collect();
            format!("[{}]", list.join(", "))
        };
        let concat = |kind: CellKind| {
            let states = self.concat(kind);
            let (first, end) = (states[0], states[0] + states.len());
            match !self.listed[kind as usize] && states.iter().copied().eq(first..end) {
                true => format!("range({first}, {end})"),
                false => format!("{states:?}"),
            }
        };
        write!(
            f,
            "Genotype(normal={}, normal_concat={}, reduce={}, reduce_concat={})",
            pairs(CellKind::Normal),
            concat(CellKind::Normal),
            pairs(CellKind::Reduction),
            concat(CellKind::Reduction)
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
        Self::checked(fields, [false; 2])
    }
}

impl From<Genotype> for Fields {
    fn from(genotype: Genotype) -> Self {
        genotype.fields
    }
}
