//! The builder: adds primitives to a graph, checks shapes, names weights.
//!
//! Shapes are those of one image, channels × height × width; a feature vector is channels × 1 × 1. `k`, `s`, `p`, `d`
//! are kernel, stride, padding and dilation of a side, `o` output channels; divisions round down unless marked.
//!
//! | function | input | output | weights |
//! | --- | --- | --- | --- |
//! | [`conv`](Graph::conv) | c × h × w | o × h' × w', h' = (h + 2p − d(k − 1) − 1)/s + 1 | o × c/groups × k × k |
//! | [`pointwise`](Graph::pointwise) | c × h × w | o × h × w | o × c × 1 × 1 |
//! | [`depthwise`](Graph::depthwise) | c × h × w | c × ⌈h/s⌉ × ⌈w/s⌉ for odd k | c × 1 × k × k |
//! | [`halve`](Graph::halve) | c × h × w, both even | o × h/2 × w/2 | two of o/2 × c × 1 × 1 |
//! | [`batch_norm`](Graph::batch_norm) | c × h × w | the same | affine: two of c |
//! | [`layer_norm`](Graph::layer_norm) | c × h × w | the same | affine: c × 1 × 1 × 1; bias: c |
//! | [`activate`](Graph::activate), [`relu`](Graph::relu) | c × h × w | the same | |
//! | [`pool`](Graph::pool) | c × h × w | c × h' × w', h' = (h + 2p − k)/s + 1 | |
//! | [`global_pool`](Graph::global_pool) | c × h × w | c × 1 × 1 | |
//! | [`upsample`](Graph::upsample) | c × h × w | c × f·h × f·w | |
//! | [`linear`](Graph::linear) | c × 1 × 1 | o × 1 × 1 | o × c; bias: o |
//! | [`zero`](Graph::zero), [`noise`](Graph::noise) | c × h × w | c × ⌈h/s⌉ × ⌈w/s⌉ | |
//! | [`add`](Graph::add), [`mixed`](Graph::mixed) | any number of c × h × w | the same | |
//! | [`scale`](Graph::scale), [`drop_path`](Graph::drop_path) | c × h × w | the same | |
//! | [`concat`](Graph::concat) | cᵢ × h × w | Σ cᵢ × h × w | |
//! | [`slice`](Graph::slice) | c × h × w | count × h × w | |
//! | [`shuffle`](Graph::shuffle) | c × h × w | the same | |
//!
//! Primitives without weights of their own (pools, activations, norms without affine parameters …) are shared: asking
//! for the same one on the same node twice gives the same node. That is how every edge that leaves a state shares the
//! state's pools and their norms.

use super::bounds::{self, MOST};
use super::{Activation, Conv, Init, Node, NormInfo, Op, Pool, PoolKind, Shape, SlotBlock, WeightInfo};
use crate::{Error, Result};
use std::collections::HashMap;
use std::fmt::Display;

/// A node: its primitive, what one image looks like there, and the scope that it was built in.
#[derive(Clone)]
struct Primitive {
    op: Op,
    shape: Shape,
    scope: String,
}

/// A network as primitives, with its named weights, batch norms and mixing weights.
#[derive(Clone)]
pub struct Graph {
    primitives: Vec<Primitive>,
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
    /// A graph whose input is images of this shape. Whether the shape lies within the [bounds](super::bounds) is
    /// checked by the primitives that read the images, and when the graph is lowered.
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        let mut graph = Self {
            primitives: Vec::new(),
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

    /// Makes a node the network's output; the engine takes feature vectors only (channels × 1 × 1).
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
    ///
    /// # Errors
    /// No rows or columns, or more of either, or of mixing weights in all, than the [bounds](super::bounds) allow.
    pub fn slots(&mut self, name: &str, rows: usize, columns: usize) -> Result<SlotBlock> {
        bounds::at_least_one("rows", rows, MOST)?;
        bounds::at_least_one("columns", columns, MOST)?;
        let offset = self.slot_count();
        bounds::of_weights("mixing weights", offset + rows * columns)?;
        let block = SlotBlock { name: name.to_string(), offset, rows, columns };
        self.blocks.push(block.clone());
        Ok(block)
    }

    /// What one image looks like at a node.
    pub fn shape(&self, node: Node) -> Shape {
        self.primitives[node.index()].shape
    }

    /// The primitive that makes a node.
    pub fn op(&self, node: Node) -> &Op {
        &self.primitives[node.index()].op
    }

    /// The dotted scope in which a node was made.
    pub fn scope_of(&self, node: Node) -> &str {
        &self.primitives[node.index()].scope
    }

    /// All nodes, each after its inputs.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        (0..self.primitives.len() as u32).map(Node)
    }

