//! A layer as a `Scan` over time: its time step in ONNX's operators.
//!
//! The body's values are batch × width. It reads the weights of the graph around it, so each is in the file once.

use super::source::{LanguageSource, LayerSource};
use super::{state_after, state_before};
use crate::Result;
use crate::export::file::{BATCH, Dim, floats_of};
use crate::export::norm::batch_norm;
use crate::export::proto::{GraphProto, ValueInfoProto};
use crate::export::sheet::{Sheet, graph, int};
use crate::graph::recurrent::{Function, RecurrentOp};
use crate::graph::{Node, Slot};

/// Adds the layer of this index, which reads `x`, time × batch × width; gives the name of its output.
pub(super) fn scan(sheet: &mut Sheet, source: &LanguageSource<'_>, index: usize, x: &str) -> Result<String> {
    let layer = &source.layers[index];
    let step = layer.graph;
    let (output, mut ends) = step.ends()?;
    ends.push(output);
    let prefix = format!("step.{index}");
    let named = |sheet: &mut Sheet, name: &str, node: Node| -> ValueInfoProto {
        let name = sheet.free(&format!("{prefix}.{name}"));
        floats_of(&name, &[BATCH, Dim::Is(step.width(node))])
    };
    let mut input: Vec<_> = step.states().iter().map(|state| named(sheet, &state.name, state.node)).collect();
    input.push(named(sheet, "x", step.input()));
    let mut written = vec![];
    let node = sheet.within(|sheet| {
        let mut writer = Writer { sheet, source, layer, prefix: &prefix, values: vec![] };
        let live = step.live(None);
        for node in step.nodes() {
            let value = match step.op(node) {
                RecurrentOp::Input => input[step.states().len()].name.clone(),
                RecurrentOp::State { state } => input[*state].name.clone(),
                _ if !live[node.index()] => String::new(),
                op => writer.primitive(node, op),
            };
            writer.values.push(value);
        }
        // A body's outputs are values of their own, whatever is the same node here.
        written = ends.iter().map(|&end| writer.of_nodes("Identity", &[end], "end")).collect();
    });
    let output = written.iter().zip(&ends).map(|(name, &end)| floats_of(name, &[BATCH, Dim::Is(step.width(end))]));
    let body = GraphProto { node, name: prefix.clone(), input, output: output.collect(), ..GraphProto::default() };

    let states = |name: fn(usize, &str) -> String| step.states().iter().map(move |state| name(index, &state.name));
    let y = sheet.free(&format!("layer.{index}"));
    let inputs = states(state_before).chain([x.to_string()]).collect();
    let outputs = states(state_after).chain([y.clone()]).collect();
    sheet.many("Scan", inputs, outputs, &y, vec![graph("body", body), int("num_scan_inputs", 1)]);
    Ok(y)
}

/// Writes one time step.
struct Writer<'a> {
    sheet: &'a mut Sheet,
    source: &'a LanguageSource<'a>,
    layer: &'a LayerSource<'a>,
    /// What its values' names begin with.
    prefix: &'a str,
    /// The names of the nodes' values so far; empty for those that nothing depends on.
    values: Vec<String>,
}

