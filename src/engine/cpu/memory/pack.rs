//! Weights between the flat vector (names' order) and the kernels' order (lanes innermost, empty lanes zero).

use super::Floats;
use crate::engine::cpu::plan::CpuPlan;
use crate::graph::plan::{Dense, Id, Plan, Unit, UnitId};
use crate::graph::{Graph, WeightInfo};
use rayon::prelude::*;

/// All weights in the kernels' order.
pub(in crate::engine::cpu) struct Packed {
    /// A unit's: taps × lanes.
    pub depthwise: Floats,
    /// A unit's: taps × input lanes × output lanes.
    pub dense: Floats,
    /// A unit's: taps × output lanes × input lanes, for input gradients.
    pub transposed: Floats,
    pub bias: Floats,
}

impl Packed {
    /// Fills from the flat weights; `transposed` only where gradients will be computed.
    pub fn fill(&mut self, cpu: &CpuPlan, graph: &Graph, w: &[f32], transposed: bool) {
        let this = &*self;
        let put = |table: &Floats, first: usize, len: usize, at: usize, value: f32| {
            debug_assert!(at < len);
            // SAFETY: the ranges of units are disjoint, and the map stays within its unit's.
            unsafe { *table.at(first + at, 1) = value };
        };
        (0..cpu.plan.units.len()).into_par_iter().map(UnitId::new).for_each(|unit| {
            let packing = &cpu.tables.packing[unit];
            let map = UnitMap::new(&cpu.plan, graph, &cpu.plan.units[unit]);
            map.each_depthwise(|at, flat| {
                put(&this.depthwise, packing.depthwise, packing.depthwise_len, at, w[flat]);
            });
            map.each_dense(|at, back, flat| {
                put(&this.dense, packing.dense, packing.dense_len, at, w[flat]);
                if transposed {
                    put(&this.transposed, packing.dense, packing.dense_len, back, w[flat]);
                }
            });
            map.each_bias(|at, flat| put(&this.bias, packing.bias, packing.bias_len, at, w[flat]));
        });
    }
}

/// Adds a unit's packed gradient (depthwise, dense, bias, in this order) to the flat one, through `add(flat, value)`.
pub(in crate::engine::cpu) fn unpack_gradient(
    cpu: &CpuPlan,
    graph: &Graph,
    unit: UnitId,
    packed: &[f32],
    mut add: impl FnMut(usize, f32),
) {
    let packing = &cpu.tables.packing[unit];
    let map = UnitMap::new(&cpu.plan, graph, &cpu.plan.units[unit]);
    let (depthwise, rest) = packed.split_at(packing.depthwise_len);
    let (dense, bias) = rest.split_at(packing.dense_len);
    map.each_depthwise(|at, flat| add(flat, depthwise[at]));
    map.each_dense(|at, _, flat| add(flat, dense[at]));
    map.each_bias(|at, flat| add(flat, bias[at]));
}

/// Where a unit's weights lie in both orders.
pub(in crate::engine) struct UnitMap<'a> {
    graph: &'a Graph,
    unit: &'a Unit,
    inputs: &'a [usize],
    outputs: &'a [usize],
    input_lanes: usize,
    output_lanes: usize,
}

impl<'a> UnitMap<'a> {
    pub fn new(plan: &'a Plan, graph: &'a Graph, unit: &'a Unit) -> Self {
        let input = &plan.raws[plan.values[plan.views[unit.input].value].raw].layout;
        let output = &plan.raws[unit.output].layout;
        Self {
            graph,
            unit,
            inputs: input.positions(),
            outputs: output.positions(),
            input_lanes: input.len(),
            output_lanes: output.len(),
        }
    }

    fn dense_taps(&self) -> usize {
        if self.unit.depthwise.is_some() { 1 } else { self.unit.geometry.taps.len() }
    }

    /// `f(index, flat index)`.
    pub fn each_depthwise(&self, mut f: impl FnMut(usize, usize)) {
        let taps = self.unit.geometry.taps.len();
        for (sibling, info) in self.siblings(self.unit.depthwise.iter().flatten().copied()) {
            let channels = info.shape[0];
            for channel in 0..channels {
                let lane = self.inputs[sibling * channels + channel];
                for tap in 0..taps {
                    f(tap * self.input_lanes + lane, info.offset + channel * taps + tap);
                }
            }
        }
    }

    /// `f(index, transposed index, flat index)`.
    pub fn each_dense(&self, mut f: impl FnMut(usize, usize, usize)) {
        let mut put = |tap: usize, input: usize, output: usize, flat: usize| {
            let (i, o) = (self.inputs[input], self.outputs[output]);
            let at = (tap * self.input_lanes + i) * self.output_lanes + o;
            f(at, (tap * self.output_lanes + o) * self.input_lanes + i, flat);
        };
        match &self.unit.dense {
            None => {}
            Some(Dense::Conv { weights, groups }) => {
                let taps = self.dense_taps();
                for (sibling, info) in self.siblings(weights.iter().copied()) {
                    let (outputs, per_input) = (info.shape[0], info.shape[1]);
                    let (inputs, per_output) = (per_input * groups, outputs / groups);
                    for output in 0..outputs {
                        let first = sibling * inputs + output / per_output * per_input;
                        for input in 0..per_input {
                            for tap in 0..taps {
                                let flat = info.offset + (output * per_input + input) * taps + tap;
                                put(tap, first + input, sibling * outputs + output, flat);
                            }
                        }
                    }
                }
            }
            Some(Dense::Halve { weights }) => {
                for tap in 0..2 {
                    for (sibling, info) in self.siblings(weights.iter().map(|both| both.map(|both| both[tap]))) {
                        let (half, inputs) = (info.shape[0], info.shape[1]);
                        for output in 0..half {
                            for input in 0..inputs {
                                let to = (2 * sibling + tap) * half + output;
                                put(tap, sibling * inputs + input, to, info.offset + output * inputs + input);
                            }
                        }
                    }
                }
            }
        }
    }

    /// `f(index, flat index)`.
    pub fn each_bias(&self, mut f: impl FnMut(usize, usize)) {
        for (sibling, info) in self.siblings(self.unit.bias.iter().flatten().copied()) {
            let channels = info.shape[0];
            for channel in 0..channels {
                f(self.outputs[sibling * channels + channel], info.offset + channel);
            }
        }
    }

    /// The weights of all siblings that have them, with the index of their share of the channels.
    fn siblings(&self, weights: impl Iterator<Item = Option<usize>>) -> impl Iterator<Item = (usize, &'a WeightInfo)> {
        weights.enumerate().filter_map(|(sibling, weight)| Some((sibling, &self.graph.weights()[weight?])))
    }
}
