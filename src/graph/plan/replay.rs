//! Replays passes on paper: whatever a step reads must still lie where it was written, within any budget.

use super::lives::{Lives, StageOrder, Touch, touches};
use super::placement::Placement;
use super::recompute::{CHEAP, Training};
use super::{BackStep, Plan, RawId, ValueId, Ways};
use crate::graph::{Conv, Graph, Node, SlotBlock};

/// What lies in an image's region: offset, length and tag of each buffer.
#[derive(Default)]
struct Region(Vec<(usize, usize, String)>);

impl Region {
    fn write(&mut self, place: usize, len: usize, tag: String) {
        self.0.retain(|(at, other, old)| *old != tag && (at + other <= place || place + len <= *at));
        self.0.push((place, len, tag));
    }

    fn read(&self, place: usize, tag: &str) {
        assert!(self.0.iter().any(|(at, _, held)| *at == place && held == tag), "{tag} is not at {place}");
    }
}

/// Goes through a pass and checks that everything that is read is still where it was written.
fn replay(plan: &Plan, training: &Training) {
    let lives = Lives::of(plan, true, StageOrder::OneByOne);
    let Ways { forward, backward } = &training.placement;
    let mut region = Region::default();
    let root = |raw: RawId| plan.root(raw).0;
    let raw_at = |region: &mut Region, placement: &Placement, raw: RawId, write: bool| {
        let (place, tag) = (placement.raws[root(raw)], format!("{:?}", root(raw)));
        match write {
            true => region.write(place, plan.raws[root(raw)].len(), tag),
            false => region.read(place, &tag),
        }
    };
    let gradient_at = |region: &mut Region, value: ValueId, write: bool| {
        let owner = lives.owner(plan, value).0;
        let (place, tag) = (backward.gradients[owner], format!("gradient of {owner:?}"));
        match write {
            true => region.write(place, plan.raws[plan.values[owner].raw].len(), tag),
            false => region.read(place, &tag),
        }
    };
    for &step in plan.forward.iter().flat_map(|stage| &stage.steps) {
        plan.raws_read(step).into_iter().for_each(|raw| raw_at(&mut region, forward, raw, false));
        raw_at(&mut region, forward, plan.output_of(step), true);
    }
    raw_at(&mut region, forward, plan.values[plan.output].raw, false);
    for step in training.backward.iter().flat_map(|stage| &stage.steps) {
        let mut writes = Vec::new();
        touches(plan, step, &mut |touch| match touch {
            Touch::Reads(raw) | Touch::ReadsLate(raw) => raw_at(&mut region, backward, raw, false),
            Touch::ReadsGradient(value) | Touch::ReadsGradientLate(value) => gradient_at(&mut region, value, false),
            Touch::WritesGradient(value) => writes.push(value),
        });
        if let BackStep::Recompute { step } = step {
            raw_at(&mut region, backward, plan.output_of(*step), true);
        }
        writes.into_iter().for_each(|value| gradient_at(&mut region, value, true));
        touches(plan, step, &mut |touch| match touch {
            Touch::ReadsLate(raw) => raw_at(&mut region, backward, raw, false),
            Touch::ReadsGradientLate(value) => gradient_at(&mut region, value, false),
            _ => {}
        });
    }
}

type Replay = fn(&Plan, &Training);

