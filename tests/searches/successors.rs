//! Searches that follow DARTS: each runs small and has the property that makes it that method.

use crate::search::{Search, resumes, slow};
use candlewick::space::CellKind;
use serde_json::Value;

/// What makes a run of a second.
const TINY: [&str; 3] = ["epochs=1", "channels=4", "layers=3"];

/// A run of a second, with further settings, which may be others for the same parameters.
#[track_caller]
fn tiny(name: &str, further: &[&str]) -> Search {
    let of = |setting: &str| setting.split('=').next().map(String::from);
    let kept = TINY.iter().filter(|own| further.iter().all(|given| of(given) != of(own)));
    Search::run(name, &kept.chain(further).copied().collect::<Vec<_>>())
}

#[track_caller]
fn are_near(found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len(), "{found:?}");
    assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}, not {wanted:?}");
}

/// A matrix that was logged.
fn matrix(value: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(value.clone()).expect("a matrix")
}

#[test]
fn gdas_runs_one_op_of_every_edge() {
    let search = tiny("gdas", &["epochs=3"]);
    are_near(&search.numbers("temperature"), &[10.0, 5.05, 0.1]);
    // What the drawn paths cost, against all that such a path can cost: the least and the most of every edge.
    let [least, most, all] = crate::bounds::path_macs(4, 3);
    let macs = search.numbers("path_macs");
    assert!(
        macs.iter().all(|&macs| (least..=most).contains(&macs) && macs < 0.6 * all),
        "{least} {most} {all} {macs:?}"
    );
    assert!(macs.iter().any(|&one| one != macs[0]), "paths are drawn: {macs:?}");
    let genotype = search.genotype();
    assert!(CellKind::BOTH.iter().all(|kind| genotype.edges(*kind).len() == 8));
    assert!(search.drew("path_macs-temperature"));
}

#[test]
fn snas_cools_down_and_may_derive_none() {
    let search = tiny("snas", &["epochs=3", "eta=1.0"]);
    are_near(&search.numbers("temperature"), &[1.0, 0.515, 0.03]);
    let costs = search.numbers("cost");
    assert!(costs.iter().all(|&cost| cost > 0.0 && cost < 1.0), "{costs:?}");
    let genotype = search.genotype();
    assert!(CellKind::BOTH.iter().all(|kind| !genotype.is_paired(*kind)), "a node may have any number of edges");
}

#[test]
fn pdarts_drops_the_weakest_ops_of_every_edge() {
    let search = Search::run("pdarts", &["channels=4", "depths=[2,3,3]", "epochs=1", "frozen=0", "skips=0"]);
    assert_eq!(search.numbers("ops_left"), [8.0, 5.0, 3.0]);
    let masks = search.values("masks");
    let mut before: Option<Vec<Vec<f64>>> = None;
    for (mask, left) in masks.iter().zip([8.0, 5.0, 3.0]) {
        let mask = [matrix(&mask["normal"]), matrix(&mask["reduce"])].concat();
        assert_eq!(mask.len(), 28);
        assert!(mask.iter().all(|row| row.iter().sum::<f64>() == left), "{left} ops on every edge: {mask:?}");
        if let Some(before) = &before {
            let kept = mask.iter().flatten().zip(before.iter().flatten());
            assert!(kept.clone().all(|(now, then)| now <= then), "what is dropped does not come back");
            assert!(mask.windows(2).any(|rows| rows[0] != rows[1]), "every edge has ops of its own");
        }
        before = Some(mask);
    }
    let macs = search.numbers("macs");
    assert!(macs[2] < macs[1], "three ops cost less than five at the same depth: {macs:?}");
    are_near(&search.numbers("skips_dropped"), &[0.1, 0.4, 0.7]);
    let genotype = search.genotype();
    assert!(genotype.edges(CellKind::Normal).iter().all(|edge| edge.operation != "skip_connect"));
}

