//! Where gradients are summed in the backward pass, and who has written there so far.

use super::groups::{Group, Schedule};
use super::items::{Items, Key, Kind, View};
use super::program::Spot;
use super::sections::Section;
use super::storage::{Extent, Storage, is_register};
use std::collections::HashSet;

/// The gradient of an item as it is in memory, or of a norm.
#[derive(Clone, Debug)]
pub struct Entity {
    pub spot: Spot,
    /// The ranges of columns that readers write: first column and count.
    ranges: Vec<(usize, usize)>,
    /// Whether each column belongs to one range, so that the first to write a range overwrites it. Otherwise everything
    /// is cleared before, and everybody adds.
    exact: bool,
    written: HashSet<(usize, usize)>,
}

impl Entity {
    /// Where a reader writes, and whether it adds to what others wrote.
    pub fn write(&mut self, column: usize, width: usize) -> (Spot, bool) {
        let first = self.written.insert((column, width));
        (self.spot.shifted(column), !(self.exact && first))
    }
}

/// The gradient of a stack of inputs: where it lies, and how many blocks have been written.
#[derive(Clone, Copy, Debug)]
pub struct StackGradient {
    pub spot: Spot,
    written: usize,
}

/// All places of gradients.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub items: Vec<Option<Entity>>,
    pub norms: Vec<Option<Entity>>,
    pub stacks: Vec<Option<StackGradient>>,
    /// Buffers' blocks to be cleared before a time step, and before the window's part.
    pub step_clears: Vec<(usize, usize)>,
    pub window_clears: Vec<(usize, usize)>,
}

/// Whether a group hands a gradient on to its inputs.
pub fn hands_on(items: &Items, group: &Group) -> bool {
    let back = |member: &super::groups::Member| {
        items.all[member.item].needs && member.inputs.iter().any(|view| items.all[view.item].needs)
    };
    group.members.iter().any(back)
}

/// Who reads an item or a norm: which columns, in which component (none: a product, where it lies).
type Readers = Vec<((usize, usize), Option<(usize, usize)>)>;

struct Reading {
    items: Vec<Readers>,
    norms: Vec<Readers>,
}

impl Reading {
    fn new(items: &Items, schedule: &Schedule, sections: &[Section]) -> Self {
        let mut reading = Self { items: vec![Vec::new(); items.all.len()], norms: vec![Vec::new(); items.norms.len()] };
        let mut note = |view: View, reader: usize, component: (usize, usize)| {
            let back = items.all[reader].needs && items.all[view.item].needs;
            if !back || is_register(items, schedule, view, reader) {
                return;
            }
            let readers = match view.norm {
                Some(norm) => &mut reading.norms[norm],
                None => &mut reading.items[view.item],
            };
            readers.push(((view.column, view.width), Some(component)));
        };
        for (at, section) in sections.iter().enumerate() {
            for (number, component) in section.components.iter().enumerate() {
                for &item in &component.items {
                    let inputs = items.all[item].fused().map(|fused| fused.inputs()).unwrap_or_default();
                    inputs.into_iter().for_each(|view| note(view, item, (at, number)));
                }
                for term in &component.terms {
                    note(term.view, section.sums[term.sum], (at, number));
                }
            }
        }
        for group in &schedule.groups {
            if let Some(view) = group.direct() {
                let back = hands_on(items, group) && items.all[view.item].needs;
                // Even without a gradient it reads the values, until the weights' gradients are done.
                let width = if back { view.width } else { 0 };
                reading.items[view.item].push(((view.column, width), None));
            }
        }
        reading
    }
}

/// The ranges without repetitions, and whether they are a partition of all columns.
fn ranges(readers: &Readers, width: usize) -> (Vec<(usize, usize)>, bool) {
    let mut ranges: Vec<(usize, usize)> = readers.iter().map(|(range, _)| *range).filter(|(_, n)| *n > 0).collect();
    ranges.sort_unstable();
    ranges.dedup();
    let mut end = 0;
    let exact = ranges.iter().all(|(column, count)| {
        let follows = *column == end;
        end = column + count;
        follows
    });
    (ranges, exact && end == width)
}

