//! Weights between the flat vector (names' order) and the kernels' order (lanes innermost, empty lanes zero).

use super::memory::Floats;
use crate::graph::plan::{Dense, Plan, Unit};
use crate::graph::{Graph, WeightInfo};
use rayon::prelude::*;

/// All weights in the kernels' order.
pub struct Packed {
    /// A unit's: taps × lanes.
    pub depthwise: Floats,
    /// A unit's: taps × input lanes × output lanes.
    pub dense: Floats,
    /// A unit's: taps × output lanes × input lanes, for input gradients.
    pub transposed: Floats,
    pub bias: Floats,
}

impl Packed {
    pub fn new(plan: &Plan) -> Self {
        Self {
            depthwise: Floats::new(plan.sizes.packed_depthwise),
            dense: Floats::new(plan.sizes.packed_dense),
            transposed: Floats::new(plan.sizes.packed_dense),
            bias: Floats::new(plan.sizes.packed_bias),
        }
    }

    /// Fills from the flat weights; `transposed` only where gradients will be asked for.
    pub fn fill(&mut self, plan: &Plan, graph: &Graph, w: &[f32], transposed: bool) {
        let this = &*self;
        plan.units.par_iter().for_each(|unit| {
            let map = UnitMap::new(plan, graph, unit);
            map.each_depthwise(|at, flat| unsafe {
                // SAFETY: units' packed ranges are disjoint, and the map stays within its unit's.
                *this.depthwise.at(unit.packing.depthwise + at) = w[flat];
            });
            map.each_dense(|at, back, flat| unsafe {
                // SAFETY: as above.
                *this.dense.at(unit.packing.dense + at) = w[flat];
                if transposed {
                    *this.transposed.at(unit.packing.dense + back) = w[flat];
                }
            });
            map.each_bias(|at, flat| unsafe {
                // SAFETY: as above.
                *this.bias.at(unit.packing.bias + at) = w[flat];
            });
        });
    }
}

/// Adds a unit's packed gradient (depthwise, dense, bias after one another) to the flat one, through `add(flat, value)`.
pub fn unpack_gradient(plan: &Plan, graph: &Graph, unit: &Unit, packed: &[f32], mut add: impl FnMut(usize, f32)) {
    let map = UnitMap::new(plan, graph, unit);
    map.each_depthwise(|at, flat| add(flat, packed[at]));
    let first = map.depthwise_len();
    map.each_dense(|at, _, flat| add(flat, packed[first + at]));
    let first = first + map.dense_len();
    map.each_bias(|at, flat| add(flat, packed[first + at]));
}

/// Where a unit's weights lie in both orders.
pub struct UnitMap<'a> {
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

    pub fn depthwise_len(&self) -> usize {
        self.unit.depthwise.as_ref().map_or(0, |_| self.unit.geometry.taps.len() * self.input_lanes)
    }

    pub fn dense_len(&self) -> usize {
        self.unit.dense.as_ref().map_or(0, |_| self.dense_taps() * self.input_lanes * self.output_lanes)
    }

    fn each_depthwise(&self, mut f: impl FnMut(usize, usize)) {
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

    /// `f(place, transposed place, flat)`.
    fn each_dense(&self, mut f: impl FnMut(usize, usize, usize)) {
        let mut put = |tap: usize, input: usize, output: usize, flat: usize| {
            let (i, o) = (self.inputs[input], self.outputs[output]);
            let place = (tap * self.input_lanes + i) * self.output_lanes + o;
            f(place, (tap * self.output_lanes + o) * self.input_lanes + i, flat);
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

    fn each_bias(&self, mut f: impl FnMut(usize, usize)) {
        for (sibling, info) in self.siblings(self.unit.bias.iter().flatten().copied()) {
            let channels = info.shape[0];
            for channel in 0..channels {
                f(self.outputs[sibling * channels + channel], info.offset + channel);
            }
        }
    }

    /// The weights that are there, with the places of their channels among equal shares.
    fn siblings(&self, weights: impl Iterator<Item = Option<usize>>) -> impl Iterator<Item = (usize, &'a WeightInfo)> {
        weights.enumerate().filter_map(|(sibling, weight)| Some((sibling, &self.graph.weights()[weight?])))
    }
}
