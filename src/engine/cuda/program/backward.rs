//! The backward pass as launches. A stage's steps are put in levels; whatever adds to one gradient buffer at one level
//! is one item that gathers all contributions, so no two blocks of threads write to one place.

use super::back_level::{Level, TAPPED_IN_RUNS};
use super::descriptors::UnitPlaces;
use super::levels::{Effects, back_levels};
use super::totals::{Summed, WEIGHTS};
use super::{Family, Item, Maker, PIXEL, SUMMING, Wait, When, Work, over_lanes, over_pixels};
use crate::engine::cuda::plan::{STRIP, TapGrid};
use crate::graph::plan::{BackStep, LANES, RawId, Step as PlanStep, StepId, SumId, UnitId, ValueId};

/// Kinds of contributions beside those of small steps.
const TERM: i32 = 6;
const STORED: i32 = 7;
const REPEATED: i32 = 8;

/// Floats of shared memory that sums over the batch take: two numbers in double precision for each thread.
const ADD_UP: usize = 1024;

/// Weights' gradients that a block of threads adds up. As in totals.cuh.
const GRADIENTS: usize = 64;

impl Maker<'_> {
    pub(super) fn backward(&mut self) {
        let wanted = self.agenda.wanted;
        if wanted.w {
            self.launch_flat("clear", 0, self.graph.parameters());
        }
        if wanted.p {
            self.launch_flat("clear", 1, self.graph.slot_count().max(1));
        }
        self.parts = 0;
        let agenda = self.agenda;
        self.waiting = self.normed_values();
        for stage in &agenda.backward {
            let again = stage.steps.iter().filter_map(|step| match step {
                BackStep::Recompute { step } => Some(*step),
                _ => None,
            });
            let again: Vec<StepId> = again.collect();
            self.make_outputs(&again, false);
            let steps: Vec<BackStep> = stage.steps.iter().filter_map(|step| self.as_it_runs(step)).collect();
            self.check_norms(&steps);
            let effects: Vec<Effects> = steps.iter().map(|step| Effects::of(self.cuda, step)).collect();
            let levels = back_levels(self.cuda, &effects);
            let mut sums = Vec::new();
            for level in 0..=levels.iter().copied().max().unwrap_or(0) {
                let mut items = Level::default();
                for (step, _) in steps.iter().zip(&levels).filter(|(_, of)| **of == level) {
                    self.back_step(step, &mut items, &mut sums);
                }
                self.emit(items);
            }
            sums.extend(self.ready_norms());
            self.begin_wave(Wait::Everything);
            self.round_once(Family::AddUp, When::Always, &sums, ADD_UP);
            self.end_launch();
            self.parts = 0;
            self.beside = 0;
        }
        if wanted.p {
            self.mixing_gradients();
        }
    }

    /// A step as it is to be done: one that does not run this time but would be the first to write leaves zeros; none
    /// where there is nothing to do.
    pub(super) fn as_it_runs(&self, step: &BackStep) -> Option<BackStep> {
        let (plan, agenda) = (&self.cuda.plan, self.agenda);
        let clear = |first: bool, value: ValueId| first.then_some(BackStep::Clear { value });
        match step {
            BackStep::SumTerm { sum, term, first } => {
                let of = &plan.sums[*sum].terms[*term];
                match agenda.sum_runs(plan, *sum) && agenda.live.term(plan, of) {
                    true => Some(step.clone()),
                    false => clear(*first, of.value),
                }
            }
            BackStep::Step { step: forward, input, first } => {
                let input = plan.inputs_of(*forward)[*input];
                match agenda.runs(plan, *forward) {
                    true => Some(step.clone()),
                    false => clear(*first, input),
                }
            }
            BackStep::Recompute { .. } => None,
            step => Some(step.clone()),
        }
    }

    /// `sums`: what is summed over the batch at the end of the stage.
    fn back_step(&mut self, step: &BackStep, items: &mut Level, sums: &mut Vec<Item>) {
        let plan = &self.cuda.plan;
        match step {
            BackStep::Seed => {
                let raw = plan.values[plan.output].raw;
                let border = self.border(raw, self.placement.gradients[plan.output], None);
                items.seeds.push(Item { words: [border, 0, 0, 1], work: Work::default() });
                self.begin(plan.output);
            }
            BackStep::Clear { value } => {
                items.contributions.entry(*value).or_default();
            }
            BackStep::OwnSums { value } => {
                let Some(norm) = plan.values[*value].norm else { unreachable!("only norms have sums of their own") };
                let raw = plan.values[*value].raw;
                self.dots(*value, raw, &[Some(raw)], self.cuda.tables.own_sums[norm], items, sums);
            }
            BackStep::Dots { sum } => {
                let raws: Vec<Option<RawId>> =
                    plan.sums[*sum].dots.iter().map(|&raw| self.dot_is_used(*sum, raw).then_some(raw)).collect();
                let (value, output) = (plan.sums[*sum].value, plan.sums[*sum].output);
                self.dots(value, output, &raws, self.cuda.tables.dots[*sum], items, sums);
            }
            BackStep::SumTerm { sum, term, .. } => {
                let (value, term, floats) =
                    (plan.sums[*sum].value, plan.sums[*sum].terms[*term], plan.raws[plan.sums[*sum].output].len());
                items.term_tensors.read(self.placement.gradients[value], floats);
                let [kind, slot] = self.mixing(term.mixing);
                let drop = term.drop.map_or(-1, |path| path as i32);
                let at = self.put(&[self.gradient(value), kind, slot, drop]);
                items.contributions.entry(term.value).or_default().add([TERM, at], Work::new(0, 2 * LANES));
            }
            BackStep::Norm { value, into, .. } => {
                let at = self.stored(*value);
                let terms = self.table[at as usize + 2] as usize;
                items.found = items.found.max((terms + 2) * LANES);
                let work = self.stored_work(at);
                items.contributions.entry(*into).or_default().add([STORED, at], work);
            }
            BackStep::Step { step, input, .. } => self.back_of(*step, *input, items, sums),
            BackStep::Recompute { .. } => unreachable!("outputs are recomputed before a stage's steps run"),
            BackStep::Export => {
                if let Some(value) = self.cuda.plain[plan.input] {
                    let raw = &plan.raws[plan.input];
                    let (blocks, pixels) = (raw.layout.blocks(), raw.pixels());
                    let border = self.border(plan.input, self.placement.gradients[value], None);
                    items.exports.extend(over_pixels(border, blocks, pixels, STRIP, Work::new(2 * PIXEL, 0)));
                }
            }
        }
    }

    /// Whether anything is made of Σ g·y of a sum and one of its tensors.
    fn dot_is_used(&self, sum: SumId, raw: RawId) -> bool {
        let (plan, agenda) = (&self.cuda.plan, self.agenda);
        let for_slot = agenda.wanted.p && plan.dot_feeds_slot(sum, raw);
        let for_norm = plan.dot_feeds_norm(sum, raw) && (agenda.needs[raw] || agenda.wanted.w);
        agenda.live.raw(plan, raw) && (for_slot || for_norm)
    }

    /// Σ g and Σ g·y of a gradient buffer and some tensors.
    fn dots(
        &mut self,
        value: ValueId,
        like: RawId,
        raws: &[Option<RawId>],
        at: usize,
        items: &mut Level,
        sums: &mut Vec<Item>,
    ) {
        let raw = &self.cuda.plan.raws[like];
        let (pixels, lanes) = (raw.pixels(), raw.layout.len());
        let (slots, len) = (pixels.div_ceil(STRIP), (1 + raws.len()) * lanes);
        let parts = self.set_aside(slots * len);
        let head = [self.gradient(value) as usize, pixels, STRIP, parts, slots, lanes, raws.len()];
        let mut words = head.map(|number| number as i32).to_vec();
        words.extend(raws.iter().map(|raw| raw.map_or(-1, |raw| self.placement.raws[raw] as i32)));
        let descriptor = self.put(&words);
        let used = 1 + raws.iter().flatten().count();
        items.dots.extend(over_pixels(
            descriptor,
            lanes / LANES,
            pixels,
            STRIP,
            Work::new(PIXEL * used, 2 * LANES * used),
        ));
        let descriptor = self.put(&[parts, slots, len, at].map(|number| number as i32));
        sums.extend(over_lanes(descriptor, len, Work::new(PIXEL * slots, LANES * slots)));
        self.summed.insert(at, Summed::InParts { parts, slots, len });
    }

    fn back_of(&mut self, step: StepId, number: usize, items: &mut Level, sums: &mut Vec<Item>) {
        let plan = &self.cuda.plan;
        let (input, value) = (plan.inputs_of(step)[number], plan.value_made_by(step));
        let needed = self.agenda.needs_value(plan, input);
        let output = &plan.raws[plan.output_of(step)];
        if let PlanStep::Unit(unit) = &plan.steps[step] {
            if needed || self.agenda.wanted.w {
                self.back_of_unit(*unit, needed.then_some(input), items, sums);
            }
            return;
        }
        if !needed {
            return;
        }
        let out = self.set_beside(output.len()) as i32;
        let stored = self.stored(value);
        let terms = self.table[stored as usize + 2] as usize;
        let plain = self.put(&[out, output.pixels() as i32, stored]);
        let work = Work { bytes: PIXEL as u64, ..self.stored_work(stored) };
        self.read_stored(value, &mut items.plain_tensors);
        items.plain.extend(over_pixels(plain, output.layout.blocks(), output.pixels(), STRIP, work));
        items.plain_shared = items.plain_shared.max((terms + 2) * LANES);
        if matches!(plan.steps[step], PlanStep::Standardise { .. }) {
            // In the place of the gradient that has just been written out; from there it is added as it is.
            self.read(plan.values[input].raw, &mut items.standardised_tensors);
            let standardised = self.standardise(input, out as usize, Work::new(3 * PIXEL, 8 * LANES));
            items.standardised.push(standardised);
            let term = self.put(&[out, 0, 0, -1]);
            items.contributions.entry(input).or_default().add([TERM, term], Work::new(PIXEL, 2 * LANES));
            return;
        }
        let small = self.small(step, number, out, true, 0);
        let mut kind = self.table[small as usize];
        // Maxima are looked for again.
        let work = match &plan.steps[step] {
            PlanStep::Pool(id) if kind == 0 => {
                items.found = items.found.max(self.maxima(step));
                Work::new(2 * PIXEL, 2 * LANES * plan.pools[*id].pool.kernel.pow(2))
            }
            PlanStep::Pool(id) => Work::new(PIXEL, LANES * plan.pools[*id].pool.kernel.pow(2)),
            PlanStep::Product { .. } => {
                let met = output.pixels() / plan.raws[plan.values[input].raw].pixels();
                if met > 1 {
                    kind = REPEATED;
                    items.found = items.found.max(SUMMING);
                }
                Work::new(2 * PIXEL * met, 2 * LANES * met)
            }
            PlanStep::Upsample { factor, .. } => Work::new(PIXEL * factor.pow(2), LANES * factor.pow(2)),
            _ => Work::new(PIXEL, LANES),
        };
        items.contributions.entry(input).or_default().add([kind, small], work);
    }

    /// Floats that the places of maxima take, in all windows that pixels of one item are in.
    fn maxima(&self, step: StepId) -> usize {
        let plan = &self.cuda.plan;
        let PlanStep::Pool(id) = &plan.steps[step] else { unreachable!("only pools have maxima") };
        let pool = plan.pools[*id].pool;
        let input = &plan.raws[plan.values[plan.inputs_of(step)[0]].raw];
        let output = &plan.raws[plan.output_of(step)];
        // Pixels of an item may begin and end within a row.
        let rows = (STRIP.div_ceil(input.width) + 1).min(input.height);
        let windows = ((rows + pool.kernel - 2) / pool.stride + 1).min(output.height);
        windows * output.width * LANES
    }

    fn back_of_unit(&mut self, id: UnitId, input: Option<ValueId>, items: &mut Level, sums: &mut Vec<Item>) {
        let unit = &self.cuda.plan.units[id];
        let (strips, packing) = (self.cuda.strips[id], self.cuda.tables.packing[id]);
        let (inputs, outputs) = (self.cuda.input_blocks(unit), self.cuda.plan.raws[unit.output].layout.blocks());
        let middle = self.cuda.has_middle(unit);
        let blocks = if unit.depthwise.is_some() || middle { inputs } else { outputs };
        let floats = blocks * unit.geometry.output.0 * unit.geometry.output.1 * LANES;
        let plane = self.set_beside(floats);
        let len = packing.gradient_len();
        let parts = self.agenda.wanted.w.then(|| self.set_aside(strips.count * len));
        let stored = self.stored(unit.value);
        let terms = self.table[stored as usize + 2] as usize;
        let descriptor = self.unit(id, UnitPlaces { plane, weights: parts, stored, measured: None });
        // One strip an item, and a place of its own for its weight gradients.
        for strip in 0..strips.count {
            let rows = strips.rows.min(unit.geometry.output.0 - strip * strips.rows);
            let pixels = rows * unit.geometry.output.1;
            let mut work = Work { bytes: 0, ..self.stored_work(stored).times(pixels * outputs) };
            let products = 2 * LANES * LANES * inputs * outputs * pixels;
            work += Work::new(PIXEL * blocks * pixels, if middle { products } else { 0 });
            if parts.is_some() {
                // The depthwise part again, and the weights' products.
                let forward = self.strip_work(id, rows);
                let again = if middle { forward.flops - products as u64 } else { 0 };
                work += Work { bytes: (size_of::<f32>() * len) as u64, flops: forward.flops + again };
            }
            let at = strip as i32;
            items.units.push(Item { words: [descriptor, at, at, 0], work });
        }
        items.unit_tensors.write(plane, floats);
        self.read_stored(unit.value, &mut items.unit_tensors);
        let from = self.cuda.input_of(unit).1;
        if parts.is_some() {
            self.read(from, &mut items.unit_tensors);
        }
        let kept = if middle { inputs } else { usize::from(unit.dense.is_some()) };
        let shared = (terms + 2) * outputs * LANES + (outputs + kept) * strips.apart() + strips.tiles;
        items.unit_shared = items.unit_shared.max(shared);
        if let Some(parts) = parts {
            let (dense, bias) = (self.cuda.dense_at() + packing.dense, self.cuda.bias_at() + packing.bias);
            let words =
                [parts, strips.count, len, packing.depthwise, packing.depthwise_len, dense, packing.dense_len, bias];
            let descriptor = self.put(&words.map(|number| number as i32));
            for at in (0..len).step_by(GRADIENTS) {
                let bytes = size_of::<f32>() * GRADIENTS.min(len - at) * strips.count;
                sums.push(Item { words: [descriptor, at as i32, 0, WEIGHTS], work: Work::new(bytes, bytes / 4) });
            }
        }
        if let Some(input) = input {
            let classes = self.classes(id);
            let taps = unit.geometry.taps.len().div_ceil(unit.geometry.stride.0 * unit.geometry.stride.1);
            let single = unit.depthwise.is_some() || middle;
            items.input_tensors.read(plane, floats);
            let products = if single { LANES } else { LANES * LANES * outputs };
            if self.cuda.plan.views[unit.input].activation.is_some() {
                self.read(from, &mut items.input_tensors);
            }
            let work = Work::new(0, 2 * taps * products);
            let readers = items.readers.entry(input).or_default();
            readers.add([descriptor, classes], work);
            let width = self.cuda.plan.raws[from].width;
            if let Some(grid) = TapGrid::of(unit).filter(|grid| width <= TAPPED_IN_RUNS && grid.leads_back(unit)) {
                let at = readers.grids.len();
                readers.pairs[at..].rotate_right(1);
                readers.grids.push(grid);
            }
        }
    }

    /// What a quarter of a stored gradient's quads takes: a pixel of a block.
    fn stored_work(&self, stored: i32) -> Work {
        let [norm, terms] = [1, 2].map(|word| self.table[stored as usize + word]);
        let planes = terms as usize + usize::from(norm >= 0);
        Work::new(PIXEL * planes, 2 * LANES * planes)
    }

    /// By class of input pixels: where its taps begin, and how many they are.
    fn classes(&mut self, id: UnitId) -> i32 {
        let geometry = &self.cuda.plan.units[id].geometry;
        let halo = (geometry.halo.0 as i32, geometry.halo.1 as i32);
        let mut heads = Vec::new();
        for class in &geometry.backward {
            let taps: Vec<i32> = class
                .iter()
                .flat_map(|tap| [tap.tap as i32, tap.row as i32 - halo.0, tap.column as i32 - halo.1])
                .collect();
            heads.extend([self.put(&taps), class.len() as i32]);
        }
        self.put(&heads)
    }
}