/// The same where a stage's steps run side by side, after what is recomputed for them: whatever a stage touches lies
/// apart, and what it reads without having made it is still there.
fn replay_side_by_side(plan: &Plan, training: &Training) {
    let lives = Lives::of(plan, true, StageOrder::SideBySide);
    let Ways { forward, backward } = &training.placement;
    let mut region = Region::default();
    let of_raw = |placement: &Placement, raw: RawId| {
        let root = plan.root(raw).0;
        (placement.raws[root], plan.raws[root].len(), format!("{root:?}"))
    };
    let of_gradient = |value: ValueId| {
        let owner = lives.owner(plan, value).0;
        (backward.gradients[owner], plan.raws[plan.values[owner].raw].len(), format!("gradient of {owner:?}"))
    };
    let mut stage = |reads: Vec<(usize, usize, String)>, writes: Vec<(usize, usize, String)>| {
        let touched: Vec<&(usize, usize, String)> = reads.iter().chain(&writes).collect();
        for (one, other) in touched.iter().flat_map(|one| touched.iter().map(move |other| (one, other))) {
            let apart = one.0 + one.1 <= other.0 || other.0 + other.1 <= one.0;
            assert!(one.2 == other.2 || one.1 == 0 || other.1 == 0 || apart, "{one:?} lies on {other:?}");
        }
        let own = |buffer: &&(usize, usize, String)| writes.iter().all(|written| written.2 != buffer.2);
        reads.iter().filter(own).for_each(|(place, _, tag)| region.read(*place, tag));
        writes.into_iter().for_each(|(place, len, tag)| region.write(place, len, tag));
    };
    for steps in plan.forward.iter().map(|stage| &stage.steps) {
        let reads = steps.iter().flat_map(|&step| plan.raws_read(step)).map(|raw| of_raw(forward, raw)).collect();
        stage(reads, steps.iter().map(|&step| of_raw(forward, plan.output_of(step))).collect());
    }
    for steps in training.backward.iter().map(|stage| &stage.steps) {
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for step in steps {
            touches(plan, step, &mut |touch| match touch {
                Touch::Reads(raw) | Touch::ReadsLate(raw) => reads.push(of_raw(backward, raw)),
                Touch::ReadsGradient(value) | Touch::ReadsGradientLate(value) => reads.push(of_gradient(value)),
                Touch::WritesGradient(value) => writes.push(of_gradient(value)),
            });
            if let BackStep::Recompute { step } = step {
                writes.push(of_raw(backward, plan.output_of(*step)));
            }
        }
        stage(reads, writes);
    }
}

/// ReLU, convolution, norm.
fn conv(g: &mut Graph, name: &str, input: Node, conv: Conv) -> Node {
    let relu = g.relu(input);
    let made = g.conv(name, relu, conv).unwrap();
    g.batch_norm(&format!("{name}_norm"), made, true).unwrap()
}

/// ReLU, depthwise and pointwise convolution, norm.
fn separable(g: &mut Graph, name: &str, input: Node, stride: usize, dilation: usize) -> Node {
    let channels = g.shape(input).channels;
    let relu = g.relu(input);
    let made = g.depthwise(&format!("{name}_depthwise"), relu, 3, stride, dilation).unwrap();
    let made = g.pointwise(&format!("{name}_pointwise"), made, channels).unwrap();
    g.batch_norm(&format!("{name}_norm"), made, false).unwrap()
}

/// What an edge chooses from: a pool, two convolutions, and the state as it is or halved.
fn candidates(g: &mut Graph, name: &str, state: Node, stride: usize) -> Vec<Node> {
    let channels = g.shape(state).channels;
    let pooled = g.max_pool_3x3(state, stride).unwrap();
    let once = separable(g, &format!("{name}_once"), state, stride, 1);
    let skipped = match stride {
        1 => state,
        _ => {
            let relu = g.relu(state);
            g.scope(format!("{name}_skip"), |g| g.halve(relu, channels)).unwrap()
        }
    };
    vec![
        g.batch_norm("pool_norm", pooled, false).unwrap(),
        separable(g, &format!("{name}_twice"), once, 1, 1),
        separable(g, &format!("{name}_dilated"), state, stride, 2),
        skipped,
    ]
}

