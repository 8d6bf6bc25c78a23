//! What lies in memory, and where.

use super::groups::Schedule;
use super::items::{Item, Items, Key, Kind, View};
use super::program::Spot;
use crate::graph::recurrent::RecurrentGraph;

/// For which time steps a buffer has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of the window.
    Window,
    /// All of the window, and the state before it.
    States,
    /// The one that is under way.
    Step,
    /// The one that is under way and the one after it.
    Two,
    /// None: the same for all.
    Fixed,
    /// The tensors that come and go: token vectors, outputs and their gradients. All of the window.
    X,
    Output,
    OutputGradient,
    XGradient,
}

/// Blocks × rows of the batch × columns of floats for each of its time steps.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    pub extent: Extent,
    pub blocks: usize,
    /// Columns of a row.
    pub row: usize,
}

/// Inputs of products, one block a product; a group reads the first blocks.
#[derive(Clone, Debug)]
pub struct Stack {
    pub window: bool,
    pub members: Vec<Vec<usize>>,
    pub buffer: usize,
    pub row: usize,
}

/// Where everything that outlives a program lies.
#[derive(Clone, Debug)]
pub struct Storage {
    pub buffers: Vec<Buffer>,
    /// By item: where it is read. None for what stays in registers.
    pub values: Vec<Option<Spot>>,
    /// By item: where a program stores it.
    pub stores: Vec<Vec<Spot>>,
    /// By mask of the graph: its buffer; none where it drops nothing.
    pub masks: Vec<Option<usize>>,
    /// By state.
    pub states: Vec<usize>,
    pub stacks: Vec<Stack>,
    /// By group; none where it reads its input where it lies.
    pub stack_of: Vec<Option<usize>>,
    /// The output's gradient, and that of x.
    pub output_gradient: Spot,
    pub x_gradient: Spot,
}

/// Whether a fused item reads a view from a register of its own program.
pub fn is_register(items: &Items, schedule: &Schedule, view: View, reader: usize) -> bool {
    let (of, by) = (&items.all[view.item], &items.all[reader]);
    let together = of.window == by.window && schedule.stages[view.item] == schedule.stages[reader];
    of.fused().is_some() && !of.is_sum() && items.is_whole(view) && together
}

impl Storage {
    pub fn new(graph: &RecurrentGraph, items: &Items, schedule: &Schedule, key: &Key) -> Self {
        let spot = |buffer: usize, row: usize| Spot { buffer, ahead: false, block: 0, column: 0, row };
        let (wide, out) = (graph.width(graph.input()), items.all[items.output].width);
        let mut storage = Self {
            buffers: Vec::new(),
            values: vec![None; items.all.len()],
            stores: vec![Vec::new(); items.all.len()],
            masks: Vec::new(),
            states: Vec::new(),
            stacks: Vec::new(),
            stack_of: Vec::new(),
            output_gradient: spot(2, out),
            x_gradient: spot(3, wide),
        };
        let x = storage.buffer(Extent::X, 1, wide);
        let output = storage.buffer(Extent::Output, 1, out);
        storage.buffer(Extent::OutputGradient, 1, out);
        storage.buffer(Extent::XGradient, 1, wide);
        storage.stores[items.output].push(output);
        let states: Vec<Spot> =
            graph.states().iter().map(|state| storage.buffer(Extent::States, 1, state.width)).collect();
        storage.states = states.iter().map(|spot| spot.buffer).collect();
        for (state, &next) in states.iter().zip(&items.nexts) {
            let ahead = Spot { ahead: true, ..*state };
            storage.values[next] = Some(ahead);
            storage.stores[next].push(ahead);
        }
        for (mask, drops) in graph.masks().iter().zip(&key.masks) {
            let buffer = drops.then(|| storage.buffer(Extent::Fixed, 1, mask.width).buffer);
            storage.masks.push(buffer);
        }
        for (index, item) in items.all.iter().enumerate() {
            match item.kind {
                Kind::Input => storage.values[index] = Some(x),
                Kind::State(state) => storage.values[index] = Some(states[state]),
                _ => {}
            }
        }
        let kept = key.wanted.any();
        storage.add_products(items, schedule, kept);
        let read = in_memory(items, schedule);
        storage.add_stacks(items, schedule, key, &read);
        for (index, item) in items.all.iter().enumerate() {
            if read[index] && storage.values[index].is_none() {
                let own = storage.buffer(extent_of(item, kept), 1, item.width);
                storage.values[index] = Some(own);
                storage.stores[index].push(own);
            }
        }
        storage
    }

