//! Descriptors that both directions share, in the order of the kernels' structs.

use super::{Family, Item, Maker, Measured, PIXEL, Tensors, Wait, When, Work, number, word};
use crate::engine::cuda::plan::{Reach, TapGrid, activation_code};
use crate::graph::plan::{
    FactorsId, Gradient, LANES, LaneFactor, Mixing, NormId, NormPart, RawId, SumId, UnitId, ValueId, ViewId,
};

/// Floats of shared memory that statistics take: three numbers in double precision for each thread.
const STATISTICS: usize = 1536;

/// Of which way a unit takes part: where partial sums and gradients go.
#[derive(Clone, Copy, Default)]
pub(super) struct UnitPlaces {
    pub measured: Option<Measured>,
    /// Where the gradient of what its taps made lies in the region.
    pub plane: usize,
    /// Where partial weight gradients go.
    pub weights: Option<usize>,
    /// The descriptor of its output's gradient.
    pub stored: i32,
}

impl Maker<'_> {
    /// The first lane of a value's norm among all norms' lanes, or −1.
    pub(super) fn norm_of(&self, value: ValueId) -> i32 {
        word(self.cuda.plan.values[value].norm.map(|norm| self.cuda.tables.norms[norm]))
    }

    /// A factor as two words. What a mask leaves out is zero.
    pub(super) fn mixing(&mut self, mixing: Mixing) -> [i32; 2] {
        match mixing {
            Mixing::One => [0, 0],
            Mixing::Slot(slot) => [1, slot.0 as i32],
            Mixing::Lanes(factors) => [2, self.lanes(factors)],
        }
    }

    fn lanes(&mut self, factors: FactorsId) -> i32 {
        if let Some(at) = self.lanes.get(&factors) {
            return *at;
        }
        let words = self.cuda.plan.lane_factors[factors].map(|factor| match factor {
            LaneFactor::One => -1,
            LaneFactor::Slot(slot) if self.agenda.live.slot(slot) => slot.0 as i32,
            LaneFactor::Zero | LaneFactor::Slot(_) => -2,
        });
        let at = self.put(&words);
        self.lanes.insert(factors, at);
        at
    }

    /// By lane of a norm: gamma's and beta's index; −1 where there is none, −2 where the lane is empty.
    pub(super) fn affine(&mut self, id: NormId) -> i32 {
        if let Some(at) = self.affine.get(&id) {
            return *at;
        }
        let norm = &self.cuda.plan.norms[id];
        let layout = &self.cuda.plan.raws[norm.raw].layout;
        let share = (layout.channels() / norm.parts.len()).max(1);
        let mut words = vec![-2; 2 * layout.len()];
        for (channel, &lane) in layout.positions().iter().enumerate() {
            let pair = match norm.parts[channel / share] {
                Some(NormPart { affine: Some(pair), .. }) => {
                    pair.map(|weight| (self.graph.weights()[weight].offset + channel % share) as i32)
                }
                _ => [-1, -1],
            };
            words[2 * lane..2 * lane + 2].copy_from_slice(&pair);
        }
        let at = self.put(&words);
        self.affine.insert(id, at);
        at
    }

    /// How a view is read: its norm's first lane and its activation.
    pub(super) fn view(&self, view: ViewId) -> [i32; 2] {
        let view = &self.cuda.plan.views[view];
        [self.norm_of(view.value), view.activation.map_or(0, activation_code)]
    }

    /// The gradient of a value's stored tensor.
    pub(super) fn stored(&mut self, value: ValueId) -> i32 {
        let plan = &self.cuda.plan;
        let what = &plan.values[value];
        let (placement, agenda) = (self.placement, self.agenda);
        let mut terms: Vec<i32> = Vec::new();
        let mut count = 0;
        match &what.gradient {
            Gradient::Buffer => {
                terms.extend([placement.gradients[value] as i32, 0, 0, -1]);
                count = 1;
            }
            Gradient::Terms(all) => {
                let live = |output| agenda.live.raw(plan, output);
                for term in all {
                    let sum = &plan.sums[term.sum];
                    if agenda.live.mixing(plan, term.mixing) && live(sum.output) {
                        let [kind, slot] = self.mixing(term.mixing);
                        terms.extend([placement.gradients[sum.value] as i32, kind, slot, -1]);
                        count += 1;
                    }
                }
            }
        }
        let head = [placement.raws[what.raw] as i32, self.norm_of(value), count];
        self.put(&[&head[..], &terms].concat())
    }

    /// A unit's descriptor.
    pub(super) fn unit(&mut self, id: UnitId, places: UnitPlaces) -> i32 {
        let plan = &self.cuda.plan;
        let unit = &plan.units[id];
        let (_, from) = self.cuda.input_of(unit);
        let (input, output) = (&plan.raws[from], &plan.raws[unit.output]);
        let (geometry, reach) = (&unit.geometry, Reach::of(unit));
        let pad = (geometry.pad.0 as i32, geometry.pad.1 as i32);
        let taps: Vec<i32> =
            geometry.taps.iter().flat_map(|tap| [tap.0 as i32 - pad.0, tap.1 as i32 - pad.1]).collect();
        let tap_at = self.put(&taps);
        let (packing, strips) = (self.cuda.tables.packing[id], self.cuda.strips[id]);
        let at = |is: bool, at: usize| word(is.then_some(at));
        let (dense, cuda) = (unit.dense.is_some(), self.cuda);
        let [norm, activation] = self.view(unit.input);
        let filled = self.filled(from);
        let words = [
            self.placement.raws[from] as i32,
            input.layout.blocks() as i32,
            input.height as i32,
            input.width as i32,
            norm,
            activation,
            self.placement.raws[unit.output] as i32,
            output.layout.blocks() as i32,
            output.height as i32,
            output.width as i32,
            geometry.stride.0 as i32,
            geometry.stride.1 as i32,
            geometry.taps.len() as i32,
            tap_at,
            reach.least.0,
            reach.least.1,
            reach.size.0 as i32,
            reach.size.1 as i32,
            at(unit.depthwise.is_some(), packing.depthwise),
            at(dense, cuda.dense_at() + packing.dense),
            at(dense, cuda.transposed_at() + packing.dense),
            at(unit.bias.is_some(), cuda.bias_at() + packing.bias),
            word(places.measured.map(|measured| measured.parts)),
            strips.count as i32,
            strips.rows as i32,
            places.plane as i32,
            word(places.weights),
            strips.count as i32,
            packing.gradient_len() as i32,
            places.stored,
            filled,
            TapGrid::of(unit).map_or(0, |grid| grid.code() as i32),
            strips.group as i32,
        ];
        self.put(&words)
    }

    /// What a strip of a unit takes beside reading its input: its output and its products.
    pub(super) fn strip_work(&self, id: UnitId, rows: usize) -> Work {
        let unit = &self.cuda.plan.units[id];
        let geometry = &unit.geometry;
        let (inputs, outputs) = (self.cuda.input_blocks(unit), self.cuda.plan.raws[unit.output].layout.blocks());
        let pixels = rows * geometry.output.1;
        let taps = geometry.taps.len();
        let depthwise = if unit.depthwise.is_some() { taps * inputs * LANES } else { 0 };
        let matrices = if unit.depthwise.is_some() { 1 } else { taps };
        let dense = if unit.dense.is_some() { matrices * inputs * outputs * LANES * LANES } else { 0 };
        Work::new(PIXEL * pixels * outputs, 2 * pixels * (depthwise + dense))
    }

    /// Notes that a tensor is read.
    pub(super) fn read(&self, raw: RawId, tensors: &mut Tensors) {
        tensors.read(self.placement.raws[raw], self.cuda.plan.raws[raw].len());
    }

    /// Notes that a tensor is written.
    pub(super) fn write(&self, raw: RawId, tensors: &mut Tensors) {
        tensors.write(self.placement.raws[raw], self.cuda.plan.raws[raw].len());
    }

    /// Notes what a stored gradient reads.
    pub(super) fn read_stored(&self, value: ValueId, tensors: &mut Tensors) {
        let plan = &self.cuda.plan;
        let what = &plan.values[value];
        let floats = plan.raws[what.raw].len();
        match &what.gradient {
            Gradient::Buffer => tensors.read(self.placement.gradients[value], floats),
            Gradient::Terms(terms) => {
                let places = terms.iter().map(|term| self.placement.gradients[plan.sums[term.sum].value]);
                places.for_each(|place| tensors.read(place, floats));
            }
        }
        if what.norm.is_some() {
            self.read(what.raw, tensors);
        }
    }

    /// Items over a unit's strips.
    pub(super) fn over_strips(&self, id: UnitId, descriptor: i32) -> Vec<Item> {
        let (strips, height) = (self.cuda.strips[id], self.cuda.plan.units[id].geometry.output.0);
        (0..strips.count)
            .map(|strip| {
                let rows = strips.rows.min(height - strip * strips.rows);
                Item { words: [descriptor, strip as i32, 0, rows as i32], work: self.strip_work(id, rows) }
            })
            .collect()
    }

    /// A round that turns statistics (of the batch, or given) into coefficients.
    pub(super) fn statistics(&mut self, norms: &[NormId], when: When) {
        let mut items = Vec::new();
        for &id in norms {
            let plan = &self.cuda.plan;
            let norm = &plan.norms[id];
            let raw = &plan.raws[norm.raw];
            let mut parts = Vec::new();
            if when == When::Batch {
                let mut found = Vec::new();
                self.bottom(norm.raw, 0, &mut found);
                found.sort_unstable_by_key(|(_, lane)| *lane);
                // Not all parts have run: nothing reads the whole.
                let lanes: usize = found.iter().map(|(raw, _)| plan.raws[*raw].layout.len()).sum();
                if lanes < raw.layout.len() {
                    continue;
                }
                for (part, lane) in found {
                    let Measured { parts: at, slots, each } = self.measured[&part];
                    let (pixels, lanes) = (raw.pixels(), plan.raws[part].layout.len());
                    parts.extend([at, slots, pixels, each, lane, lanes].map(|number| number as i32));
                }
            }
            let affine = self.affine(id);
            let (pixels, lanes) = (raw.pixels(), raw.layout.len());
            let head = [self.cuda.tables.norms[id] as i32, pixels as i32, affine, (parts.len() / 6) as i32];
            let at = self.put(&[&head[..], &parts].concat());
            let slots: usize = parts.chunks(6).map(|part| part[1] as usize).max().unwrap_or(0);
            items.extend(super::over_lanes(at, lanes, Work::new(3 * PIXEL * slots, 0)));
        }
        self.begin_wave(Wait::Everything);
        self.round_once(Family::Statistics, when, &items, STATISTICS);
    }

    /// The measured tensors that a tensor is made of, each with its first lane there.
    fn bottom(&self, raw: RawId, lane: usize, found: &mut Vec<(RawId, usize)>) {
        if self.measured.contains_key(&raw) {
            found.push((raw, lane));
            return;
        }
        for &part in &self.cuda.parts[raw] {
            let block = self.cuda.plan.raws[part].part_of.map_or(0, |(_, block)| block);
            self.bottom(part, lane + block * LANES, found);
        }
    }

    /// By block of a tensor: how many lanes are filled.
    pub(super) fn filled(&mut self, raw: RawId) -> i32 {
        let words: Vec<i32> = self.cuda.plan.raws[raw].layout.filled().iter().map(|&lanes| lanes as i32).collect();
        self.put(&words)
    }

    /// By lane of a tensor: its channel, or −1.
    pub(super) fn channels(&mut self, raw: RawId) -> i32 {
        let lanes = self.cuda.plan.raws[raw].layout.lanes();
        let words: Vec<i32> = lanes.iter().map(|lane| lane.map_or(-1, |channel| channel as i32)).collect();
        self.put(&words)
    }

    /// The descriptor of a tensor, or of its gradient at `place`, where a pass meets what is around it.
    /// `noise`: where the numbers begin that are imported instead of images.
    pub(super) fn border(&mut self, raw: RawId, place: usize, noise: Option<usize>) -> i32 {
        let lanes = self.channels(raw);
        let raw = &self.cuda.plan.raws[raw];
        let (blocks, channels) = (raw.layout.blocks() as i32, raw.layout.channels() as i32);
        self.put(&[place as i32, raw.pixels() as i32, blocks, channels, lanes, word(noise)])
    }

    /// Where Σ g·y of a sum and one of its tensors begins among the totals.
    pub(super) fn dot_at(&self, sum: SumId, raw: RawId) -> usize {
        let plan = &self.cuda.plan;
        let Some(dot) = plan.sums[sum].dots.iter().position(|&dot| dot == raw) else {
            unreachable!("a mixed or normed term has its dot")
        };
        self.cuda.tables.dots[sum] + (1 + dot) * plan.raws[raw].layout.len()
    }

    /// Where a value's gradient buffer lies.
    pub(super) fn gradient(&self, value: ValueId) -> i32 {
        debug_assert!(number(value) < self.placement.gradients.len());
        self.placement.gradients[value] as i32
    }
}
