//! What a pass does, worked out once for each kind of pass: which slots run, which masks drop, which gradients are
//! wanted.
//!
//! `items.rs` says what is made in a time step, `groups.rs` which products are one and when everything runs,
//! `storage.rs` what lies in memory, `sections.rs` and `back.rs` what is done element by element in either direction,
//! `ledger.rs` where gradients gather. Nothing here knows how long a window is or how many rows a batch has.

mod back;
mod groups;
pub mod items;
mod ledger;
pub mod program;
mod sections;
pub mod storage;

use self::groups::{Group, Schedule};
use self::items::{Items, Key, View};
use self::ledger::{Ledger, hands_on};
use self::program::{Program, Spot};
use self::sections::{Section, Source};
use self::storage::{Buffer, Storage};
use crate::graph::Node;
use crate::graph::recurrent::RecurrentGraph;

/// A weight's rows as a product needs them: packed once a pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Packing {
    pub weight: usize,
    /// First row and count.
    pub rows: Vec<(usize, usize)>,
    /// Whether the columns of the packed matrix are the weight's rows.
    pub transposed: bool,
    /// Rows and columns of the packed matrix.
    pub depth: usize,
    pub width: usize,
    /// A bias packed behind it, as long as the packed columns.
    pub bias: Option<usize>,
}

/// What a matrix product begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    Zero,
    Add,
    /// The bias packed with the weight.
    Bias,
}

/// A matrix product: `to` (+)= `from` · packed, for all blocks.
#[derive(Clone, Copy, Debug)]
pub struct Multiply {
    pub from: Spot,
    pub to: Spot,
    pub blocks: usize,
    pub packing: usize,
    pub begin: Begin,
}

/// A batch norm's forward or backward pass: from raw values (and the gradient behind the norm) to coefficients.
#[derive(Clone, Copy, Debug)]
pub struct NormWork {
    /// Of the plan's norms.
    pub norm: usize,
    pub raw: Spot,
    pub gradient: Option<Spot>,
}

/// What is done between two points at which all threads wait for one another.
#[derive(Clone, Debug)]
pub enum Work {
    Programs(Vec<Program>),
    Products(Vec<Multiply>),
    Norms(Vec<NormWork>),
}

/// One share of a weight's gradient: rows from `row` on are the columns of `values` times `gradient`, over all rows of
/// all blocks of all time steps.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub row: usize,
    pub rows: usize,
    pub values: Spot,
    pub gradient: Spot,
    pub blocks: usize,
}

/// All that one kind of pass does.
#[derive(Debug)]
pub struct Plan {
    pub key: Key,
    pub items: Items,
    pub buffers: Vec<Buffer>,
    /// By state, and by mask of the graph.
    pub states: Vec<usize>,
    pub masks: Vec<Option<usize>>,
    pub packings: Vec<Packing>,
    /// By norm of the items: its first lane; and all lanes, with room for a lane group behind them.
    pub lanes: Vec<usize>,
    pub lane_count: usize,
    /// Forward: once for the window, then for each time step.
    pub window: Vec<Work>,
    pub step: Vec<Work>,
    /// Backward: for each time step, then for the window.
    pub step_back: Vec<Work>,
    pub window_back: Vec<Work>,
    /// Buffers' blocks to be cleared before each time step, and before the window's part.
    pub step_clears: Vec<(usize, usize)>,
    pub window_clears: Vec<(usize, usize)>,
    /// By weight, with what each gets; and by bias the gradients, each with the number of its blocks.
    pub weights: Vec<(usize, Vec<Share>)>,
    pub biases: Vec<(usize, Vec<(Spot, usize)>)>,
}