impl Ledger {
    /// Makes places in `storage` for all gradients that are needed.
    pub fn new(items: &Items, schedule: &Schedule, sections: &[Section], storage: &mut Storage, key: &Key) -> Self {
        let reading = Reading::new(items, schedule, sections);
        let mut ledger = Self { items: vec![None; items.all.len()], ..Self::default() };
        ledger.add_products(items, schedule, storage, key, &reading);
        for (index, item) in items.all.iter().enumerate().filter(|(_, item)| item.needs) {
            let readers = &reading.items[index];
            if ranges(readers, item.width).0.is_empty() {
                continue;
            }
            let extent = if item.window { Extent::Window } else { Extent::Step };
            let spot = match item.kind {
                Kind::Product { .. } => continue,
                Kind::Input => storage.x_gradient,
                Kind::State(_) => storage.buffer(Extent::Two, 1, item.width),
                Kind::Fused(_) => storage.buffer(extent, 1, item.width),
            };
            // The gradient of x is handed out as zeros.
            let clear = !matches!(item.kind, Kind::Input);
            ledger.items[index] = Some(ledger.entity(spot, readers, item.width, item.window, clear));
        }
        for (readers, norm) in reading.norms.iter().zip(&items.norms) {
            let entity = (!readers.is_empty()).then(|| {
                let spot = storage.buffer(Extent::Step, 1, norm.width);
                ledger.entity(spot, readers, norm.width, false, true)
            });
            ledger.norms.push(entity);
        }
        for (index, stack) in storage.stacks.clone().iter().enumerate() {
            let groups = schedule.groups.iter().zip(&storage.stack_of);
            let back = groups.filter(|(_, of)| **of == Some(index)).any(|(group, _)| hands_on(items, group));
            let extent = if stack.window { Extent::Window } else { Extent::Step };
            let gradient = back
                .then(|| StackGradient { spot: storage.buffer(extent, stack.members.len(), stack.row), written: 0 });
            ledger.stacks.push(gradient);
        }
        ledger
    }

    fn entity(&mut self, spot: Spot, readers: &Readers, width: usize, window: bool, clear: bool) -> Entity {
        let (ranges, exact) = ranges(readers, width);
        if !exact && clear {
            let clears = if window { &mut self.window_clears } else { &mut self.step_clears };
            clears.push((spot.buffer, spot.block));
        }
        Entity { spot, ranges, exact, written: HashSet::new() }
    }

    /// The gradients of a group's products lie block by block like its products; in their place, where each is read by
    /// one component that has read all that it needs before it writes.
    fn add_products(
        &mut self,
        items: &Items,
        schedule: &Schedule,
        storage: &mut Storage,
        key: &Key,
        reading: &Reading,
    ) {
        for group in &schedule.groups {
            let window = items.all[group.members[0].item].window;
            let needs = |item: usize| items.all[item].needs;
            if group.window != window || !group.members.iter().any(|member| needs(member.item)) {
                continue;
            }
            let alone = |item: usize| {
                let readers = &reading.items[item];
                let one = readers.iter().all(|(_, component)| component.is_some() && *component == readers[0].1);
                needs(item) && one && ranges(readers, items.all[item].width).1
            };
            let in_place = group.members.iter().all(|member| alone(member.item));
            let row = items.all[group.members[0].item].width;
            // The window's part of a product hands its gradient on after all time steps.
            let extent = if key.wanted.w || window || group.adds { Extent::Window } else { Extent::Step };
            let own = (!in_place).then(|| storage.buffer(extent, group.members.len(), row));
            for (block, member) in group.members.iter().enumerate() {
                let spot = match own {
                    Some(own) => Spot { block, ..own },
                    None => storage.value(View { item: member.item, column: 0, width: row, norm: None }),
                };
                let entity = self.entity(spot, &reading.items[member.item], row, window, true);
                self.items[member.item] = Some(entity);
            }
        }
    }

    /// Where the gradient of a view gathers, and whether a writer adds.
    pub fn write(&mut self, view: View) -> (Spot, bool) {
        let entity = match view.norm {
            Some(norm) => &mut self.norms[norm],
            None => &mut self.items[view.item],
        };
        let Some(entity) = entity else { unreachable!("what hands a gradient on has a place for it") };
        debug_assert!(entity.ranges.contains(&(view.column, view.width)));
        entity.write(view.column, view.width)
    }

    /// Where the gradient of a stack's first blocks is written, and whether that adds.
    pub fn write_stack(&mut self, stack: usize, window: bool, blocks: usize) -> (Spot, bool) {
        let Some(gradient) = &mut self.stacks[stack] else { unreachable!("a stack that gets a gradient has a place") };
        let adds = gradient.written > 0;
        if adds && gradient.written < blocks {
            let clears = if window { &mut self.window_clears } else { &mut self.step_clears };
            clears.extend((gradient.written..blocks).map(|block| (gradient.spot.buffer, block)));
        }
        gradient.written = gradient.written.max(blocks);
        (gradient.spot, adds)
    }

    /// The gradient of one block of a stack, if it has one.
    pub fn stack_block(&self, stack: usize, block: usize) -> Option<Spot> {
        let gradient = self.stacks[stack].filter(|gradient| block < gradient.written)?;
        Some(Spot { block, ..gradient.spot })
    }
}
