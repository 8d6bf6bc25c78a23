//! The exact executor's gradients are those that central differences of itself find: every element, of every primitive
//! and every cell, in every mode, with masks on slots and on values.

use crate::cells;
use crate::compare::{Case, Values, run};
use candlewick::engine::{Mode, Target, Wanted};

const STEP: f64 = 1e-6;

/// Σ dy · output.
fn loss(case: &Case, values: &Values) -> f64 {
    let case = Case { wanted: Wanted::default(), ..case.clone() };
    run(&case, values, Target::Exact).output.iter().zip(&values.dy).map(|(y, dy)| y * dy).sum()
}

/// Where a part of the values lies.
type Part = fn(&mut Values) -> &mut Vec<f64>;

#[track_caller]
fn check(name: &str, case: &Case) {
    let values = Values::new(case);
    let left = run(case, &values, Target::Exact);
    let parts: [(&str, Part, &[f64]); 3] =
        [("x", |v| &mut v.x, &left.x), ("w", |v| &mut v.w, &left.w), ("p", |v| &mut v.p, &left.p)];
    for (what, part, gradient) in parts {
        let mut moved = values.clone();
        assert_eq!(part(&mut moved).len(), gradient.len(), "{name}: d{what}");
        for (at, &slope) in gradient.iter().enumerate() {
            let own = part(&mut moved)[at];
            let mut at_offset = |offset: f64| {
                part(&mut moved)[at] = own + offset;
                loss(case, &moved)
            };
            let expected = (at_offset(STEP) - at_offset(-STEP)) / (2.0 * STEP);
            part(&mut moved)[at] = own;
            let close = (slope - expected).abs() < 1e-7 * (1.0 + expected.abs());
            assert!(close, "{name}, {:?}: d{what}[{at}] is {slope}, a difference says {expected}", case.mode);
        }
    }
    if case.mode == Mode::Training {
        assert!(left.w.iter().any(|&v| v != 0.0), "{name}");
    }
}

#[test]
fn gradients_are_those_of_central_differences() {
    for (name, graph) in cells::all() {
        check(name, &Case::new(graph, 3, 4));
    }
}

#[test]
fn gradients_in_evaluation_take_running_statistics_for_constants() {
    for (name, graph) in cells::all() {
        check(name, &Case { mode: Mode::Evaluation, ..Case::new(graph, 2, 3) });
    }
}

#[test]
fn slots_that_are_masked_off_get_no_gradient() {
    for (name, graph) in cells::all() {
        let active: Vec<bool> = (0..graph.slot_count()).map(|slot| slot % 3 != 1).collect();
        if active.is_empty() {
            continue;
        }
        let case = Case { active: Some(active.clone()), ..Case::new(graph, 2, 4) };
        check(name, &case);
        let left = run(&case, &Values::new(&case), Target::Exact);
        let zero = left.p.iter().zip(&active).all(|(slope, active)| *active || *slope == 0.0);
        assert!(zero && left.p.iter().any(|&slope| slope != 0.0), "{name}: {:?}", left.p);
    }
}