impl Plan {
    pub fn new(graph: &RecurrentGraph, output: Node, nexts: &[Node], key: Key) -> Self {
        let mut items = Items::new(graph, output, nexts, &key);
        let schedule = Schedule::new(&mut items);
        items.settle_needs(&key);
        let mut storage = Storage::new(graph, &items, &schedule, &key);
        let (lanes, lane_count) = lanes(&items);
        let source = Source { items: &items, schedule: &schedule, storage: &storage, lanes: &lanes };
        let sections = source.sections();
        let mut ledger = match key.wanted.any() {
            true => Ledger::new(&items, &schedule, &sections, &mut storage, &key),
            false => Ledger::default(),
        };
        let source = Source { items: &items, schedule: &schedule, storage: &storage, lanes: &lanes };
        let mut plan = Builder { source, sections: &sections, key: &key, packings: Vec::new() };
        let window = plan.forward(true);
        let step = plan.forward(false);
        let (mut step_back, mut window_back) = (Vec::new(), Vec::new());
        if key.wanted.any() {
            step_back = plan.backward(false, &mut ledger);
            window_back = plan.backward(true, &mut ledger);
        }
        let (weights, biases) = if key.wanted.w { plan.shares(&ledger) } else { Default::default() };
        let packings = plan.packings;
        Self {
            packings,
            lane_count,
            window,
            step,
            step_back,
            window_back,
            step_clears: ledger.step_clears,
            window_clears: ledger.window_clears,
            weights,
            biases,
            buffers: storage.buffers,
            states: storage.states,
            masks: storage.masks,
            lanes,
            items,
            key,
        }
    }

    /// All programs.
    pub fn programs(&self) -> impl Iterator<Item = &Program> {
        let works = [&self.window, &self.step, &self.step_back, &self.window_back];
        works.into_iter().flatten().flat_map(|work| match work {
            Work::Programs(programs) => programs.as_slice(),
            _ => &[],
        })
    }
}

/// Where each norm's lanes begin: each begins a lane group.
fn lanes(items: &Items) -> (Vec<usize>, usize) {
    let mut end = 0;
    let lanes = items
        .norms
        .iter()
        .map(|norm| {
            let first = end;
            end += norm.width.next_multiple_of(16);
            first
        })
        .collect();
    (lanes, end + 16)
}

struct Builder<'a> {
    source: Source<'a>,
    sections: &'a [Section],
    key: &'a Key,
    packings: Vec<Packing>,
}

