//! The fused items of one stage and width as components that share no register, and their forward programs.
//!
//! A component is run at a time, so few registers are alive at once; sums gather terms from several of them.

use super::groups::Schedule;
use super::items::{Fused, Items, View};
use super::program::{Factor, Instr, Program, Reg};
use super::storage::{Storage, is_register};
use crate::graph::Slot;
use std::collections::HashMap;

/// A term of a sum that a component contributes.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// Index of the sum in its section.
    pub sum: usize,
    pub view: View,
    pub slot: Option<Slot>,
}

/// Items that read one another's registers, in order; or none, for terms that lie in memory.
#[derive(Clone, Debug, Default)]
pub struct Component {
    pub items: Vec<usize>,
    pub terms: Vec<Term>,
}

/// What one program does.
#[derive(Clone, Debug)]
pub struct Section {
    pub window: bool,
    pub stage: usize,
    pub width: usize,
    pub components: Vec<Component>,
    /// Items that are sums.
    pub sums: Vec<usize>,
}

/// Everything that programs are made from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub items: &'a Items,
    pub schedule: &'a Schedule,
    pub storage: &'a Storage,
    /// By norm of the items: the first lane of its coefficients.
    pub lanes: &'a [usize],
}

impl Source<'_> {
    pub fn is_register(&self, view: View, reader: usize) -> bool {
        is_register(self.items, self.schedule, view, reader)
    }

    /// A fused item's primitive.
    pub fn fused(&self, item: usize) -> &Fused {
        let Some(fused) = self.items.all[item].fused() else { unreachable!("sections hold fused items") };
        fused
    }

    /// Reads a view from memory.
    pub fn load(&self, to: Reg, view: View) -> Instr {
        let from = self.storage.value(view);
        match view.norm {
            Some(norm) => Instr::LoadNorm { to, from, lane: self.lanes[norm] + view.column },
            None => Instr::Load { to, from, add: false },
        }
    }

    /// A mask's columns.
    pub fn load_mask(&self, to: Reg, mask: usize, width: usize) -> Instr {
        let Some(buffer) = self.storage.masks[mask] else { unreachable!("masks that drop nothing are left out") };
        let from = super::program::Spot { buffer, ahead: false, block: 0, column: 0, row: width };
        Instr::Load { to, from, add: false }
    }

    /// All sections, by stage.
    pub fn sections(&self) -> Vec<Section> {
        let mut by_place: HashMap<(bool, usize, usize), Vec<usize>> = HashMap::new();
        for (index, item) in self.items.all.iter().enumerate().filter(|(_, item)| item.fused().is_some()) {
            by_place.entry((item.window, self.schedule.stages[index], item.width)).or_default().push(index);
        }
        let mut places: Vec<_> = by_place.into_iter().collect();
        places.sort();
        let section = |((window, stage, width), items): ((bool, usize, usize), Vec<usize>)| Section {
            window,
            stage,
            width,
            components: self.components(&items),
            sums: items.into_iter().filter(|&item| self.items.all[item].is_sum()).collect(),
        };
        places.into_iter().map(section).collect()
    }

    fn components(&self, section: &[usize]) -> Vec<Component> {
        let mut of: HashMap<usize, usize> = HashMap::new();
        let mut components: Vec<Component> = Vec::new();
        let sums: Vec<usize> = section.iter().copied().filter(|&item| self.items.all[item].is_sum()).collect();
        for &item in section.iter().filter(|&&item| !self.items.all[item].is_sum()) {
            let inputs = self.fused(item).inputs();
            let mut joined: Vec<usize> =
                inputs.iter().filter(|&&view| self.is_register(view, item)).map(|view| of[&view.item]).collect();
            joined.sort_unstable();
            joined.dedup();
            let to = joined.first().copied().unwrap_or(components.len());
            if to == components.len() {
                components.push(Component::default());
            }
            for from in joined.into_iter().skip(1) {
                let moved = std::mem::take(&mut components[from].items);
                moved.iter().for_each(|&item| _ = of.insert(item, to));
                components[to].items.extend(moved);
            }
            components[to].items.push(item);
            of.insert(item, to);
        }
        let mut loose: HashMap<View, usize> = HashMap::new();
        for (sum, &item) in sums.iter().enumerate() {
            let Fused::Sum { terms, .. } = self.fused(item) else { continue };
            for &(view, slot) in terms {
                let own = match self.is_register(view, item) {
                    true => of[&view.item],
                    false => *loose.entry(view).or_insert_with(|| {
                        components.push(Component::default());
                        components.len() - 1
                    }),
                };
                components[own].terms.push(Term { sum, view, slot });
            }
        }
        for component in &mut components {
            component.items.sort_unstable();
        }
        components.retain(|component| !(component.items.is_empty() && component.terms.is_empty()));
        components
    }

    /// The program that computes a section.
    pub fn forward(&self, section: &Section) -> Program {
        let mut code = Code::new(*self, section.sums.len());
        let mut begun = vec![false; section.sums.len()];
        for component in &section.components {
            code.begin();
            for &item in &component.items {
                let reg = code.compute(item);
                code.code.extend(self.storage.stores[item].iter().map(|&to| Instr::Store {
                    from: reg,
                    to,
                    add: false,
                }));
                for term in component.terms.iter().filter(|term| term.view.item == item) {
                    code.accumulate(section, term, &mut begun);
                }
            }
            let own = |term: &&Term| component.items.binary_search(&term.view.item).is_err();
            for term in component.terms.iter().filter(own) {
                code.accumulate(section, term, &mut begun);
            }
        }
        for (sum, &item) in section.sums.iter().enumerate() {
            if !begun[sum] {
                code.code.push(Instr::Zero { to: sum });
            }
            code.code.extend(self.storage.stores[item].iter().map(|&to| Instr::Store { from: sum, to, add: false }));
        }
        code.finish(section.width, Vec::new())
    }
}

