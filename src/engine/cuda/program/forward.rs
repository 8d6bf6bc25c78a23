//! The forward pass as launches: one for each stage, in which each level is a wave with a round for each family.

use super::descriptors::UnitPlaces;
use super::levels::forward_levels;
use super::{Family, Item, Maker, Measured, PIXEL, SUMMING, Tensors, Wait, When, Work, over_pixels};
use crate::engine::cuda::plan::{STRIP, Strips, pool_code};
use crate::graph::PoolKind;
use crate::graph::plan::{LANES, NormId, RawId, Step as PlanStep, StepId, SumId, ValueId};

/// Kinds of small steps, as the kernels number them beside pools.
pub(super) const APPLY: i32 = 2;
pub(super) const GATHER: i32 = 3;
pub(super) const GLOBAL: i32 = 4;
pub(super) const PRODUCT: i32 = 5;
pub(super) const UPSAMPLE: i32 = 9;

/// Floats of shared memory that statistics take where an item takes its own: moments.cuh's scratch.
const MOMENTS: usize = 144;

/// The items of one level, by family.
#[derive(Default)]
struct Level {
    imports: Vec<Item>,
    units: Vec<Item>,
    unit_shared: usize,
    unit_tensors: Tensors,
    small: Vec<Item>,
    small_tensors: Tensors,
    standardised: Vec<Item>,
    standardised_tensors: Tensors,
    sums: Vec<Item>,
    sum_shared: usize,
    sum_tensors: Tensors,
}

