//! Random time steps: the fast executor against the exact one, on every instruction set, in every mode.

use crate::compare::Case;
use crate::tolerance::check;
use candlewick::engine::{Mode, Wanted};
use candlewick::graph::recurrent::{Function, RecurrentGraph, RecurrentOp};
use candlewick::graph::{Init, Node};
use candlewick::random::{Rng, Seed};
use rand::RngExt;

/// How many are tried unless `CANDLEWICK_GRAPHS` says otherwise.
const STEPS: u64 = 300;
/// The largest tolerance at which a comparison still says something.
const LOOSEST: f64 = 1e-2;

/// Builds one time step.
struct Maker {
    g: RecurrentGraph,
    rng: Rng,
    nodes: Vec<Node>,
    weights: usize,
    slots: Option<candlewick::graph::SlotBlock>,
    /// Whether batch norms are well conditioned: a batch of three rows or more.
    norms: bool,
}

impl Maker {
    fn any(&mut self) -> Node {
        // The latest are the likeliest, so that steps are deep.
        let (a, b) = (self.rng.random_range(0..self.nodes.len()), self.rng.random_range(0..self.nodes.len()));
        self.nodes[a.max(b)]
    }

    /// Whether a value comes from a norm of the same step: the gradient of a norm's norm is all but zero, and what is
    /// left of it in single precision is rounding.
    fn is_normed(&self, node: Node) -> bool {
        let op = self.g.op(node);
        matches!(op, RecurrentOp::Norm { .. }) || op.inputs().into_iter().any(|input| self.is_normed(input))
    }

    fn of_width(&mut self, width: usize) -> Node {
        let node = self.any();
        if self.g.width(node) == width { node } else { self.product(&[node], width) }
    }

    fn product(&mut self, inputs: &[Node], width: usize) -> Node {
        let rows: usize = inputs.iter().map(|&input| self.g.width(input)).sum();
        // A weight of the right shape may be used again.
        let known = self.g.weights().iter().find(|weight| weight.shape == [rows, width]).map(|w| w.name.clone());
        let bound = Init::Uniform(1.2 / (rows as f32).sqrt());
        let name = format!("w{}", self.weights);
        self.weights += 1;
        let bias = self.rng.random_bool(0.3).then(|| self.g.bias(&format!("{name}.bias"), width, bound).unwrap());
        let weight = match known {
            Some(known) if self.rng.random_bool(0.7) => self.g.declared_weight(&known).unwrap(),
            _ => self.g.weight(&name, rows, width, bound).unwrap(),
        };
        self.g.product(inputs, weight, bias).unwrap()
    }

    fn add(&mut self) {
        let a = self.any();
        let width = self.g.width(a);
        let node = match self.rng.random_range(0..14) {
            0 => {
                let b = self.of_width(width);
                self.g.add(a, b).unwrap()
            }
            1 => {
                let b = self.of_width(width);
                self.g.subtract(a, b).unwrap()
            }
            2 => {
                let b = self.of_width(width);
                self.g.multiply(a, b).unwrap()
            }
            3 | 4 => {
                let (b, gate) = (self.of_width(width), self.of_width(width));
                let gate = self.g.sigmoid(gate).unwrap();
                self.g.blend(a, b, gate).unwrap()
            }
            5 => self.g.apply(a, Function::ALL[self.rng.random_range(0..3)].1).unwrap(),
            6 => {
                let (scale, shift) = (self.rng.random_range(-1.5..1.5), self.rng.random_range(-1.0..1.0));
                self.g.affine(a, scale, shift).unwrap()
            }
            7 => {
                let most = self.rng.random_range(-0.5..1.0);
                self.g.at_most(a, most).unwrap()
            }
            8 if width > 1 => {
                let start = self.rng.random_range(0..width);
                let count = self.rng.random_range(1..=width - start);
                self.g.slice(a, start, count).unwrap()
            }
            9 => {
                let name = format!("m{width}.{}", self.rng.random_range(0..2));
                self.g.mask(&name, a).unwrap()
            }
            10 if self.norms && !self.is_normed(a) => {
                // Of what differs from row to row.
                let spread = self.product(&[a], width);
                self.g.norm(&format!("n{width}"), spread).unwrap()
            }
            11 => {
                let count = self.rng.random_range(1..5);
                let slots = match &self.slots {
                    Some(slots) => slots.clone(),
                    None => self.g.slots("mix", 3, 3).unwrap(),
                };
                let terms: Vec<_> = (0..count)
                    .map(|_| {
                        let term = self.of_width(width);
                        (term, slots.slot(self.rng.random_range(0..3), self.rng.random_range(0..3)))
                    })
                    .collect();
                self.slots = Some(slots);
                self.g.mixed(&terms).unwrap()
            }
            12 => {
                let count = self.rng.random_range(1..4);
                let values: Vec<Node> = (0..count).map(|_| self.of_width(width)).collect();
                self.g.mean(&values).unwrap()
            }
            _ => {
                let to = self.rng.random_range(1..20);
                let inputs = if self.rng.random_bool(0.4) { vec![a, self.any()] } else { vec![a] };
                self.product(&inputs, to)
            }
        };
        self.nodes.push(node);
    }
}

