//! Discrete networks: a genotype's cells stacked up, as the literature trains them from scratch (`docs/darts.md` A7).
//!
//! The skeleton is the search network's; the cells hold only the genotype's edges, batch norms are affine and pools
//! have none. Nodes and concatenations are as many as the genotype says.

use super::cell::CellKind;
use super::genotype::Genotype;
use super::operations::{NormStyle, Operations, Target, factorized_reduce, relu_conv_norm};
use super::skeleton::{cell_kinds, check_counts, even_size};
use crate::cell_form::Edge;
use crate::graph::{Conv, Graph, Node, Pool, PoolKind, Shape};
use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NORMS: NormStyle = NormStyle::Evaluation;

/// The scope of the auxiliary head.
pub const AUXILIARY: &str = "auxiliary";

/// How images enter the cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// One 3×3 convolution, at full size; both inputs of the first cell.
    Cifar,
    /// Three 3×3 convolutions of stride 2: the first cell's inputs are at a quarter and an eighth of the size.
    Imagenet,
}

impl Stem {
    const ALL: [Stem; 2] = [Stem::Cifar, Stem::Imagenet];

    /// "cifar" or "imagenet".
    pub fn name(self) -> &'static str {
        match self {
            Stem::Cifar => "cifar",
            Stem::Imagenet => "imagenet",
        }
    }

    /// The stem of this name.
    ///
    /// # Errors
    /// An unknown name, with the closest one.
    pub fn named(name: &str) -> Result<Stem> {
        let found = Self::ALL.into_iter().find(|stem| stem.name() == name);
        found.ok_or_else(|| Error::unknown("stem", name, Self::ALL.map(Stem::name)))
    }
}

/// What a discrete network is made of besides its genotype; [`DiscreteOptions::new`] gives the paper's CIFAR-10
/// network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiscreteOptions {
    /// One image.
    pub input: Shape,
    pub classes: usize,
    /// Channels of the first cell; every reduction doubles them.
    pub channels: usize,
    /// Cells.
    pub layers: usize,
    /// Indices of the reduction cells; none given: a third and two thirds of the depth.
    pub reductions: Option<Vec<usize>>,
    pub stem: Stem,
    /// The CIFAR stem has this many times `channels`.
    pub stem_multiplier: usize,
    /// A second head on the cell at two thirds of the depth, for training only.
    pub auxiliary: bool,
    /// Whether paths can be dropped.
    pub drop_path: bool,
}

impl DiscreteOptions {
    pub fn new(input: Shape, classes: usize) -> Self {
        Self {
            input,
            classes,
            channels: 36,
            layers: 20,
            reductions: None,
            stem: Stem::Cifar,
            stem_multiplier: 3,
            auxiliary: false,
            drop_path: false,
        }
    }

    fn check(&self) -> Result<()> {
        check_counts(&[
            ("channels", self.channels),
            ("layers", self.layers),
            ("stem_multiplier", self.stem_multiplier),
            ("classes", self.classes),
            ("the images' channels", self.input.channels),
            ("the images' height", self.input.height),
            ("the images' width", self.input.width),
        ])
    }
}

/// A genotype's network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiscreteRecipe {
    /// In the literature's form.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub genotype: Genotype,
    #[serde(flatten)]
    pub options: DiscreteOptions,
}

fn as_text<S: Serializer>(genotype: &Genotype, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(genotype)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Genotype, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error: Error| serde::de::Error::custom(error.message))
}

/// A built discrete network. With an auxiliary head its output is the main logits followed by the head's.
pub struct Discrete {
    pub graph: Graph,
    pub classes: usize,
    pub auxiliary: bool,
    /// What it was built from.
    pub recipe: DiscreteRecipe,
}

impl Discrete {
    /// Stacks the genotype's cells, which are made of the built-in operations.
    ///
    /// # Errors
    /// As [`build_with`](Self::build_with).
    pub fn build(genotype: &Genotype, options: &DiscreteOptions) -> Result<Discrete> {
        Self::build_with(genotype, options, &Operations::new())
    }

    /// Stacks the genotype's cells.
    ///
    /// # Errors
    /// Operations that are not in `operations`, counts of zero, sizes that a reduction or the auxiliary head cannot
    /// take.
    pub fn build_with(genotype: &Genotype, options: &DiscreteOptions, operations: &Operations<'_>) -> Result<Discrete> {
        options.check()?;
        genotype.check_operations(operations)?;
        let kinds = cell_kinds(options.layers, options.reductions.as_deref())?;
        let Shape { channels, height, width } = options.input;
        let mut graph = Graph::new(channels, height, width);
        let (mut before_previous, mut previous) = stem(&mut graph, options)?;
        // The ImageNet stem halves between its two outputs, as a reduction cell would.
        let mut after_reduction = options.stem == Stem::Imagenet;
        let mut channels = options.channels;
        let mut auxiliary = None;
        for (index, &kind) in kinds.iter().enumerate() {
            if kind == CellKind::Reduction {
                even_size(graph.shape(previous), index, &kinds, options.input)?;
                channels *= 2;
            }
            let cell = Cell { genotype, operations, kind, channels, after_reduction, drop_path: options.drop_path };
            let output = graph.scope(format!("cells.{index}"), |g| cell.build(g, before_previous, previous))?;
            (before_previous, previous) = (previous, output);
            after_reduction = kind == CellKind::Reduction;
            if options.auxiliary && index == 2 * options.layers / 3 {
                auxiliary = Some(graph.scope(AUXILIARY, |g| auxiliary_head(g, output, options))?);
            }
        }
        let pooled = graph.global_pool(previous);
        let mut output = graph.linear("head", pooled, options.classes)?;
        if let Some(auxiliary) = auxiliary {
            output = graph.concat(&[output, auxiliary])?;
        }
        graph.set_output(output);
        let reductions = (0..kinds.len()).filter(|&index| kinds[index] == CellKind::Reduction).collect();
        let options = DiscreteOptions { reductions: Some(reductions), ..options.clone() };
        let recipe = DiscreteRecipe { genotype: genotype.clone(), options };
        Ok(Discrete { graph, classes: recipe.options.classes, auxiliary: recipe.options.auxiliary, recipe })
    }
}

