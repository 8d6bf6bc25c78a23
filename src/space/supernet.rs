//! The supernet: stem, search cells, head, and what each candidate in it costs.
//!
//! The skeleton of `docs/darts.md` A3: a 3×3 stem, cells that see the two cells before them, channels doubled at every
//! reduction, global average pool, linear head. Costs are read off the built graph, cell by cell.

use super::cell::{CellKind, Mask, SearchCell, check_partial, edge_count};
use super::genotype::Genotype;
use super::operations::{Operation, Operations};
use super::rules::{Candidates, Selection};
use super::skeleton::{cell_kinds, check_counts, even_size};
use crate::graph::{Conv, Graph, Shape};
use crate::{Error, Result};

/// What a supernet is made of; [`SupernetOptions::new`] gives the paper's CIFAR-10 search network.
#[derive(Clone, Debug)]
pub struct SupernetOptions<'a> {
    /// One image.
    pub input: Shape,
    pub classes: usize,
    /// Channels of the first cell; every reduction doubles them.
    pub channels: usize,
    /// Cells.
    pub layers: usize,
    /// Intermediate nodes per cell, all of them concatenated.
    pub nodes: usize,
    /// Indices of the reduction cells; none given: a third and two thirds of the depth.
    pub reductions: Option<Vec<usize>>,
    /// The stem has this many times `channels`.
    pub stem_multiplier: usize,
    pub operations: Vec<Operation<'a>>,
    pub masks: Masks,
    /// Partial channels (PC-DARTS, Xu et al. 2020): candidates see the first of this many equal parts of the channels.
    /// 1: all.
    pub partial: usize,
    /// Whether every edge has a weight of its own beside its candidates', normalised over the edges into a node.
    pub edge_weights: bool,
}

impl SupernetOptions<'_> {
    pub fn new(input: Shape, classes: usize) -> Self {
        Self {
            input,
            classes,
            channels: 16,
            layers: 8,
            nodes: 4,
            reductions: None,
            stem_multiplier: 3,
            operations: Operations::new().darts(),
            masks: Masks::default(),
            partial: 1,
            edge_weights: false,
        }
    }

    fn check(&self) -> Result<()> {
        check_counts(&[
            ("channels", self.channels),
            ("layers", self.layers),
            ("nodes", self.nodes),
            ("stem_multiplier", self.stem_multiplier),
            ("classes", self.classes),
            ("partial", self.partial),
            ("the number of ops", self.operations.len()),
            ("the images' channels", self.input.channels),
            ("the images' height", self.input.height),
            ("the images' width", self.input.width),
        ])?;
        check_partial(self.channels, self.partial)?;
        for kind in CellKind::BOTH {
            let edges = edge_count(self.nodes);
            let columns = self.operations.len();
            if let Some(mask) = self.masks.of(kind)
                && (mask.len() != edges || mask.iter().any(|row| row.len() != columns))
            {
                let widths: Vec<usize> = mask.iter().map(Vec::len).collect();
                return Err(Error::user(format!(
                    "the {} mask must be {edges} edges × {columns} operations, not {} rows of lengths {widths:?}",
                    kind.name(),
                    mask.len()
                )));
            }
        }
        Ok(())
    }
}

/// Per kind of cell, which candidates each edge carries; none: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masks {
    pub normal: Option<Mask>,
    pub reduce: Option<Mask>,
}

impl Masks {
    pub fn of(&self, kind: CellKind) -> Option<&Mask> {
        match kind {
            CellKind::Normal => self.normal.as_ref(),
            CellKind::Reduction => self.reduce.as_ref(),
        }
    }
}

/// A built supernet: its graph and the space that its alphas span.
pub struct Supernet {
    pub graph: Graph,
    pub space: Space,
}