    /// All weights, in the order in which they lie in the flat vector.
    pub fn weights(&self) -> &[WeightInfo] {
        &self.weights
    }

    /// The weight of this dotted name.
    pub fn weight(&self, name: &str) -> Option<&WeightInfo> {
        self.names.get(name).map(|&index| &self.weights[index])
    }

    /// Chooses how weights start, where `choose` gives something; the others keep the framework's default.
    pub fn start_weights(&mut self, choose: impl Fn(&WeightInfo) -> Option<Init>) {
        for weight in &mut self.weights {
            weight.init = choose(weight).unwrap_or(weight.init);
        }
    }

    /// All batch norms, in the order in which they lie in the flat statistics vector.
    pub fn norms(&self) -> &[NormInfo] {
        &self.norms
    }

    /// Length of the flat statistics vector.
    pub fn statistics_len(&self) -> usize {
        self.norms.last().map_or(0, |n| n.offset + 2 * n.channels)
    }

    /// All matrices of mixing weights, in the order in which they lie in `p`.
    pub fn slot_blocks(&self) -> &[SlotBlock] {
        &self.blocks
    }

    /// Length of the flat vector of mixing weights.
    pub fn slot_count(&self) -> usize {
        self.blocks.last().map_or(0, |b| b.offset + b.len())
    }

    /// A convolution of [channels, height, width] to [conv.channels, height', width'], each side (size + 2·padding −
    /// dilation·(kernel − 1) − 1)/stride + 1 rounded down. Its weight `NAME.weight` is out × in/groups × kernel; with
    /// `bias` there is `NAME.bias` too. One kernel per channel becomes a depthwise convolution.
    ///
    /// # Errors
    /// Options out of bounds ([`bounds`](super::bounds)), groups that do not divide the channels, a kernel that does
    /// not fit, a name that is taken.
    pub fn conv(&mut self, name: &str, input: Node, conv: Conv) -> Result<Node> {
        let from = self.shape(input);
        let to = conv.shape(from).map_err(|error| self.within_scope(error))?;
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
        Ok(self.push(op, to))
    }

    /// A 1×1 convolution without bias.
    ///
    /// # Errors
    /// As for [`conv`](Self::conv).
    pub fn pointwise(&mut self, name: &str, input: Node, channels: usize) -> Result<Node> {
        self.conv(name, input, Conv::square(channels, 1))
    }

    /// One square kernel per channel, with the padding that keeps the size at stride 1 (for odd kernels).
    ///
    /// # Errors
    /// As for [`conv`](Self::conv).
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
    /// channels, `b` one pixel further down and right (`docs/darts.md` A1).
    ///
    /// # Errors
    /// An odd height, width or number of output channels, output channels beyond their bound, a name that is taken.
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

