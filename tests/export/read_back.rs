//! A file read back: its versions, and every name there before it is read, made once, and read by somebody.

use candlewick::export::encode;
use candlewick::export::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use prost::Message;
use std::collections::HashSet;

/// Encoded and decoded again, and checked.
pub fn read_back(model: &ModelProto) -> ModelProto {
    let model = ModelProto::decode(encode(model).unwrap().as_slice()).unwrap();
    assert_eq!((model.ir_version, model.opset_import.len(), model.opset_import[0].version), (7, 1, 13));
    assert_eq!((model.producer_name.as_str(), model.opset_import[0].domain.as_str()), ("candlewick", ""));
    let graph = model.graph.as_ref().unwrap();
    let mut names = Names::default();
    names.graph(graph);
    let idle: Vec<&String> = names.known.difference(&names.read).collect();
    assert!(idle.is_empty(), "nobody reads {idle:?}");
    model
}

#[derive(Default)]
struct Names {
    /// Of values; a graph within another may not make one again either.
    known: HashSet<String>,
    read: HashSet<String>,
    nodes: HashSet<String>,
}

impl Names {
    fn graph(&mut self, graph: &GraphProto) {
        graph.input.iter().for_each(|input| self.made(&input.name));
        for constant in &graph.initializer {
            self.made(&constant.name);
            let numbers: i64 = constant.dims.iter().product();
            assert_eq!(constant.raw_data.len() as i64, numbers * if constant.data_type == 7 { 8 } else { 4 });
        }
        graph.node.iter().for_each(|node| self.node(node));
        for output in &graph.output {
            assert!(self.known.contains(&output.name), "nothing makes the output {}", output.name);
            self.read.insert(output.name.clone());
        }
    }

    fn node(&mut self, node: &NodeProto) {
        for input in &node.input {
            assert!(self.known.contains(input), "{} reads {input} before it is made", node.name);
            self.read.insert(input.clone());
        }
        node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()).for_each(|body| self.graph(body));
        node.output.iter().for_each(|output| self.made(output));
        assert!(self.nodes.insert(node.name.clone()), "two nodes {}", node.name);
    }

    fn made(&mut self, name: &str) {
        assert!(self.known.insert(name.to_string()), "{name} is made twice");
    }
}

/// How many nodes have this operator, in the graph and in those within it.
pub fn count(graph: &GraphProto, operator: &str) -> usize {
    let within = |node: &NodeProto| -> usize {
        node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()).map(|body| count(body, operator)).sum()
    };
    graph.node.iter().map(|node| usize::from(node.op_type == operator) + within(node)).sum()
}

pub fn numbers(tensor: &TensorProto) -> Vec<f32> {
    tensor.raw_data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// A name, the type of its elements, and dimensions as numbers or names.
pub fn described(value: &ValueInfoProto) -> (String, i32, Vec<String>) {
    let tensor = value.r#type.clone().unwrap().tensor_type.unwrap();
    let dims = tensor.shape.unwrap().dim.into_iter();
    let dims = dims.map(|dim| dim.dim_param.unwrap_or_else(|| dim.dim_value.unwrap().to_string())).collect();
    (value.name.clone(), tensor.elem_type, dims)
}
