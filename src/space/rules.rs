//! Rules other than DARTS' that read a discrete cell off the strengths of its candidates.
//!
//! Strengths are edges × operations for each kind of cell: probabilities, or gates that need not add up to 1. "none"
//! and what a mask leaves out are never chosen.

use super::cell::{CellKind, Mask, edge_count, incoming};
use super::derive::derive_cell;
use super::genotype::{Genotype, Pair};
use crate::cell_form::EdgeText;
use crate::{Error, Result};
use std::cmp::Ordering;

/// What P-DARTS counts.
const SKIP: &str = "skip_connect";

/// How edges and operations are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Rule {
    /// DARTS': every node keeps the two inputs whose best operation is strongest.
    #[default]
    Darts,
    /// GDAS' (Dong and Yang 2019): every node keeps the two strongest pairs of input and operation, which may read the
    /// same input.
    Pairs,
    /// FairDARTS' (Chu et al. 2020): every node keeps of its two inputs with the strongest operations those that are at
    /// least this strong. A node without any does not exist, and what would read it reads other states.
    Threshold(f64),
}

/// How a genotype is read off strengths.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Selection {
    pub rule: Rule,
    /// The most skip connections of the normal cell (P-DARTS; Chen et al. 2019, section 3.3): while it has more, the
    /// weakest of them loses its strength and the cell is chosen again.
    pub most_skips: Option<usize>,
}

/// The candidates that strengths are of.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    pub operations: &'a [String],
    pub nodes: usize,
    pub masks: [Option<&'a Mask>; 2],
}

