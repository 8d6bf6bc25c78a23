//! Which products are one matrix product, and when each of them runs.
//!
//! A time step is a row of stages, in which programs run over tiles, with a boundary before each, at which matrix
//! products and norms are taken. Products of one weight that do not depend on one another wait for the last of them and
//! become one, their inputs stacked: so all predecessors of a search cell's node are multiplied at once.

use super::items::{Fused, Items, Kind, Part, View};
use std::collections::HashMap;

/// Beyond that many products only equal ones at the same time would be looked for, at a cost that grows with their
/// square: they stay apart.
const MOST_PRODUCTS: usize = 512;

/// Products that are one matrix product.
#[derive(Clone, Debug)]
pub struct Group {
    /// Whether it runs once for a whole window.
    pub window: bool,
    pub weight: usize,
    /// What the result begins with, where it does not add to another group's.
    pub bias: Option<usize>,
    /// Whether a window's group has already written its part of the result.
    pub adds: bool,
    /// The weight's rows that its inputs meet, in the inputs' order: first row and count.
    pub rows: Vec<(usize, usize)>,
    pub members: Vec<Member>,
    /// The boundary at which it runs; of a window's group, among the window's boundaries.
    pub boundary: usize,
}

/// One product.
#[derive(Clone, Debug)]
pub struct Member {
    pub item: usize,
    pub inputs: Vec<View>,
}

impl Group {
    /// The view that a product reads where it lies, without a stack: a plain one of a single product.
    pub fn direct(&self) -> Option<View> {
        match &self.members[..] {
            [Member { inputs, .. }] if inputs.len() == 1 && inputs[0].norm.is_none() => Some(inputs[0]),
            _ => None,
        }
    }

    /// Columns of a stacked input.
    pub fn depth(&self) -> usize {
        self.rows.iter().map(|(_, count)| count).sum()
    }
}

/// Groups, and the stage in which each fused item runs.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub groups: Vec<Group>,
    /// By item; of a window's item, among the window's stages.
    pub stages: Vec<usize>,
    /// Stages of a time step, and of the window before it.
    pub step_stages: usize,
    pub window_stages: usize,
}

impl Schedule {
    /// Schedules all items and gives each input of a stacked product an item of its own.
    pub fn new(items: &mut Items) -> Self {
        let mut groups = merged(items);
        // Groups that read one value share its copy, so that they may share a stack.
        let mut copies: HashMap<View, usize> = HashMap::new();
        for group in &mut groups {
            if group.direct().is_some() {
                continue;
            }
            for member in &mut group.members {
                for (part, view) in member.inputs.iter_mut().enumerate() {
                    if items.all[view.item].fused().is_some() && items.is_whole(*view) {
                        continue;
                    }
                    let item = *copies.entry(*view).or_insert_with(|| items.copy(*view));
                    *view = View { item, column: 0, width: view.width, norm: None };
                    items.redirect(member.item, group.window, part, *view);
                }
            }
        }
        let Some((stages, boundaries)) = times(items, &groups) else {
            unreachable!("copies of inputs close no circle")
        };
        for (group, boundary) in groups.iter_mut().zip(boundaries) {
            group.boundary = boundary;
            // Those that are ready first come first, so that one group's stack is the beginning of another's.
            group.members.sort_by_key(|member| {
                let latest = member.inputs.iter().map(|view| stages[view.item]).max();
                (latest, member.inputs.iter().map(|view| view.item).collect::<Vec<_>>())
            });
        }
        let count = |window: bool| {
            let items = items.all.iter().zip(&stages).filter(|(item, _)| item.window == window);
            let groups = groups.iter().filter(|group| group.window == window).map(|group| group.boundary + 1);
            items
                .filter(|(item, _)| item.fused().is_some())
                .map(|(_, stage)| stage + 1)
                .chain(groups)
                .max()
                .unwrap_or(0)
        };
        let (step_stages, window_stages) = (count(false), count(true));
        Self { stages, step_stages, window_stages, groups }
    }
}

/// What products must have in common to become one.
type Likeness = (usize, Option<usize>, bool, Vec<(usize, usize)>);

fn merged(items: &Items) -> Vec<Group> {
    let mut groups = single(items);
    if groups.len() <= MOST_PRODUCTS {
        let mut latest: HashMap<Likeness, usize> = HashMap::new();
        for index in 0..groups.len() {
            let Group { window, weight, bias, adds, ref rows, .. } = groups[index];
            if window {
                continue;
            }
            let likeness = (weight, bias, adds, rows.clone());
            if let Some(&like) = latest.get(&likeness) {
                let own = std::mem::take(&mut groups[index].members);
                let before = groups[like].members.len();
                groups[like].members.extend(own);
                if times(items, &groups).is_some() {
                    continue;
                }
                groups[index].members = groups[like].members.split_off(before);
            }
            latest.insert(likeness, index);
        }
    }
    groups.retain(|group| !group.members.is_empty());
    groups
}