fn draw(seed: u64) -> Case {
    let mut rng = Seed(seed).rng("step", 0);
    let (steps, rows) = (rng.random_range(1..7), rng.random_range(1..6));
    let mut g = RecurrentGraph::new(rng.random_range(1..20)).unwrap();
    let states: Vec<Node> = (0..rng.random_range(1..4))
        .map(|state| g.state(&format!("s{state}"), rng.random_range(1..20)).unwrap())
        .collect();
    let nodes = [vec![g.input()], states.clone()].concat();
    let count = rng.random_range(4..30);
    let mut maker = Maker { g, rng, nodes, weights: 0, slots: None, norms: rows >= 3 };
    (0..count).for_each(|_| maker.add());
    for &state in &states {
        let width = maker.g.width(state);
        let next = maker.of_width(width);
        // Bounded, so that no window grows without end; now and then a state is handed on as it is.
        let next = if maker.rng.random_bool(0.1) { state } else { maker.g.tanh(next).unwrap() };
        maker.g.set_next(state, next).unwrap();
    }
    let out = maker.nodes[maker.nodes.len() - 1];
    maker.g.set_output(out);
    let Maker { g, mut rng, .. } = maker;
    let masked = g.slot_count() > 0 && rng.random_bool(0.4);
    let active = masked.then(|| (0..g.slot_count()).map(|_| rng.random_bool(0.6)).collect());
    let mode = [Mode::Training, Mode::Training, Mode::Trial, Mode::Evaluation][rng.random_range(0..4)];
    let wanted = match rng.random_range(0..5) {
        0 => Wanted { x: false, w: false, p: true },
        1 => Wanted { x: false, w: true, p: false },
        2 => Wanted { x: true, w: false, p: false },
        _ => crate::compare::ALL,
    };
    let dropout = if rng.random_bool(0.5) { 0.3 } else { 0.0 };
    Case { active, mode, wanted, dropout, seed, ..Case::new(g, steps, rows) }
}

/// The step as a reader needs it to build the case by hand.
fn description(case: &Case) -> String {
    let Case { graph, steps, rows, mode, active, wanted, dropout, .. } = case;
    let mut text = format!("{steps} × {rows}, {mode:?}, {wanted:?}, dropout {dropout}, active: {active:?}\n");
    text.extend(graph.nodes().map(|node| format!("  {node:?} = {:?}: {}\n", graph.op(node), graph.width(node))));
    text.push_str(&format!("  states: {:?}\n  output: {:?}\n", graph.states(), graph.output()));
    text
}

#[test]
fn random_steps_compute_what_the_exact_executor_says() {
    let count = std::env::var("CANDLEWICK_GRAPHS")
        .map_or(STEPS, |text| text.parse().unwrap_or_else(|_| panic!("CANDLEWICK_GRAPHS is a number: {text:?}")));
    let (mut failures, mut blind) = (Vec::new(), 0);
    for seed in 0..count {
        let case = draw(seed);
        match check(&case) {
            Ok(tolerance) => blind += u64::from(tolerance > LOOSEST),
            Err(message) => failures.push(format!("seed {seed}, {message}\n{}", description(&case))),
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(50 * blind <= count, "of {count} steps {blind} are too badly conditioned to tell anything");
}

#[test]
fn the_cells_of_the_field_compute_what_the_exact_executor_says() {
    for (dropout, mode) in [(0.0, Mode::Training), (0.3, Mode::Training), (0.3, Mode::Trial), (0.0, Mode::Evaluation)] {
        for (name, graph) in crate::cells::all() {
            let case = Case { dropout, mode, ..Case::new(graph, 4, 5) };
            let checked = check(&case);
            assert!(checked.as_ref().is_ok_and(|tolerance| *tolerance < LOOSEST), "{name}, {mode:?}: {checked:?}");
        }
    }
}
