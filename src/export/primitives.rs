//! Each primitive of a graph in ONNX's operators.
//!
//! Only what the logits depend on is written. Zeros are dropped from sums and spelt out only where something else reads
//! them. Values are images × channels × height × width; what a linear layer reads and makes is images × channels.

use super::activation::activate;
use super::norm::standardise;
use super::sheet::{Sheet, int, ints};
use super::source::{INPUT, OUTPUT, Source};
use crate::graph::{Activation, Node, NoiseKind, Op, Pool, PoolKind, Shape, Term};
use std::collections::HashMap;

/// What stands for a node of the graph.
#[derive(Clone)]
pub(super) enum Value {
    /// Zeros that no node has made yet.
    Zero,
    /// What dropout multiplies by in a pass that scores: nothing but products reads it, and they leave it out.
    Kept,
    /// The name of a value of four dimensions.
    Map(String),
    /// The name of a value of two dimensions.
    Flat(String),
}

/// Writes one graph.
pub(super) struct Writer<'a> {
    pub(super) source: Source<'a>,
    pub(super) sheet: Sheet,
    values: HashMap<Node, Value>,
    /// Norms that are part of the convolution that they read: convolution by norm.
    folded: HashMap<Node, Node>,
    /// How often each node is read on the way to the logits; 0: not at all.
    readers: Vec<usize>,
}

impl<'a> Writer<'a> {
    /// `images`: the name of what enters the network.
    pub fn new(source: Source<'a>, sheet: Sheet, images: String, fold_norms: bool) -> Self {
        let readers = readers(&source);
        let folded = if fold_norms { foldable(&source, &readers) } else { HashMap::new() };
        let values = HashMap::from([(source.graph.input(), Value::Map(images))]);
        Self { source, sheet, values, folded, readers }
    }

    pub fn write(mut self) -> Sheet {
        let graph = self.source.graph;
        let absorbed: Vec<Node> = self.folded.values().copied().collect();
        let wanted = |node: &Node| self.readers[node.index()] > 0 && !absorbed.contains(node);
        let nodes: Vec<Node> = graph.nodes().filter(wanted).collect();
        for node in nodes {
            if *graph.op(node) == Op::Input {
                continue;
            }
            let value = self.primitive(node);
            self.values.insert(node, value);
        }
        let logits = self.flat(self.source.logits);
        self.sheet.rename(&logits, OUTPUT);
        self.sheet
    }

    fn primitive(&mut self, node: Node) -> Value {
        let graph = self.source.graph;
        if let Some(&convolution) = self.folded.get(&node) {
            return self.convolution(convolution, Some(node));
        }
        match graph.op(node) {
            Op::Input => self.values[&node].clone(),
            Op::Conv { .. } | Op::Depthwise { .. } | Op::Halve { .. } => self.convolution(node, None),
            Op::Norm { input, norm, affine } => self.norm(*input, *norm, *affine),
            Op::Activate { input, activation } => {
                let kind = Activation::ALL.iter().find(|(_, known)| known == activation).map_or("activation", |a| a.0);
                let name = self.name_of(node, kind);
                match self.written(*input) {
                    Value::Flat(x) => Value::Flat(activate(&mut self.sheet, *activation, &x, &name)),
                    _ => {
                        let x = self.map(*input);
                        Value::Map(activate(&mut self.sheet, *activation, &x, &name))
                    }
                }
            }
            Op::Pool { input, pool } => Value::Map(self.pool(node, *input, pool)),
            Op::Zero { .. } => Value::Zero,
            Op::Noise { kind: NoiseKind::Kept { .. }, .. } => Value::Kept,
            Op::Noise { kind: NoiseKind::Normal, .. } => {
                let zeros = self.zeros(graph.shape(node));
                let name = self.name_of(node, "noise");
                Value::Map(self.sheet.node("RandomNormalLike", &[&zeros], &name, vec![]))
            }
            Op::Sum { terms } => self.sum(node, terms),
            Op::Product { inputs } => self.product(node, *inputs),
            Op::Concat { inputs } => {
                let name = self.name_of(node, "concat");
                let all_flat = inputs.iter().all(|&input| matches!(self.values[&input], Value::Flat(_)));
                let parts: Vec<String> =
                    inputs.iter().map(|&input| if all_flat { self.flat(input) } else { self.map(input) }).collect();
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                let whole = self.sheet.node("Concat", &parts, &name, vec![int("axis", 1)]);
                if all_flat { Value::Flat(whole) } else { Value::Map(whole) }
            }
            Op::Select { input, channels } => self.select(node, *input, channels),
            Op::GlobalPool { input } => {
                let x = self.map(*input);
                let name = self.name_of(node, "global_pool");
                Value::Map(self.sheet.node("GlobalAveragePool", &[&x], &name, vec![]))
            }
            Op::Standardise { input } => {
                let x = self.map(*input);
                let name = self.name_of(node, "layer_norm");
                Value::Map(standardise(&mut self.sheet, &x, &name))
            }
            Op::Upsample { input, factor } => {
                let x = self.map(*input);
                let name = self.name_of(node, "upsample");
                let scales = [1.0, 1.0, *factor as f32, *factor as f32];
                let scales = self.sheet.share(&format!("scales {factor}"), |sheet| {
                    sheet.floats(&format!("constants.scales_{factor}"), &[4], scales)
                });
                // What is not said: the nearest pixel's value, counted from the pixels' centres.
                Value::Map(self.sheet.node("Resize", &[&x, "", &scales], &name, vec![]))
            }
        }
    }

