//! Random networks: every primitive of the builder, in any order, with sizes that nobody would choose.

use crate::compare::Case;
use candlewick::Result;
use candlewick::engine::{Draws, Mode, Wanted};
use candlewick::graph::{Activation, Conv, Graph, Node, Pool, PoolKind, Shape, Slot};
use candlewick::random::{Rng, Seed};
use candlewick::space::cell::{CellKind, SearchCell, edge_count};
use candlewick::space::{Operation, Operations};
use rand::RngExt;
use std::sync::Arc;

/// The largest height and width.
const LARGEST: usize = 20;
/// The most channels.
const WIDEST: usize = 48;
/// The most multiply-adds of a batch, so that thousands of graphs take minutes.
const MACS: usize = 3_000_000;
/// A batch norm over fewer values has next to no gradient left: what remains is the rounding of terms that cancel.
const FEWEST: usize = 8;

/// The network and the pass of a seed.
pub fn draw(seed: u64) -> Case {
    let mut rng = Seed(seed).rng("graph", 0);
    let batch = rng.random_range(1..=5);
    let mode = pick(&mut rng, &[Mode::Training, Mode::Trial, Mode::Evaluation]);
    let size = |rng: &mut Rng| rng.random_range(1..=17);
    let (height, width, channels) = (size(&mut rng), size(&mut rng), channels(&mut rng));
    let graph = Graph::new(channels, height, width);
    let mut maker = Maker { made: vec![graph.input()], graph, rng, batch, mode, names: 0 };
    let wanted = maker.rng.random_range(3..=12);
    for _ in 0..wanted {
        // A choice that does not fit what is there is drawn again.
        while !maker.add_something() {}
    }
    maker.finish();
    let Maker { graph, mut rng, .. } = maker;
    let active = rng.random_bool(0.3).then(|| (0..graph.slot_count()).map(|_| rng.random_bool(0.7)).collect());
    let drop_path = if rng.random_bool(0.5) { pick(&mut rng, &[0.2, 0.5]) } else { 0.0 };
    let draws = Draws { seed: Seed(seed), pass: rng.random_range(0..3), drop_path, dropout: rng.random() };
    let wanted = match rng.random_bool(0.6) {
        true => Wanted { x: true, w: true, p: true },
        // One of the seven kinds that want something.
        false => {
            let kind = rng.random_range(1..8);
            Wanted { x: kind & 1 > 0, w: kind & 2 > 0, p: kind & 4 > 0 }
        }
    };
    let tight = rng.random_bool(0.3);
    let graph = Arc::new(graph);
    Case { graph, batch, mode, active, draws, wanted, tight }
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

/// Few channels mostly; sometimes more than two blocks of sixteen.
fn channels(rng: &mut Rng) -> usize {
    let most = pick(rng, &[4, 9, 18, 40]);
    rng.random_range(1..=most)
}

struct Maker {
    graph: Graph,
    rng: Rng,
    batch: usize,
    mode: Mode,
    /// Nodes to go on from.
    made: Vec<Node>,
    /// How many weights were named.
    names: usize,
}

impl Maker {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("n{}", self.names)
    }

    /// A node to go on from: often the latest.
    fn node(&mut self) -> Node {
        let last = self.made.len() - 1;
        let from = if self.rng.random_bool(0.6) { last } else { self.rng.random_range(0..=last) };
        self.made[from]
    }

    /// Adds one primitive (or a few that belong together) to what there is; false where the choice does not fit.
    fn add_something(&mut self) -> bool {
        let (node, before) = (self.node(), self.graph.clone());
        match self.choose(node) {
            Ok(Some(made)) if self.is_small(made) => {
                self.made.push(made);
                true
            }
            _ => {
                self.graph = before;
                false
            }
        }
    }

    fn is_small(&self, node: Node) -> bool {
        let shape = self.graph.shape(node);
        shape.height.max(shape.width) <= LARGEST && shape.channels <= WIDEST && self.graph.macs() * self.batch <= MACS
    }

    /// None where the choice has no meaning here.
    fn choose(&mut self, node: Node) -> Result<Option<Node>> {
        let shape = self.graph.shape(node);
        let normed = self.mode == Mode::Evaluation || shape.pixels() * self.batch >= FEWEST;
        match self.rng.random_range(0..27) {
            0 | 1 => self.conv(node).map(Some),
            2 => self.depthwise(node).map(Some),
            3 | 4 => self.unit(node).map(Some),
            5 => {
                let (name, channels) = (self.name(), channels(&mut self.rng));
                self.graph.pointwise(&name, node, channels).map(Some)
            }
            6 => {
                let half = channels(&mut self.rng).div_ceil(2);
                let name = self.name();
                self.graph.scope(name, |g| g.halve(node, 2 * half)).map(Some)
            }
            7 | 8 if normed => {
                let (name, affine) = (self.name(), self.rng.random());
                self.graph.batch_norm(&name, node, affine).map(Some)
            }
            9 => {
                let (_, activation) = pick(&mut self.rng, &Activation::ALL);
                Ok(Some(self.graph.activate(node, activation)))
            }
            10 => Ok(Some(self.graph.relu(node))),
            11 | 12 => {
                let kind = pick(
                    &mut self.rng,
                    &[
                        PoolKind::Max,
                        PoolKind::Average { count_padding: true },
                        PoolKind::Average { count_padding: false },
                    ],
                );
                let kernel = self.rng.random_range(1..=5);
                let (stride, padding) = (self.rng.random_range(1..=3), self.rng.random_range(0..=kernel / 2));
                self.graph.pool(node, Pool { kind, kernel, stride, padding }).map(Some)
            }
            13 => {
                let stride = self.rng.random_range(1..=3);
                match self.rng.random() {
                    true => self.graph.zero(node, stride).map(Some),
                    false => self.graph.noise(node, stride).map(Some),
                }
            }
            14..=16 => self.sum(node).map(Some),
            17 => {
                let mut parts = vec![node];
                for _ in 0..self.rng.random_range(1..=3) {
                    let other = self.node();
                    let size = self.graph.shape(other);
                    if (size.height, size.width) == (shape.height, shape.width) {
                        parts.push(other);
                    }
                }
                self.graph.concat(&parts).map(|made| (made != node).then_some(made))
            }
            18 => {
                let count = self.rng.random_range(1..=shape.channels);
                let from = self.rng.random_range(0..=shape.channels - count);
                self.graph.slice(node, from, count).map(Some)
            }
            19 => {
                let groups = self.divisor(shape.channels);
                self.graph.shuffle(node, groups).map(Some)
            }
            20 if shape.pixels() == 1 => {
                let (name, outputs) = (self.name(), channels(&mut self.rng));
                self.graph.linear(&name, node, outputs).map(Some)
            }
            20 => Ok(Some(self.graph.global_pool(node))),
            // Every norm of a reduction cell sees a quarter of the pixels.
            21 if self.mode == Mode::Evaluation || shape.pixels() * self.batch >= 4 * FEWEST => {
                self.cell(node).map(Some)
            }
            22 => {
                let other = self.node();
                let fits = |of: Shape| (of.height, of.width) == (shape.height, shape.width) || of.pixels() == 1;
                let fits = fits(self.graph.shape(other)) && self.graph.shape(other).channels == shape.channels;
                if fits { self.graph.multiply(other, node).map(Some) } else { Ok(None) }
            }
            23 => self.gated(node).map(Some),
            24 => {
                let q = pick(&mut self.rng, &[0.0, 0.1, 0.6]);
                self.graph.dropout(node, q).map(Some)
            }
            25 if shape.height.max(shape.width) * 2 <= LARGEST => {
                let factor = self.rng.random_range(2..=LARGEST / shape.height.max(shape.width));
                self.graph.upsample(node, factor.min(4)).map(Some)
            }
            26 if shape.len() >= FEWEST => {
                let (name, affine) = (self.name(), self.rng.random());
                self.graph.layer_norm(&name, node, affine).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// A node times one number a channel, made of any node.
    fn gated(&mut self, node: Node) -> Result<Node> {
        let (name, from) = (self.name(), self.node());
        let pooled = self.graph.global_pool(from);
        let gate = self.graph.linear(&name, pooled, self.graph.shape(node).channels)?;
        let (_, activation) = pick(&mut self.rng, &Activation::ALL);
        let gate = if self.rng.random() { self.graph.activate(gate, activation) } else { gate };
        self.graph.multiply(node, gate)
    }

    fn divisor(&mut self, of: usize) -> usize {
        let divisors: Vec<usize> = (1..=of).filter(|by| of.is_multiple_of(*by)).collect();
        pick(&mut self.rng, &divisors)
    }

    /// Any kernel that fits; any padding up to far beyond "same".
    fn window(&mut self, channels: usize, groups: usize) -> Conv {
        let rng = &mut self.rng;
        let largest = pick(rng, &[1, 3, 5, 7]);
        let square = rng.random_bool(0.5);
        let mut pair = |low: usize, high: usize| {
            let first = rng.random_range(low..=high);
            (first, if square { first } else { rng.random_range(low..=high) })
        };
        let (kernel, stride, dilation) = (pair(1, largest), pair(1, 3), pair(1, 3));
        let stride = if self.rng.random_bool(0.6) { (1, 1) } else { stride };
        let dilation = if self.rng.random_bool(0.6) { (1, 1) } else { dilation };
        let reach = |kernel: usize, dilation: usize| dilation * (kernel - 1) + 1;
        let reach = (reach(kernel.0, dilation.0), reach(kernel.1, dilation.1));
        let padding = match self.rng.random_range(0..3) {
            0 => (reach.0 / 2, reach.1 / 2),
            1 => (self.rng.random_range(0..=reach.0), self.rng.random_range(0..=reach.1)),
            _ => (self.rng.random_range(0..=reach.0 + 3), self.rng.random_range(0..=reach.1 + 3)),
        };
        Conv { channels, kernel, stride, padding, dilation, groups, bias: self.rng.random_bool(0.3) }
    }

    fn conv(&mut self, node: Node) -> Result<Node> {
        let from = self.graph.shape(node).channels;
        let groups = if self.rng.random_bool(0.6) { 1 } else { self.divisor(from) };
        let channels = groups * channels(&mut self.rng).div_ceil(groups);
        let (name, conv) = (self.name(), self.window(channels, groups));
        self.graph.conv(&name, node, conv)
    }

    fn depthwise(&mut self, node: Node) -> Result<Node> {
        let channels = self.graph.shape(node).channels;
        let conv = self.window(channels, channels);
        let name = self.name();
        self.graph.conv(&name, node, Conv { bias: false, ..conv })
    }

    /// What plans fuse: activation, depthwise, pointwise, batch norm, each but the convolutions perhaps missing.
    fn unit(&mut self, node: Node) -> Result<Node> {
        let mut at = node;
        if self.rng.random_bool(0.7) {
            let (_, activation) = pick(&mut self.rng, &Activation::ALL);
            at = self.graph.activate(at, activation);
        }
        at = self.depthwise(at)?;
        let (name, channels) = (self.name(), channels(&mut self.rng));
        at = self.graph.pointwise(&name, at, channels)?;
        let normed = self.mode == Mode::Evaluation || self.graph.shape(at).pixels() * self.batch >= FEWEST;
        if normed && self.rng.random_bool(0.7) {
            let (name, affine) = (self.name(), self.rng.random());
            at = self.graph.batch_norm(&name, at, affine)?;
        }
        Ok(at)
    }

    /// A mixing weight of its own, or one that others use as well.
    fn slot(&mut self) -> Result<Slot> {
        let known = self.graph.slot_count();
        if known > 0 && self.rng.random_bool(0.2) {
            return Ok(Slot(self.rng.random_range(0..known) as u32));
        }
        let name = self.name();
        Ok(self.graph.slots(&name, 1, 1)?.slot(0, 0))
    }

    /// A sum of what has the node's shape: weighted or not, paths dropped or not.
    fn sum(&mut self, node: Node) -> Result<Node> {
        let shape = self.graph.shape(node);
        let alike: Vec<Node> = self.made.iter().copied().filter(|other| self.graph.shape(*other) == shape).collect();
        let mut nodes = vec![node];
        for _ in 0..self.rng.random_range(0..=3) {
            let other = pick(&mut self.rng, &alike);
            nodes.push(if self.rng.random_bool(0.3) { self.graph.drop_path(other)? } else { other });
        }
        match self.rng.random_range(0..5) {
            0 => self.graph.add(&nodes),
            1 => {
                let slot = self.slot()?;
                self.graph.scale(node, slot)
            }
            2 => self.graph.drop_path(node),
            _ => {
                let terms: Result<Vec<(Node, Slot)>> = nodes.into_iter().map(|node| Ok((node, self.slot()?))).collect();
                self.graph.mixed(&terms?)
            }
        }
    }

    /// A small search cell: candidates that become siblings, partial channels, edge weights, a mask.
    fn cell(&mut self, node: Node) -> Result<Node> {
        let known = Operations::new();
        let names = ["none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_5x5"];
        let mut operations: Vec<Operation> = known.select(names)?;
        operations.retain(|_| self.rng.random_bool(0.7));
        let nodes = self.rng.random_range(1..=3);
        let partial = pick(&mut self.rng, &[1, 2, 4]);
        let channels = partial * 2 * self.rng.random_range(1..=2);
        let kind = pick(&mut self.rng, &CellKind::BOTH);
        let edges = edge_count(nodes);
        let mask: Option<Vec<Vec<bool>>> = self
            .rng
            .random_bool(0.3)
            .then(|| (0..edges).map(|_| operations.iter().map(|_| self.rng.random_bool(0.8)).collect()).collect());
        let name = self.name();
        let slots = self.graph.slots(&name, edges, operations.len())?;
        let betas = (partial > 1 && self.rng.random()).then(|| self.graph.slots(&format!("{name}b"), edges, 1));
        let betas = betas.transpose()?;
        let cell = SearchCell {
            nodes,
            channels,
            kind,
            after_reduction: false,
            operations: &operations,
            mask: mask.as_ref(),
            slots: &slots,
            partial,
            edge_weights: betas.as_ref(),
        };
        self.graph.scope(name, |g| cell.build(g, node, node))
    }

    /// Leads everything that nobody reads to a feature vector of three outputs, each pixel with a weight of its own
    /// where that is not too much.
    fn finish(&mut self) {
        let read: Vec<Node> = self.graph.nodes().flat_map(|node| self.graph.op(node).inputs()).collect();
        let ends: Vec<Node> = self.made.iter().copied().filter(|node| !read.contains(node)).collect();
        let mut features = Vec::new();
        for node in ends {
            let shape = self.graph.shape(node);
            features.push(match self.rng.random_bool(0.7) {
                true => {
                    let kernel = Conv { kernel: (shape.height, shape.width), ..Conv::square(4, 1) };
                    let name = self.name();
                    self.graph.conv(&name, node, kernel).expect("a kernel of the map's size fits")
                }
                false => self.graph.global_pool(node),
            });
        }
        let features = self.graph.concat(&features).expect("feature vectors fit together");
        let logits = self.graph.linear("head", features, 3).expect("a head fits a feature vector");
        self.graph.set_output(logits);
    }
}
