//! A time step as the passes see it: what is live, with slices and norms as views of what is in memory.

use crate::engine::Wanted;
use crate::graph::recurrent::live::runs;
use crate::graph::recurrent::{Function, RecurrentGraph, RecurrentOp};
use crate::graph::{Node, Slot};

/// What a plan is made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// By slot, whether its terms run; none: all.
    pub active: Option<Vec<bool>>,
    /// By mask, whether it drops anything.
    pub masks: Vec<bool>,
    pub wanted: Wanted,
}

/// Columns of an item, perhaps seen through a norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct View {
    pub item: usize,
    pub column: usize,
    pub width: usize,
    /// Of the plan's norms; its raw values are the item's.
    pub norm: Option<usize>,
}

/// What is done element by element.
#[derive(Clone, Debug)]
pub enum Fused {
    Copy(View),
    Add(View, View),
    Subtract(View, View),
    Multiply(View, View),
    Blend {
        start: View,
        end: View,
        gate: View,
    },
    Apply(View, Function),
    Affine {
        of: View,
        scale: f32,
        shift: f32,
    },
    AtMost {
        of: View,
        most: f32,
    },
    Mask {
        of: View,
        mask: usize,
    },
    /// Always in memory: nothing reads it within its own stage.
    Sum {
        terms: Vec<(View, Option<Slot>)>,
        scale: f64,
    },
}

impl Fused {
    pub fn inputs(&self) -> Vec<View> {
        match self {
            Fused::Copy(of)
            | Fused::Apply(of, _)
            | Fused::Affine { of, .. }
            | Fused::AtMost { of, .. }
            | Fused::Mask { of, .. } => vec![*of],
            Fused::Add(a, b) | Fused::Subtract(a, b) | Fused::Multiply(a, b) => vec![*a, *b],
            Fused::Blend { start, end, gate } => vec![*start, *end, *gate],
            Fused::Sum { terms, .. } => terms.iter().map(|(view, _)| *view).collect(),
        }
    }
}

/// One input of a product, and the weight's row that its first column meets.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub view: View,
    pub row: usize,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Input,
    State(usize),
    /// Parts of the input alone, which are multiplied for a whole window at once, and the others.
    Product {
        weight: usize,
        bias: Option<usize>,
        window: Vec<Part>,
        step: Vec<Part>,
    },
    Fused(Fused),
}

/// What is made in a time step.
#[derive(Clone, Debug)]
pub struct Item {
    pub kind: Kind,
    pub width: usize,
    /// Whether it depends on the window's token vectors alone, so that it is made for all time steps at once.
    pub window: bool,
    /// Whether its gradient is needed.
    pub needs: bool,
}

impl Item {
    pub fn is_sum(&self) -> bool {
        matches!(self.kind, Kind::Fused(Fused::Sum { .. }))
    }

    pub fn fused(&self) -> Option<&Fused> {
        match &self.kind {
            Kind::Fused(fused) => Some(fused),
            _ => None,
        }
    }
}

/// A batch norm of a fused item of the same width.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    pub raw: usize,
    pub width: usize,
    /// Of the graph's norms, which keep the statistics.
    pub info: usize,
}

/// All items, each after what it is made of.
#[derive(Clone, Debug)]
pub struct Items {
    pub all: Vec<Item>,
    /// In the order in which the graph has them.
    pub norms: Vec<Norm>,
    pub output: usize,
    /// By state, the item that is its next value.
    pub nexts: Vec<usize>,
}

impl Items {
    pub fn new(graph: &RecurrentGraph, output: Node, nexts: &[Node], key: &Key) -> Self {
        let mut items = Self { all: Vec::new(), norms: Vec::new(), output: 0, nexts: Vec::new() };
        let live = graph.live(key.active.as_deref());
        // A node that does not run is read by nothing that does.
        let mut views = vec![View { item: 0, column: 0, width: 0, norm: None }; live.len()];
        for node in graph.nodes().filter(|node| live[node.index()]) {
            views[node.index()] = items.add_node(graph, node, &views, key);
        }
        items.output = items.plain(views[output.index()]);
        items.nexts = nexts.iter().map(|next| items.plain(views[next.index()])).collect();
        items.settle_needs(key);
        items
    }