#[test]
fn fair_darts_opens_gates_that_do_not_compete() {
    let search = tiny("fair_darts", &["alpha_lr=0.1", "threshold=0.6"]);
    let loss = search.numbers("zero_one_loss");
    assert!(loss[loss.len() - 1] < loss[0], "gates leave one half: {loss:?}");
    let gates = search.values("alphas");
    let gates = matrix(&gates[gates.len() - 1]["normal"]["values"]);
    assert!(gates.iter().any(|row| (row.iter().sum::<f64>() - 1.0).abs() > 0.1), "rows are no shares: {gates:?}");
    assert_eq!(gates[0].len(), 7, "none is not a candidate");
    let genotype = search.genotype();
    assert!(genotype.edges(CellKind::Normal).len() <= 8);
    // Where no gate is open enough there is a cell all the same.
    tiny("fair_darts", &["epochs=4", "channels=2", "alpha_lr=0.1", "threshold=0.99"]);
}

#[test]
fn darts_minus_lets_go_of_its_auxiliary_skips() {
    let search = tiny("darts_minus", &["epochs=4"]);
    are_near(&search.numbers("skip_weight"), &[1.0, 0.75, 0.5, 0.25]);
    let genotype = search.genotype();
    let edges = CellKind::BOTH.iter().flat_map(|kind| genotype.edges(*kind));
    assert!(edges.clone().all(|edge| edge.operation != "auxiliary_skip"));
}

#[test]
fn drnas_widens_half_way_and_keeps_four_ops() {
    let search = tiny("drnas", &["epochs=2", "frozen=0", "first=4", "second=2", "alpha_lr=0.05"]);
    assert_eq!(search.numbers("stage"), [1.0, 2.0]);
    assert!(search.stdout.contains(" weights and norms moved, 0 stay"), "{}", search.stdout);
    let mixing = search.values("alphas");
    let last = matrix(&mixing[mixing.len() - 1]["normal"]["values"]);
    assert!(last.iter().all(|row| row.iter().filter(|p| **p > 0.0).count() == 4), "{last:?}");
}

#[test]
fn smooth_darts_perturbs_within_a_growing_box() {
    let search = tiny("smooth_darts", &["epochs=2"]);
    are_near(&search.numbers("box"), &[0.03, 0.165]);
    let adversarial = tiny("smooth_darts", &["perturbation=adversarial"]);
    assert_ne!(adversarial.numbers("train_loss")[1..], tiny("smooth_darts", &[]).numbers("train_loss")[1..]);
}

#[test]
fn robust_darts_stops_where_the_eigenvalue_grows() {
    let still = tiny("robust_darts", &["epochs=2", "space=S2", "of=8"]);
    assert_eq!(still.numbers("eigenvalue").len(), 2);
    // Any average is more than minus a thousand times an earlier one, or less: one of two searches must stop.
    let grown = |growth| {
        let settings = ["epochs=9", "space=S2", "of=2", "earliest=0", growth];
        tiny("robust_darts", &settings).stdout.contains("stopped after epoch 7, back to epoch 1")
    };
    assert!(grown("growth=-1000.0") || grown("growth=0.001"));
}

#[test]
fn beta_darts_decays_more_and_more() {
    let search = tiny("beta_darts", &["epochs=4", "most=8.0", "alpha_lr=0.05"]);
    are_near(&search.numbers("lambda"), &[0.0, 2.0, 4.0, 6.0]);
    let loss = search.numbers("beta_loss");
    assert!(loss[loss.len() - 1] < loss[0], "{loss:?}");
}

#[test]
fn idarts_takes_several_weight_steps_for_one_of_the_alphas() {
    let search = tiny("idarts", &["inner=4"]);
    let (steps, moves) = (search.numbers("train_loss").len(), search.numbers("hypergradient").len());
    assert_eq!(moves, steps / 4, "{steps} steps");
}

