//! The programs of the backward pass: a component recomputes what its slopes need, then goes through its items from the
//! last to the first.

use super::items::{Fused, Kind, View};
use super::ledger::Ledger;
use super::program::{Factor, Instr, Program, Reg};
use super::sections::{Code, Component, Section, Source};
use std::collections::{HashMap, HashSet};

/// The program that takes a section's gradients; none where it has none. `mixing`: whether those of mixing weights are
/// wanted.
pub fn backward(source: Source<'_>, section: &Section, ledger: &mut Ledger, mixing: bool) -> Option<Program> {
    let mut back = Back {
        source,
        ledger,
        mixing,
        code: Code::new(source, section.sums.len()),
        dots: Vec::new(),
        items: HashMap::new(),
        views: Vec::new(),
    };
    let begun: Vec<bool> = section
        .sums
        .iter()
        .enumerate()
        .map(|(sum, &item)| source.items.all[item].needs && back.gather(item, Some(sum)).is_some())
        .collect();
    for component in &section.components {
        back.component(section, component, &begun);
    }
    let empty = back.code.code.is_empty();
    (!empty).then(|| back.code.finish(section.width, back.dots))
}

struct Back<'a, 'b> {
    source: Source<'a>,
    ledger: &'b mut Ledger,
    mixing: bool,
    code: Code<'a>,
    dots: Vec<(usize, f64)>,
    /// Of the component at hand: the registers of gradients, of items and of memory's views.
    items: HashMap<usize, Reg>,
    views: Vec<(View, Reg)>,
}

impl Back<'_, '_> {
    fn needs(&self, view: View) -> bool {
        self.source.items.all[view.item].needs
    }

    fn component(&mut self, section: &Section, component: &Component, begun: &[bool]) {
        let works = component.items.iter().any(|&item| self.source.items.all[item].needs)
            || component.terms.iter().any(|term| begun[term.sum]);
        if !works {
            return;
        }
        self.code.begin();
        self.items.clear();
        self.views.clear();
        let values = self.values_needed(section, component, begun);
        for &item in component.items.iter().filter(|item| values.contains(item)) {
            self.code.compute(item);
        }
        for term in component.terms.iter().filter(|term| begun[term.sum]) {
            let sum = section.sums[term.sum];
            if self.mixing
                && let Some(slot) = term.slot
            {
                let a = self.code.view(term.view, sum);
                self.code.code.push(Instr::Dot { sum: self.dots.len(), a, g: term.sum });
                let Fused::Sum { scale, .. } = self.source.fused(sum) else { continue };
                self.dots.push((slot.0 as usize, *scale));
            }
            let factor = self.code.factor(sum, term);
            self.hand_on(term.view, sum, |to, add| Instr::Scale { to, a: term.sum, factor, add });
        }
        for &item in component.items.iter().rev() {
            if self.source.items.all[item].needs
                && let Some(g) = self.gather(item, None)
            {
                self.item(item, g);
            }
        }
        for (view, from) in std::mem::take(&mut self.views) {
            let (to, add) = self.ledger.write(view);
            self.code.code.push(Instr::Store { from, to, add });
        }
    }

    /// The items whose values slopes need, with what these are made of.
    fn values_needed(&self, section: &Section, component: &Component, begun: &[bool]) -> HashSet<usize> {
        let mut wanted: HashSet<usize> = HashSet::new();
        let mut want = |view: View, reader: usize| {
            if self.source.is_register(view, reader) {
                wanted.insert(view.item);
            }
        };
        for term in component.terms.iter().filter(|term| self.mixing && begun[term.sum] && term.slot.is_some()) {
            want(term.view, section.sums[term.sum]);
        }
        let mut own = Vec::new();
        for &item in component.items.iter().filter(|&&item| self.source.items.all[item].needs) {
            match *self.source.fused(item) {
                Fused::Multiply(a, b) => {
                    if self.needs(a) {
                        want(b, item);
                    }
                    if self.needs(b) {
                        want(a, item);
                    }
                }
                Fused::Blend { start, end, gate } => {
                    if self.needs(start) || self.needs(end) {
                        want(gate, item);
                    }
                    if self.needs(gate) {
                        want(start, item);
                        want(end, item);
                    }
                }
                Fused::AtMost { of, .. } => want(of, item),
                Fused::Apply(..) => own.push(item),
                _ => {}
            }
        }
        wanted.extend(own);
        for &item in component.items.iter().rev() {
            if wanted.contains(&item) {
                let inputs = self.source.fused(item).inputs();
                wanted.extend(inputs.iter().filter(|&&view| self.source.is_register(view, item)).map(|view| view.item));
            }
        }
        wanted
    }

