//! Searches that follow DARTS: each runs small and has the property that makes it that method.

use crate::search::{Search, resumes, slow};
use candlewick::space::CellKind;

/// What makes a run of a second.
const TINY: [&str; 3] = ["epochs=1", "channels=4", "layers=3"];

/// A run of a second, with further settings, which may be others for the same parameters.
#[track_caller]
fn tiny(name: &str, further: &[&str]) -> Search {
    let of = |setting: &str| setting.split('=').next().map(String::from);
    let kept = TINY.iter().filter(|own| further.iter().all(|given| of(given) != of(own)));
    Search::run(name, &kept.chain(further).copied().collect::<Vec<_>>())
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
fn every_successor_goes_on_as_if_it_had_never_stopped() {
    let quick: &[&str] = &["darts_plus"];
    let all: &[&str] = &["darts_plus"];
    for name in if slow() { all } else { quick } {
        resumes(name, &["channels=4", "layers=3", "epochs=2"]);
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
