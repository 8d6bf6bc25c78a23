//! Means and variances between a pass and the running statistics that are kept beside a network.

use super::plan::CudaPlan;
use crate::engine::RunningStatistics;
use crate::engine::cpu::pass::agenda::Agenda;
use crate::engine::statistics::move_towards;
use crate::graph::Graph;
use crate::graph::plan::{NormId, NormPart};

/// By norm lane: means, then variances, from running statistics; 0 and 1 where a lane is empty.
pub(super) fn given(cuda: &CudaPlan, graph: &Graph, running: &RunningStatistics) -> Vec<f64> {
    let lanes = cuda.tables.norm_lanes;
    let mut moments = vec![0.0; 2 * lanes];
    moments[lanes..].fill(1.0);
    running.update(|values| {
        each_channel(cuda, |norm, lane, part, within| {
            let (info, at) = (&graph.norms()[part.info], cuda.tables.norms[norm] + lane);
            moments[at] = values[info.mean()][within];
            moments[lanes + at] = values[info.variance()][within];
        });
    });
    moments
}

/// Moves running statistics towards a batch's.
pub(super) fn follow(
    cuda: &CudaPlan,
    graph: &Graph,
    agenda: &Agenda,
    running: &mut [f64],
    moments: &[f64],
    batch: usize,
) {
    let lanes = cuda.tables.norm_lanes;
    each_channel(cuda, |id, lane, part, within| {
        let norm = &cuda.plan.norms[id];
        // Siblings run together, those that a mask leaves out too; a tensor may have other readers. The statistics
        // of a norm that siblings share move once.
        let first = norm.parts.iter().flatten().find(|other| other.info == part.info);
        if !agenda.norms[part.info] || first.is_some_and(|other| !std::ptr::eq(other, part)) {
            return;
        }
        let n = (batch * cuda.plan.raws[norm.raw].pixels()) as f64;
        let (info, at) = (&graph.norms()[part.info], cuda.tables.norms[id] + lane);
        move_towards(&mut running[info.mean()][within], moments[at]);
        move_towards(&mut running[info.variance()][within], moments[lanes + at] * (n / (n - 1.0).max(1.0)));
    });
}

/// Calls `visit` with every channel of every norm: the norm, the lane in it, the graph's norm, and the channel of that.
fn each_channel(cuda: &CudaPlan, mut visit: impl FnMut(NormId, usize, &NormPart, usize)) {
    for (id, norm) in cuda.plan.norms.pairs() {
        let layout = &cuda.plan.raws[norm.raw].layout;
        let share = (layout.channels() / norm.parts.len()).max(1);
        for (channel, &lane) in layout.positions().iter().enumerate() {
            if let Some(part) = &norm.parts[channel / share] {
                visit(id, lane, part, channel % share);
            }
        }
    }
}
