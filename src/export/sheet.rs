//! The nodes and constants of an ONNX graph while it is being written, every name once.

use super::proto::{AttributeProto, AttributeType, DataType, GraphProto, NodeProto, TensorProto};
use std::collections::{HashMap, HashSet};

/// Nodes and constants so far.
#[derive(Default)]
pub(super) struct Sheet {
    pub nodes: Vec<NodeProto>,
    pub initializers: Vec<TensorProto>,
    /// Names of values; nodes are called like what they make.
    taken: HashSet<String>,
    /// Values that several nodes share, by what they hold.
    shared: HashMap<String, String>,
}

impl Sheet {
    /// Keeps a name for the caller.
    pub fn reserve(&mut self, name: &str) {
        self.taken.insert(name.to_string());
    }

    /// Adds a node with one output, called `name` or, where that is taken, something like it. Gives the output's name.
    pub fn node(&mut self, operator: &str, inputs: &[&str], name: &str, attributes: Vec<AttributeProto>) -> String {
        let name = self.free(name);
        let inputs = inputs.iter().map(|input| input.to_string()).collect();
        self.many(operator, inputs, vec![name.clone()], &name, attributes);
        name
    }

    /// Adds a node with several outputs, whose names the caller keeps, called `name`.
    pub fn many(
        &mut self,
        operator: &str,
        inputs: Vec<String>,
        outputs: Vec<String>,
        name: &str,
        attributes: Vec<AttributeProto>,
    ) {
        let (name, op_type) = (name.to_string(), operator.to_string());
        self.nodes.push(NodeProto { input: inputs, output: outputs, name, op_type, attribute: attributes });
    }

    /// The nodes that `write` adds, for a graph within this one: it reads this one's constants, and no name
    /// comes twice. What it shares with others must be constants.
    pub fn within(&mut self, write: impl FnOnce(&mut Sheet)) -> Vec<NodeProto> {
        let outer = std::mem::take(&mut self.nodes);
        write(self);
        std::mem::replace(&mut self.nodes, outer)
    }

    /// Adds a constant of the given shape. Gives its name.
    pub fn floats(&mut self, name: &str, dims: &[usize], values: impl IntoIterator<Item = f32>) -> String {
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        debug_assert_eq!(bytes.len(), 4 * dims.iter().product::<usize>());
        self.constant(name, dims, DataType::Float, bytes)
    }

    /// A vector of integers, written once however often it is asked for.
    pub fn integers(&mut self, values: &[i64]) -> String {
        let written: Vec<String> = values.iter().map(i64::to_string).collect();
        // The name of a long one (a channel shuffle) says how long.
        let name = match values.len() {
            0..=8 => format!("constants.{}", written.join("_")),
            length => format!("constants.integers_{length}"),
        };
        self.share(&format!("integers {}", written.join(" ")), |sheet| {
            let bytes = values.iter().copied().flat_map(i64::to_le_bytes).collect();
            sheet.constant(&name, &[values.len()], DataType::Int64, bytes)
        })
    }

    /// `value` as often as `dims` say (no dimension: a scalar), written once however often it is asked for.
    pub fn constantly(&mut self, value: f32, dims: &[usize]) -> String {
        let shape = dims.iter().map(|dim| format!("_{dim}")).collect::<String>();
        let name = format!("constants.{value}{shape}");
        self.share(&format!("floats {:08x}{shape}", value.to_bits()), |sheet| {
            sheet.floats(&name, dims, std::iter::repeat_n(value, dims.iter().product()))
        })
    }

    /// What `make` adds, added only once for a key.
    pub fn share(&mut self, key: &str, make: impl FnOnce(&mut Sheet) -> String) -> String {
        if let Some(name) = self.shared.get(key) {
            return name.clone();
        }
        let name = make(self);
        self.shared.insert(key.to_string(), name.clone());
        name
    }

    /// Gives a value another name everywhere.
    pub fn rename(&mut self, from: &str, to: &str) {
        for node in &mut self.nodes {
            if node.output.iter().any(|output| output == from) {
                node.name = to.to_string();
            }
            for name in node.input.iter_mut().chain(&mut node.output).filter(|name| *name == from) {
                *name = to.to_string();
            }
        }
    }

    fn constant(&mut self, name: &str, dims: &[usize], data_type: DataType, raw_data: Vec<u8>) -> String {
        let name = self.free(name);
        let dims = dims.iter().map(|&dim| dim as i64).collect();
        self.initializers.push(TensorProto { dims, data_type: data_type.into(), name: name.clone(), raw_data });
        name
    }

    /// A name that nothing has yet: `name` or something like it.
    pub fn free(&mut self, name: &str) -> String {
        let mut chosen = name.to_string();
        let mut number = 2u64;
        while !self.taken.insert(chosen.clone()) {
            chosen = format!("{name}_{number}");
            number += 1;
        }
        chosen
    }
}

pub(super) fn int(name: &str, value: usize) -> AttributeProto {
    let r#type = AttributeType::Int.into();
    AttributeProto { name: name.to_string(), i: Some(value as i64), r#type, ..AttributeProto::default() }
}

pub(super) fn ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&value| value as i64).collect();
    AttributeProto { name: name.to_string(), ints, r#type: AttributeType::Ints.into(), ..AttributeProto::default() }
}

pub(super) fn graph(name: &str, value: GraphProto) -> AttributeProto {
    let r#type = AttributeType::Graph.into();
    AttributeProto { name: name.to_string(), g: Some(value), r#type, ..AttributeProto::default() }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    let r#type = AttributeType::Float.into();
    AttributeProto { name: name.to_string(), f: Some(value), r#type, ..AttributeProto::default() }
}
