//! Where each buffer lies: one region an image, shared by buffers that are never alive together.

use super::lives::{Lives, Span};
use super::{Plan, RawId};

/// One buffer's offset in floats within an image's region.
pub type Place = usize;

/// Places of all buffers for one direction of a pass.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// By raw tensor; parts lie within their concatenation.
    pub raws: Vec<Place>,
    /// By value, for gradients that are buffers (unused otherwise).
    pub gradients: Vec<Place>,
    /// Floats of one image's region.
    pub len: usize,
}

/// A buffer and the spans of time in which it is needed.
pub(super) struct Buffer {
    pub len: usize,
    pub spans: Vec<Span>,
}

/// A pass forward only.
pub(super) fn place_inference(plan: &Plan) -> Memory {
    let lives = Lives::of(plan, false);
    let buffers: Vec<Buffer> = (0..plan.raws.len())
        .map(|raw| Buffer { len: plan.raws[raw].len(), spans: lives.forward[raw].into_iter().collect() })
        .collect();
    let (places, len) = pack(&buffers);
    Memory { raws: raws_at(plan, &places), gradients: Vec::new(), len }
}

/// A pass forward and back; `spans` gives those of a raw tensor on either way.
pub(super) fn place_training(
    plan: &Plan,
    lives: &Lives,
    spans: impl Fn(RawId) -> (Vec<Span>, Option<Vec<Span>>),
) -> [Memory; 2] {
    // Tensors as forward writes them, tensors made again, gradients.
    let raws = plan.raws.len();
    let mut buffers: Vec<Buffer> = (0..2 * raws).map(|_| Buffer { len: 0, spans: Vec::new() }).collect();
    let mut again = vec![false; raws];
    for raw in 0..raws {
        let (kept, made_again) = spans(raw);
        buffers[raw] = Buffer { len: plan.raws[raw].len(), spans: kept };
        if let Some(spans) = made_again {
            buffers[raws + raw] = Buffer { len: plan.raws[raw].len(), spans };
            again[raw] = true;
        }
    }
    for (value, span) in lives.gradients.iter().enumerate() {
        buffers.push(Buffer { len: plan.raws[plan.values[value].raw].len(), spans: span.iter().copied().collect() });
    }
    let (places, len) = pack(&buffers);
    let gradients: Vec<Place> = (0..plan.values.len())
        .map(|value| {
            let (owner, offset) = lives.owner(plan, value);
            places[2 * raws + owner] + offset
        })
        .collect();
    let back: Vec<Place> = (0..raws).map(|raw| places[if again[raw] { raws + raw } else { raw }]).collect();
    [
        Memory { raws: raws_at(plan, &places[..raws]), gradients: gradients.clone(), len },
        Memory { raws: raws_at(plan, &back), gradients, len },
    ]
}

