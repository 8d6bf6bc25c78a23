//! From journals to charts.

use super::drawing::{cells_from_genotype, forms};
use super::journal::{Entry, value_of};
use crate::chart::{
    Alphas, Cell, Curves, Edge, Figure, Group, Groups, HeatMap, Matrix, Panel, Series, cell_title, state_name,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A chart that a run keeps up to date.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Plot {
    /// The fields of these names over time.
    Curves(Vec<String>),
    /// The mixing weights over time and as they are.
    Alphas,
    /// The genotype's cells.
    Cells,
    /// The groups of results of this name.
    Groups(String),
    /// The curves of this name over a quantity of their own.
    Over(String),
}

/// Groups of results by name, as the journal's field `groups` holds them by what they measure.
pub type Results = BTreeMap<String, Vec<f64>>;

/// Curves over a quantity of their own, as the journal's field `curves` holds them by the chart's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CurvesOver {
    /// What the x axis measures.
    pub x: String,
    /// Points (x, y) in ascending x by the curve's name.
    pub curves: BTreeMap<String, Vec<(f64, f64)>>,
}

/// The mixing weights of one kind of cell, as the journal's field `alphas` holds them by kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MixingWeights {
    /// The two ends of each edge by name.
    pub edges: Vec<(String, String)>,
    pub ops: Vec<String>,
    /// Edges × ops.
    pub values: Vec<Vec<f64>>,
}

impl MixingWeights {
    /// Mixing weights of any graph.
    ///
    /// # Errors
    /// Not one row per edge, or a row without one value per op.
    pub fn new(edges: Vec<(String, String)>, ops: Vec<String>, values: Vec<Vec<f64>>) -> Result<Self> {
        if values.len() != edges.len() || values.iter().any(|row| row.len() != ops.len()) {
            let widths: Vec<usize> = values.iter().map(Vec::len).collect();
            return Err(Error::user(format!(
                "mixing weights of {} edges × {} ops have {} rows of lengths {widths:?}",
                edges.len(),
                ops.len(),
                values.len()
            )));
        }
        Ok(Self { edges, ops, values })
    }

    /// Mixing weights of a DARTS cell: node i has an edge from each of the i + 2 states before it, in this order.
    ///
    /// # Errors
    /// The rows are none or not those of whole nodes.
    pub fn of_cell(ops: Vec<String>, values: Vec<Vec<f64>>) -> Result<Self> {
        let mut edges = Vec::new();
        for state in 2.. {
            if edges.len() >= values.len() {
                break;
            }
            edges.extend((0..state).map(|from| (state_name(from, 2), state_name(state, 2))));
        }
        match edges.len() == values.len() && !edges.is_empty() {
            true => Self::new(edges, ops, values),
            false => {
                Err(Error::user(format!("mixing weights have {} rows, which are not a cell's edges", values.len()))
                    .hint("a cell of 1, 2, 3, 4 … nodes has 2, 5, 9, 14 … edges; name others as `edges`"))
            }
        }
    }

    /// Mixing weights of a recurrent cell: node i (from 1) has an edge from each of the states 0 to i − 1 before it, in
    /// this order.
    ///
    /// # Errors
    /// The rows are none or not those of whole nodes.
    pub fn of_recurrent_cell(ops: Vec<String>, values: Vec<Vec<f64>>) -> Result<Self> {
        // Names as the cell is drawn with.
        let cell = Cell::recurrent("", vec![], vec![]);
        let mut edges = Vec::new();
        for node in 1.. {
            if edges.len() >= values.len() {
                break;
            }
            edges.extend((0..node).map(|from| (cell.state_name(from), cell.state_name(node))));
        }
        Self::new(edges, ops, values)
    }
}

/// The figures of a chart with their file names (no extension), as far as the journal has something to show.
pub fn figures(plot: &Plot, journal: &[Entry]) -> Result<Vec<(String, Figure)>> {
    Ok(match plot {
        Plot::Curves(names) => vec![(names.join("-"), Figure::Curves(curves(journal, names)))],
        Plot::Alphas => alphas(journal),
        Plot::Groups(name) => groups(journal, name).into_iter().map(|figure| (name.clone(), figure)).collect(),
        Plot::Over(name) => over(journal, name).into_iter().map(|figure| (name.clone(), figure)).collect(),
        Plot::Cells => match journal.iter().rev().find_map(|entry| entry.get("genotype")) {
            Some(genotype) => vec![("cells".into(), Figure::Cells(cells_from_genotype(genotype)?))],
            None => vec![],
        },
    })
}