impl Supernet {
    /// Builds the search network. Slot blocks "normal" and "reduce" are edges × operations each, shared by all cells of
    /// their kind; with edge weights "betas_normal" and "betas_reduce", edges × 1, follow, and the graph expects the
    /// former to be multiplied by the latter already.
    ///
    /// # Errors
    /// Counts of zero, channels that partial channels do not divide, reductions that are not cells, masks of the wrong
    /// shape or that cut a node off, and odd sizes where a reduction needs even ones (the error names the cell).
    pub fn build(options: &SupernetOptions<'_>) -> Result<Supernet> {
        options.check()?;
        let kinds = cell_kinds(options.layers, options.reductions.as_deref())?;
        let mut graph = Graph::new(options.input.channels, options.input.height, options.input.width);
        let edges = edge_count(options.nodes);
        let [normal, reduce] = CellKind::BOTH.map(|kind| graph.slots(kind.name(), edges, options.operations.len()));
        let blocks = [normal?, reduce?];
        let mut betas = [None, None];
        if options.edge_weights {
            for kind in CellKind::BOTH {
                betas[kind as usize] = Some(graph.slots(kind.betas_name(), edges, 1)?);
            }
        }

        let stem_channels = options.stem_multiplier * options.channels;
        let stem = graph.scope("stem", |g| {
            let y = g.conv("0", g.input(), Conv::square(stem_channels, 3))?;
            g.batch_norm("1", y, true)
        })?;
        let (mut before_previous, mut previous) = (stem, stem);
        let mut channels = options.channels;
        let mut after_reduction = false;
        for (cell, &kind) in kinds.iter().enumerate() {
            if kind == CellKind::Reduction {
                even_size(graph.shape(previous), cell, &kinds, options.input)?;
                channels *= 2;
            }
            let plan = SearchCell {
                nodes: options.nodes,
                channels,
                kind,
                after_reduction,
                operations: &options.operations,
                mask: options.masks.of(kind),
                slots: &blocks[kind as usize],
                partial: options.partial,
                edge_weights: betas[kind as usize].as_ref(),
            };
            let output = graph.scope(format!("cells.{cell}"), |g| plan.build(g, before_previous, previous))?;
            (before_previous, previous) = (previous, output);
            after_reduction = kind == CellKind::Reduction;
        }
        let pooled = graph.global_pool(previous);
        let logits = graph.linear("head", pooled, options.classes)?;
        graph.set_output(logits);

        let operations = options.operations.iter().map(|op| op.name().to_string()).collect();
        let (nodes, masks, edge_weights) = (options.nodes, options.masks.clone(), options.edge_weights);
        let space = Space { operations, nodes, cells: kinds, masks, edge_weights };
        Ok(Supernet { graph, space })
    }
}

/// What the alphas of a supernet stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    /// Names of the candidates, in column order.
    pub operations: Vec<String>,
    /// Intermediate nodes per cell.
    pub nodes: usize,
    /// The kind of every cell, first to last.
    pub cells: Vec<CellKind>,
    pub masks: Masks,
    /// Whether edges have weights of their own.
    pub edge_weights: bool,
}

/// What to count of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Multiply-adds of one image.
    Macs,
    /// Weights.
    Parameters,
}

impl Cost {
    /// "macs" or "parameters".
    ///
    /// # Errors
    /// Another name, with the closer of the two.
    pub fn named(name: &str) -> Result<Cost> {
        match name {
            "macs" => Ok(Cost::Macs),
            "parameters" => Ok(Cost::Parameters),
            _ => Err(Error::unknown("cost", name, ["macs", "parameters"])),
        }
    }
}

/// A cost for every candidate, edges × operations, summed over all cells of the kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Costs {
    pub normal: Vec<Vec<usize>>,
    pub reduce: Vec<Vec<usize>>,
}

impl Costs {
    pub fn of(&self, kind: CellKind) -> &[Vec<usize>] {
        match kind {
            CellKind::Normal => &self.normal,
            CellKind::Reduction => &self.reduce,
        }
    }
}

impl Space {
    /// Edges per cell.
    pub fn edges(&self) -> usize {
        edge_count(self.nodes)
    }

    /// Whether an edge carries any candidate.
    pub fn has_edge(&self, kind: CellKind, edge: usize) -> bool {
        self.masks.of(kind).is_none_or(|mask| mask[edge].iter().any(|&present| present))
    }

    /// What each candidate costs, read off the supernet's graph.
    pub fn costs(&self, graph: &Graph, cost: Cost) -> Costs {
        let count = |kind| {
            let mut matrix = vec![vec![0; self.operations.len()]; self.edges()];
            for cell in (0..self.cells.len()).filter(|&cell| self.cells[cell] == kind) {
                for (edge, row) in matrix.iter_mut().enumerate() {
                    for (column, entry) in row.iter_mut().enumerate() {
                        let scope = format!("cells.{cell}.edges.{edge}.ops.{column}");
                        *entry += match cost {
                            Cost::Macs => graph.macs_below(&scope),
                            Cost::Parameters => graph.parameters_below(&scope),
                        };
                    }
                }
            }
            matrix
        };
        Costs { normal: count(CellKind::Normal), reduce: count(CellKind::Reduction) }
    }

    /// The genotype that a rule reads off relaxed alphas, edges × operations for each kind; where edges have weights,
    /// times these.
    ///
    /// # Errors
    /// As [`Candidates::derive`].
    pub fn derive_by(&self, normal: &[Vec<f64>], reduce: &[Vec<f64>], selection: Selection) -> Result<Genotype> {
        let masks = CellKind::BOTH.map(|kind| self.masks.of(kind));
        Candidates { operations: &self.operations, nodes: self.nodes, masks }.derive([normal, reduce], selection)
    }

    /// The genotype by the published rule (`docs/darts.md` A6).
    ///
    /// # Errors
    /// As [`derive_by`](Self::derive_by).
    pub fn derive(&self, normal: &[Vec<f64>], reduce: &[Vec<f64>]) -> Result<Genotype> {
        self.derive_by(normal, reduce, Selection::default())
    }
}