impl Writer<'_> {
    fn primitive(&mut self, node: Node, op: &RecurrentOp) -> String {
        match op {
            RecurrentOp::Input | RecurrentOp::State { .. } => self.value(node),
            RecurrentOp::Product { inputs, weight, bias } => self.product(inputs, *weight, *bias),
            RecurrentOp::Add { inputs } => self.of_nodes("Add", inputs, "add"),
            RecurrentOp::Subtract { inputs } => self.of_nodes("Sub", inputs, "subtract"),
            RecurrentOp::Multiply { inputs } => self.of_nodes("Mul", inputs, "multiply"),
            RecurrentOp::Blend { from, to, gate } => {
                let change = self.of_nodes("Sub", &[*to, *from], "blend.change");
                let gate = self.value(*gate);
                let change = self.of_values("Mul", &gate, &change, "blend.gated");
                let from = self.value(*from);
                self.of_values("Add", &from, &change, "blend")
            }
            RecurrentOp::Apply { input, function } => match function {
                Function::Sigmoid => self.of_nodes("Sigmoid", &[*input], "sigmoid"),
                Function::Tanh => self.of_nodes("Tanh", &[*input], "tanh"),
                Function::Relu => self.of_nodes("Relu", &[*input], "relu"),
            },
            RecurrentOp::Affine { input, scale, shift } => {
                let x = self.value(*input);
                let scaled = self.scaled(&x, *scale as f32);
                let shift = self.sheet.constantly(*shift as f32, &[]);
                self.of_values("Add", &scaled, &shift, "affine")
            }
            RecurrentOp::AtMost { input, most } => {
                let (x, most) = (self.value(*input), self.sheet.constantly(*most as f32, &[]));
                self.of_values("Min", &x, &most, "at_most")
            }
            RecurrentOp::Slice { input, start } => {
                let (x, start) = (self.value(*input), *start as i64);
                let end = start + self.layer.graph.width(node) as i64;
                let [start, end, axis] = [start, end, 1].map(|number| self.sheet.integers(&[number]));
                self.sheet.node("Slice", &[&x, &start, &end, &axis], &self.named("slice"), vec![])
            }
            // Nothing is dropped.
            RecurrentOp::Mask { input, .. } => self.value(*input),
            RecurrentOp::Norm { input, norm } => {
                let (x, info) = (self.value(*input), &self.layer.graph.norms()[*norm]);
                let name = self.named(&info.name);
                batch_norm(self.sheet, &x, &name, info, &self.layer.statistics, None)
            }
            RecurrentOp::Sum { terms, scale } => self.sum(terms, *scale as f32),
        }
    }

    fn product(&mut self, inputs: &[Node], weight: usize, bias: Option<usize>) -> String {
        let (layer, source) = (self.layer, self.source);
        let name = self.named(&layer.graph.weights()[weight].name);
        let x = match inputs {
            [only] => self.value(*only),
            _ => {
                let parts: Vec<&str> = inputs.iter().map(|input| self.values[input.index()].as_str()).collect();
                self.sheet.node("Concat", &parts, &format!("{name}.inputs"), vec![int("axis", 1)])
            }
        };
        let weight = source.constant(self.sheet, &layer.table[weight]);
        let product = self.sheet.node("MatMul", &[&x, &weight], &name, vec![]);
        match bias {
            Some(bias) => {
                let bias = source.constant(self.sheet, &layer.table[bias]);
                self.sheet.node("Add", &[&product, &bias], &name, vec![])
            }
            None => product,
        }
    }

    fn sum(&mut self, terms: &[(Node, Option<Slot>)], scale: f32) -> String {
        let mut parts = vec![];
        for (node, slot) in terms {
            let value = self.value(*node);
            parts.push(match slot {
                Some(slot) => self.scaled(&value, self.layer.mixing[slot.0 as usize]),
                None => value,
            });
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let total = self.sheet.node("Sum", &parts, &self.named("sum"), vec![]);
        self.scaled(&total, scale)
    }

    /// A value times a constant; itself where that is 1.
    fn scaled(&mut self, value: &str, factor: f32) -> String {
        if factor == 1.0 {
            return value.to_string();
        }
        let factor = self.sheet.constantly(factor, &[]);
        self.of_values("Mul", value, &factor, "scaled")
    }

    /// An operator on the values of these nodes.
    fn of_nodes(&mut self, operator: &str, nodes: &[Node], name: &str) -> String {
        let name = self.named(name);
        let inputs: Vec<&str> = nodes.iter().map(|node| self.values[node.index()].as_str()).collect();
        self.sheet.node(operator, &inputs, &name, vec![])
    }

    /// An operator on two values.
    fn of_values(&mut self, operator: &str, a: &str, b: &str, name: &str) -> String {
        let name = self.named(name);
        self.sheet.node(operator, &[a, b], &name, vec![])
    }

    fn value(&self, node: Node) -> String {
        self.values[node.index()].clone()
    }

    fn named(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }
}