/// The fields of these names over epochs, or over steps while there is only one epoch. Fields that measure the same by
/// the last word of their names ("loss", "accuracy") share a panel.
fn curves(journal: &[Entry], names: &[String]) -> Curves {
    let clock = Clock::of(journal);
    let mut panels: Vec<Panel> = Vec::new();
    for name in names {
        let points =
            journal.iter().filter_map(|entry| Some((clock.time(entry), value_of(entry.get(name)?)?))).collect();
        let series = Series { name: name.clone(), points };
        let measure = name.rsplit('_').next().unwrap_or(name);
        match panels.iter_mut().find(|panel| panel.name == measure) {
            Some(panel) => panel.series.push(series),
            None => panels.push(Panel { name: measure.to_string(), series: vec![series] }),
        }
    }
    Curves { title: String::new(), x: clock.unit().into(), counts: true, panels }
}

/// Turns a line's epoch and step into one time.
struct Clock {
    /// First and last step of each epoch.
    epochs: BTreeMap<u64, (u64, u64)>,
    /// Whether the last epoch still runs, as far as its lines tell.
    running: bool,
}

impl Clock {
    fn of(journal: &[Entry]) -> Self {
        let mut epochs: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for entry in journal {
            let step = whole(entry, "step");
            let (first, last) = epochs.entry(whole(entry, "epoch")).or_insert((step, step));
            (*first, *last) = (step.min(*first), step.max(*last));
        }
        let running = match epochs.keys().rev().take(2).collect::<Vec<_>>()[..] {
            [&last, &before] => !has_ended(journal, last, before, epochs[&before].1),
            _ => true,
        };
        Self { epochs, running }
    }

    fn unit(&self) -> &'static str {
        if self.epochs.len() > 1 { "epoch" } else { "step" }
    }

    /// Epochs done when the line was written: step s of the n of epoch e is e + (s + 1)/n. With one epoch only, the
    /// step.
    fn time(&self, entry: &Entry) -> f64 {
        let (epoch, step) = (whole(entry, "epoch"), whole(entry, "step"));
        if self.epochs.len() < 2 {
            return step as f64;
        }
        let steps = |epoch: u64| self.epochs.get(&epoch).map_or(1, |(first, last)| last - first + 1);
        // An epoch that is still running has as many steps as the one before it.
        let last = self.epochs.last_key_value().is_some_and(|(last, _)| *last == epoch);
        let count = match epoch > 0 && last && self.running {
            true => steps(epoch).max(steps(epoch - 1)),
            false => steps(epoch),
        };
        let first = self.epochs.get(&epoch).map_or(step, |epoch| epoch.0);
        epoch as f64 + (step - first + 1) as f64 / count as f64
    }
}

/// Whether epoch `last` is over: it has a field that the epoch before it, whose last step is `end`, had there only.
fn has_ended(journal: &[Entry], last: u64, before: u64, end: u64) -> bool {
    let of = |epoch: u64| journal.iter().filter(move |entry| whole(entry, "epoch") == epoch);
    let ends = |name: &str| {
        let mut steps =
            of(before).filter(|entry| entry.contains_key(name)).map(|entry| whole(entry, "step")).peekable();
        steps.peek().is_some() && steps.all(|step| step == end)
    };
    of(last).flat_map(Entry::keys).any(|name| !["epoch", "step", "time"].contains(&name.as_str()) && ends(name))
}

fn whole(entry: &Entry, name: &str) -> u64 {
    entry.get(name).and_then(Value::as_u64).unwrap_or(0)
}