impl Builder<'_> {
    fn stages(&self, window: bool) -> usize {
        match window {
            true => self.source.schedule.window_stages,
            false => self.source.schedule.step_stages,
        }
    }

    fn sections(&self, window: bool, stage: usize) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(move |section| section.window == window && section.stage == stage)
    }

    fn groups(&self, window: bool, boundary: usize) -> Vec<(usize, &Group)> {
        let groups = self.source.schedule.groups.iter().enumerate();
        groups.filter(|(_, group)| group.window == window && group.boundary == boundary).collect()
    }

    /// The norms that are taken at a boundary.
    fn norms(&self, boundary: usize) -> Vec<(usize, NormWork)> {
        let of = |(norm, info): (usize, &items::Norm)| {
            let own = self.source.schedule.stages[info.raw] + 1;
            let view = View { item: info.raw, column: 0, width: info.width, norm: None };
            let work = NormWork { norm, raw: self.source.storage.value(view), gradient: None };
            (own == boundary).then_some((norm, work))
        };
        self.source.items.norms.iter().enumerate().filter_map(of).collect()
    }

    fn forward(&mut self, window: bool) -> Vec<Work> {
        let mut work = Vec::new();
        for stage in 0..self.stages(window) {
            let groups: Vec<(usize, Group)> =
                self.groups(window, stage).into_iter().map(|(index, group)| (index, group.clone())).collect();
            let products = groups.iter().map(|(index, group)| self.product(*index, group)).collect();
            let norms = if window { vec![] } else { self.norms(stage) };
            let programs = self.sections(window, stage).map(|section| self.source.forward(section)).collect();
            work.push(Work::Products(products));
            work.push(Work::Norms(norms.into_iter().map(|(_, norm)| norm).collect()));
            work.push(Work::Programs(programs));
        }
        work.retain(Work::is_some);
        work
    }

    /// Where a group's inputs lie.
    fn operand(&self, index: usize, group: &Group) -> Spot {
        match (group.direct(), self.source.storage.stack_of[index]) {
            (Some(view), _) => self.source.storage.value(view),
            (None, Some(stack)) => {
                let stack = &self.source.storage.stacks[stack];
                Spot { buffer: stack.buffer, ahead: false, block: 0, column: 0, row: stack.row }
            }
            (None, None) => unreachable!("a group reads one input where it lies, or a stack"),
        }
    }

    fn product(&mut self, index: usize, group: &Group) -> Multiply {
        let item = group.members[0].item;
        let width = self.source.items.all[item].width;
        let packing = self.packing(Packing {
            weight: group.weight,
            rows: group.rows.clone(),
            transposed: false,
            depth: group.depth(),
            width,
            bias: group.bias,
        });
        let to = self.source.storage.value(View { item, column: 0, width, norm: None });
        let begin = match group.bias {
            _ if group.adds => Begin::Add,
            Some(_) => Begin::Bias,
            None => Begin::Zero,
        };
        Multiply { from: self.operand(index, group), to, blocks: group.members.len(), packing, begin }
    }

    fn packing(&mut self, packing: Packing) -> usize {
        if let Some(known) = self.packings.iter().position(|known| *known == packing) {
            return known;
        }
        self.packings.push(packing);
        self.packings.len() - 1
    }

    fn backward(&mut self, window: bool, ledger: &mut Ledger) -> Vec<Work> {
        let mut work = Vec::new();
        for stage in (0..self.stages(window)).rev() {
            let sections: Vec<&Section> =
                self.sections.iter().filter(|section| section.window == window && section.stage == stage).collect();
            let programs = sections
                .into_iter()
                .filter_map(|section| back::backward(self.source, section, ledger, self.key.wanted.p));
            work.push(Work::Programs(programs.collect()));
            if !window {
                let with_gradient = |(norm, work): (usize, NormWork)| {
                    ledger.norms[norm].as_ref().map(|entity| NormWork { gradient: Some(entity.spot), ..work })
                };
                work.push(Work::Norms(self.norms(stage).into_iter().filter_map(with_gradient).collect()));
            }
            let groups: Vec<(usize, Group)> =
                self.groups(window, stage).into_iter().map(|(index, group)| (index, group.clone())).collect();
            let items = self.source.items;
            let back = groups.iter().filter(|(_, group)| hands_on(items, group));
            let products = back.map(|(index, group)| self.product_back(*index, group, ledger)).collect::<Vec<_>>();
            // One at a time: several may add to one gradient.
            work.extend(products.into_iter().map(|product| Work::Products(vec![product])));
        }
        work.retain(Work::is_some);
        work
    }

    fn product_back(&mut self, index: usize, group: &Group, ledger: &mut Ledger) -> Multiply {
        let item = group.members[0].item;
        let packing = self.packing(Packing {
            weight: group.weight,
            rows: group.rows.clone(),
            transposed: true,
            depth: self.source.items.all[item].width,
            width: group.depth(),
            bias: None,
        });
        let blocks = group.members.len();
        let (to, add) = match (group.direct(), self.source.storage.stack_of[index]) {
            (Some(view), _) => ledger.write(view),
            (None, Some(stack)) => ledger.write_stack(stack, group.window, blocks),
            (None, None) => unreachable!("a group reads one input where it lies, or a stack"),
        };
        let begin = if add { Begin::Add } else { Begin::Zero };
        Multiply { from: gradient_of(ledger, item), to, blocks, packing, begin }
    }

    /// What each weight's and each bias's gradient is made of.
    #[allow(clippy::type_complexity)]
    fn shares(&self, ledger: &Ledger) -> (Vec<(usize, Vec<Share>)>, Vec<(usize, Vec<(Spot, usize)>)>) {
        let mut weights: Vec<(usize, Vec<Share>)> = Vec::new();
        let mut biases: Vec<(usize, Vec<(Spot, usize)>)> = Vec::new();
        for (index, group) in self.source.schedule.groups.iter().enumerate() {
            if !group.members.iter().any(|member| self.source.items.all[member.item].needs) {
                continue;
            }
            let gradient = gradient_of(ledger, group.members[0].item);
            let blocks = group.members.len();
            let mut values = self.operand(index, group);
            for &(row, rows) in &group.rows {
                entry(&mut weights, group.weight).push(Share { row, rows, values, gradient, blocks });
                values = values.shifted(rows);
            }
            if let Some(bias) = group.bias {
                entry(&mut biases, bias).push((gradient, blocks));
            }
        }
        (weights, biases)
    }
}

fn gradient_of(ledger: &Ledger, product: usize) -> Spot {
    let Some(entity) = &ledger.items[product] else { unreachable!("a product with a gradient has a place for it") };
    entity.spot
}

fn entry<T>(table: &mut Vec<(usize, Vec<T>)>, key: usize) -> &mut Vec<T> {
    let at = table.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        table.push((key, Vec::new()));
        table.len() - 1
    });
    &mut table[at].1
}

impl Work {
    fn is_some(&self) -> bool {
        match self {
            Work::Programs(programs) => !programs.is_empty(),
            Work::Products(products) => !products.is_empty(),
            Work::Norms(norms) => !norms.is_empty(),
        }
    }
}