    /// A new buffer, as the spot of its first block.
    pub fn buffer(&mut self, extent: Extent, blocks: usize, row: usize) -> Spot {
        self.buffers.push(Buffer { extent, blocks, row });
        Spot { buffer: self.buffers.len() - 1, ahead: false, block: 0, column: 0, row }
    }

    /// Each group that finishes products has a buffer of a block for each.
    fn add_products(&mut self, items: &Items, schedule: &Schedule, kept: bool) {
        for group in &schedule.groups {
            let item = &items.all[group.members[0].item];
            // The part of the window alone writes into the buffer of the step's part.
            if group.window != item.window {
                continue;
            }
            let extent = if group.adds { Extent::Window } else { extent_of(item, kept) };
            let first = self.buffer(extent, group.members.len(), item.width);
            for (block, member) in group.members.iter().enumerate() {
                self.values[member.item] = Some(Spot { block, ..first });
            }
        }
    }

    fn add_stacks(&mut self, items: &Items, schedule: &Schedule, key: &Key, read: &[bool]) {
        self.stack_of = vec![None; schedule.groups.len()];
        let mut order: Vec<usize> = (0..schedule.groups.len()).collect();
        order.retain(|&group| schedule.groups[group].direct().is_none());
        order.sort_by_key(|&group| std::cmp::Reverse(schedule.groups[group].members.len()));
        for index in order {
            let group = &schedule.groups[index];
            let members: Vec<Vec<usize>> =
                group.members.iter().map(|member| member.inputs.iter().map(|view| view.item).collect()).collect();
            let shared = self.stacks.iter().position(|stack| {
                // The rows of a window's product must follow one another through all time steps.
                stack.window == group.window && !group.window && stack.members.starts_with(&members)
            });
            if shared.is_some() {
                self.stack_of[index] = shared;
                continue;
            }
            let shows = |member: &Vec<usize>| member.len() == 1 && read[member[0]];
            let kept = key.wanted.w || key.wanted.any() && members.iter().any(shows);
            let extent = if kept || group.window { Extent::Window } else { Extent::Step };
            let row = group.depth();
            let first = self.buffer(extent, members.len(), row);
            for (block, member) in members.iter().enumerate() {
                let mut at = Spot { block, ..first };
                for &item in member {
                    self.stores[item].push(at);
                    if member.len() == 1 && read[item] && self.values[item].is_none() {
                        self.values[item] = Some(at);
                    }
                    at = at.shifted(items.all[item].width);
                }
            }
            self.stack_of[index] = Some(self.stacks.len());
            self.stacks.push(Stack { window: group.window, members, buffer: first.buffer, row });
        }
    }

    /// Where a view's plain values lie.
    pub fn value(&self, view: View) -> Spot {
        let Some(spot) = self.values[view.item] else { unreachable!("what is read from memory has a place there") };
        spot.shifted(view.column)
    }
}

fn extent_of(item: &Item, kept: bool) -> Extent {
    if kept || item.window { Extent::Window } else { Extent::Step }
}

/// By fused item, whether it is read from memory (stacks aside).
fn in_memory(items: &Items, schedule: &Schedule) -> Vec<bool> {
    let mut read = vec![false; items.all.len()];
    for (reader, item) in items.all.iter().enumerate() {
        let inputs = item.fused().map(|fused| fused.inputs()).unwrap_or_default();
        for view in inputs.into_iter().filter(|&view| !is_register(items, schedule, view, reader)) {
            read[view.item] = true;
        }
    }
    for view in schedule.groups.iter().filter_map(|group| group.direct()) {
        read[view.item] = true;
    }
    for norm in &items.norms {
        read[norm.raw] = true;
    }
    // Only fused items have a choice.
    read.iter_mut().zip(&items.all).for_each(|(read, item)| *read &= item.fused().is_some());
    read
}
