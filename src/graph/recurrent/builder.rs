//! The builder of a time step: adds primitives, checks widths, names weights.
//!
//! Every node is a row vector of some width, one for each row of the batch.
//!
//! | function | inputs | output | weights |
//! | --- | --- | --- | --- |
//! | [`input`](RecurrentGraph::input) | | x, as wide as a token vector | |
//! | [`state`](RecurrentGraph::state) | | what the step before left | |
//! | [`product`](RecurrentGraph::product) | any number of wᵢ | w' | Σ wᵢ × w'; bias: w' |
//! | [`add`](RecurrentGraph::add), [`subtract`](RecurrentGraph::subtract) | w, w | w | |
//! | [`multiply`](RecurrentGraph::multiply) | w, w | w | |
//! | [`blend`](RecurrentGraph::blend) | w, w, w | w | |
//! | [`sigmoid`](RecurrentGraph::sigmoid), [`tanh`](RecurrentGraph::tanh), [`relu`](RecurrentGraph::relu) | w | w | |
//! | [`affine`](RecurrentGraph::affine), [`at_most`](RecurrentGraph::at_most) | w | w | |
//! | [`slice`](RecurrentGraph::slice) | w | count | |
//! | [`mask`](RecurrentGraph::mask), [`norm`](RecurrentGraph::norm) | w | w | |
//! | [`mixed`](RecurrentGraph::mixed), [`mean`](RecurrentGraph::mean) | any number of w | w | |
//!
//! Primitives are shared: asking for the same one on the same nodes twice gives the same node. The identity is the node
//! itself.

use super::{Function, MaskInfo, RecurrentOp, StateInfo};
use crate::graph::bounds::{self, MOST};
use crate::graph::{Init, Node, NormInfo, Slot, SlotBlock, WeightInfo};
use crate::{Error, Result};

/// The most primitives of a time step.
pub const MOST_PRIMITIVES: usize = 1 << 14;

/// A named matrix, for products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(usize);

/// A named row, to be added to products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bias(usize);

/// One time step as primitives, with its named weights, states, masks, batch norms and mixing weights.
#[derive(Clone, Debug)]
pub struct RecurrentGraph {
    pub(super) ops: Vec<RecurrentOp>,
    pub(super) widths: Vec<usize>,
    pub(super) weights: Vec<WeightInfo>,
    pub(super) states: Vec<StateInfo>,
    pub(super) masks: Vec<MaskInfo>,
    pub(super) norms: Vec<NormInfo>,
    pub(super) blocks: Vec<SlotBlock>,
    pub(super) output: Option<Node>,
}

impl RecurrentGraph {
    /// A time step whose token vectors have this width.
    ///
    /// # Errors
    /// No width, or one beyond its bound.
    pub fn new(width: usize) -> Result<Self> {
        bounds::at_least_one("width", width, MOST)?;
        Ok(Self {
            ops: vec![RecurrentOp::Input],
            widths: vec![width],
            weights: Vec::new(),
            states: Vec::new(),
            masks: Vec::new(),
            norms: Vec::new(),
            blocks: Vec::new(),
            output: None,
        })
    }

    /// The token vector x.
    pub fn input(&self) -> Node {
        Node(0)
    }

    /// A named state: what [`set_next`](Self::set_next) made of it in the time step before.
    ///
    /// # Errors
    /// A width beyond its bound, a name that is taken.
    pub fn state(&mut self, name: &str, width: usize) -> Result<Node> {
        bounds::at_least_one("width", width, MOST)?;
        if self.states.iter().any(|state| state.name == name) {
            return Err(Error::user(format!("two states are called \"{name}\"")).hint("give each state its own name"));
        }
        let node = self.push(RecurrentOp::State { state: self.states.len() }, width)?;
        self.states.push(StateInfo { name: name.to_string(), width, node, next: None });
        Ok(node)
    }

    /// Says what a state is in the next time step.
    ///
    /// # Errors
    /// A node that is not a state, a value of another width.
    pub fn set_next(&mut self, state: Node, value: Node) -> Result<()> {
        let width = self.width(value);
        let RecurrentOp::State { state } = self.ops[state.index()] else {
            return Err(Error::user("only a state has a next value").hint("make states with `state`"));
        };
        let info = &mut self.states[state];
        if info.width != width {
            return Err(Error::user(format!(
                "the state \"{}\" is {} wide, its next value {width}",
                info.name, info.width
            )));
        }
        info.next = Some(value);
        Ok(())
    }

