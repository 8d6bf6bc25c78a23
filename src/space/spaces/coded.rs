//! Cells that are codes, with the space that says what a code means: what a search in such a space leaves behind.
//!
//! `Genotype(space='blockqnn', nodes=5, code=[3, 9, 0])`; the same content as JSON has the same fields.

use super::{CellSpace, Sizes};
use crate::cell_form::Edge;
use crate::space::python;
use crate::{Error, Result};
use serde_json::Value;
use std::fmt;

/// A cell of a space whose cells are codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodedCell {
    space: CellSpace,
    code: Vec<usize>,
}

/// One graph of a coded cell. State 0 is what comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub title: String,
    pub edges: Vec<Edge>,
    /// The states that make its output.
    pub ends: Vec<usize>,
}

impl CodedCell {
    /// The cell of a code.
    ///
    /// # Errors
    /// A space whose cells are genotypes; a code outside of the space.
    pub fn new(space: CellSpace, code: Vec<usize>) -> Result<Self> {
        if space.cells().is_some() {
            return Err(Error::user(format!("cells of the space \"{}\" are genotypes, not codes", space.name()))
                .hint("space.genotype(code) gives the genotype"));
        }
        space.check(&code)?;
        Ok(Self { space, code })
    }

    pub fn space(&self) -> &CellSpace {
        &self.space
    }

    /// The choice for each decision of the space.
    pub fn code(&self) -> &[usize] {
        &self.code
    }

    /// Whether a JSON value has the form of a coded cell.
    pub fn is_one(value: &Value) -> bool {
        value.get("space").is_some() && value.get("code").is_some()
    }

    /// Reads the text that is written, or JSON.
    ///
    /// # Errors
    /// Text of another form, and as [`from_json`](Self::from_json).
    pub fn parse(text: &str) -> Result<Self> {
        Self::from_json(&python::parse_genotype(text)?)
    }

    /// Reads the fields `space`, `code` and the space's sizes.
    ///
    /// # Errors
    /// A field that is missing, unknown or no number; an unknown space; a code outside of the space.
    pub fn from_json(value: &Value) -> Result<Self> {
        let wrong = |what: &str| {
            Error::user(format!("this is not a cell with its space: {what}"))
                .hint("the form is Genotype(space='blockqnn', nodes=5, code=[3, 9, 0])")
        };
        let fields = value.as_object().ok_or_else(|| wrong("it has no fields"))?;
        let (name, code) = match (fields.get("space"), fields.get("code")) {
            (Some(Value::String(name)), Some(Value::Array(code))) => (name, code),
            (None, _) => return Err(wrong("missing field `space`")),
            (_, None) => return Err(wrong("missing field `code`")),
            _ => return Err(wrong("`space` is a name and `code` a list")),
        };
        let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        let mut sizes = Sizes::default();
        for (field, value) in fields {
            let size = match field.as_str() {
                "space" | "code" => continue,
                "nodes" => &mut sizes.nodes,
                "motifs" => &mut sizes.motifs,
                "cell_nodes" => &mut sizes.cell_nodes,
                _ => return Err(wrong(&format!("unknown field `{field}`"))),
            };
            *size = Some(number(value).ok_or_else(|| wrong(&format!("`{field}` is not a count")))?);
        }
        let code = code.iter().map(|choice| number(choice).ok_or_else(|| wrong("`code` holds more than counts")));
        Self::new(CellSpace::named(name, sizes)?, code.collect::<Result<_>>()?)
    }

    /// As one line of JSON.
    pub fn to_json(&self) -> Value {
        let mut value = serde_json::json!({ "space": self.space.name() });
        for (field, size) in self.sizes() {
            value[field] = size.into();
        }
        value["code"] = self.code.clone().into();
        value
    }

    /// The sizes of its space, by name.
    pub fn sizes(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let Sizes { nodes, motifs, cell_nodes } = self.space.sizes;
        let sizes = [("motifs", motifs), ("nodes", nodes), ("cell_nodes", cell_nodes)];
        sizes.into_iter().filter_map(|(field, size)| Some((field, size?)))
    }

    /// The graphs that the code describes, to be drawn: a block as it grew layer by layer, or one graph for every
    /// motif and one for the cell.
    pub fn parts(&self) -> Vec<Part> {
        if self.space.ends {
            return vec![self.block()];
        }
        let mut parts: Vec<([usize; 2], Part)> = Vec::new();
        let (mut node, mut input) = (1, 0);
        for (decision, &choice) in self.space.decisions.iter().zip(&self.code) {
            let [level, part, _] = decision.group;
            if parts.last().is_none_or(|(last, _)| *last != [level, part]) {
                let of_motifs = self.space.sizes.motifs.is_some() && level == 0;
                let title = if of_motifs { format!("Motif {part}") } else { "Cell".into() };
                parts.push(([level, part], Part { title, edges: vec![], ends: vec![] }));
                (node, input) = (1, 0);
            }
            let operation = decision.choices[choice].clone();
            if let Some((_, part)) = parts.last_mut() {
                if operation != "none" {
                    part.edges.push(Edge { node, operation, input });
                }
                part.ends = vec![node];
            }
            (node, input) = if input + 1 == node { (node + 1, 0) } else { (node, input + 1) };
        }
        parts.into_iter().map(|(_, part)| part).collect()
    }

    /// A row of layers: "conv_3 0" is a layer on layer 0, "add 0 1" one on two.
    fn block(&self) -> Part {
        let mut part = Part { title: "Block".into(), edges: vec![], ends: vec![] };
        for (layer, (decision, &choice)) in self.space.decisions.iter().zip(&self.code).enumerate() {
            let mut words = decision.choices[choice].split(' ');
            let operation = words.next().unwrap_or_default();
            for input in words.filter_map(|word| word.parse().ok()) {
                part.edges.push(Edge { node: layer + 1, operation: operation.into(), input });
            }
        }
        let layers = part.edges.iter().map(|edge| edge.node).max().unwrap_or(0);
        part.ends = (1..=layers).filter(|&layer| part.edges.iter().all(|edge| edge.input != layer)).collect();
        part
    }
}

impl fmt::Display for CodedCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Genotype(space='{}'", self.space.name())?;
        for (field, size) in self.sizes() {
            write!(f, ", {field}={size}")?;
        }
        write!(f, ", code={:?})", self.code)
    }
}