/// A cell of three nodes: every edge is mixed from all candidates, or takes one of them on a path that may be dropped.
fn cell(g: &mut Graph, states: [Node; 2], stride: usize, mix: Option<&SlotBlock>) -> Node {
    let mut states = states.to_vec();
    let mut edge = 0;
    for node in 0..3 {
        let mut edges = Vec::new();
        for (from, &state) in states.clone().iter().enumerate() {
            let name = format!("node{node}_from{from}");
            let all = candidates(g, &name, state, if from < 2 { stride } else { 1 });
            edges.push(match mix {
                Some(mix) => {
                    let terms: Vec<_> =
                        all.into_iter().enumerate().map(|(k, node)| (node, mix.slot(edge, k))).collect();
                    g.mixed(&terms).unwrap()
                }
                None => g.drop_path(all[edge % all.len()]).unwrap(),
            });
            edge += 1;
        }
        states.push(g.add(&edges).unwrap());
    }
    g.concat(&states[2..]).unwrap()
}

/// A network of such cells, the second of which reduces; without mixing it has a second head after that one.
fn network(channels: usize, cells: usize, mixed: bool) -> Graph {
    let mut g = Graph::new(3, 32, 32);
    let slots = mixed.then(|| g.slots("mix", 9, 4).unwrap());
    let input = g.input();
    let stem = g.conv("stem", input, Conv::square(channels, 3)).unwrap();
    let stem = g.batch_norm("stem_norm", stem, true).unwrap();
    let (mut states, mut heads) = ([stem, stem], Vec::new());
    for index in 0..cells {
        states = g.scope(format!("cells.{index}"), |g| {
            let width = if index == 0 { channels } else { 2 * channels };
            let apart = g.shape(states[0]).height / g.shape(states[1]).height;
            let one = conv(g, "pre0", states[0], Conv::square(width, 1).stride(apart));
            let other = conv(g, "pre1", states[1], Conv::square(width, 1));
            [states[1], cell(g, [one, other], if index == 1 { 2 } else { 1 }, slots.as_ref())]
        });
        if index + 1 == cells || (index == 1 && !mixed) {
            let pooled = g.global_pool(states[1]);
            heads.push(g.linear(&format!("head{index}"), pooled, 10).unwrap());
        }
    }
    heads.reverse();
    let output = g.concat(&heads).unwrap();
    g.set_output(output);
    g
}

#[test]
fn whatever_is_read_is_still_there_within_any_budget() {
    for graph in [network(16, 3, true), network(6, 16, false)] {
        let plan = Plan::new(&graph).unwrap();
        replay(&plan, &plan.training);
        let replays: [(StageOrder, Replay); 2] =
            [(StageOrder::OneByOne, replay), (StageOrder::SideBySide, replay_side_by_side)];
        for (order, replay) in replays {
            let everything = plan.training_that_keeps_all(order);
            let least = plan.training_within(0, order).unwrap_err();
            let most = everything.placement.forward.len;
            assert!(least < most * 3 / 5, "{order:?}: {least} {most}");
            replay(&plan, &everything);
            for part in 0..=8 {
                let len = least + (most - least) * part / 8;
                let training = plan.training_within(len, order).unwrap();
                assert!(training.placement.forward.len <= len);
                replay(&plan, &training);
            }
            assert_eq!(plan.training_within(least - 1, order).unwrap_err(), least);
        }
    }
}

#[test]
fn less_memory_costs_more_work_and_none_what_was_not_asked_for() {
    let plan = Plan::new(&network(16, 12, true)).unwrap();
    for order in [StageOrder::OneByOne, StageOrder::SideBySide] {
        let most = plan.training_that_keeps_all(order).placement.forward.len;
        let share = |part: usize| plan.training_within(most * part / 100, order).unwrap().recomputed.share();
        let shares: Vec<f64> = [100, 80, 60, 40, 25].map(share).into();
        assert_eq!(shares[0], 0.0);
        assert!(shares.is_sorted() && shares[4] < 0.35, "{order:?}: {shares:?}");
    }
    assert!(
        plan.training.placement.forward.len < plan.training_that_keeps_all(StageOrder::OneByOne).placement.forward.len
    );
    assert!(plan.training.recomputed.share() <= CHEAP);
}
