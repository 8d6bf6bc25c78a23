//! Offsets in the engine's tables, and sizes of its scratch buffers.

use super::{LANES, Packing, Plan, Sizes};

/// Loaded planes get the widest padding that a reader wants, and geometries follow.
pub(super) fn settle_views(plan: &mut Plan) {
    for unit in &plan.units {
        let pad = &mut plan.views[unit.input].pad;
        *pad = (pad.0.max(unit.geometry.pad.0), pad.1.max(unit.geometry.pad.1));
    }
    for unit in &mut plan.units {
        unit.geometry.settle(plan.views[unit.input].pad);
    }
}

/// Offsets of packed weights, norm coefficients and sums, and the sizes of scratch buffers.
pub(super) fn place_tables(plan: &mut Plan) {
    let mut sizes = Sizes::default();
    for unit in &mut plan.units {
        let input = plan.raws[plan.values[plan.views[unit.input].value].raw].layout.len();
        let output = plan.raws[unit.output].layout.len();
        let taps = unit.geometry.taps.len();
        let depthwise = if unit.depthwise.is_some() { taps * input } else { 0 };
        let dense_taps = if unit.depthwise.is_some() { 1 } else { taps };
        let dense = if unit.dense.is_some() { dense_taps * input * output } else { 0 };
        let bias = if unit.bias.is_some() { output } else { 0 };
        unit.packing = Packing {
            depthwise: sizes.packed_depthwise,
            dense: sizes.packed_dense,
            bias: sizes.packed_bias,
            gradient: 0,
            gradient_len: depthwise + dense + bias,
        };
        sizes.packed_depthwise += depthwise;
        sizes.packed_dense += dense;
        sizes.packed_bias += bias;
    }
    for norm in &mut plan.norms {
        norm.offset = sizes.norm_lanes;
        norm.own_sums = sizes.backward_statistics;
        sizes.norm_lanes += plan.raws[norm.raw].layout.len();
        sizes.backward_statistics += 2 * plan.raws[norm.raw].layout.len();
    }
    for sum in &mut plan.sums {
        sum.statistics = sizes.backward_statistics;
        sizes.backward_statistics += plan.raws[sum.output].layout.len() * (1 + sum.dots.len());
    }
    for unit in &plan.units {
        let view = &plan.views[unit.input];
        let raw = &plan.raws[plan.values[view.value].raw];
        let padded = unit.geometry.padded();
        let halo = unit.geometry.with_halo();
        let widest = raw.layout.blocks().max(plan.raws[unit.output].layout.blocks()) * LANES;
        sizes.padded_plane = sizes.padded_plane.max(raw.layout.len() * padded.0 * padded.1);
        sizes.halo_plane = sizes.halo_plane.max(widest * halo.0 * halo.1);
    }
    // Units are not alone in loading views: an activation may be applied to a map larger than any that a unit reads.
    for view in &plan.views {
        let raw = &plan.raws[plan.values[view.value].raw];
        let pixels = (raw.height + 2 * view.pad.0) * (raw.width + 2 * view.pad.1);
        sizes.padded_plane = sizes.padded_plane.max(raw.layout.len() * pixels);
    }
    for raw in &plan.raws {
        sizes.plane = sizes.plane.max(raw.len());
    }
    plan.sizes = sizes;
}
