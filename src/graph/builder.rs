//! The builder: adds primitives to a graph, checks shapes, names weights.
//!
//! Primitives without weights of their own (pools, activations, norms without affine parameters …) are shared: asking
//! for the same one on the same node twice gives the same node. That is how every edge that leaves a state shares the
//! state's pools and their norms.

use super::{Activation, Conv, Init, Node, NormInfo, Op, Pool, PoolKind, Shape, SlotBlock, WeightInfo};
use crate::{Error, Result};
use std::collections::HashMap;
use std::fmt::Display;

struct Entry {
    op: Op,
    shape: Shape,
    scope: String,
}

/// A network as primitives; see the module's documentation.
pub struct Graph {
    entries: Vec<Entry>,
    shared: HashMap<Op, Node>,
    weights: Vec<WeightInfo>,
    /// Index of each weight by its name.
    names: HashMap<String, usize>,
    norms: Vec<NormInfo>,
    blocks: Vec<SlotBlock>,
    pub(super) drops: usize,
    pub(super) noises: usize,
    scope: Vec<String>,
    output: Option<Node>,
}

impl Graph {
    /// A graph whose input is images of this shape.
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        let mut graph = Self {
            entries: Vec::new(),
            shared: HashMap::new(),
            weights: Vec::new(),
            names: HashMap::new(),
            norms: Vec::new(),
            blocks: Vec::new(),
            drops: 0,
            noises: 0,
            scope: Vec::new(),
            output: None,
        };
        graph.push(Op::Input, Shape::new(channels, height, width));
        graph
    }

    /// The batch of images.
    pub fn input(&self) -> Node {
        Node(0)
    }

    /// The node whose channels are the network's outputs (logits).
    pub fn output(&self) -> Option<Node> {
        self.output
    }

    pub fn set_output(&mut self, node: Node) {
        self.output = Some(node);
    }

    /// Builds inside a name: weights made in `build` are called `…​.name.weight`.
    pub fn scope<R>(&mut self, name: impl Display, build: impl FnOnce(&mut Graph) -> R) -> R {
        self.scope.push(name.to_string());
        let result = build(self);
        self.scope.pop();
        result
    }

    /// Declares a named matrix of mixing weights (rows × columns, row-major in `p`).
    pub fn slots(&mut self, name: &str, rows: usize, columns: usize) -> SlotBlock {
        let offset = self.slot_count();
        let block = SlotBlock { name: name.to_string(), offset, rows, columns };
        self.blocks.push(block.clone());
        block
    }

    pub fn shape(&self, node: Node) -> Shape {
        self.entries[node.index()].shape
    }

    pub fn op(&self, node: Node) -> &Op {
        &self.entries[node.index()].op
    }

    /// The dotted scope in which a node was made.
    pub fn scope_of(&self, node: Node) -> &str {
        &self.entries[node.index()].scope
    }

    /// All nodes, each after its inputs.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        (0..self.entries.len() as u32).map(Node)
    }

    pub fn weights(&self) -> &[WeightInfo] {
        &self.weights
    }

    pub fn weight(&self, name: &str) -> Option<&WeightInfo> {
        self.names.get(name).map(|&index| &self.weights[index])
    }

    /// Chooses how weights start, where `choose` gives something; the others keep the framework's default.
    pub fn start_weights(&mut self, choose: impl Fn(&WeightInfo) -> Option<Init>) {
        for weight in &mut self.weights {
            weight.init = choose(weight).unwrap_or(weight.init);
        }
    }

    pub fn norms(&self) -> &[NormInfo] {
        &self.norms
    }

    /// Length of the flat statistics vector.
    pub fn statistics_len(&self) -> usize {
        self.norms.last().map_or(0, |n| n.offset + 2 * n.channels)
    }

    pub fn slot_blocks(&self) -> &[SlotBlock] {
        &self.blocks
    }

    /// Length of the flat vector of mixing weights.
    pub fn slot_count(&self) -> usize {
        self.blocks.last().map_or(0, |b| b.offset + b.len())
    }

    /// A convolution with weight `NAME.weight` (and `NAME.bias`); one kernel a channel becomes a depthwise one.
    pub fn conv(&mut self, name: &str, input: Node, conv: Conv) -> Result<Node> {
        let from = self.shape(input);
        if conv.channels == 0 || conv.groups == 0 || conv.stride.0 == 0 || conv.stride.1 == 0 {
            return Err(self.misfit("a convolution needs at least one channel, group and stride"));
        }
        if !from.channels.is_multiple_of(conv.groups) || !conv.channels.is_multiple_of(conv.groups) {
            return Err(self.misfit(format!(
                "{} groups divide neither {} input nor {} output channels evenly",
                conv.groups, from.channels, conv.channels
            )));
        }
        let size = |axis: &str, from: usize, kernel: usize, stride: usize, padding: usize, dilation: usize| {
            let reach = dilation * (kernel.max(1) - 1) + 1;
            if kernel == 0 || dilation == 0 || from + 2 * padding < reach {
                return Err(self.misfit(format!(
                    "a kernel that reaches over {reach} does not fit the {axis} {from} with padding {padding}"
                )));
            }
            Ok((from + 2 * padding - reach) / stride + 1)
        };
        let height = size("height", from.height, conv.kernel.0, conv.stride.0, conv.padding.0, conv.dilation.0)?;
        let width = size("width", from.width, conv.kernel.1, conv.stride.1, conv.padding.1, conv.dilation.1)?;
        let fan_in = from.channels / conv.groups * conv.kernel.0 * conv.kernel.1;
        let bound = 1.0 / (fan_in as f32).sqrt();
        let shape = vec![conv.channels, from.channels / conv.groups, conv.kernel.0, conv.kernel.1];
        let weight = self.add_weight(&format!("{name}.weight"), shape, Init::Uniform(bound))?;
        let bias = match conv.bias {
            true => Some(self.add_weight(&format!("{name}.bias"), vec![conv.channels], Init::Uniform(bound))?),
            false => None,
        };
        let op = if conv.is_depthwise(from.channels) && bias.is_none() {
            Op::Depthwise { input, conv, weight }
        } else {
            Op::Conv { input, conv, weight, bias }
        };
        Ok(self.push(op, Shape::new(conv.channels, height, width)))
    }

    /// A 1×1 convolution.
    pub fn pointwise(&mut self, name: &str, input: Node, channels: usize) -> Result<Node> {
        self.conv(name, input, Conv::square(channels, 1))
    }

    /// One square kernel a channel, "same" padding at stride 1.
    pub fn depthwise(
        &mut self,
        name: &str,
        input: Node,
        kernel: usize,
        stride: usize,
        dilation: usize,
    ) -> Result<Node> {
        let channels = self.shape(input).channels;
        let conv = Conv::square(channels, kernel).dilation(dilation).stride(stride).groups(channels);
        self.conv(name, input, conv)
    }

    /// FactorizedReduce without its ReLU and norm: `a` and `b`, two 1×1 convolutions of stride 2 side by side on the
    /// channels, `b` one pixel further down and right (`darts.md` A1). Height and width must be even.
    pub fn halve(&mut self, input: Node, channels: usize) -> Result<Node> {
        let from = self.shape(input);
        if !from.height.is_multiple_of(2) || !from.width.is_multiple_of(2) {
            return Err(self
                .misfit(format!(
                    "halving needs an even height and width, but the input is {}×{}",
                    from.height, from.width
                ))
                .hint("choose an image size that can be halved at every reduction cell, for example a multiple of 4"));
        }
        if !channels.is_multiple_of(2) {
            return Err(self.misfit(format!("halving makes two halves of its output channels; {channels} is odd")));
        }
        let bound = 1.0 / (from.channels as f32).sqrt();
        let shape = vec![channels / 2, from.channels, 1, 1];
        let a = self.add_weight("a.weight", shape.clone(), Init::Uniform(bound))?;
        let b = self.add_weight("b.weight", shape, Init::Uniform(bound))?;
        let out = Shape::new(channels, from.height / 2, from.width / 2);
        Ok(self.push(Op::Halve { input, channels, weights: [a, b] }, out))
    }

    /// Batch norm (eps 1e-5, momentum 0.1); affine adds `NAME.weight` and `NAME.bias`. Without affine parameters the norm
    /// of one node is one norm, whoever asks; it bears the name of the first.
    pub fn batch_norm(&mut self, name: &str, input: Node, affine: bool) -> Result<Node> {
        let shape = self.shape(input);
        if !affine {
            // The statistics' index is not part of a shared norm's identity.
            let probe = Op::Norm { input, norm: usize::MAX, affine: None };
            if let Some(&node) = self.shared.get(&probe) {
                return Ok(node);
            }
            let norm = self.add_norm(name, shape.channels);
            let node = self.push(Op::Norm { input, norm, affine: None }, shape);
            self.shared.insert(probe, node);
            return Ok(node);
        }
        let gamma = self.add_weight(&format!("{name}.weight"), vec![shape.channels], Init::Constant(1.0))?;
        let beta = self.add_weight(&format!("{name}.bias"), vec![shape.channels], Init::Constant(0.0))?;
        let norm = self.add_norm(name, shape.channels);
        Ok(self.push(Op::Norm { input, norm, affine: Some([gamma, beta]) }, shape))
    }

    pub fn activate(&mut self, input: Node, activation: Activation) -> Node {
        let shape = self.shape(input);
        self.share(Op::Activate { input, activation }, shape)
    }

    pub fn relu(&mut self, input: Node) -> Node {
        self.activate(input, Activation::Relu)
    }

    pub fn pool(&mut self, input: Node, pool: Pool) -> Result<Node> {
        let from = self.shape(input);
        if pool.kernel == 0 || pool.stride == 0 || 2 * pool.padding > pool.kernel {
            return Err(self.misfit(format!(
                "a pool needs a kernel and a stride of at least 1 and at most half the kernel as padding, not kernel {}, \
                 stride {}, padding {}",
                pool.kernel, pool.stride, pool.padding
            )));
        }
        if from.height + 2 * pool.padding < pool.kernel || from.width + 2 * pool.padding < pool.kernel {
            return Err(self.misfit(format!(
                "a {0}×{0} pool does not fit a map of {1}×{2}",
                pool.kernel, from.height, from.width
            )));
        }
        let size = |from: usize| (from + 2 * pool.padding - pool.kernel) / pool.stride + 1;
        let shape = Shape::new(from.channels, size(from.height), size(from.width));
        Ok(self.share(Op::Pool { input, pool }, shape))
    }

    /// 3×3, padding 1, as the candidates have it.
    pub fn max_pool_3x3(&mut self, input: Node, stride: usize) -> Result<Node> {
        self.pool(input, Pool { kind: PoolKind::Max, kernel: 3, stride, padding: 1 })
    }

    /// 3×3, padding 1, padded cells not counted, as the candidates have it.
    pub fn avg_pool_3x3(&mut self, input: Node, stride: usize) -> Result<Node> {
        self.pool(input, Pool { kind: PoolKind::Average { count_padding: false }, kernel: 3, stride, padding: 1 })
    }

    /// The mean over all pixels: channels × 1 × 1.
    pub fn global_pool(&mut self, input: Node) -> Node {
        let shape = Shape::new(self.shape(input).channels, 1, 1);
        self.share(Op::GlobalPool { input }, shape)
    }

    /// A fully connected layer with bias on a feature vector; `NAME.weight` is out × in.
    pub fn linear(&mut self, name: &str, input: Node, outputs: usize) -> Result<Node> {
        let from = self.shape(input);
        if from.pixels() != 1 {
            return Err(self
                .misfit(format!("a linear layer takes a feature vector, not {from}"))
                .hint("pool first: global_pool"));
        }
        if outputs == 0 {
            return Err(self.misfit("a linear layer needs at least one output"));
        }
        let bound = 1.0 / (from.channels as f32).sqrt();
        let weight = self.add_weight(&format!("{name}.weight"), vec![outputs, from.channels], Init::Uniform(bound))?;
        let bias = self.add_weight(&format!("{name}.bias"), vec![outputs], Init::Uniform(bound))?;
        let op = Op::Conv { input, conv: Conv::square(outputs, 1).bias(), weight, bias: Some(bias) };
        Ok(self.push(op, Shape::new(outputs, 1, 1)))
    }

    pub(super) fn share(&mut self, op: Op, shape: Shape) -> Node {
        if let Some(&node) = self.shared.get(&op) {
            return node;
        }
        let node = self.push(op.clone(), shape);
        self.shared.insert(op, node);
        node
    }

    pub(super) fn push(&mut self, op: Op, shape: Shape) -> Node {
        let node = Node(self.entries.len() as u32);
        self.entries.push(Entry { op, shape, scope: self.scope.join(".") });
        node
    }

    fn add_weight(&mut self, name: &str, shape: Vec<usize>, init: Init) -> Result<usize> {
        let name = self.full_name(name);
        if self.names.contains_key(&name) {
            return Err(
                Error::user(format!("two weights are called \"{name}\"")).hint("give each layer a name of its own")
            );
        }
        let offset = self.weights.last().map_or(0, |w| w.range().end);
        self.names.insert(name.clone(), self.weights.len());
        self.weights.push(WeightInfo { name, shape, offset, init });
        Ok(self.weights.len() - 1)
    }

    fn add_norm(&mut self, name: &str, channels: usize) -> usize {
        let name = self.full_name(name);
        let offset = self.statistics_len();
        self.norms.push(NormInfo { name, channels, offset });
        self.norms.len() - 1
    }

    fn full_name(&self, name: &str) -> String {
        let mut full = self.scope.join(".");
        if !full.is_empty() && !name.is_empty() {
            full.push('.');
        }
        full + name
    }

    /// An error that says where in the network it happened.
    pub(super) fn misfit(&self, message: impl Display) -> Error {
        match self.scope.is_empty() {
            true => Error::user(message.to_string()),
            false => Error::user(format!("{}: {message}", self.scope.join("."))),
        }
    }
}
