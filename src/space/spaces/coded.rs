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
        let value = match text.trim_start().starts_with('{') {
            true => serde_json::from_str(text).map_err(|e| Error::user(format!("this is not a genotype: {e}")))?,
            false => python::parse_call(text, "Genotype")?,
        };
        Self::from_json(&value)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> CodedCell {
        CodedCell::parse(text).expect(text)
    }

    fn edges(part: &Part) -> Vec<(&str, usize, usize)> {
        part.edges.iter().map(|edge| (edge.operation.as_str(), edge.input, edge.node)).collect()
    }

    #[test]
    fn a_cell_is_read_as_it_is_written() {
        let texts = [
            "Genotype(space='nasbench201', nodes=4, code=[3, 0, 1, 2, 4, 3])",
            "Genotype(space='blockqnn', nodes=3, code=[2, 0])",
            "Genotype(space='hierarchical', motifs=1, nodes=3, cell_nodes=2, code=[1, 0, 3, 1])",
        ];
        for text in texts {
            let cell = cell(text);
            assert_eq!(cell.to_string(), text);
            assert_eq!(CodedCell::parse(&cell.to_json().to_string()).expect("JSON"), cell);
        }
        let sized = cell("Genotype(space='nasbench201', code=[0, 0, 0, 0, 0, 0])");
        assert_eq!(sized, cell("Genotype(space='nasbench201', nodes=4, code=[0, 0, 0, 0, 0, 0])"));
    }

    #[test]
    fn parts_are_the_graphs_of_the_code() {
        let bench = cell(texts_bench()).parts();
        assert_eq!(edges(&bench[0]), [("conv_3x3", 0, 1), ("skip_connect", 1, 2), ("conv_1x1", 0, 3)]);
        assert_eq!((bench.len(), bench[0].ends.as_slice()), (1, [3].as_slice()));
        let block = CodedCell::new(CellSpace::named("blockqnn", Sizes { nodes: Some(3), ..Sizes::default() }).unwrap(), {
            let space = CellSpace::named("blockqnn", Sizes { nodes: Some(3), ..Sizes::default() }).unwrap();
            let choice = |index: usize, word: &str| {
                space.decisions()[index].choices.iter().position(|choice| choice == word).expect(word)
            };
            vec![choice(0, "conv_3 0"), choice(1, "max_3 0"), choice(2, "add 0 1")]
        });
        let block = block.unwrap().parts();
        assert_eq!(edges(&block[0]), [("conv_3", 0, 1), ("max_3", 0, 2), ("add", 0, 3), ("add", 1, 3)]);
        assert_eq!(block[0].ends, [2, 3]);
        let motifs = cell("Genotype(space='hierarchical', motifs=2, nodes=2, cell_nodes=3, code=[2, 3, 1, 0, 2])");
        let motifs = motifs.parts();
        let titles: Vec<&str> = motifs.iter().map(|part| part.title.as_str()).collect();
        assert_eq!(titles, ["Motif 0", "Motif 1", "Cell"]);
        assert_eq!(edges(&motifs[1]), [("depthwise_3x3", 0, 1)]);
        assert_eq!(edges(&motifs[2]), [("motif 0", 0, 1), ("motif 1", 1, 2)]);
    }

    fn texts_bench() -> &'static str {
        "Genotype(space='nasbench201', code=[3, 0, 1, 2, 0, 0])"
    }

    #[test]
    fn what_is_no_cell_is_refused_by_what_it_lacks() {
        let refused = |text: &str| CodedCell::parse(text).expect_err(text).message;
        assert!(refused("Genotype(code=[1])").contains("missing field `space`"));
        assert!(refused("Genotype(space='blockqnn')").contains("missing field `code`"));
        assert!(refused("Genotype(space='blockqnn', depth=3, code=[1])").contains("unknown field `depth`"));
        assert!(refused("Genotype(space='blockqnn', code=[0])").contains("layer 1 cannot be 0"));
        assert!(refused("Genotype(space='darts', code=[0])").contains("are genotypes, not codes"));
        assert!(refused("Genotype(space='blocks', code=[1])").contains("no space \"blocks\""));
    }
}
