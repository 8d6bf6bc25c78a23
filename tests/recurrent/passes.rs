//! What a pass does besides its gradients: states are carried, masks are drawn once, statistics follow, a second
//! backward pass gives the same.

use crate::cells;
use crate::compare::{Case, Left, Values, cpu, pass_of, run, tensor, values};
use candle_core::Var;
use candlewick::engine::recurrent::RecurrentEngine;
use candlewick::engine::{Isa, Mode, Target, Wanted};
use candlewick::graph::Init;
use candlewick::graph::recurrent::RecurrentGraph;
use candlewick::random::Seed;
use std::sync::Arc;

/// Both precisions, with the error that each may make.
fn targets() -> Vec<(Target, f64)> {
    let single = Isa::available().map(|isa| (cpu(isa), 1e-5));
    single.chain([(Target::Exact, 1e-12)]).collect()
}

#[track_caller]
fn close(got: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= tolerance, "{what}: {got}, expected {expected}");
    }
}

#[test]
fn two_windows_in_turn_are_one_long_window() {
    for (name, graph) in cells::all() {
        let long = Case { dropout: 0.0, mode: Mode::Trial, wanted: Wanted::default(), ..Case::new(graph, 5, 3) };
        let given = Values::new(&long);
        for (target, tolerance) in targets() {
            let expected = run(&long, &given, target);
            let cut = 2 * long.rows * long.graph.width(long.graph.input());
            let first = Values { x: given.x[..cut].to_vec(), ..given.clone() };
            let first = run(&Case { steps: 2, ..long.clone() }, &first, target);
            let second = Values { x: given.x[cut..].to_vec(), states: first.states.clone(), ..given.clone() };
            let second = run(&Case { steps: 3, ..long.clone() }, &second, target);
            close(&[first.output, second.output].concat(), &expected.output, tolerance, name);
            close(&second.states.concat(), &expected.states.concat(), tolerance, name);
        }
    }
}

#[test]
fn the_running_statistics_of_a_shared_norm_move_place_by_place_and_step_by_step() {
    let mut g = RecurrentGraph::new(1).unwrap();
    let h = g.state("h", 1).unwrap();
    let normed = g.norm("n", g.input()).unwrap();
    let doubled = g.affine(g.input(), 2.0, 1.0).unwrap();
    let again = g.norm("n", doubled).unwrap();
    let out = g.add(normed, again).unwrap();
    g.set_next(h, out).unwrap();
    g.set_output(out);
    assert_eq!((g.norms().len(), g.statistics_len()), (1, 2));
    let case = Case { wanted: Wanted::default(), ..Case::new(g, 2, 2) };
    let given = Values { x: vec![0.0, 2.0, 3.0, 9.0], ..Values::new(&case) };
    // Means 1 and 3, then 6 and 13; variances divided by n − 1: 2 and 8, then 18 and 72.
    let follow = |from: f64, to: f64| from + 0.1 * (to - from);
    let expected =
        [[1.0, 3.0, 6.0, 13.0].into_iter().fold(0.0, follow), [2.0, 8.0, 18.0, 72.0].into_iter().fold(1.01, follow)];
    for (target, _) in targets() {
        close(&run(&case, &given, target).running, &expected, 1e-5, "running statistics");
        let trial = run(&Case { mode: Mode::Trial, ..case.clone() }, &given, target);
        close(&trial.running, &[0.0, 1.01], 1e-7, "running statistics of a trial");
    }
}

/// A cell that shows its mask: the output is the masked input.
fn shows_its_mask() -> Case {
    let mut g = RecurrentGraph::new(7).unwrap();
    let h = g.state("h", 7).unwrap();
    let out = g.mask("x", g.input()).unwrap();
    g.set_next(h, out).unwrap();
    g.set_output(out);
    Case { dropout: 0.25, wanted: Wanted::default(), ..Case::new(g, 4, 50) }
}

#[test]
fn a_mask_is_drawn_once_a_pass_and_drops_as_often_as_it_is_told() {
    let case = shows_its_mask();
    let given = Values { x: vec![1.0; case.steps * case.rows * 7], ..Values::new(&case) };
    for (target, _) in targets() {
        let output = run(&case, &given, target).output;
        let (first, others) = output.split_at(case.rows * 7);
        assert!(others.chunks(first.len()).all(|other| other == first), "one mask for all time steps");
        let kept = f64::from((1.0 / 0.75) as f32);
        assert!(first.iter().all(|&value| value == 0.0 || value == kept));
        let dropped = first.iter().filter(|&&value| value == 0.0).count() as f64 / first.len() as f64;
        assert!((dropped - 0.25).abs() < 0.08, "{dropped}");
        let other = run(&Case { seed: 2, ..case.clone() }, &given, target).output;
        assert!(other != output, "another seed");
        let evaluated = run(&Case { mode: Mode::Evaluation, ..case.clone() }, &given, target).output;
        assert_eq!(evaluated, given.x, "no masks outside training");
    }
}