/// A program in the making. The first registers are the section's sums; each component takes those behind them.
pub struct Code<'a> {
    source: Source<'a>,
    pub code: Vec<Instr>,
    lasting: usize,
    next: Reg,
    most: usize,
    /// Of the component at hand: registers that hold items, memory's views and masks.
    items: HashMap<usize, Reg>,
    views: HashMap<View, Reg>,
    masks: HashMap<usize, Reg>,
}

impl<'a> Code<'a> {
    pub fn new(source: Source<'a>, lasting: usize) -> Self {
        Self {
            source,
            code: Vec::new(),
            lasting,
            next: lasting,
            most: lasting,
            items: HashMap::new(),
            views: HashMap::new(),
            masks: HashMap::new(),
        }
    }

    /// Begins a component.
    pub fn begin(&mut self) {
        self.next = self.lasting;
        self.items.clear();
        self.views.clear();
        self.masks.clear();
    }

    pub fn register(&mut self) -> Reg {
        self.next += 1;
        self.most = self.most.max(self.next);
        self.next - 1
    }

    /// The register of a view that `reader` reads: loaded, or computed before.
    pub fn view(&mut self, view: View, reader: usize) -> Reg {
        if self.source.is_register(view, reader) {
            return self.items[&view.item];
        }
        if let Some(&known) = self.views.get(&view) {
            return known;
        }
        let to = self.register();
        self.code.push(self.source.load(to, view));
        self.views.insert(view, to);
        to
    }

    pub fn mask(&mut self, mask: usize, width: usize) -> Reg {
        if let Some(&known) = self.masks.get(&mask) {
            return known;
        }
        let to = self.register();
        self.code.push(self.source.load_mask(to, mask, width));
        self.masks.insert(mask, to);
        to
    }

    /// The register that holds an item of this component that has been computed.
    pub fn item(&self, item: usize) -> Reg {
        self.items[&item]
    }

    /// Computes an item that is not a sum.
    pub fn compute(&mut self, item: usize) -> Reg {
        let fused = self.source.fused(item).clone();
        let width = self.source.items.all[item].width;
        let mut of = |view: View| self.view(view, item);
        let instr = match fused {
            Fused::Copy(view) => {
                let own = of(view);
                self.items.insert(item, own);
                return own;
            }
            Fused::Add(a, b) => Instr::Add { to: 0, a: of(a), b: of(b) },
            Fused::Subtract(a, b) => Instr::Subtract { to: 0, a: of(a), b: of(b) },
            Fused::Multiply(a, b) => Instr::Multiply { to: 0, a: of(a), b: of(b), add: false },
            Fused::Blend { start, end, gate } => Instr::Blend { to: 0, start: of(start), end: of(end), gate: of(gate) },
            Fused::Apply(a, function) => Instr::Apply { to: 0, a: of(a), function },
            Fused::Affine { of: a, scale, shift } => Instr::Affine { to: 0, a: of(a), scale, shift },
            Fused::AtMost { of: a, most } => Instr::AtMost { to: 0, a: of(a), most },
            Fused::Mask { of: a, mask } => {
                let a = of(a);
                Instr::Multiply { to: 0, a, b: self.mask(mask, width), add: false }
            }
            Fused::Sum { .. } => unreachable!("sums gather terms"),
        };
        let own = self.register();
        self.code.push(instr.into_register(own));
        self.items.insert(item, own);
        own
    }

    fn accumulate(&mut self, section: &Section, term: &Term, begun: &mut [bool]) {
        let item = section.sums[term.sum];
        let a = self.view(term.view, item);
        let add = std::mem::replace(&mut begun[term.sum], true);
        self.code.push(Instr::Scale { to: term.sum, a, factor: self.factor(item, term), add });
    }

    /// What a term is multiplied by.
    pub fn factor(&self, sum: usize, term: &Term) -> Factor {
        let Fused::Sum { scale, .. } = self.source.fused(sum) else { unreachable!("terms belong to sums") };
        Factor { slot: term.slot.map(|slot| slot.0 as usize), scale: *scale as f32 }
    }

    pub fn finish(self, width: usize, sums: Vec<(usize, f64)>) -> Program {
        Program { width, code: self.code, registers: self.most, sums }
    }
}