<<<<<<< HEAD
/// By raw tensor, given the places of roots.
fn raws_at(plan: &Plan, places: &[Place]) -> Vec<Place> {
    (0..plan.raws.len())
        .map(|raw| {
            let (root, offset) = plan.root(raw);
            places[root] + offset
        })
        .collect()
=======
fn arrange(plan: &Plan, training: bool) -> Memory {
    let mut plain = vec![None; plan.raws.len()];
    for (id, value) in plan.values.iter().enumerate().filter(|(_, value)| value.norm.is_none()).rev() {
        plain[value.raw] = Some(id);
    }
    let mut lives = Lives { plan, plain, lives: vec![None; plan.raws.len() + plan.values.len()], now: 1 };
    for stage in &plan.forward {
        for &step in &stage.steps {
            for value in plan.inputs_of(step) {
                lives.touch_raw(plan.values[value].raw);
            }
            lives.touch_raw(plan.output_of(step));
            lives.now += 2;
        }
    }
    lives.touch_raw(plan.values[plan.output].raw);
    if training {
        for stage in &plan.backward {
            for step in &stage.steps {
                lives.back_step(step);
                lives.now += 2;
            }
        }
    }
    let places = pack(&lives.lives);
    let mut memory = Memory { raws: vec![0; plan.raws.len()], gradients: vec![0; plan.values.len()], len: places.1 };
    for raw in 0..plan.raws.len() {
        let (root, offset) = plan.root(raw);
        memory.raws[raw] = places.0[root] + offset;
    }
    for value in 0..plan.values.len() {
        let (owner, offset) = lives.gradient_owner(value);
        memory.gradients[value] = places.0[plan.raws.len() + owner] + offset;
    }
    memory
}

impl Lives<'_> {
    /// The gradient buffer that a value's gradient lies in, and where: a part's lies within the whole's.
    fn gradient_owner(&self, value: ValueId) -> (ValueId, usize) {
        if self.plan.values[value].norm.is_some() {
            return (value, 0);
        }
        let (root, offset) = self.plan.root(self.plan.values[value].raw);
        (self.plain[root].unwrap_or(value), offset)
    }

    fn touch(&mut self, index: usize, len: usize, at: usize) {
        let life = self.lives[index].get_or_insert(Life { len, first: at, last: at });
        life.first = life.first.min(at);
        life.last = life.last.max(at);
    }

    fn touch_raw(&mut self, raw: RawId) {
        let (root, _) = self.plan.root(raw);
        self.touch(root, self.plan.raws[root].len(), self.now);
    }

    /// Gradients are written after everything that the step reads has been read (see the engine's backward steps), so a
    /// gradient may lie where the step's own stored output lay.
    fn writes_gradient(&mut self, value: ValueId) {
        let (owner, _) = self.gradient_owner(value);
        let len = self.plan.raws[self.plan.values[owner].raw].len();
        self.touch(self.plan.raws.len() + owner, len, self.now + 1);
    }

    fn reads_gradient(&mut self, value: ValueId) {
        match &self.plan.values[value].gradient {
            Gradient::Buffer => {
                let (owner, _) = self.gradient_owner(value);
                let len = self.plan.raws[self.plan.values[owner].raw].len();
                self.touch(self.plan.raws.len() + owner, len, self.now);
            }
            Gradient::Terms(terms) => {
                for term in terms.clone() {
                    self.reads_gradient(self.plan.sums[term.sum].value);
                }
            }
        }
    }

    fn back_step(&mut self, step: &BackStep) {
        let plan = self.plan;
        match step {
            BackStep::Seed => self.writes_gradient(plan.output),
            BackStep::Clear { value } => self.writes_gradient(*value),
            BackStep::OwnSums { value } => {
                self.reads_gradient(*value);
                self.touch_raw(plan.values[*value].raw);
            }
            BackStep::Dots { sum } => {
                self.reads_gradient(plan.sums[*sum].value);
                plan.sums[*sum].dots.iter().for_each(|&raw| self.touch_raw(raw));
            }
            BackStep::SumTerm { sum, term, .. } => {
                self.reads_gradient(plan.sums[*sum].value);
                self.writes_gradient(plan.sums[*sum].terms[*term].value);
            }
            BackStep::Norm { value, into, .. } => {
                self.reads_gradient(*value);
                self.touch_raw(plan.values[*value].raw);
                self.writes_gradient(*into);
            }
            BackStep::Step { step, .. } => {
                let output = plan.output_of(*step);
                let value = match &plan.steps[*step] {
                    Step::Unit(unit) => plan.units[*unit].value,
                    Step::Pool(pool) => plan.pools[*pool].value,
                    Step::Apply { value, .. } | Step::Gather { value, .. } | Step::GlobalPool { value, .. } => *value,
                    Step::Import { .. } | Step::Noise { .. } | Step::Sum(_) => {
                        unreachable!("these have backward steps of their own")
                    }
                };
                self.reads_gradient(value);
                // Moving channels back needs to know none of their values.
                let moves = matches!(&plan.steps[*step], Step::Gather { .. });
                if !moves || plan.values[value].norm.is_some() {
                    self.touch_raw(output);
                }
                for input in plan.inputs_of(*step) {
                    if !moves {
                        self.touch_raw(plan.values[input].raw);
                    }
                    self.writes_gradient(input);
                    if let Step::Pool(_) = &plan.steps[*step] {
                        // A maximum's place is looked up while the gradient is being written.
                        self.now += 1;
                        self.touch_raw(plan.values[input].raw);
                        self.now -= 1;
                    }
                }
            }
            BackStep::Export => {
                if let Some(value) = self.plain[plan.input] {
                    self.reads_gradient(value);
                }
            }
        }
    }
>>>>>>> main
}

/// Greedy by size: the largest buffers first, each at the lowest offset where no buffer alive with it lies.
fn pack(buffers: &[Buffer]) -> (Vec<Place>, usize) {
    let mut order: Vec<usize> = (0..buffers.len()).filter(|&i| !buffers[i].spans.is_empty()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].len), buffers[i].spans[0], i));
    let mut places = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    let (mut taken, mut total) = (Vec::new(), 0);
    for index in order {
        let buffer = &buffers[index];
        taken.clear();
        taken.extend(
            placed
                .iter()
                .filter(|&&other| meet(&buffers[other].spans, &buffer.spans))
                .map(|&other| (places[other], places[other] + buffers[other].len)),
        );
        taken.sort_unstable();
        let mut at = 0;
        for &(from, to) in &taken {
            if at + buffer.len <= from {
                break;
            }
            at = at.max(to);
        }
        places[index] = at;
        placed.push(index);
        total = total.max(at + buffer.len);
    }
    (places, total)
}

/// Whether any two spans share a slot; both lists are in order.
fn meet(one: &[Span], other: &[Span]) -> bool {
    let (mut i, mut j) = (0, 0);
    while let (Some(a), Some(b)) = (one.get(i), other.get(j)) {
        if a.0 <= b.1 && b.0 <= a.1 {
            return true;
        }
        if a.1 < b.1 { i += 1 } else { j += 1 }
    }
    false
}
