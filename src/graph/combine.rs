//! The builder's primitives that have no weights and do no arithmetic within a plane: sums, products, concatenations,
//! selections, zeros, noise, dropout. Their shapes are in the table of `builder.rs`.

use super::bounds::{self, MOST};
use super::{Graph, Node, NoiseKind, Op, Probability, Shape, Slot, Term};
use crate::Result;

impl Graph {
    /// Zeros of the input's channels, at the size that a stride leaves (rounded up).
    ///
    /// # Errors
    /// A stride beyond its bound.
    pub fn zero(&mut self, input: Node, stride: usize) -> Result<Node> {
        let from = self.shape(input);
        bounds::at_least_one("stride", stride, MOST).map_err(|error| self.within_scope(error))?;
        let shape = Shape::new(from.channels, from.height.div_ceil(stride), from.width.div_ceil(stride));
        Ok(self.share(Op::Zero { input, stride }, shape))
    }

    /// Standard normal noise of the input's channels, at the size that a stride leaves (rounded up). Every image of
    /// every pass gets noise of its own, and no gradient flows through it.
    ///
    /// # Errors
    /// A stride beyond its bound.
    pub fn noise(&mut self, input: Node, stride: usize) -> Result<Node> {
        let from = self.shape(input);
        bounds::at_least_one("stride", stride, MOST).map_err(|error| self.within_scope(error))?;
        let shape = Shape::new(from.channels, from.height.div_ceil(stride), from.width.div_ceil(stride));
        Ok(self.drawn(NoiseKind::Normal, shape))
    }

    /// Dropout (Srivastava et al. 2014), inverted: in training each number is zero with probability `q`, and divided by
    /// 1 − q otherwise. Passes that score drop nothing.
    ///
    /// # Errors
    /// A probability that is not from 0 to below 1.
    pub fn dropout(&mut self, input: Node, q: f64) -> Result<Node> {
        let Some(dropped) = Probability::new(q) else {
            return Err(self.misfit(format!("dropout drops with a probability from 0 to below 1, not {q}")));
        };
        let kept = self.drawn(NoiseKind::Kept { dropped }, self.shape(input));
        self.multiply(input, kept)
    }

    fn drawn(&mut self, kind: NoiseKind, shape: Shape) -> Node {
        self.noises += 1;
        self.push(Op::Noise { id: self.noises - 1, kind }, shape)
    }

    /// How many noises there are.
    pub fn noise_count(&self) -> usize {
        self.noises
    }