/// Every product, and every window's part of one, on its own.
fn single(items: &Items) -> Vec<Group> {
    let mut groups = Vec::new();
    for (item, of) in items.all.iter().enumerate() {
        let Kind::Product { weight, bias, window, step } = &of.kind else { continue };
        let mut push = |parts: &[Part], window: bool, bias: Option<usize>, adds: bool| {
            groups.push(Group {
                window,
                weight: *weight,
                bias,
                adds,
                rows: parts.iter().map(|part| (part.row, part.view.width)).collect(),
                members: vec![Member { item, inputs: parts.iter().map(|part| part.view).collect() }],
                boundary: 0,
            });
        };
        let adds = !window.is_empty();
        if adds {
            push(window, true, *bias, false);
        }
        if !step.is_empty() {
            push(step, false, if adds { None } else { *bias }, adds);
        }
    }
    groups
}

/// What is scheduled as one.
#[derive(Clone, Copy)]
enum Unit {
    Fused(usize),
    Group(usize),
}

/// By item its stage, by group its boundary; none where groups wait for one another.
fn times(items: &Items, groups: &[Group]) -> Option<(Vec<usize>, Vec<usize>)> {
    // The groups that make a product, the last one last.
    let mut makers: HashMap<usize, Vec<usize>> = HashMap::new();
    for (index, group) in groups.iter().enumerate() {
        for member in &group.members {
            makers.entry(member.item).or_default().push(index);
        }
    }
    let mut units: Vec<Unit> =
        (0..items.all.len()).filter(|&i| items.all[i].fused().is_some()).map(Unit::Fused).collect();
    units.extend((0..groups.len()).map(Unit::Group));
    let mut unit_of_item = vec![None; items.all.len()];
    let mut unit_of_group = vec![0; groups.len()];
    for (index, unit) in units.iter().enumerate() {
        match unit {
            Unit::Fused(item) => unit_of_item[*item] = Some(index),
            Unit::Group(group) => unit_of_group[*group] = index,
        }
    }
    let sources = |view: &View| -> Vec<usize> {
        match makers.get(&view.item) {
            Some(groups) => groups.iter().map(|&group| unit_of_group[group]).collect(),
            None => unit_of_item[view.item].into_iter().collect(),
        }
    };
    let inputs = |unit: &Unit| -> Vec<View> {
        match unit {
            Unit::Fused(item) => items.all[*item].fused().map(Fused::inputs).unwrap_or_default(),
            Unit::Group(group) => groups[*group].members.iter().flat_map(|member| member.inputs.clone()).collect(),
        }
    };
    let mut waiting = vec![0usize; units.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); units.len()];
    for (index, unit) in units.iter().enumerate() {
        for source in inputs(unit).iter().flat_map(&sources) {
            readers[source].push(index);
            waiting[index] += 1;
        }
    }
    let mut stages = vec![0; items.all.len()];
    let mut boundaries = vec![0; groups.len()];
    let mut ready: Vec<usize> = (0..units.len()).filter(|&unit| waiting[unit] == 0).collect();
    let mut done = 0;
    while let Some(index) = ready.pop() {
        done += 1;
        let clock = Clock { items, groups, makers: &makers, stages: &stages, boundaries: &boundaries };
        match units[index] {
            Unit::Fused(item) => {
                let stage = inputs(&units[index]).iter().map(|view| clock.ready(*view, items.all[item].window)).max();
                stages[item] = stage.unwrap_or(0);
            }
            Unit::Group(group) => boundaries[group] = clock.boundary(&groups[group]),
        }
        for &reader in &readers[index] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.push(reader);
            }
        }
    }
    (done == units.len()).then_some((stages, boundaries))
}

/// When things are there, as far as it is settled.
struct Clock<'a> {
    items: &'a Items,
    groups: &'a [Group],
    makers: &'a HashMap<usize, Vec<usize>>,
    stages: &'a [usize],
    boundaries: &'a [usize],
}

impl Clock<'_> {
    /// The first stage in which a fused item may read a view. What the window made is there before any time step.
    fn ready(&self, view: View, window: bool) -> usize {
        let item = &self.items.all[view.item];
        if item.window && !window {
            return 0;
        }
        match &item.kind {
            Kind::Input | Kind::State(_) => 0,
            Kind::Product { .. } => {
                let groups = self.makers[&view.item].iter();
                let own = groups.filter(|&&group| self.groups[group].window == item.window);
                own.map(|&group| self.boundaries[group]).max().unwrap_or(0)
            }
            // Registers are read within a stage; memory, other columns and norms in the next.
            Kind::Fused(_) if self.items.is_whole(view) && !item.is_sum() => self.stages[view.item],
            Kind::Fused(_) => self.stages[view.item] + 1,
        }
    }

    /// The boundary at which all inputs of a group are there.
    fn boundary(&self, group: &Group) -> usize {
        let direct = group.direct().is_some();
        let need = |view: &View| {
            let item = &self.items.all[view.item];
            let stored = item.window && !group.window;
            match &item.kind {
                Kind::Fused(_) if stored => usize::from(!direct),
                // Written by its own stage, to wherever it is wanted.
                Kind::Fused(_) if direct || self.items.is_whole(*view) => self.stages[view.item] + 1,
                Kind::Input | Kind::State(_) if direct => 0,
                Kind::Product { .. } if direct && stored => 0,
                // Copied in the first stage that may read it.
                _ => self.ready(*view, group.window) + 1,
            }
        };
        group.members.iter().flat_map(|member| &member.inputs).map(need).max().unwrap_or(0)
    }
}