    /// Batch norm (Ioffe & Szegedy 2015; epsilon 1e-5, momentum 0.1): per channel (x − mean)/√(variance + epsilon), and
    /// with `affine` times `NAME.weight` plus `NAME.bias`. Without affine parameters a node has one norm, however often
    /// it is asked for; it keeps the name that was given first.
    ///
    /// # Errors
    /// An input beyond the bounds, a name that is taken.
    pub fn batch_norm(&mut self, name: &str, input: Node, affine: bool) -> Result<Node> {
        let shape = self.shape(input);
        bounds::of_shape(shape, (0, 0)).map_err(|error| self.within_scope(error))?;
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

    /// Layer norm (Ba et al. 2016; epsilon 1e-5): (x − mean)/√(variance + epsilon) over all channels and pixels of each
    /// image, and with `affine` times `NAME.weight` plus `NAME.bias`, a number each for every channel. It is the same
    /// in training and in evaluation.
    ///
    /// # Errors
    /// An input beyond the bounds, a name that is taken.
    pub fn layer_norm(&mut self, name: &str, input: Node, affine: bool) -> Result<Node> {
        let shape = self.shape(input);
        bounds::of_shape(shape, (0, 0)).map_err(|error| self.within_scope(error))?;
        let node = self.share(Op::Standardise { input }, shape);
        if !affine {
            return Ok(node);
        }
        let Shape { channels, .. } = shape;
        let weight = self.add_weight(&format!("{name}.weight"), vec![channels, 1, 1, 1], Init::Constant(1.0))?;
        let bias = self.add_weight(&format!("{name}.bias"), vec![channels], Init::Constant(0.0))?;
        let conv = Conv::square(channels, 1).groups(channels).bias();
        Ok(self.push(Op::Conv { input: node, conv, weight, bias: Some(bias) }, shape))
    }

    /// An activation, element by element.
    pub fn activate(&mut self, input: Node, activation: Activation) -> Node {
        let shape = self.shape(input);
        self.share(Op::Activate { input, activation }, shape)
    }

    /// max(x, 0), element by element.
    pub fn relu(&mut self, input: Node) -> Node {
        self.activate(input, Activation::Relu)
    }

    /// A pool with a square window. Padding never is a maximum; [`PoolKind::Average`] says whether it counts in a mean.
    ///
    /// # Errors
    /// Options beyond their [bounds](super::bounds), a padding of more than half the kernel, a window that does not
    /// fit.
    pub fn pool(&mut self, input: Node, pool: Pool) -> Result<Node> {
        let from = self.shape(input);
        let shape = pool.shape(from).map_err(|error| self.within_scope(error))?;
        Ok(self.share(Op::Pool { input, pool }, shape))
    }

    /// The candidates' max pool: 3×3, padding 1 (`docs/darts.md` A1).
    ///
    /// # Errors
    /// As for [`pool`](Self::pool).
    pub fn max_pool_3x3(&mut self, input: Node, stride: usize) -> Result<Node> {
        self.pool(input, Pool { kind: PoolKind::Max, kernel: 3, stride, padding: 1 })
    }

    /// The candidates' average pool: 3×3, padding 1, padded pixels not counted (`docs/darts.md` A1).
    ///
    /// # Errors
    /// As for [`pool`](Self::pool).
    pub fn avg_pool_3x3(&mut self, input: Node, stride: usize) -> Result<Node> {
        self.pool(input, Pool { kind: PoolKind::Average { count_padding: false }, kernel: 3, stride, padding: 1 })
    }

    /// The mean over all pixels: channels × 1 × 1.
    pub fn global_pool(&mut self, input: Node) -> Node {
        let shape = Shape::new(self.shape(input).channels, 1, 1);
        self.share(Op::GlobalPool { input }, shape)
    }

    /// Every pixel repeated `factor` times in both directions: the nearest pixel's value.
    ///
    /// # Errors
    /// A factor of 0, more numbers per image than the [bounds](super::bounds) allow.
    pub fn upsample(&mut self, input: Node, factor: usize) -> Result<Node> {
        bounds::at_least_one("factor", factor, MOST).map_err(|error| self.within_scope(error))?;
        if factor == 1 {
            return Ok(input);
        }
        let from = self.shape(input);
        let larger = |side: usize| side.saturating_mul(factor);
        let shape = Shape::new(from.channels, larger(from.height), larger(from.width));
        bounds::of_shape(shape, (0, 0)).map_err(|error| self.within_scope(error))?;
        Ok(self.share(Op::Upsample { input, factor }, shape))
    }

    /// A fully connected layer on a feature vector: `NAME.weight` (out × in) times the input, plus `NAME.bias`.
    ///
    /// # Errors
    /// An input of more than one pixel, outputs beyond their bound, a name that is taken.
    pub fn linear(&mut self, name: &str, input: Node, outputs: usize) -> Result<Node> {
        let from = self.shape(input);
        if from.pixels() != 1 {
            return Err(self
                .misfit(format!("a linear layer takes a feature vector, not {from}"))
                .hint("pool first: global_pool"));
        }
        bounds::at_least_one("outputs", outputs, MOST).map_err(|error| self.within_scope(error))?;
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
        let node = Node(self.primitives.len() as u32);
        self.primitives.push(Primitive { op, shape, scope: self.scope.join(".") });
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
        // Sides of at most 2¹⁶ each, but four of them: the product may overflow.
        let len = shape.iter().try_fold(1usize, |len, side| len.checked_mul(*side)).unwrap_or(usize::MAX);
        bounds::of_weights("weights", len.saturating_add(offset)).map_err(|error| self.within_scope(error))?;
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
        self.within_scope(Error::user(message.to_string()))
    }

    /// Adds to an error where in the network it happened.
    pub(super) fn within_scope(&self, error: Error) -> Error {
        match self.scope.is_empty() {
            true => error,
            false => Error { message: format!("{}: {}", self.scope.join("."), error.message), ..error },
        }
    }
}