/// What the first cell sees two cells back and one cell back.
fn stem(graph: &mut Graph, options: &DiscreteOptions) -> Result<(Node, Node)> {
    let images = graph.input();
    let channels = options.channels;
    match options.stem {
        Stem::Cifar => graph.scope("stem", |g| {
            let y = g.conv("0", images, Conv::square(options.stem_multiplier * channels, 3))?;
            let y = g.batch_norm("1", y, true)?;
            Ok((y, y))
        }),
        Stem::Imagenet => {
            if !channels.is_multiple_of(2) {
                return Err(Error::user(format!(
                    "the ImageNet stem begins with half the channels, but {channels} is odd"
                )));
            }
            let halving = |channels| Conv::square(channels, 3).stride(2);
            let first = graph.scope("stem0", |g| {
                let y = g.conv("0", images, halving(channels / 2))?;
                let y = g.batch_norm("1", y, true)?;
                let y = g.relu(y);
                let y = g.conv("3", y, halving(channels))?;
                g.batch_norm("4", y, true)
            })?;
            let second = graph.scope("stem1", |g| {
                let y = g.relu(first);
                let y = g.conv("1", y, halving(channels))?;
                g.batch_norm("2", y, true)
            })?;
            Ok((first, second))
        }
    }
}

/// One discrete cell, everything but its inputs.
struct Cell<'a> {
    genotype: &'a Genotype,
    operations: &'a Operations<'a>,
    kind: CellKind,
    channels: usize,
    /// The input two cells back has twice the resolution of the previous one.
    after_reduction: bool,
    /// Whether paths can be dropped.
    drop_path: bool,
}

impl Cell<'_> {
    fn build(&self, graph: &mut Graph, before_previous: Node, previous: Node) -> Result<Node> {
        let first = graph.scope("pre0", |g| match self.after_reduction {
            true => factorized_reduce(g, before_previous, self.channels, NORMS),
            false => relu_conv_norm(g, before_previous, self.channels, NORMS),
        })?;
        let second = graph.scope("pre1", |g| relu_conv_norm(g, previous, self.channels, NORMS))?;
        let nodes = self.genotype.nodes(self.kind);
        let mut states = vec![Some(first), Some(second)];
        for &node in &nodes {
            states.resize(node, None);
            let built = self.node(graph, node, &states)?;
            states.push(Some(built));
        }
        let concat: Vec<Node> =
            self.genotype.concat(self.kind).iter().filter_map(|&state| states.get(state).copied().flatten()).collect();
        graph.concat(&concat)
    }

    /// The sum of a node's edges; those from nodes that do not exist are skipped.
    fn node(&self, graph: &mut Graph, node: usize, states: &[Option<Node>]) -> Result<Node> {
        // In a list of pairs each path is dropped alone, in a list of edges all paths of a node together.
        let alone = self.drop_path && self.genotype.is_paired(self.kind);
        let mut paths = Vec::new();
        for (index, edge) in self.genotype.edges(self.kind).iter().enumerate().filter(|(_, edge)| edge.node == node) {
            let Some(from) = states[edge.input] else { continue };
            let path = graph.scope(format!("ops.{index}"), |g| self.edge(g, edge, from))?;
            let identity = path == from;
            paths.push(if alone && !identity { graph.drop_path(path)? } else { path });
        }
        let sum = graph.add(&paths)?;
        match self.drop_path && !alone {
            true => graph.drop_path(sum),
            false => Ok(sum),
        }
    }

    fn edge(&self, graph: &mut Graph, edge: &Edge, from: Node) -> Result<Node> {
        let halves = self.kind == CellKind::Reduction && edge.input < 2;
        let target = Target { channels: self.channels, stride: if halves { 2 } else { 1 }, norms: NORMS };
        self.operations.get(&edge.operation)?.apply(graph, from, target)
    }
}

/// ReLU, 5×5 average pool, 1×1 convolution to 128 channels, 2×2 convolution to 768, linear. On maps larger than the
/// paper's (8×8, with the ImageNet stem 7×7) what is left after the convolutions is averaged.
fn auxiliary_head(g: &mut Graph, cell: Node, options: &DiscreteOptions) -> Result<Node> {
    let (stride, least) = match options.stem {
        Stem::Cifar => (3, 8),
        Stem::Imagenet => (2, 7),
    };
    let map = g.shape(cell);
    if map.height < least || map.width < least {
        return Err(Error::user(format!(
            "the auxiliary head takes maps of at least {least}×{least}, but at two thirds of the depth they are {}×{}",
            map.height, map.width
        ))
        .hint("leave it out (auxiliary: false), take larger images, or choose later reductions"));
    }
    let y = g.relu(cell);
    let kind = PoolKind::Average { count_padding: false };
    let y = g.pool(y, Pool { kind, kernel: 5, stride, padding: 0 })?;
    let y = g.pointwise("features.2", y, 128)?;
    let y = g.batch_norm("features.3", y, true)?;
    let y = g.relu(y);
    let mut y = g.conv("features.5", y, Conv::square(768, 2).padding(0))?;
    if options.stem == Stem::Cifar {
        y = g.batch_norm("features.6", y, true)?;
    }
    let y = g.relu(y);
    let y = g.global_pool(y);
    g.linear("classifier", y, options.classes)
}