#[test]
fn darts_plus_stops_at_skip_connections_and_at_rankings_that_stay() {
    // Alphas that do not move keep their rankings.
    let still = tiny("darts_plus", &["epochs=9", "alpha_lr=0.0", "patience=2", "skips=9"]);
    assert_eq!(still.numbers("same_ranking"), [0.0, 1.0, 2.0]);
    let genotype = still.genotype();
    let skips = genotype.edges(CellKind::Normal).iter().filter(|edge| edge.operation == "skip_connect").count();
    assert_eq!(still.numbers("skips").last(), Some(&(skips as f64)));
    assert!(still.stdout.contains("stopped after 3 epochs"), "{}", still.stdout);
    let skips = tiny("darts_plus", &["epochs=9", "skips=0"]);
    assert_eq!(skips.numbers("skips").len(), 1, "zero skip connections are there at once");
}

#[test]
fn darts_pt_decides_edge_by_edge() {
    let search = tiny("darts_pt", &["scored=16", "batch=256", "layers=2"]);
    let undecided = search.numbers("undecided");
    let wanted: Vec<f64> = (0..=17).map(|done: i32| f64::from((28 - 2 * done).max(0))).collect();
    assert_eq!(undecided, wanted);
    let mixing = search.values("alphas");
    let last = matrix(&mixing[mixing.len() - 1]["normal"]["values"]);
    assert!(last.iter().flatten().all(|p| *p == 0.0 || *p == 1.0), "{last:?}");
    let edges = last.iter().filter(|row| row.contains(&1.0)).count();
    assert_eq!(edges, 8, "every node has two inputs: {last:?}");
}

#[test]
fn zarts_moves_alphas_without_a_gradient_after_its_warm_up() {
    let search = tiny("zarts", &["epochs=2", "warm_up=1", "inner=6", "samples=2"]);
    let (steps, moves) = (search.numbers("train_loss").len(), search.numbers("move"));
    assert_eq!(moves.len(), steps / 2 / 6 + usize::from(steps / 2 % 6 != 0 && steps % 6 < steps / 2 % 6), "{steps}");
    assert!(moves.iter().all(|&length| length > 0.0));
}

#[test]
fn proxyless_meets_its_budget() {
    let cost = |budget: &str| {
        let search = tiny("proxyless", &["epochs=3", "alpha_lr=0.2", "penalty=50.0", budget]);
        *search.numbers("cost").last().expect("a cost")
    };
    let (small, large) = (cost("budget=0.1"), cost("budget=0.9"));
    assert!(small < 0.2 && small < large, "{small} {large}");
    let search = crate::search::refused("proxyless", &["budget=0.0"]);
    search.shows(2, &["a budget of 0.0 is too small for any cell"]);
}

#[test]
fn every_successor_goes_on_as_if_it_had_never_stopped() {
    // Those with most to remember; the others where there is time.
    let quick = ["pdarts", "darts_plus"];
    let more = ["gdas", "snas", "fair_darts", "darts_minus", "drnas", "smooth_darts", "robust_darts", "beta_darts"];
    let last = ["idarts", "darts_pt", "zarts", "proxyless"];
    let others = more.iter().chain(&last).filter(|_| slow());
    for name in quick.iter().chain(others) {
        let depth = if *name == "pdarts" { "depths=[2,3,3]" } else { "layers=3" };
        resumes(name, &["channels=4", "epochs=2", depth]);
    }
}

#[test]
fn every_successor_ends_with_a_cell_and_charts() {
    let names = ["gdas", "snas", "fair_darts", "darts_minus", "drnas", "smooth_darts", "robust_darts", "beta_darts"];
    for name in names.iter().chain(&["idarts", "zarts", "proxyless"]) {
        tiny(name, &[]);
    }
    Search::run("pdarts", &["epochs=1", "channels=4", "depths=[2,3,3]"]);
    Search::run("darts_pt", &["epochs=1", "channels=2", "layers=3", "scored=16", "batch=256"]);
}