impl Candidates<'_> {
    /// The genotype of these strengths, in the order of [`CellKind::BOTH`].
    ///
    /// # Errors
    /// As [`derive_cell`]; a threshold that no operation of a cell reaches; skip connections that cannot become fewer;
    /// a limit of skip connections together with another rule than DARTS'.
    pub fn derive(&self, strengths: [&[Vec<f64>]; 2], selection: Selection) -> Result<Genotype> {
        let concat: Vec<usize> = (2..self.nodes + 2).collect();
        let [normal, reduce] = CellKind::BOTH;
        let of = |kind: CellKind| strengths[kind as usize];
        match (selection.rule, selection.most_skips) {
            (Rule::Darts, None) => {
                let pairs = |kind| self.by_darts(kind, of(kind));
                Genotype::new(pairs(normal)?, concat.clone(), pairs(reduce)?, concat)
            }
            (Rule::Darts, Some(most)) => {
                let few = self.with_few_skips(of(normal), most)?;
                Genotype::new(few, concat.clone(), self.by_darts(reduce, of(reduce))?, concat)
            }
            (_, Some(_)) => Err(Error::user("skip connections are limited with the rule \"darts\" only")),
            (Rule::Pairs, None) => {
                let pairs = |kind| self.by_pairs(kind, of(kind));
                Genotype::new(pairs(normal)?, concat.clone(), pairs(reduce)?, concat)
            }
            (Rule::Threshold(least), None) => {
                let edges = |kind| self.by_threshold(kind, of(kind), least);
                Genotype::of_edges(edges(normal)?, edges(reduce)?)
            }
        }
    }

    fn by_darts(&self, kind: CellKind, strengths: &[Vec<f64>]) -> Result<Vec<Pair>> {
        let derived = derive_cell(strengths, self.operations, self.nodes, self.masks[kind as usize]);
        derived.map_err(|error| of_kind(kind, error))
    }

    fn with_few_skips(&self, strengths: &[Vec<f64>], most: usize) -> Result<Vec<Pair>> {
        let mut strengths = strengths.to_vec();
        let skip = self.operations.iter().position(|operation| operation == SKIP);
        loop {
            let pairs = self.by_darts(CellKind::Normal, &strengths)?;
            let edge = |(index, pair): (usize, &Pair)| incoming(index / 2).start + pair.input();
            let skips: Vec<usize> =
                pairs.iter().enumerate().filter(|(_, pair)| pair.operation() == SKIP).map(edge).collect();
            let (Some(skip), true) = (skip, skips.len() > most) else { return Ok(pairs) };
            let by_strength = |a: &&usize, b: &&usize| strengths[**a][skip].total_cmp(&strengths[**b][skip]);
            match skips.iter().filter(|edge| strengths[**edge][skip] > 0.0).min_by(by_strength) {
                Some(&weakest) => strengths[weakest][skip] = 0.0,
                None => {
                    return Err(Error::user(format!(
                        "the normal cell cannot have as few as {most} skip connections: {} of its edges have no other \
                         operation with a strength above 0",
                        skips.len()
                    )));
                }
            }
        }
    }

    fn by_pairs(&self, kind: CellKind, strengths: &[Vec<f64>]) -> Result<Vec<Pair>> {
        self.check(kind, strengths)?;
        let mut pairs = Vec::new();
        for node in 0..self.nodes {
            let mut ranked: Vec<(f64, usize, usize)> = incoming(node)
                .enumerate()
                .flat_map(|(input, edge)| {
                    self.open(kind, edge).map(move |column| (strengths[edge][column], input, column))
                })
                .collect();
            if ranked.len() < 2 {
                return Err(of_kind(kind, Error::user(format!("node {node} has only {} operations", ranked.len()))));
            }
            // Stable: among equals the smaller input, then the lower column, stays in front.
            ranked.sort_by(|(a, ..), (b, ..)| b.partial_cmp(a).unwrap_or(Ordering::Equal));
            pairs.extend(ranked[..2].iter().map(|&(_, input, column)| Pair::new(&self.operations[column], input)));
        }
        Ok(pairs)
    }

    fn by_threshold(&self, kind: CellKind, strengths: &[Vec<f64>], least: f64) -> Result<Vec<EdgeText>> {
        self.check(kind, strengths)?;
        let (mut edges, mut exists, mut strongest) = (Vec::new(), vec![true; 2], f64::NEG_INFINITY);
        for node in 0..self.nodes {
            let best = |(input, edge): (usize, usize)| {
                let first = |best: Option<(f64, usize)>, column| match best {
                    Some((strength, _)) if strength >= strengths[edge][column] => best,
                    _ => Some((strengths[edge][column], column)),
                };
                self.open(kind, edge).fold(None, first).map(|(strength, column)| (strength, input, column))
            };
            let states = incoming(node).enumerate().filter(|(input, _)| exists[*input]);
            let mut inputs: Vec<_> = states.filter_map(best).collect();
            inputs.sort_by(|(a, ..), (b, ..)| b.partial_cmp(a).unwrap_or(Ordering::Equal));
            strongest = inputs.iter().map(|(strength, ..)| *strength).fold(strongest, f64::max);
            let kept: Vec<_> = inputs.into_iter().take(2).filter(|(strength, ..)| *strength >= least).collect();
            exists.push(!kept.is_empty());
            let edge = |(_, input, column): (f64, usize, usize)| {
                EdgeText::Edge(self.operations[column].clone(), node + 2, input)
            };
            edges.extend(kept.into_iter().map(edge));
        }
        match edges.is_empty() {
            false => Ok(edges),
            true => Err(of_kind(
                kind,
                Error::user(format!("no operation reaches the threshold {least}: the strongest has {strongest:.4}"))
                    .hint("a longer search opens gates further; a lower threshold keeps more"),
            )),
        }
    }

    /// The columns of an edge that can be chosen.
    fn open(&self, kind: CellKind, edge: usize) -> impl Iterator<Item = usize> + use<'_> {
        let mask = self.masks[kind as usize];
        let is_open = move |&column: &usize| {
            self.operations[column] != "none" && mask.is_none_or(|mask| mask.get(edge).is_some_and(|row| row[column]))
        };
        (0..self.operations.len()).filter(is_open)
    }

    fn check(&self, kind: CellKind, strengths: &[Vec<f64>]) -> Result<()> {
        let (edges, columns) = (edge_count(self.nodes), self.operations.len());
        if strengths.len() != edges || strengths.iter().any(|row| row.len() != columns) {
            let error = format!("strengths must be {edges} edges × {columns} operations, not {} rows", strengths.len());
            return Err(of_kind(kind, Error::user(error)));
        }
        match strengths.iter().position(|row| row.iter().any(|strength| !strength.is_finite())) {
            Some(edge) => Err(of_kind(kind, Error::user(format!("the strengths of edge {edge} are not finite")))),
            None => Ok(()),
        }
    }
}

fn of_kind(kind: CellKind, error: Error) -> Error {
    Error { message: format!("{} cell: {}", kind.name(), error.message), ..error }
}