    /// Makes a node the output of every time step.
    pub fn set_output(&mut self, node: Node) {
        self.output = Some(node);
    }

    /// Declares a weight matrix; `y = x · weight` takes `rows` wide vectors to `columns` wide ones. Several products
    /// may use it.
    ///
    /// # Errors
    /// No rows or columns, or more than the bounds allow, a name that is taken.
    pub fn weight(&mut self, name: &str, rows: usize, columns: usize, init: Init) -> Result<Weight> {
        bounds::at_least_one("rows", rows, MOST)?;
        bounds::at_least_one("columns", columns, MOST)?;
        Ok(Weight(self.add_weight(name, vec![rows, columns], init)?))
    }

    /// A weight matrix that was declared before, by its name.
    pub fn declared_weight(&self, name: &str) -> Option<Weight> {
        self.weights.iter().position(|weight| weight.name == name && weight.shape.len() == 2).map(Weight)
    }

    /// Declares a bias.
    ///
    /// # Errors
    /// No width, or one beyond its bound, a name that is taken.
    pub fn bias(&mut self, name: &str, width: usize, init: Init) -> Result<Bias> {
        bounds::at_least_one("width", width, MOST)?;
        Ok(Bias(self.add_weight(name, vec![width], init)?))
    }

    /// Declares a named matrix of mixing weights (rows × columns, row-major in `p`).
    ///
    /// # Errors
    /// No rows or columns, or more of either, or of mixing weights in all, than the bounds allow.
    pub fn slots(&mut self, name: &str, rows: usize, columns: usize) -> Result<SlotBlock> {
        bounds::at_least_one("rows", rows, MOST)?;
        bounds::at_least_one("columns", columns, MOST)?;
        let offset = self.slot_count();
        bounds::of_weights("mixing weights", offset + rows * columns)?;
        let block = SlotBlock { name: name.to_string(), offset, rows, columns };
        self.blocks.push(block.clone());
        Ok(block)
    }

    /// The inputs side by side times a weight matrix, plus a bias.
    ///
    /// # Errors
    /// Inputs that are not together as wide as the matrix has rows, a bias of another width than its columns.
    pub fn product(&mut self, inputs: &[Node], weight: Weight, bias: Option<Bias>) -> Result<Node> {
        let wide: usize = inputs.iter().map(|&input| self.width(input)).sum();
        let info = &self.weights[weight.0];
        let (rows, columns) = (info.shape[0], info.shape[1]);
        if inputs.is_empty() || wide != rows {
            return Err(Error::user(format!(
                "the weight \"{}\" takes vectors of width {rows}; the inputs are {wide} wide together",
                info.name
            )));
        }
        if let Some(bias) = bias.map(|bias| &self.weights[bias.0])
            && bias.len() != columns
        {
            return Err(Error::user(format!(
                "the bias \"{}\" is {} wide, the product with \"{}\" {columns}",
                bias.name,
                bias.len(),
                info.name
            )));
        }
        let op = RecurrentOp::Product { inputs: inputs.to_vec(), weight: weight.0, bias: bias.map(|bias| bias.0) };
        self.push(op, columns)
    }

    /// a + b.
    ///
    /// # Errors
    /// Different widths.
    pub fn add(&mut self, a: Node, b: Node) -> Result<Node> {
        let width = self.same_width("the terms of a sum", &[a, b])?;
        self.push(RecurrentOp::Add { inputs: [a, b] }, width)
    }

    /// a − b.
    ///
    /// # Errors
    /// Different widths.
    pub fn subtract(&mut self, a: Node, b: Node) -> Result<Node> {
        let width = self.same_width("the two values of a difference", &[a, b])?;
        self.push(RecurrentOp::Subtract { inputs: [a, b] }, width)
    }

    /// a · b, element by element.
    ///
    /// # Errors
    /// Different widths.
    pub fn multiply(&mut self, a: Node, b: Node) -> Result<Node> {
        let width = self.same_width("the factors", &[a, b])?;
        self.push(RecurrentOp::Multiply { inputs: [a, b] }, width)
    }

