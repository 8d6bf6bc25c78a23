//! How far the fast executor may be off, measured case by case with the exact one.
//!
//! How far single precision may be off is not the same for every step: a batch norm over three to five rows that are
//! nearly equal magnifies what was rounded before it up to 1/√ε = 316 times, and one time step's norm reads what the
//! norms of the steps before it left. Two things are measured:
//!
//! * How far the exact executor moves when every number on the way is off by up to half a unit of single precision
//!   (`noisy.rs`).
//! * For gradients, the condition of the norms: a column's mean beside its deviation, |m|/√(σ² + ε), at its largest.
//!   What rounds every row by itself is in the measure above. But a norm's coefficients are rounded too, once for all
//!   rows, and put the gradients of all rows of a column off alike by so many units. A sum over rows that cancels
//!   without that (the gradient of a weight that multiplies nearly equal rows, or that a norm takes back) does not
//!   cancel with it.

use crate::compare::{Case, Left, Values, cpu, error, run, run_on};
use crate::noise::noise;
use crate::noisy::{noisy, rounded};
use candlewick::engine::recurrent::RecurrentEngine;
use candlewick::engine::{Isa, Mode, Target, Wanted};
use candlewick::graph::Node;
use candlewick::graph::recurrent::{RecurrentGraph, RecurrentOp};
use std::ops::Range;
use std::sync::Arc;

/// The error that is always allowed.
const ROUNDING: f64 = 1e-5;
/// How much further than the exact executor does when all its numbers are off the fast one may move: it rounds more
/// than once on the way to each.
const FURTHER: f64 = 10.0;
/// What a norm adds to a variance.
const EPSILON: f64 = 1e-5;
/// How often the exact executor's numbers are moved, and how often where that does not explain an error: which side of
/// a kink a number falls on is a matter of chance.
const SAMPLES: Range<u64> = 0..3;
const MORE: Range<u64> = 3..40;

/// A case with what the exact executor says of it.
struct Measured<'a> {
    case: &'a Case,
    given: Values,
    expected: Left,
    /// The step whose numbers are off.
    noisy: Case,
    engine: RecurrentEngine,
    /// By time step and row, the values that are rounded.
    values: Vec<Vec<f64>>,
    /// At least 1.
    condition: f64,
}

impl<'a> Measured<'a> {
    fn new(case: &'a Case) -> Self {
        let (given, graph) = (Values::new(case), &case.graph);
        let expected = run(case, &given, Target::Exact);
        let noisy = Case { graph: Arc::new(noisy(graph)), ..case.clone() };
        let engine = RecurrentEngine::compile(noisy.graph.clone(), Target::Exact).expect("the time step is whole");
        let mut values = vec![Vec::new(); case.steps * case.rows];
        for node in rounded(graph) {
            let found = value(case, &given, node);
            values.iter_mut().zip(found.chunks(graph.width(node))).for_each(|(row, found)| row.extend(found));
        }
        let norms = graph.nodes().filter_map(|node| match graph.op(node) {
            RecurrentOp::Norm { input, .. } if case.mode != Mode::Evaluation => Some(*input),
            _ => None,
        });
        let condition = norms.map(|input| condition(&value(case, &given, input), case.rows, graph.width(input)));
        let condition = condition.fold(1.0, f64::max);
        Self { case, given, expected, noisy, engine, values, condition }
    }

    /// How far each part of what the case leaves moves, relative in norm.
    fn by_part(&self, sample: u64) -> Vec<f64> {
        let of_x = |graph: &RecurrentGraph| graph.width(graph.input());
        let (wide, wider) = (of_x(&self.case.graph), of_x(&self.noisy.graph));
        let mut given = self.given.rounded(sample);
        let offs = noise((1 + sample) << 48, self.values.len() * (wider - wide));
        let mut offs = offs.into_iter().map(|off| f64::from(f32::EPSILON) / 2.0 * f64::from(off));
        let rows = given.x.chunks(wide).zip(&self.values).map(|(x, values)| {
            let shares = offs.by_ref().take(values.len()).collect::<Vec<_>>();
            let amounts = values.iter().zip(&mut offs).map(|(value, off)| value * off).collect();
            [x.to_vec(), shares, amounts].concat()
        });
        given.x = rows.collect::<Vec<_>>().concat();
        let mut left = run_on(&self.engine, &self.noisy, &given);
        left.x = left.x.chunks(wider).flat_map(|row| &row[..wide]).copied().collect();
        let parts = left.parts().into_iter().zip(self.expected.parts());
        parts.map(|((_, moved), (_, expected))| error(moved, expected)).collect()
    }

    /// By part, what it may be off by, relative in norm.
    fn tolerances(&self, samples: Range<u64>) -> Vec<f64> {
        let mut most = vec![0f64; self.expected.parts().len()];
        for sample in samples {
            most.iter_mut().zip(self.by_part(sample)).for_each(|(most, moved)| *most = most.max(moved));
        }
        let tolerance = |((name, _), moved): ((String, &[f64]), f64)| {
            let condition = if name.starts_with('d') { self.condition } else { 1.0 };
            ROUNDING + FURTHER * condition * moved
        };
        self.expected.parts().into_iter().zip(most).map(tolerance).collect()
    }
}

/// A node's values, time × rows × width.
fn value(case: &Case, given: &Values, node: Node) -> Vec<f64> {
    let mut graph = RecurrentGraph::clone(&case.graph);
    graph.set_output(node);
    let shown = Case { graph: Arc::new(graph), wanted: Wanted::default(), ..case.clone() };
    run(&shown, given, Target::Exact).output
}

/// The largest mean beside its deviation of any column at any time step.
fn condition(values: &[f64], rows: usize, width: usize) -> f64 {
    let of_column = |step: &[f64], column: usize| {
        let column = || step.iter().skip(column).step_by(width);
        let mean = column().sum::<f64>() / rows as f64;
        let variance = column().map(|value| (value - mean).powi(2)).sum::<f64>() / rows as f64;
        mean.abs() / (variance + EPSILON).sqrt()
    };
    let steps = values.chunks(rows * width);
    steps.flat_map(|step| (0..width).map(move |column| of_column(step, column))).fold(0.0, f64::max)
}

/// Runs a case on every instruction set and compares everything that it leaves with the exact executor. Gives the
/// largest error that it would have let pass, relative in norm.
pub fn check(case: &Case) -> Result<f64, String> {
    let measured = Measured::new(case);
    let mut tolerances = measured.tolerances(SAMPLES);
    for isa in Isa::available() {
        let got = run(case, &measured.given, cpu(isa));
        for (part, ((name, got), (_, expected))) in got.parts().into_iter().zip(measured.expected.parts()).enumerate() {
            let name = format!("{}, {name}", isa.name());
            if got.len() != expected.len() {
                return Err(format!("{name}: {} numbers, expected {}", got.len(), expected.len()));
            }
            let error = error(got, expected);
            if error > tolerances[part] {
                let more = measured.tolerances(MORE);
                tolerances.iter_mut().zip(more).for_each(|(tolerance, more)| *tolerance = tolerance.max(more));
            }
            if error.is_nan() || error > tolerances[part] {
                return Err(format!("{name} is off by {error:e}, more than {:e}", tolerances[part]));
            }
        }
    }
    Ok(tolerances.into_iter().fold(0.0, f64::max))
}