    fn pool(&mut self, node: Node, input: Node, pool: &Pool) -> String {
        let x = self.map(input);
        let Pool { kind, kernel, stride, padding } = *pool;
        let mut attributes =
            vec![ints("kernel_shape", &[kernel; 2]), ints("pads", &[padding; 4]), ints("strides", &[stride; 2])];
        match kind {
            PoolKind::Max => {
                let name = self.name_of(node, "max_pool");
                self.sheet.node("MaxPool", &[&x], &name, attributes)
            }
            PoolKind::Average { count_padding } => {
                let name = self.name_of(node, "avg_pool");
                attributes.push(int("count_include_pad", usize::from(count_padding)));
                self.sheet.node("AveragePool", &[&x], &name, attributes)
            }
        }
    }

    /// A factor of one pixel is repeated by the rules of broadcasting.
    fn product(&mut self, node: Node, inputs: [Node; 2]) -> Value {
        let [one, other] = inputs;
        if matches!(self.values[&other], Value::Kept) {
            return self.written(one);
        }
        let name = self.name_of(node, "product");
        let all_flat = inputs.iter().all(|input| matches!(self.values[input], Value::Flat(_)));
        let factors = inputs.map(|input| if all_flat { self.flat(input) } else { self.map(input) });
        let product = self.sheet.node("Mul", &factors.each_ref().map(String::as_str), &name, vec![]);
        if all_flat { Value::Flat(product) } else { Value::Map(product) }
    }