    /// from + gate · (to − from): a highway's step (Srivastava et al. 2015), `from` where the gate is 0, `to` where it
    /// is 1.
    ///
    /// # Errors
    /// Different widths.
    pub fn blend(&mut self, from: Node, to: Node, gate: Node) -> Result<Node> {
        let width = self.same_width("a blend's three values", &[from, to, gate])?;
        self.push(RecurrentOp::Blend { from, to, gate }, width)
    }

    /// A non-linearity, element by element.
    ///
    /// # Errors
    /// Too many primitives.
    pub fn apply(&mut self, input: Node, function: Function) -> Result<Node> {
        self.push(RecurrentOp::Apply { input, function }, self.width(input))
    }

    /// 1 / (1 + e⁻ˣ).
    ///
    /// # Errors
    /// Too many primitives.
    pub fn sigmoid(&mut self, input: Node) -> Result<Node> {
        self.apply(input, Function::Sigmoid)
    }

    /// tanh x.
    ///
    /// # Errors
    /// Too many primitives.
    pub fn tanh(&mut self, input: Node) -> Result<Node> {
        self.apply(input, Function::Tanh)
    }

    /// max(x, 0).
    ///
    /// # Errors
    /// Too many primitives.
    pub fn relu(&mut self, input: Node) -> Result<Node> {
        self.apply(input, Function::Relu)
    }

    /// scale · input + shift.
    ///
    /// # Errors
    /// A constant that is not a finite number in single precision.
    pub fn affine(&mut self, input: Node, scale: f64, shift: f64) -> Result<Node> {
        finite("scale", scale)?;
        finite("shift", shift)?;
        self.push(RecurrentOp::Affine { input, scale, shift }, self.width(input))
    }

    /// min(input, most): a capped gate.
    ///
    /// # Errors
    /// A constant that is not a finite number in single precision.
    pub fn at_most(&mut self, input: Node, most: f64) -> Result<Node> {
        finite("most", most)?;
        self.push(RecurrentOp::AtMost { input, most }, self.width(input))
    }

    /// `count` columns from column `start` (from 0) on.
    ///
    /// # Errors
    /// No columns, or some that the input does not have.
    pub fn slice(&mut self, input: Node, start: usize, count: usize) -> Result<Node> {
        let width = self.width(input);
        bounds::at_least_one("count", count, MOST)?;
        if start.checked_add(count).is_none_or(|end| end > width) {
            return Err(Error::user(format!("{count} columns from {start} on do not fit a width of {width}")));
        }
        if count == width {
            return Ok(input);
        }
        self.push(RecurrentOp::Slice { input, start }, count)
    }

    /// The input times the mask of this name: rows × width factors of inverted dropout that are drawn once a pass and
    /// are the same at every time step and wherever the mask is used (Gal & Ghahramani 2016). How often it drops is
    /// said pass by pass; outside training it does nothing.
    ///
    /// # Errors
    /// A mask that is used with another width elsewhere.
    pub fn mask(&mut self, name: &str, input: Node) -> Result<Node> {
        let width = self.width(input);
        let known = self.masks.iter().position(|mask| mask.name == name);
        if let Some(known) = known
            && self.masks[known].width != width
        {
            return Err(Error::user(format!(
                "the mask \"{name}\" is {} wide elsewhere, here {width}",
                self.masks[known].width
            ))
            .hint("give masks of different widths names of their own"));
        }
        let node = self.push(RecurrentOp::Mask { input, mask: known.unwrap_or(self.masks.len()) }, width)?;
        if known.is_none() {
            self.masks.push(MaskInfo { name: name.to_string(), width, stream: format!("mask {name}") });
        }
        Ok(node)
    }