impl Maker<'_> {
    pub(super) fn forward(&mut self) {
        let all: Vec<NormId> = self.cuda.plan.norms.ids().collect();
        self.statistics(&all, When::Running);
        self.end_launch();
        self.keep_statistics_of_parts();
        let stages: Vec<_> = self.agenda.forward.pairs().map(|(stage, steps)| (stage, steps.clone())).collect();
        for (stage, steps) in stages {
            self.make_outputs(&steps, true);
            self.measure(&steps);
            let norms = self.cuda.norms_of_stage[stage].clone();
            let live = |norm: &NormId| self.agenda.live.raw(&self.cuda.plan, self.cuda.plan.norms[*norm].raw);
            let norms: Vec<NormId> = norms.into_iter().filter(live).collect();
            self.statistics(&norms, When::Batch);
            self.end_stage();
            self.end_launch();
        }
        let output = self.cuda.plan.values[self.cuda.plan.output].raw;
        let border = self.border(output, self.placement.raws[output], None);
        let item = Item { words: [border, 0, 0, 1], work: Work::default() };
        self.round(Family::ReadOutput, &[item], 0, Tensors::default());
    }

    /// The outputs of a stage's steps, level by level; `measure`: with what their makers take for statistics.
    pub(super) fn make_outputs(&mut self, steps: &[StepId], measure: bool) {
        let levels = forward_levels(self.cuda, steps);
        for level in 0..=levels.iter().copied().max().unwrap_or(0) {
            let mut items = Level::default();
            for (&step, _) in steps.iter().zip(&levels).filter(|(_, of)| **of == level) {
                self.forward_step(step, measure, &mut items);
            }
            let Level {
                imports,
                units,
                unit_shared,
                unit_tensors,
                small,
                small_tensors,
                standardised,
                standardised_tensors,
                sums,
                sum_shared,
                sum_tensors,
            } = items;
            // What takes longest begins first.
            self.begin_wave(Wait::OwnImage);
            self.round(Family::Unit, &units, unit_shared, unit_tensors);
            self.round(Family::Standardise, &standardised, SUMMING, standardised_tensors);
            self.round(Family::Sum, &sums, sum_shared, sum_tensors);
            self.round(Family::Small, &small, MOMENTS, small_tensors);
            self.round(Family::Import, &imports, 0, Tensors::default());
        }
    }

    fn forward_step(&mut self, step: StepId, measure: bool, items: &mut Level) {
        let plan = &self.cuda.plan;
        let output = plan.output_of(step);
        let (blocks, pixels) = (plan.raws[output].layout.blocks(), plan.raws[output].pixels());
        let copied = Work::new(2 * PIXEL, 0);
        match &plan.steps[step] {
            PlanStep::Import { output } => {
                let border = self.border(*output, self.placement.raws[*output], None);
                items.imports.extend(over_pixels(border, blocks, pixels, STRIP, copied));
            }
            PlanStep::Unit(id) => {
                let (id, unit) = (*id, &plan.units[*id]);
                let strips = self.cuda.strips[id];
                let takes = measure && unit.dense.is_some() && self.cuda.measured[unit.output];
                let measured = takes.then(|| self.measured(unit.output));
                let descriptor = self.unit(id, UnitPlaces { measured, ..UnitPlaces::default() });
                items.units.extend(self.over_strips(id, descriptor));
                self.read(self.cuda.input_of(unit).1, &mut items.unit_tensors);
                self.write(output, &mut items.unit_tensors);
                let blocks = if unit.dense.is_some() { self.cuda.input_blocks(unit) } else { strips.group };
                items.unit_shared = items.unit_shared.max(blocks * strips.pixels * LANES + strips.tiles);
            }
            PlanStep::Sum(id) => {
                let descriptor = self.sum(*id);
                let terms = self.table[descriptor as usize + 2] as usize;
                self.write(output, &mut items.sum_tensors);
                let work = Work::new(PIXEL, 2 * LANES * terms);
                for term in plan.sums[*id].terms.iter().filter(|term| self.agenda.live.term(plan, term)) {
                    self.read(plan.values[term.value].raw, &mut items.sum_tensors);
                }
                items.sums.extend(over_pixels(descriptor, blocks, pixels, STRIP, work));
                items.sum_shared = items.sum_shared.max((1 + plan.sums[*id].terms.len()) * LANES);
            }
            PlanStep::Pool(_)
            | PlanStep::Apply { .. }
            | PlanStep::Gather { .. }
            | PlanStep::Product { .. }
            | PlanStep::Upsample { .. }
            | PlanStep::GlobalPool { .. } => {
                let takes = measure && self.takes_moments(output);
                let moments = if takes { self.moments(output) } else { 0 };
                let descriptor = self.small(step, 0, self.placement.raws[output] as i32, false, moments);
                let inputs = plan.inputs_of(step);
                for &input in &inputs {
                    self.read(plan.values[input].raw, &mut items.small_tensors);
                }
                self.write(output, &mut items.small_tensors);
                let from = plan.raws[plan.values[inputs[0]].raw].pixels();
                let work = match &plan.steps[step] {
                    PlanStep::Pool(id) => Work::new(PIXEL, LANES * plan.pools[*id].pool.kernel.pow(2)),
                    PlanStep::GlobalPool { .. } => Work::new(PIXEL, LANES * from),
                    _ => Work::new(PIXEL, LANES),
                };
                items.small.extend(over_pixels(descriptor, blocks, pixels, STRIP, work));
            }
            PlanStep::Standardise { input, output, .. } => {
                let (input, out) = (*input, self.placement.raws[*output]);
                self.read(plan.values[input].raw, &mut items.standardised_tensors);
                self.write(*output, &mut items.standardised_tensors);
                items.standardised.push(self.standardise(input, out, Work::new(PIXEL, 6 * LANES)));
            }
            PlanStep::Noise { output, id, kind, .. } => {
                let at = self.noise_len;
                self.noise_len += self.cuda.noise_len(*output);
                self.noises.push((*kind, *id, self.cuda.noise_len(*output)));
                let border = self.border(*output, self.placement.raws[*output], Some(at));
                items.imports.extend(over_pixels(border, blocks, pixels, STRIP, copied));
            }
        }
    }

    fn sum(&mut self, id: SumId) -> i32 {
        let plan = &self.cuda.plan;
        let sum = &plan.sums[id];
        let mut words = vec![self.placement.raws[sum.output] as i32, plan.raws[sum.output].pixels() as i32, 0];
        for term in sum.terms.iter().filter(|term| self.agenda.live.term(plan, term)) {
            let [kind, slot] = self.mixing(term.mixing);
            let raw = self.placement.raws[plan.values[term.value].raw] as i32;
            words.extend([raw, self.norm_of(term.value), kind, slot, term.drop.map_or(-1, |path| path as i32)]);
            words[2] += 1;
        }
        self.put(&words)
    }

    /// A small step's descriptor, as its `number`-th input meets it; `out`: where its output, or its output's gradient,
    /// lies. A gather's lanes differ by direction. `moments`: the descriptor of its output's statistics, or 0.
    pub(super) fn small(&mut self, step: StepId, number: usize, out: i32, back: bool, moments: i32) -> i32 {
        let plan = &self.cuda.plan;
        let from = plan.values[plan.inputs_of(step)[number]].raw;
        let (input, output) = (&plan.raws[from], &plan.raws[plan.output_of(step)]);
        let (mut kind, mut norm, mut pool, mut activation, mut lanes) = (GLOBAL, -1, [1, 1, 0, 0], 0, 0);
        match &plan.steps[step] {
            PlanStep::Pool(id) => {
                let of = plan.pools[*id].pool;
                kind = pool_code(of.kind);
                let counts = matches!(of.kind, PoolKind::Average { count_padding: true });
                pool = [of.kernel as i32, of.stride as i32, of.padding as i32, counts.into()];
            }
            PlanStep::Apply { input, .. } => {
                kind = APPLY;
                [norm, activation] = self.view(*input);
                lanes = self.filled(from);
            }
            PlanStep::Gather { lanes: of, .. } => {
                kind = GATHER;
                lanes = match back {
                    false => {
                        let words: Vec<i32> = of.iter().map(|lane| lane.map_or(-1, |lane| lane as i32)).collect();
                        self.put(&words)
                    }
                    true => self.gathered_back(of, input.layout.len()),
                };
            }
            PlanStep::Product { inputs, .. } => {
                let other = plan.values[inputs[1 - number]].raw;
                kind = PRODUCT;
                // As the stride: pixels of the other factor for each of the output.
                pool[1] = i32::from(plan.raws[other].pixels() == output.pixels());
                lanes = self.placement.raws[other] as i32;
            }
            PlanStep::Upsample { factor, .. } => (kind, pool[1]) = (UPSAMPLE, *factor as i32),
            _ => {}
        }
        let sizes = [input.height, input.width, output.height, output.width].map(|size| size as i32);
        let words = [
            kind,
            self.placement.raws[from] as i32,
            sizes[0],
            sizes[1],
            norm,
            out,
            sizes[2],
            sizes[3],
            pool[0],
            pool[1],
            pool[2],
            pool[3],
            activation,
            lanes,
            moments,
        ];
        self.put(&words)
    }

    /// The item that standardises an image's numbers; `out`: where they go, or where their gradient lies; `work`: a
    /// pixel's.
    pub(super) fn standardise(&mut self, input: ValueId, out: usize, work: Work) -> Item {
        let raw = self.cuda.plan.values[input].raw;
        let filled = self.filled(raw);
        let of = &self.cuda.plan.raws[raw];
        let (pixels, blocks) = (of.pixels(), of.layout.blocks());
        let work = work.times(pixels * blocks);
        let words = [self.placement.raws[raw], pixels, blocks, of.layout.channels()].map(|number| number as i32);
        let descriptor = self.put(&[&words[..], &[filled, out as i32]].concat());
        Item { words: [descriptor, 0, 0, 1], work }
    }

    /// By input lane: where the list of output lanes that it went to begins, and how many they are.
    fn gathered_back(&mut self, lanes: &[Option<u32>], inputs: usize) -> i32 {
        let mut lists = vec![Vec::new(); inputs];
        for (to, from) in lanes.iter().enumerate().filter_map(|(to, from)| Some((to, (*from)?))) {
            lists[from as usize].push(to as i32);
        }
        let heads: Vec<i32> = lists.iter().flat_map(|list| [self.put(list), list.len() as i32]).collect();
        self.put(&heads)
    }

    /// The strips of the unit that makes a tensor and takes its statistics.
    fn strips_of(&self, raw: RawId) -> Option<Strips> {
        let plan = &self.cuda.plan;
        match plan.raws[raw].made_by.map(|step| &plan.steps[step]) {
            Some(PlanStep::Unit(unit)) if plan.units[*unit].dense.is_some() => Some(self.cuda.strips[*unit]),
            _ => None,
        }
    }

    /// Where a tensor's partial sums for statistics go.
    fn measured(&mut self, raw: RawId) -> Measured {
        if let Some(measured) = self.measured.get(&raw) {
            return *measured;
        }
        let of = &self.cuda.plan.raws[raw];
        let (slots, each) = match self.strips_of(raw) {
            Some(strips) => (strips.count, strips.pixels),
            None => (of.pixels().div_ceil(STRIP), STRIP),
        };
        let parts = self.set_aside(3 * slots * of.layout.len());
        let measured = Measured { parts, slots, each };
        self.measured.insert(raw, measured);
        measured
    }

    /// Sets places aside for the statistics of tensors that are parts of a concatenation with a norm: the norm may come
    /// in a later stage.
    fn keep_statistics_of_parts(&mut self) {
        let plan = &self.cuda.plan;
        let parts = plan.raws.pairs().filter(|(id, raw)| {
            raw.part_of.is_some()
                && raw.made_by.is_some_and(|step| self.agenda.live.steps[step])
                && self.cuda.measured[*id]
        });
        let parts: Vec<RawId> = parts.map(|(id, _)| id).collect();
        for raw in parts {
            self.measured(raw);
            self.lasting.insert(raw);
        }
        self.kept = self.parts;
    }

    /// Whether a small step takes its output's statistics as it writes it.
    fn takes_moments(&self, raw: RawId) -> bool {
        let plan = &self.cuda.plan;
        let small = |step: StepId| {
            matches!(
                plan.steps[step],
                PlanStep::Pool(_)
                    | PlanStep::Apply { .. }
                    | PlanStep::Gather { .. }
                    | PlanStep::Product { .. }
                    | PlanStep::Upsample { .. }
            )
        };
        self.cuda.measured[raw] && plan.raws[raw].made_by.is_some_and(small)
    }

    /// The descriptor of a tensor's statistics.
    fn moments(&mut self, raw: RawId) -> i32 {
        let of = &self.cuda.plan.raws[raw];
        let (pixels, lanes) = (of.pixels(), of.layout.len());
        let Measured { parts, slots, .. } = self.measured(raw);
        self.put(&[self.placement.raws[raw], pixels, STRIP, parts, slots, lanes].map(|number| number as i32))
    }

    /// Statistics of tensors whose makers do not take them.
    fn measure(&mut self, steps: &[StepId]) {
        let plan = &self.cuda.plan;
        let outputs: Vec<RawId> = steps.iter().map(|&step| plan.output_of(step)).collect();
        let (mut items, mut tensors) = (Vec::new(), Tensors::default());
        for raw in outputs {
            if !self.cuda.measured[raw] || self.strips_of(raw).is_some() || self.takes_moments(raw) {
                continue;
            }
            let (pixels, blocks) = (plan.raws[raw].pixels(), plan.raws[raw].layout.blocks());
            let descriptor = self.moments(raw);
            items.extend(over_pixels(descriptor, blocks, pixels, STRIP, Work::new(0, 3 * LANES)));
            self.read(raw, &mut tensors);
        }
        self.begin_wave(Wait::OwnImage);
        self.push_round(Family::Moments, When::Batch, &items, true, MOMENTS, tensors);
    }
}