    /// Adds up an item's gradient from memory and from what its component's later items left; `lasting`: a sum's
    /// register.
    fn gather(&mut self, item: usize, lasting: Option<Reg>) -> Option<Reg> {
        let source = self.source;
        let mut loads = Vec::new();
        if let Some(entity) = &self.ledger.items[item] {
            loads.push(Instr::Load { to: 0, from: entity.spot, add: false });
        }
        for (index, stack) in source.storage.stacks.iter().enumerate() {
            for (block, member) in stack.members.iter().enumerate() {
                let mut column = 0;
                for &part in member {
                    if part == item
                        && let Some(from) = self.ledger.stack_block(index, block)
                    {
                        loads.push(Instr::Load { to: 0, from: from.shifted(column), add: false });
                    }
                    column += source.items.all[part].width;
                }
            }
        }
        for (index, norm) in source.items.norms.iter().enumerate().filter(|(_, norm)| norm.raw == item) {
            if let Some(entity) = &self.ledger.norms[index] {
                let raw = source.storage.value(View { item, column: 0, width: norm.width, norm: None });
                let (gradient, lane) = (entity.spot, source.lanes[index]);
                loads.push(Instr::LoadNormGradient { to: 0, gradient, raw, lane, add: false });
            }
        }
        if source.items.output == item {
            loads.push(Instr::Load { to: 0, from: source.storage.output_gradient, add: false });
        }
        for (index, state) in source.items.all.iter().enumerate() {
            if let Kind::State(number) = state.kind
                && source.items.nexts[number] == item
                && let Some(entity) = &self.ledger.items[index]
            {
                let from = super::program::Spot { ahead: true, ..entity.spot };
                loads.push(Instr::Load { to: 0, from, add: false });
            }
        }
        let known = self.items.get(&item).copied();
        let mut begun = known.is_some();
        if !begun && loads.is_empty() {
            return None;
        }
        let to = known.or(lasting).unwrap_or_else(|| self.code.register());
        for load in loads {
            self.code.code.push(load.into_register(to).adding(std::mem::replace(&mut begun, true)));
        }
        Some(to)
    }

    /// Adds to the gradient of a view that `reader` reads.
    fn hand_on(&mut self, view: View, reader: usize, instr: impl FnOnce(Reg, bool) -> Instr) {
        if !self.needs(view) {
            return;
        }
        let known = match self.source.is_register(view, reader) {
            true => self.items.get(&view.item).copied(),
            false => self.views.iter().find(|(known, _)| *known == view).map(|(_, reg)| *reg),
        };
        let to = known.unwrap_or_else(|| {
            let to = self.code.register();
            match self.source.is_register(view, reader) {
                true => _ = self.items.insert(view.item, to),
                false => self.views.push((view, to)),
            }
            to
        });
        self.code.code.push(instr(to, known.is_some()));
    }

    /// Hands an item's gradient on to what it is made of.
    fn item(&mut self, item: usize, g: Reg) {
        let width = self.source.items.all[item].width;
        let scaled = |scale: f32| move |to, add| Instr::Scale { to, a: g, factor: Factor::constant(scale), add };
        match self.source.fused(item).clone() {
            Fused::Copy(of) => self.hand_on(of, item, scaled(1.0)),
            Fused::Add(a, b) => {
                self.hand_on(a, item, scaled(1.0));
                self.hand_on(b, item, scaled(1.0));
            }
            Fused::Subtract(a, b) => {
                self.hand_on(a, item, scaled(1.0));
                self.hand_on(b, item, scaled(-1.0));
            }
            Fused::Multiply(a, b) => {
                for (to, other) in [(a, b), (b, a)] {
                    if self.needs(to) {
                        let other = self.code.view(other, item);
                        self.hand_on(to, item, |to, add| Instr::Multiply { to, a: g, b: other, add });
                    }
                }
            }
            Fused::Blend { start, end, gate } => {
                if self.needs(start) || self.needs(end) {
                    let gate = self.code.view(gate, item);
                    self.hand_on(start, item, |to, add| Instr::TimesRest { to, a: g, b: gate, add });
                    self.hand_on(end, item, |to, add| Instr::Multiply { to, a: g, b: gate, add });
                }
                if self.needs(gate) {
                    let (b, c) = (self.code.view(end, item), self.code.view(start, item));
                    self.hand_on(gate, item, |to, add| Instr::TimesApart { to, a: g, b, c, add });
                }
            }
            Fused::Apply(of, function) => {
                let y = self.code.item(item);
                self.hand_on(of, item, |to, add| Instr::ApplyBack { to, y, g, function, add });
            }
            Fused::Affine { of, scale, .. } => self.hand_on(of, item, scaled(scale)),
            Fused::AtMost { of, most } => {
                let x = self.code.view(of, item);
                self.hand_on(of, item, |to, add| Instr::AtMostBack { to, x, most, g, add });
            }
            Fused::Mask { of, mask } => {
                let b = self.code.mask(mask, width);
                self.hand_on(of, item, |to, add| Instr::Multiply { to, a: g, b, add });
            }
            Fused::Sum { .. } => unreachable!("sums hand on with their terms"),
        }
    }
}