    /// Batch norm (Ioffe & Szegedy 2015; epsilon 1e-5, no affine parameters) over the batch's rows at this time step.
    /// Norms of one name have one set of running statistics: each moves it with momentum 0.1, in the order in which
    /// they were built, at every time step.
    ///
    /// # Errors
    /// A norm of that name with another width elsewhere.
    pub fn norm(&mut self, name: &str, input: Node) -> Result<Node> {
        let width = self.width(input);
        let known = self.norms.iter().position(|norm| norm.name == name);
        if let Some(known) = known
            && self.norms[known].channels != width
        {
            return Err(Error::user(format!(
                "the norm \"{name}\" is {} wide elsewhere, here {width}",
                self.norms[known].channels
            ))
            .hint("give norms of different widths names of their own"));
        }
        let node = self.push(RecurrentOp::Norm { input, norm: known.unwrap_or(self.norms.len()) }, width)?;
        if known.is_none() {
            let offset = self.statistics_len();
            self.norms.push(NormInfo { name: name.to_string(), channels: width, offset });
        }
        Ok(node)
    }

    /// Σ p_slot · value: a mixed operation (Liu et al. 2019). A candidate that is always zero is a slot without a
    /// term.
    ///
    /// # Errors
    /// No terms, different widths, a slot that the graph does not have.
    pub fn mixed(&mut self, terms: &[(Node, Slot)]) -> Result<Node> {
        let nodes: Vec<Node> = terms.iter().map(|(node, _)| *node).collect();
        let width = self.same_width("the terms of a mixed operation", &nodes)?;
        if let Some((_, slot)) = terms.iter().find(|(_, slot)| slot.0 as usize >= self.slot_count()) {
            return Err(Error::user(format!("there is no mixing weight {}", slot.0)).hint("declare them with `slots`"));
        }
        let terms = terms.iter().map(|&(node, slot)| (node, Some(slot))).collect();
        self.push(RecurrentOp::Sum { terms, scale: 1.0 }, width)
    }

    /// The sum of any number of values.
    ///
    /// # Errors
    /// No values, different widths.
    pub fn sum(&mut self, values: &[Node]) -> Result<Node> {
        self.scaled_sum("the terms of a sum", values, 1.0)
    }

    /// The mean of any number of values.
    ///
    /// # Errors
    /// No values, different widths.
    pub fn mean(&mut self, values: &[Node]) -> Result<Node> {
        self.scaled_sum("the values of a mean", values, 1.0 / values.len().max(1) as f64)
    }

    fn scaled_sum(&mut self, what: &str, values: &[Node], scale: f64) -> Result<Node> {
        let width = self.same_width(what, values)?;
        let terms = values.iter().map(|&node| (node, None)).collect();
        self.push(RecurrentOp::Sum { terms, scale }, width)
    }

    /// The width of these nodes.
    fn same_width(&self, what: &str, nodes: &[Node]) -> Result<usize> {
        let Some(&first) = nodes.first() else { return Err(Error::user(format!("{what}: there are none"))) };
        let width = self.width(first);
        match nodes.iter().map(|&node| self.width(node)).find(|&other| other != width) {
            None => Ok(width),
            Some(other) => Err(Error::user(format!("{what} have different widths: {width} and {other}"))),
        }
    }

    fn push(&mut self, op: RecurrentOp, width: usize) -> Result<Node> {
        let mut known = self.ops.iter().zip(&self.widths);
        if let Some(known) = known.position(|(known, wide)| *known == op && *wide == width) {
            return Ok(Node(known as u32));
        }
        if self.ops.len() == MOST_PRIMITIVES {
            return Err(Error::user(format!("a time step has at most {MOST_PRIMITIVES} primitives")));
        }
        self.ops.push(op);
        self.widths.push(width);
        Ok(Node(self.ops.len() as u32 - 1))
    }

    fn add_weight(&mut self, name: &str, shape: Vec<usize>, init: Init) -> Result<usize> {
        if self.weights.iter().any(|weight| weight.name == name) {
            return Err(Error::user(format!("two weights are called \"{name}\""))
                .hint("a weight may be used by several products, but is declared once"));
        }
        let offset = self.parameters();
        bounds::of_weights("weights", offset + shape.iter().product::<usize>())?;
        self.weights.push(WeightInfo { name: name.to_string(), shape, offset, init });
        Ok(self.weights.len() - 1)
    }
}

fn finite(option: &str, value: f64) -> Result<()> {
    match (value as f32).is_finite() {
        true => Ok(()),
        false => Err(Error::user(format!("`{option}` must be a finite number of single precision, not {value}"))),
    }
}