#[test]
fn both_precisions_draw_the_same_masks() {
    let case = shows_its_mask();
    let given = Values { x: vec![1.0; case.steps * case.rows * 7], ..Values::new(&case) };
    let [one, other] = [Target::Exact, Target::best().unwrap()].map(|target| run(&case, &given, target).output);
    assert_eq!(one, other);
}

#[test]
fn a_second_backward_pass_gives_the_same_and_moves_no_statistics() {
    let case = Case::new(cells::everything(3, 5).unwrap(), 3, 4);
    let given = Values::new(&case);
    for (target, _) in targets() {
        let engine = RecurrentEngine::compile(case.graph.clone(), target).unwrap();
        let dtype = engine.dtype();
        let x = tensor(&given.x, &[3, 4, 3], dtype);
        let w = Var::from_tensor(&tensor(&given.w, &[given.w.len()], dtype)).unwrap();
        let p = tensor(&given.p, &[given.p.len()], dtype);
        let states: Vec<_> = given.states.iter().map(|state| tensor(state, &[4, 5], dtype)).collect();
        let pass = pass_of(&case);
        let (output, after) = engine.forward(&x, &states, &w, &p, &pass).unwrap();
        assert!(after.iter().all(|state| !state.track_op()), "states come out detached");
        let loss = output.sum_all().unwrap();
        let running = pass.statistics.values();
        let first = values(loss.backward().unwrap().get(&w).unwrap());
        let second = values(loss.backward().unwrap().get(&w).unwrap());
        assert_eq!(first, second);
        assert_eq!(running, pass.statistics.values());
    }
}

#[test]
fn only_what_is_wanted_gets_a_gradient() {
    for (name, graph) in cells::all() {
        let case = Case::new(graph, 3, 4);
        let given = Values::new(&case);
        for (target, tolerance) in targets() {
            let all = run(&case, &given, target);
            for wanted in [(true, false, false), (false, true, false), (false, false, true), (true, false, true)] {
                let wanted = Wanted { x: wanted.0, w: wanted.1, p: wanted.2 };
                let some = run(&Case { wanted, ..case.clone() }, &given, target);
                let part = |wanted: bool, part: &[f64]| if wanted { part.to_vec() } else { vec![] };
                let scale = |part: &[f64]| part.iter().fold(1.0f64, |most, value| most.max(value.abs()));
                for (got, all, wanted) in
                    [(&some.x, &all.x, wanted.x), (&some.w, &all.w, wanted.w), (&some.p, &all.p, wanted.p)]
                {
                    close(got, &part(wanted, all), tolerance * scale(all), name);
                }
                assert_eq!(some.output, all.output, "{name}");
            }
        }
    }
}

#[test]
fn weights_start_by_their_names() {
    let graph = cells::lstm(3, 5, 2, false).unwrap();
    let start = |name: &str, seed: u64| {
        let info = graph.weight_named(name).unwrap();
        let mut out = vec![0.0; info.len()];
        info.initialise(Seed(seed), &mut out);
        out
    };
    let bound = 1.0 / 5f32.sqrt();
    let own = start("rnns.1.weight_hh", 1);
    assert!(own.iter().all(|value| value.abs() <= bound) && own.iter().any(|value| value.abs() > 0.5 * bound));
    assert!(own != start("rnns.0.weight_hh", 1) && own != start("rnns.1.weight_hh", 2));
    let constant = cells::coupled_lstm(3, 5).unwrap();
    assert_eq!(constant.weight_named("bias").unwrap().init, Init::Constant(0.5));
}

#[test]
fn an_engine_gives_the_same_after_passes_of_other_sizes() {
    let graph = Arc::new(cells::search(3, 4, 3).unwrap());
    let case = |steps, rows| Case { graph: graph.clone(), ..Case::new(cells::search(3, 4, 3).unwrap(), steps, rows) };
    for (target, _) in targets() {
        let engine = RecurrentEngine::compile(graph.clone(), target).unwrap();
        let mut first: Vec<Left> = Vec::new();
        for turn in 0..2 {
            for (at, (steps, rows)) in [(2, 3), (6, 5), (1, 1), (4, 2)].into_iter().enumerate() {
                let case = case(steps, rows);
                let left = crate::compare::run_on(&engine, &case, &Values::new(&case));
                match turn {
                    0 => first.push(left),
                    _ => assert_eq!(first[at], left),
                }
            }
        }
    }
}