    /// Slots are constants, paths are never dropped, and zeros add nothing.
    fn sum(&mut self, node: Node, terms: &[Term]) -> Value {
        let count = |term: &&Term| is_read(&self.source, term) && !matches!(self.values[&term.node], Value::Zero);
        let terms: Vec<&Term> = terms.iter().filter(count).collect();
        let factor = |term: &Term| term.slot.map(|slot| self.source.mixing[slot.0 as usize]).filter(|&p| p != 1.0);
        let factors: Vec<Option<f32>> = terms.iter().map(|term| factor(term)).collect();
        match (&terms[..], &factors[..]) {
            ([], _) => return Value::Zero,
            ([only], [None]) => return self.values[&only.node].clone(),
            _ => {}
        }
        let name = self.name_of(node, "sum");
        let all_flat = terms.iter().all(|term| matches!(self.values[&term.node], Value::Flat(_)));
        let mut parts = Vec::new();
        for (index, (term, factor)) in terms.iter().zip(factors).enumerate() {
            let part = if all_flat { self.flat(term.node) } else { self.map(term.node) };
            parts.push(match factor {
                Some(p) => {
                    let p = self.sheet.constantly(p, &[]);
                    let name = if terms.len() == 1 { name.clone() } else { format!("{name}.{index}") };
                    self.sheet.node("Mul", &[&part, &p], &name, vec![])
                }
                None => part,
            });
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let total = match parts[..] {
            [only] => only.to_string(),
            [_, _] => self.sheet.node("Add", &parts, &name, vec![]),
            _ => self.sheet.node("Sum", &parts, &name, vec![]),
        };
        if all_flat { Value::Flat(total) } else { Value::Map(total) }
    }

    /// A range of channels is a slice, any other choice a gather.
    fn select(&mut self, node: Node, input: Node, channels: &[u32]) -> Value {
        let flat = matches!(self.values[&input], Value::Flat(_));
        let x = if flat { self.flat(input) } else { self.map(input) };
        let name = self.name_of(node, "select");
        let first = channels.first().copied().unwrap_or(0);
        let chosen = if channels.iter().copied().eq(first..first + channels.len() as u32) {
            let [start, end, axis] = [i64::from(first), i64::from(first) + channels.len() as i64, 1]
                .map(|number| self.sheet.integers(&[number]));
            self.sheet.node("Slice", &[&x, &start, &end, &axis], &name, vec![])
        } else {
            let indices: Vec<i64> = channels.iter().map(|&channel| i64::from(channel)).collect();
            let indices = self.sheet.integers(&indices);
            self.sheet.node("Gather", &[&x, &indices], &name, vec![int("axis", 1)])
        };
        if flat { Value::Flat(chosen) } else { Value::Map(chosen) }
    }

    /// What a node is written as; zeros are spelt out.
    fn written(&mut self, node: Node) -> Value {
        match &self.values[&node] {
            Value::Zero => Value::Map(self.zeros(self.source.graph.shape(node))),
            value => value.clone(),
        }
    }

    /// A node's value in four dimensions.
    pub(super) fn map(&mut self, node: Node) -> String {
        match self.written(node) {
            Value::Flat(name) => self.sheet.share(&format!("map of {name}"), |sheet| {
                let axes = sheet.integers(&[2, 3]);
                sheet.node("Unsqueeze", &[&name, &axes], &format!("{name}.map"), vec![])
            }),
            Value::Map(name) => name,
            Value::Zero | Value::Kept => unreachable!("zeros were spelt out, and dropout left out"),
        }
    }

    /// A feature vector's value in two dimensions.
    pub(super) fn flat(&mut self, node: Node) -> String {
        match self.written(node) {
            Value::Map(name) => self.sheet.share(&format!("vector of {name}"), |sheet| {
                sheet.node("Flatten", &[&name], &format!("{name}.flatten"), vec![int("axis", 1)])
            }),
            Value::Flat(name) => name,
            Value::Zero | Value::Kept => unreachable!("zeros were spelt out, and dropout left out"),
        }
    }

    /// Zeros, as many as there are images: the batch's size is known only when the file runs.
    fn zeros(&mut self, shape: Shape) -> String {
        let Shape { channels, height, width } = shape;
        self.sheet.share(&format!("zeros {channels} {height} {width}"), |sheet| {
            let count = sheet.share("how many images", |sheet| {
                let shape = sheet.node("Shape", &[INPUT], "images.shape", vec![]);
                let [from, to, axis] = [0, 1, 0].map(|number| sheet.integers(&[number]));
                sheet.node("Slice", &[&shape, &from, &to, &axis], "images.count", vec![])
            });
            let name = format!("zeros_{channels}x{height}x{width}");
            let rest = sheet.integers(&[channels as i64, height as i64, width as i64]);
            let shape = sheet.node("Concat", &[&count, &rest], &format!("{name}.shape"), vec![int("axis", 0)]);
            sheet.node("ConstantOfShape", &[&shape], &name, vec![])
        })
    }

    /// A name for what a primitive without weights makes.
    pub(super) fn name_of(&self, node: Node, kind: &str) -> String {
        match self.source.graph.scope_of(node) {
            "" => kind.to_string(),
            scope => format!("{scope}.{kind}"),
        }
    }
}

/// Whether a term of a sum can add anything.
fn is_read(source: &Source<'_>, term: &Term) -> bool {
    term.slot.is_none_or(|slot| source.mixing[slot.0 as usize] != 0.0)
}

/// How often each node is read by those that the logits depend on.
fn readers(source: &Source<'_>) -> Vec<usize> {
    let graph = source.graph;
    let nodes: Vec<Node> = graph.nodes().collect();
    let mut readers = vec![0; nodes.len()];
    readers[source.logits.index()] = 1;
    for &node in nodes.iter().rev().filter(|node| node.index() <= source.logits.index()) {
        if readers[node.index()] == 0 {
            continue;
        }
        let inputs = match graph.op(node) {
            Op::Zero { .. } => vec![],
            Op::Sum { terms } => terms.iter().filter(|term| is_read(source, term)).map(|term| term.node).collect(),
            op => op.inputs(),
        };
        for input in inputs {
            readers[input.index()] += 1;
        }
    }
    readers
}

/// The norms that alone read a convolution, with it.
fn foldable(source: &Source<'_>, readers: &[usize]) -> HashMap<Node, Node> {
    let graph = source.graph;
    let pair = |node: Node| match graph.op(node) {
        Op::Norm { input, .. } if readers[node.index()] > 0 && readers[input.index()] == 1 => {
            let convolution = matches!(graph.op(*input), Op::Conv { .. } | Op::Depthwise { .. } | Op::Halve { .. });
            convolution.then_some((node, *input))
        }
        _ => None,
    };
    graph.nodes().filter_map(pair).collect()
}