    fn add_node(&mut self, graph: &RecurrentGraph, node: Node, views: &[View], key: &Key) -> View {
        let width = graph.width(node);
        let view = |node: &Node| views[node.index()];
        let fused = match graph.op(node) {
            RecurrentOp::Input => return self.push(Kind::Input, width, true),
            RecurrentOp::State { state } => return self.push(Kind::State(*state), width, false),
            RecurrentOp::Product { inputs, weight, bias } => {
                let mut row = 0;
                let (mut window, mut step) = (Vec::new(), Vec::new());
                for view in inputs.iter().map(view) {
                    let parts = if self.is_of_window(view) { &mut window } else { &mut step };
                    parts.push(Part { view, row });
                    row += view.width;
                }
                let alone = step.is_empty();
                return self.push(Kind::Product { weight: *weight, bias: *bias, window, step }, width, alone);
            }
            RecurrentOp::Slice { input, start } => {
                let of = view(input);
                return View { column: of.column + start, width, ..of };
            }
            RecurrentOp::Norm { input, norm } => {
                let raw = self.plain(view(input));
                self.norms.push(Norm { raw, width, info: *norm });
                return View { item: raw, column: 0, width, norm: Some(self.norms.len() - 1) };
            }
            RecurrentOp::Mask { input, mask } if !key.masks[*mask] => return view(input),
            RecurrentOp::Mask { input, mask } => Fused::Mask { of: view(input), mask: *mask },
            RecurrentOp::Add { inputs: [a, b] } => Fused::Add(view(a), view(b)),
            RecurrentOp::Subtract { inputs: [a, b] } => Fused::Subtract(view(a), view(b)),
            RecurrentOp::Multiply { inputs: [a, b] } => Fused::Multiply(view(a), view(b)),
            RecurrentOp::Blend { from, to, gate } => {
                Fused::Blend { start: view(from), end: view(to), gate: view(gate) }
            }
            RecurrentOp::Apply { input, function } => Fused::Apply(view(input), *function),
            RecurrentOp::Affine { input, scale, shift } => {
                Fused::Affine { of: view(input), scale: *scale as f32, shift: *shift as f32 }
            }
            RecurrentOp::AtMost { input, most } => Fused::AtMost { of: view(input), most: *most as f32 },
            RecurrentOp::Sum { terms, scale } => {
                let active = key.active.as_deref();
                let terms = terms.iter().filter(|(_, slot)| runs(*slot, active));
                Fused::Sum { terms: terms.map(|(node, slot)| (view(node), *slot)).collect(), scale: *scale }
            }
        };
        self.push_fused(fused, width)
    }

    fn push(&mut self, kind: Kind, width: usize, window: bool) -> View {
        self.all.push(Item { kind, width, window, needs: false });
        View { item: self.all.len() - 1, column: 0, width, norm: None }
    }

    fn push_fused(&mut self, fused: Fused, width: usize) -> View {
        let window = fused.inputs().into_iter().all(|view| self.is_of_window(view));
        self.push(Kind::Fused(fused), width, window)
    }

    /// Norms depend on the batch of a time step, so what is seen through one is made in that step.
    fn is_of_window(&self, view: View) -> bool {
        view.norm.is_none() && self.all[view.item].window
    }

    /// Whether a view is all of an item as it is in memory.
    pub fn is_whole(&self, view: View) -> bool {
        view.norm.is_none() && view.width == self.all[view.item].width
    }

    /// A copy of what a view shows, as an item of its own.
    pub fn copy(&mut self, view: View) -> usize {
        self.push_fused(Fused::Copy(view), view.width).item
    }

    /// Lets one part of a product read something else.
    pub fn redirect(&mut self, product: usize, in_window: bool, part: usize, to: View) {
        if let Kind::Product { window, step, .. } = &mut self.all[product].kind {
            let parts = if in_window { window } else { step };
            parts[part].view = to;
        }
    }

    /// The fused item that a view shows and that is made step by step, copied where it is something else: what norms
    /// read, the output, next states.
    fn plain(&mut self, view: View) -> usize {
        let item = &self.all[view.item];
        if self.is_whole(view) && item.fused().is_some() && !item.window {
            return view.item;
        }
        let copy = self.copy(view);
        self.all[copy].window = false;
        copy
    }

    /// Gradients are needed where something wanted is made use of, and where they come from the output: through the
    /// states from any step to any other too.
    pub fn settle_needs(&mut self, key: &Key) {
        let asked = self.asked();
        loop {
            let mut changed = false;
            for index in 0..self.all.len() {
                let of = |view: &View| self.all[view.item].needs;
                let needs = match &self.all[index].kind {
                    Kind::Input => key.wanted.x,
                    Kind::State(state) => self.all[self.nexts[*state]].needs,
                    Kind::Product { window, step, .. } => {
                        key.wanted.w || window.iter().chain(step).any(|part| of(&part.view))
                    }
                    Kind::Fused(Fused::Sum { terms, .. }) => {
                        terms.iter().any(|(view, slot)| of(view) || key.wanted.p && slot.is_some())
                    }
                    Kind::Fused(fused) => fused.inputs().iter().any(of),
                };
                changed |= needs != self.all[index].needs;
                self.all[index].needs = needs;
            }
            if !changed {
                break;
            }
        }
        self.all.iter_mut().zip(asked).for_each(|(item, asked)| item.needs &= asked);
    }

    /// By item, whether the output of this or a later step depends on it.
    fn asked(&self) -> Vec<bool> {
        let mut asked = vec![false; self.all.len()];
        let mut stack = vec![self.output];
        while let Some(item) = stack.pop() {
            if std::mem::replace(&mut asked[item], true) {
                continue;
            }
            match &self.all[item].kind {
                Kind::Input => {}
                Kind::State(state) => stack.push(self.nexts[*state]),
                Kind::Product { window, step, .. } => {
                    stack.extend(window.iter().chain(step).map(|part| part.view.item));
                }
                Kind::Fused(fused) => stack.extend(fused.inputs().into_iter().map(|view| view.item)),
            }
        }
        asked
    }
}
