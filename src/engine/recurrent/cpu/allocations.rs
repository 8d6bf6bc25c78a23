//! What passes ask the allocator for: the kernels' part of those after the first one nothing, as all its memory is kept
//! for the next one.

use super::memory::{Extents, Pointer, Tapes};
use super::pass::{Outer, Run};
use super::plan::Plan;
use super::plan::items::Key;
use crate::engine::cpu::{Isa, watch};
use crate::engine::{Draws, Dropout, Mode, RunningStatistics, Wanted};
use crate::graph::Init;
use crate::graph::recurrent::RecurrentGraph;

/// Products of all kinds, stacked ones too, a norm, masks, mixed candidates.
fn graph() -> RecurrentGraph {
    let mut g = RecurrentGraph::new(9).unwrap();
    let h = g.state("h", 20).unwrap();
    let start = Init::Uniform(0.3);
    let w = g.weight("w", 29, 20, start).unwrap();
    let u = g.weight("u", 20, 20, start).unwrap();
    let b = g.bias("b", 20, start).unwrap();
    let slots = g.slots("mix", 1, 2).unwrap();
    let masked = g.mask("h", h).unwrap();
    let both = g.product(&[g.input(), masked], w, Some(b)).unwrap();
    let first = g.tanh(both).unwrap();
    let normed = g.norm("n", first).unwrap();
    let (one, other) = (g.product(&[masked], u, None).unwrap(), g.product(&[normed], u, None).unwrap());
    let (one, other) = (g.sigmoid(one).unwrap(), g.relu(other).unwrap());
    let mixed = g.mixed(&[(one, slots.slot(0, 0)), (other, slots.slot(0, 1))]).unwrap();
    let out = g.tanh(mixed).unwrap();
    g.set_next(h, out).unwrap();
    g.set_output(out);
    g
}

#[test]
fn a_pass_after_the_first_allocates_nothing() {
    let _alone = crate::engine::cpu::profile::unrecorded();
    let graph = graph();
    let (output, nexts) = graph.ends().unwrap();
    let key = |wanted| Key { active: None, masks: vec![true], wanted };
    let plans = [(true, true, true), (false, false, true), (false, true, false)]
        .map(|(x, w, p)| Plan::new(&graph, output, &nexts, key(Wanted { x, w, p })));
    let isa = Isa::choose().unwrap();
    let size = Extents { steps: 4, rows: 37 };
    let x: Vec<f32> = (0..size.steps * size.rows * 9).map(|i| (i % 23) as f32 * 0.1 - 1.0).collect();
    let w: Vec<f32> = (0..graph.parameters()).map(|i| (i % 17) as f32 * 0.02 - 0.16).collect();
    let p = vec![0.5; graph.slot_count()];
    let h = vec![0.1; size.rows * 20];
    let (mut y, dy) = (vec![0.0; size.steps * size.rows * 20], vec![0.1; size.steps * size.rows * 20]);
    let (mut dx, mut dw, mut dp) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; p.len()]);
    let (statistics, dropout) = (RunningStatistics::of(graph.norms()), Dropout::new([("h", 0.5)]));
    let tapes = Tapes::default();
    let read = |values: &[f32]| Pointer(values.as_ptr().cast_mut());
    let mut step = || {
        for plan in &plans {
            let tape = tapes.take(plan, isa, graph.slot_count(), size).unwrap();
            let outer = Outer {
                x: read(&x),
                output: Pointer(y.as_mut_ptr()),
                output_gradient: read(&dy),
                x_gradient: Pointer(dx.as_mut_ptr()),
            };
            let mode = Mode::Training;
            let run = Run { plan, graph: &graph, isa, tape: &tape, size, w: &w, p: &p, mode, outer };
            run.forward(std::iter::once(h.as_slice()), &statistics, &Draws::default(), &dropout).unwrap();
            run.backward(&mut dw, &mut dp).unwrap();
            tapes.give_back(tape);
        }
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    // The plans in turn have made a tape that does for all of them.
    pool.install(|| (0..2).for_each(|_| step()));
    let asked = watch(&pool, || pool.install(|| (0..3).for_each(|_| step())));
    assert_eq!(asked, 0, "allocations in three steps");
    assert!(dw.iter().any(|&v| v != 0.0) && dp.iter().any(|&v| v != 0.0) && dx.iter().any(|&v| v != 0.0));
}