/// A chart of the course of each kind's mixing weights, and a heat map of how they stand.
fn alphas(journal: &[Entry]) -> Vec<(String, Figure)> {
    let clock = Clock::of(journal);
    let records: Vec<(f64, BTreeMap<String, MixingWeights>)> = journal
        .iter()
        .filter_map(|entry| Some((clock.time(entry), serde_json::from_value(entry.get("alphas")?.clone()).ok()?)))
        .collect();
    let Some((_, last)) = records.last() else { return vec![] };
    let genotype = journal.iter().rev().find_map(|entry| entry.get("genotype"));
    let edges = |weights: &MixingWeights| {
        weights.edges.iter().map(|(from, to)| Edge { from: from.clone(), to: to.clone() }).collect::<Vec<Edge>>()
    };
    let mut figures = Vec::new();
    let mut matrices = Vec::new();
    for (kind, now) in last {
        let course: Vec<(f64, &MixingWeights)> =
            records.iter().filter_map(|(time, kinds)| Some((*time, kinds.get(kind)?))).collect();
        let figure = Alphas {
            title: format!("{}: mixing weights", cell_title(kind)),
            x: clock.unit().into(),
            ops: now.ops.clone(),
            edges: edges(now),
            times: course.iter().map(|(time, _)| *time).collect(),
            values: course.iter().map(|(_, weights)| weights.values.clone()).collect(),
        };
        figures.push((format!("alphas-{kind}"), Figure::Alphas(figure)));
        matrices.push(Matrix {
            name: cell_title(kind),
            ops: now.ops.clone(),
            edges: edges(now),
            values: now.values.clone(),
            chosen: chosen(genotype, kind, now),
        });
    }
    let heat_map = HeatMap { title: "Mixing weights".into(), matrices };
    figures.push(("alphas".into(), Figure::HeatMap(heat_map)));
    figures
}

/// The groups of results logged last under a name.
fn groups(journal: &[Entry], name: &str) -> Option<Figure> {
    let logged = journal.iter().rev().find_map(|entry| entry.get("groups")?.get(name))?;
    let results: Results = serde_json::from_value(logged.clone()).ok()?;
    let group = |(name, values): (String, Vec<f64>)| Group { name, values };
    let groups = results.into_iter().map(group).collect();
    Some(Figure::Groups(Groups { title: String::new(), x: name.replace('_', " "), groups }))
}

/// The curves logged last under a name.
fn over(journal: &[Entry], name: &str) -> Option<Figure> {
    let logged = journal.iter().rev().find_map(|entry| entry.get("curves")?.get(name))?;
    let CurvesOver { x, curves } = serde_json::from_value(logged.clone()).ok()?;
    let series = curves.into_iter().map(|(name, points)| Series { name: name.replace('_', " "), points }).collect();
    let panel = Panel { name: name.replace('_', " "), series };
    Some(Figure::Curves(Curves { title: String::new(), x, counts: false, panels: vec![panel] }))
}

/// For each edge the op that the genotype's cell has there.
fn chosen(genotype: Option<&Value>, kind: &str, weights: &MixingWeights) -> Vec<Option<usize>> {
    let forms = genotype.and_then(|genotype| forms(genotype).ok()).unwrap_or_default();
    let Some(cell) = forms.iter().find(|form| form.name() == kind).map(Cell::of) else { return vec![] };
    let op_between = |(from, to): &(String, String)| {
        let op = cell.ops.iter().find(|op| cell.state_name(op.from) == *from && cell.state_name(op.to) == *to)?;
        weights.ops.iter().position(|name| *name == op.name)
    };
    weights.edges.iter().map(op_between).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Epochs of these numbers of steps, each with a loss a step and, where it has ended, a score.
    fn journal(epochs: &[(u64, bool)]) -> Vec<Entry> {
        let mut step = 0;
        let mut lines = vec![];
        for (epoch, &(steps, ended)) in epochs.iter().enumerate() {
            let line = |step: u64, name: &str| {
                let value = serde_json::json!({ "epoch": epoch, "step": step, "time": 0.5, name: 1.0 });
                value.as_object().expect("a line").clone()
            };
            lines.extend((step..step + steps).map(|step| line(step, "train_loss")));
            step += steps;
            lines.extend(ended.then(|| line(step - 1, "valid_loss")));
        }
        lines
    }

    fn times(epochs: &[(u64, bool)]) -> Vec<f64> {
        let curves = curves(&journal(epochs), &["valid_loss".into(), "train_loss".into()]);
        curves.panels[0].series.iter().filter_map(|series| Some(series.points.last()?.0)).collect()
    }

    #[test]
    fn an_epoch_ends_at_a_whole_number_however_many_steps_it_has() {
        // Windows of random lengths: epochs differ in their numbers of steps.
        assert_eq!(times(&[(61, true), (62, true), (60, true)]), [3.0, 3.0]);
        assert_eq!(times(&[(61, true), (60, true), (62, true)]), [3.0, 3.0]);
        // An epoch that still runs is as long as the one before it.
        assert_eq!(times(&[(8, true), (4, true), (1, false)]), [2.0, 2.25]);
        assert_eq!(times(&[(4, true), (5, false)]), [1.0, 2.0]);
    }
}