    /// Drop path (Larsson et al. 2017): in a pass with drop probability q, each image's value at the node is zero with
    /// probability q and divided by 1 − q otherwise.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn drop_path(&mut self, node: Node) -> Result<Node> {
        let drop = Some(self.drops as u32);
        self.drops += 1;
        self.sum(vec![Term { node, slot: None, drop }])
    }

    /// How many paths can be dropped.
    pub fn drop_count(&self) -> usize {
        self.drops
    }

    /// A weighted sum: `Σ p[slot] · node`.
    ///
    /// # Errors
    /// No terms, nodes of different shapes, a slot that no matrix of mixing weights has.
    pub fn mixed(&mut self, terms: &[(Node, Slot)]) -> Result<Node> {
        self.sum(terms.iter().map(|&(node, slot)| Term { node, slot: Some(slot), drop: None }).collect())
    }

    /// A sum of nodes.
    ///
    /// # Errors
    /// No nodes, or nodes of different shapes.
    pub fn add(&mut self, nodes: &[Node]) -> Result<Node> {
        self.sum(nodes.iter().map(|&node| Term { node, slot: None, drop: None }).collect())
    }

    /// `p[slot] · node`.
    ///
    /// # Errors
    /// A slot that no matrix of mixing weights has.
    pub fn scale(&mut self, node: Node, slot: Slot) -> Result<Node> {
        self.sum(vec![Term { node, slot: Some(slot), drop: None }])
    }

    fn sum(&mut self, terms: Vec<Term>) -> Result<Node> {
        let Some(first) = terms.first() else {
            return Err(self.misfit("a sum needs at least one term"));
        };
        let shape = self.shape(first.node);
        for term in &terms {
            if self.shape(term.node) != shape {
                return Err(self.misfit(format!("a sum cannot add {} to {shape}", self.shape(term.node))));
            }
            if let Some(slot) = term.slot
                && slot.0 as usize >= self.slot_count()
            {
                return Err(self.misfit(format!(
                    "mixing weight {} does not exist; the network has {}",
                    slot.0,
                    self.slot_count()
                )));
            }
        }
        Ok(self.push(Op::Sum { terms }, shape))
    }

    /// The product of two nodes, element by element; one of one pixel is repeated over the pixels of the other.
    ///
    /// # Errors
    /// Different numbers of channels, or sizes of which neither is one pixel.
    pub fn multiply(&mut self, a: Node, b: Node) -> Result<Node> {
        let [one, other] = [a, b].map(|node| self.shape(node));
        let same = (one.height, one.width) == (other.height, other.width);
        if one.channels != other.channels || !(same || one.pixels() == 1 || other.pixels() == 1) {
            return Err(self
                .misfit(format!("cannot multiply {one} by {other}"))
                .hint("equal channels, and equal sizes or one pixel, which is repeated"));
        }
        let (inputs, shape) = if one.pixels() >= other.pixels() { ([a, b], one) } else { ([b, a], other) };
        Ok(self.share(Op::Product { inputs }, shape))
    }

    /// Puts the inputs' channels one after another. One input alone is returned as it is.
    ///
    /// # Errors
    /// No inputs, inputs of different heights or widths, more channels or numbers per image than the
    /// [bounds](super::bounds) allow.
    pub fn concat(&mut self, inputs: &[Node]) -> Result<Node> {
        let Some(&first) = inputs.first() else {
            return Err(self.misfit("a concatenation needs at least one input"));
        };
        let mut shape = self.shape(first);
        for &node in &inputs[1..] {
            let next = self.shape(node);
            if (next.height, next.width) != (shape.height, shape.width) {
                return Err(self.misfit(format!("cannot concatenate {next} to {shape}")));
            }
            shape.channels += next.channels;
            bounds::of_shape(shape, (0, 0)).map_err(|error| self.within_scope(error))?;
        }
        if inputs.len() == 1 {
            return Ok(first);
        }
        Ok(self.push(Op::Concat { inputs: inputs.to_vec() }, shape))
    }

    /// Channels `from..from + count`.
    ///
    /// # Errors
    /// No channels, or channels that the input does not have.
    pub fn slice(&mut self, input: Node, from: usize, count: usize) -> Result<Node> {
        let shape = self.shape(input);
        let end = from.saturating_add(count);
        if count == 0 || end > shape.channels {
            return Err(self.misfit(format!("channels {from}..{end} do not lie within {shape}")));
        }
        let channels = (from..from + count).map(|c| c as u32).collect();
        Ok(self.share(Op::Select { input, channels }, Shape { channels: count, ..shape }))
    }

    /// Channel shuffle (Zhang et al. 2018): view the channels as groups × channels/groups, transpose, flatten.
    ///
    /// # Errors
    /// Groups that do not divide the channels.
    pub fn shuffle(&mut self, input: Node, groups: usize) -> Result<Node> {
        let shape = self.shape(input);
        if groups == 0 || !shape.channels.is_multiple_of(groups) {
            return Err(self.misfit(format!("{groups} groups do not divide the {} channels", shape.channels)));
        }
        let each = shape.channels / groups;
        let channels = (0..shape.channels).map(|c| (c % groups * each + c / groups) as u32).collect();
        Ok(self.share(Op::Select { input, channels }, shape))
    }
}
