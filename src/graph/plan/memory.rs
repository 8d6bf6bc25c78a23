//! Where each buffer lies: one region an image, shared by buffers that are never alive together.

use super::{BackStep, Gradient, Plan, RawId, Step, ValueId};

/// One buffer's offset in floats within an image's region.
pub type Place = usize;

/// Places of all buffers for one use of a plan.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// By raw tensor; parts lie within their concatenation.
    pub raws: Vec<Place>,
    /// By value, for gradients that are buffers (unused otherwise).
    pub gradients: Vec<Place>,
    /// Floats of one image's region.
    pub len: usize,
}

pub(super) fn place(plan: &mut Plan) {
    plan.inference = arrange(plan, false);
    plan.training = arrange(plan, true);
}

/// A buffer that is written, read, and dead after its last reader.
#[derive(Clone, Copy)]
struct Life {
    len: usize,
    first: usize,
    last: usize,
}

struct Lives<'p> {
    plan: &'p Plan,
    /// By raw tensor: its value without a norm.
    plain: Vec<Option<ValueId>>,
    /// Raw tensors first (by root), then gradients (by owner).
    lives: Vec<Option<Life>>,
    now: usize,
}

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
}

/// Greedy by size: the largest buffers first, each at the lowest offset where no buffer alive with it lies.
fn pack(lives: &[Option<Life>]) -> (Vec<Place>, usize) {
    let mut order: Vec<(usize, Life)> = lives.iter().enumerate().filter_map(|(i, life)| life.map(|l| (i, l))).collect();
    order.sort_by(|(i, a), (j, b)| b.len.cmp(&a.len).then(a.first.cmp(&b.first)).then(i.cmp(j)));
    let mut places = vec![0; lives.len()];
    let mut placed: Vec<(usize, Life)> = Vec::new();
    let mut total = 0;
    for (index, life) in order {
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|(_, other)| other.first <= life.last && life.first <= other.last)
            .map(|&(place, other)| (place, place + other.len))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (from, to) in taken {
            if at + life.len <= from {
                break;
            }
            at = at.max(to);
        }
        places[index] = at;
        placed.push((at, life));
        total = total.max(at + life.len);
    }
    (places, total)
}
