//! Searches by a policy or a table of values: each runs small, and its reward, its baseline and its chances are those
//! of its method. What they import is tested in `tests/script/methods.rs`.

use crate::search::{Search, resumes, slow};

const WORDS: [&str; 5] = ["vocabulary=200", "nodes=2", "hidden=8", "epochs=1", "batch=64"];

#[test]
fn nasnet_s_baseline_follows_the_rewards() {
    let settings = ["nodes=2", "cells=8", "batch_of_cells=2", "channels=2", "layers=3", "hidden=8", "policy_lr=0.05"];
    let search = Search::run("nasnet_policy_gradient", &settings);
    let (rewards, baseline) = (search.numbers("reward"), search.numbers("baseline_reward"));
    // It begins as the first reward, and every batch of cells moves it by a twentieth of the way to their mean.
    let mut expected = rewards[0];
    for (round, found) in baseline.iter().enumerate() {
        expected += 0.05 * (0.5 * (rewards[2 * round] + rewards[2 * round + 1]) - expected);
        assert!((found - expected).abs() < 1e-9, "round {round}: {found}, not {expected}");
    }
    let best = search.numbers("best_reward");
    assert_eq!(best.last().copied(), rewards.iter().copied().reduce(f64::max));
    assert!(search.numbers("entropy").iter().all(|entropy| *entropy > 0.0));
}

#[test]
fn blockqnn_draws_at_random_for_half_of_the_search_and_by_its_table_in_the_end() {
    let settings = ["layers=3", "rounds=20", "at_once=1", "replays=4", "channels=2", "batch=256"];
    let search = Search::run("blockqnn", &settings);
    assert!(search.drew("accuracy-best_accuracy-epsilon") && search.drew("cells"));
    // Zhong et al. 2018, table 2: 1.0 for the first half, then 0.9, 0.8 … 0.1.
    let epsilons = search.numbers("epsilon");
    assert_eq!(epsilons[..11], [1.0; 11]);
    assert_eq!(epsilons[11..], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]);
}

#[test]
fn enas_rewards_paths_of_shared_weights() {
    let search = Search::run("enas", &["nodes=2", "channels=2", "layers=3", "epochs=2", "hidden=8", "steps=2"]);
    let rewards = search.numbers("reward");
    assert!(rewards.iter().all(|reward| (0.0..1.1).contains(reward)), "an accuracy and a little entropy: {rewards:?}");
    assert_eq!(rewards.len() % 4, 0, "four cells a step");
}

#[test]
fn recurrent_cells_are_found_by_policies_and_by_chance() {
    let enas = Search::run("enas_rnn", &[&WORDS[..], &["units=8", "steps=2", "samples=2"]].concat());
    assert!(enas.numbers("reward").iter().all(|reward| *reward > 0.0));
    let words = WORDS.map(|setting| setting.replace("nodes=2", "leaves=2"));
    let settings: Vec<&str> =
        words.iter().map(String::as_str).chain(["units=8", "cells=4", "batch_of_cells=2"]).collect();
    let nas = Search::run("nas_rnn", &settings);
    for (reward, perplexity) in nas.numbers("reward").iter().zip(nas.numbers("perplexity")) {
        assert!((reward - 80.0 / perplexity.powi(2)).abs() < 1e-9 * reward);
    }
    let chance = Search::run("random_rnn", &[&WORDS[..], &["cells=3"]].concat());
    let least = chance.numbers("perplexity").into_iter().reduce(f64::min);
    assert_eq!(chance.numbers("best_perplexity").last().copied(), least);
}

#[test]
fn searches_by_policies_go_on_bit_for_bit() {
    resumes("enas", &["nodes=2", "channels=2", "layers=3", "epochs=3", "hidden=8", "steps=2"]);
    if slow() {
        let settings = ["nodes=2", "cells=8", "batch_of_cells=2", "channels=2", "layers=3", "hidden=8"];
        resumes("nasnet_policy_gradient", &settings);
        resumes("enas_rnn", &["vocabulary=200", "nodes=2", "hidden=8", "epochs=3", "units=8", "steps=2"]);
    }
}
