//! How much padding views are loaded with.

use super::Plan;

/// A loaded plane gets the widest padding that any reader wants; the readers' geometries are adjusted to it.
pub(super) fn settle_views(plan: &mut Plan) {
    for unit in &plan.units {
        let pad = &mut plan.views[unit.input].pad;
        *pad = (pad.0.max(unit.geometry.pad.0), pad.1.max(unit.geometry.pad.1));
    }
    for unit in &mut plan.units {
        unit.geometry.settle(plan.views[unit.input].pad);
    }
}
