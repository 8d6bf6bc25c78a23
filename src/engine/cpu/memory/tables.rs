//! Where everything lies that a pass keeps apart from activations: packed weights, norm coefficients, sums over the
//! batch.
//!
//! A tensor has one entry per lane, so an offset plus a lane is a position in a table.

use crate::graph::plan::{NormId, Plan, Step, SumId, Table, UnitId};

/// Offsets and lengths in floats, worked out once for a plan.
#[derive(Default)]
pub(in crate::engine) struct Tables {
    /// By unit.
    pub packing: Table<UnitId, Packing>,
    /// By norm: where its coefficients begin, one per lane.
    pub norms: Table<NormId, usize>,
    /// By norm: where Σ g and Σ g·y begin among a group's backward sums, if the value's gradient is a buffer.
    pub own_sums: Table<NormId, usize>,
    /// By sum: where Σ g and the Σ g·y of its dots begin there.
    pub dots: Table<SumId, usize>,
    pub packed_depthwise: usize,
    pub packed_dense: usize,
    pub packed_bias: usize,
    /// Lanes of all norms.
    pub norm_lanes: usize,
    /// Backward sums of one image group.
    pub backward_sums: usize,
    /// Weight gradients of the largest stage, of one image group.
    pub stage_gradients: usize,
}

/// Where a unit's weights lie in the kernels' order.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::engine) struct Packing {
    /// Taps × input lanes.
    pub depthwise: usize,
    pub depthwise_len: usize,
    /// Taps × input lanes × output lanes, and taps × output lanes × input lanes.
    pub dense: usize,
    pub dense_len: usize,
    /// Output lanes.
    pub bias: usize,
    pub bias_len: usize,
    /// Where the weight gradients begin among a stage's: depthwise, dense, bias.
    pub gradient: usize,
}

impl Packing {
    pub fn gradient_len(&self) -> usize {
        self.depthwise_len + self.dense_len + self.bias_len
    }
}

/// Sums that a norm keeps for each lane in each image group: pivot, Σ (y − pivot), Σ (y − pivot)².
pub(in crate::engine::cpu) const MOMENTS: usize = 3;

impl Tables {
    pub fn new(plan: &Plan) -> Self {
        let mut tables = Self::default();
        for unit in &plan.units {
            let input = plan.raws[plan.values[plan.views[unit.input].value].raw].layout.len();
            let output = plan.raws[unit.output].layout.len();
            let taps = unit.geometry.taps.len();
            let matrices = if unit.depthwise.is_some() { 1 } else { taps };
            let packing = Packing {
                depthwise: tables.packed_depthwise,
                depthwise_len: if unit.depthwise.is_some() { taps * input } else { 0 },
                dense: tables.packed_dense,
                dense_len: if unit.dense.is_some() { matrices * input * output } else { 0 },
                bias: tables.packed_bias,
                bias_len: if unit.bias.is_some() { output } else { 0 },
                gradient: 0,
            };
            tables.packed_depthwise += packing.depthwise_len;
            tables.packed_dense += packing.dense_len;
            tables.packed_bias += packing.bias_len;
            tables.packing.push(packing);
        }
        for norm in &plan.norms {
            let lanes = plan.raws[norm.raw].layout.len();
            tables.norms.push(tables.norm_lanes);
            tables.own_sums.push(tables.backward_sums);
            tables.norm_lanes += lanes;
            tables.backward_sums += 2 * lanes;
        }
        for sum in &plan.sums {
            tables.dots.push(tables.backward_sums);
            tables.backward_sums += plan.raws[sum.output].layout.len() * (1 + sum.dots.len());
        }
        for stage in &plan.forward {
            let mut at = 0;
            for &step in &stage.steps {
                if let Step::Unit(unit) = plan.steps[step] {
                    tables.packing[unit].gradient = at;
                    at += tables.packing[unit].gradient_len();
                }
            }
            tables.stage_gradients = tables.stage_gradients.max(at);
        }
        tables
    }

    /// Floats of one image group's sums: the forward and the backward pass never need theirs at the same time.
    pub fn group_sums(&self) -> usize {
        (MOMENTS * self.norm_lanes).max(self.backward_sums)
    }
}
