//! What a step would take on a GPU, by roofline: launches, bytes and operations, by kernel.

use super::report::{Cell, Line, rounded};
use crate::Result;
use crate::engine::Wanted;
use crate::engine::cuda::{Card, predict};
use crate::graph::Graph;
use serde::Serialize;

/// One line of a prediction: what one family of kernels takes in a step, or all.
#[derive(Clone, Debug, Serialize)]
pub struct PredictedLine {
    /// "search_step_predicted", "eval_step_predicted".
    pub what: String,
    pub card: &'static str,
    /// "all" is their sum.
    pub kernel: &'static str,
    /// That it has a part in; launches share families. Of "waiting", how often all blocks are waited for within one.
    pub launches: usize,
    pub bytes: u64,
    pub flops: u64,
    pub seconds: f64,
}

impl Line for PredictedLine {
    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::word("predicted for", self.card),
            Cell::word("kernel", self.kernel),
            Cell::count("launches", self.launches),
            Cell::number("GB", self.bytes as f64 / 1e9, 3),
            Cell::number("GFLOP", self.flops as f64 / 1e9, 2),
            Cell::number("ms", 1e3 * self.seconds, 3),
        ]
    }
}

/// The lines of a step that makes these passes, the longest kernel first, their sum last.
pub(super) fn predicted(what: &str, graph: &Graph, batch: usize, passes: &[Wanted]) -> Result<Vec<PredictedLine>> {
    let card = Card::H100;
    let mut kernels = predict(graph, batch, passes, card)?;
    kernels.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let line = |kernel, launches, bytes, flops, seconds| {
        let what = format!("{what}_predicted");
        PredictedLine { what, card: card.name, kernel, launches, bytes, flops, seconds: rounded(seconds, 4) }
    };
    let mut lines: Vec<PredictedLine> =
        kernels.iter().map(|k| line(k.kernel, k.launches, k.bytes, k.flops, k.seconds)).collect();
    let launches = kernels.iter().filter(|k| k.kernel == "launching").map(|k| k.launches).sum();
    let bytes = kernels.iter().map(|k| k.bytes).sum();
    let (flops, seconds) = (kernels.iter().map(|k| k.flops).sum(), kernels.iter().map(|k| k.seconds).sum());
    lines.push(line("all", launches, bytes, flops, seconds));
    Ok(lines)
}
