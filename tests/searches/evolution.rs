//! Searches that train their cells: evolution, progressive search, random search, and the contest between them.

use crate::binary::{Ended, candlewick};
use crate::scripts::shipped;
use crate::search::{Search, resumes};
use std::fmt::Write;
use std::path::Path;

/// Settings of a search's smallest scale: networks of two channels on few images.
const TINY: [&str; 4] = ["portion=0.1", "epochs=1", "channels=2", "layers=3"];

fn tiny<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&TINY, more].concat()
}

/// Runs a script that may import the methods of the searches.
fn with_methods(script: &str) -> Ended {
    let folder = crate::binary::folder_with(script);
    let methods = folder.path().join("methods");
    std::fs::create_dir(&methods).expect("a folder");
    for file in std::fs::read_dir(shipped("searches/methods")).expect("the methods") {
        let file = file.expect("a file").path();
        std::fs::copy(&file, methods.join(file.file_name().expect("a name"))).expect("it is copied");
    }
    candlewick(folder.path(), &["run", "s.rhai"])
}

#[track_caller]
fn holds(script: &str) {
    let ended = with_methods(script);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn ageing_drops_the_oldest_however_good_it_is() {
    holds(
        r#"
        import "methods/ageing_evolution" as method;
        let from = space("darts", #{ nodes: 2 });
        let s = method::start(#{ population: 4, sample: 2, stay: 0.0, workers: 1 });
        let cells = method::ask(from, s);
        assert(cells.len() == 4);
        s = method::tell(from, s, cells, [0.9, 0.1, 0.2, 0.3].map(|accuracy| #{ accuracy: accuracy }));
        for round in 1..8 {
            let child = method::ask(from, s);
            assert(child.len() == 1);
            s = method::tell(from, s, child, [#{ accuracy: 0.0 }]);
            assert_equal(s.members.map(|member| member.number), [round, round + 1, round + 2, round + 3]);
        }
        // The best of the first population is gone.
        assert(s.members.filter(|member| member.accuracy > 0.5).len() == 0);
        "#,
    );
}

#[test]
fn children_are_mutations_of_the_best_of_a_sample() {
    holds(
        r#"
        import "methods/ageing_evolution" as method;
        let from = space("amoebanet", #{ nodes: 2 });
        // A sample as large as this holds the best member almost surely.
        let s = method::start(#{ population: 3, sample: 60, stay: 0.0, workers: 5 });
        let cells = method::ask(from, s);
        s = method::tell(from, s, cells, [0.1, 0.9, 0.2].map(|accuracy| #{ accuracy: accuracy }));
        let parent = from.code(cells[1]);
        for child in method::ask(from, s) {
            let code = from.code(child);
            let changed = 0;
            for k in 0..code.len() { if code[k] != parent[k] { changed += 1; } }
            assert_equal(changed, 1);
        }
        "#,
    );
}

#[test]
fn in_a_tournament_nobody_dies_and_one_edge_changes() {
    holds(
        r#"
        import "methods/tournament" as method;
        import "methods/motifs" as motifs;
        let from = space("hierarchical", #{ motifs: 2, nodes: 3, cell_nodes: 3 });
        let first = motifs::chain(from);
        assert_equal(from.words(first), ["identity", "none", "identity", "identity", "none", "identity",
            "motif 0", "none", "motif 0"]);
        let s = method::start(#{ population: 3, mutations: 10, sample: 1.0, workers: 2, first: first });
        let cells = method::ask(from, s);
        assert(cells.len() == 3 && cells[0] != first);
        s = method::tell(from, s, cells, [0.1, 0.2, 0.9].map(|accuracy| #{ accuracy: accuracy }));
        let children = method::ask(from, s);
        assert(children.len() == 2);
        for child in children {
            let changed = 0;
            for k in 0..child.len() { if child[k] != cells[2][k] { changed += 1; } }
            assert_equal(changed, 1);
        }
        s = method::tell(from, s, children, [#{ accuracy: 0.0 }, #{ accuracy: 0.0 }]);
        assert(s.members.len() == 5);
        // A motif of identities computes what came in; a cell without a way to its end is left out.
        let o = #{ motifs: 2, nodes: 3, cell_nodes: 3, channels: 2, stages: 1 };
        let data = images("digits");
        let chain = motifs::network_of(from, first, data, o);
        let empty = motifs::network_of(from, [0, 0, 0, 0, 0, 0, 0, 0, 0], data, o);
        assert_equal(chain.parameters, empty.parameters);
        let convs = motifs::network_of(from, [2, 0, 1, 1, 0, 1, 1, 0, 0], data, o);
        assert(convs.parameters == empty.parameters);
        let joined = motifs::network_of(from, [2, 2, 1, 1, 0, 1, 1, 0, 1], data, o);
        assert(joined.parameters > empty.parameters);
        "#,
    );
}

#[test]
fn a_predictor_ranks_cells_that_it_has_not_seen() {
    holds(
        r#"
        import "methods/progressive" as method;
        let from = space("pnas", #{ nodes: 3 });
        let s = method::start(#{ keep: 20, members: 3, hidden: 20, steps: 100, lr: 0.01 });
        // As if separable convolutions were good, and more so on the previous cell.
        let worth = |cell| {
            let score = 0.3;
            for edge in cell.normal { if edge[0].starts_with("sep") { score += 0.05 + 0.02 * edge[1]; } }
            #{ accuracy: score }
        };
        let sizes = [];
        while true {
            let cells = method::ask(from, s);
            if cells.len() == 0 { break; }
            sizes.push(cells.len());
            s = method::tell(from, s, cells, cells.map(worth));
            if "held_out" in s.correlation { assert(s.correlation.held_out > 0.5, `${s.correlation}`); }
        }
        assert_equal(sizes, [136, 20, 20]);
        // Cells of a size that the predictor has never seen.
        let of_one = method::fitted([s.seen[0]], from.width, s.settings);
        let two    = space("pnas", #{ nodes: 2 });
        let others = [];
        for k in 0..200 { others.push(two.code(random_genotype(two))); }
        let guesses = method::ensemble(of_one.networks, method::hot(others, from.width)).array();
        let truths  = others.map(|code| worth.call(two.genotype(code)).accuracy);
        assert(method::rank_correlation(guesses, truths) > 0.3);
        // Cells of one more block whose blocks are good come to the top.
        let best = s.seen[2].accuracies.reduce(|a, b| if a > b { a } else { b }, 0.0);
        assert(best > s.seen[0].accuracies.reduce(|a, b| if a > b { a } else { b }, 0.0) + 0.2);
        assert(method::rank_correlation([1, 2, 3, 4], [10, 20, 30, 40]) == 1.0);
        assert(method::rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == -1.0);
        "#,
    );
}

#[test]
fn a_step_on_one_path_leaves_the_other_weights_alone() {
    holds(
        r#"
        import "methods/weight_sharing" as sharing;
        let data  = images("digits");
        let batch = data.train.batches(16).next();
        let net   = supernet(data, #{ channels: 2, layers: 3, nodes: 2 });
        let w_opt = sgd(net.weights, #{ lr: 0.1 });
        let cell  = genotype(#{
            normal: [["sep_conv_3x3", 0], ["skip_connect", 1], ["dil_conv_3x3", 0], ["max_pool_3x3", 2]],
            reduce: [["sep_conv_5x5", 0], ["skip_connect", 1], ["avg_pool_3x3", 0], ["max_pool_3x3", 2]],
        });
        let before = net.named(net.clone_weights());
        assert(sharing::step(net, w_opt, batch, cell) > 0.0);
        let after = net.named(net.weights);
        let moved = [];
        for name in before.keys() {
            if name.contains("ops") && !all_close(before[name], after[name], 0.0) { moved.push(name); }
        }
        assert(moved.len() > 0);
        // Row 0 is the edge from state 0 to node 0, row 2 that from state 0 to node 1; columns are DARTS_OPS'.
        for name in moved {
            let known = ["edges.0.ops.4.", "edges.2.ops.6.", "edges.0.ops.5.", "edges.1.ops.3."];
            assert(known.some(|part| name.contains(part)), name);
        }
        // What the path computes is the cell's, whatever the other weights are.
        let p = net.gates(cell);
        assert(sum(p.normal).item() == 4.0 && p.normal[3].array()[1] == 0.0 && p.normal[4].array()[1] == 1.0);
        assert(sharing::accuracy(net, data.test.take(50), cell) >= 0.0);
        // A node that adds an op of one state to itself weighs it twice.
        let twice = genotype(#{
            normal: [["sep_conv_3x3", 0], ["sep_conv_3x3", 0], ["dil_conv_3x3", 0], ["max_pool_3x3", 2]],
            reduce: cell.reduce,
        });
        assert(net.gates(twice).normal[0].array()[4] == 2.0);
        "#,
    );
}

#[test]
fn networks_of_nas_bench_201_have_the_published_sizes() {
    holds(
        r#"
        import "methods/bench201" as bench;
        let pictures = #{ channels: 3, size: 32, classes: 10 };
        let count = |cell| bench::network_of(bench::code(cell), pictures, 16, 5).parameters;
        let conv  = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|";
        assert_equal(count.call(conv), 1531546);
        let skips = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|";
        assert_equal(count.call(skips), 73306);
        let from = space("nasbench201");
        for k in 0..20 {
            let code = random_genotype(from);
            assert_equal(bench::code(bench::text(code)), code);
        }
        // Any cell can be trained, also one without connections.
        let digits = images("digits");
        let halves = digits.train.take(60).split(0.5);
        let net = bench::network_of([0, 0, 0, 0, 0, 0], digits, 2, 1);
        assert(train_cell(net, halves, #{ epochs: 1 }).accuracy >= 0.0);
        "#,
    );
    let wrong = [("|nor_conv_5x5~0|", "is not an edge of NAS-Bench-201"), ("|none~0|+|none~0|", "is not a cell")];
    for (cell, says) in wrong {
        let script = format!("import \"methods/bench201\" as bench;\nbench::code(\"{cell}\");");
        with_methods(&script).shows(2, &[says]);
    }
}

/// A table of all cells' accuracies, which fall with the number of the cell: the best is the one of zeros.
fn table(folder: &Path, cells: usize) {
    let names = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"];
    let mut text = String::from("cell,accuracy\n");
    for number in 0..cells {
        let op = |place: u32| names[number / 5usize.pow(place) % 5];
        let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(op);
        let accuracy = 90.0 - number as f64 / 1e3;
        writeln!(text, "|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|,{accuracy}").expect("text");
    }
    std::fs::write(folder.join("results.csv"), text).expect("the table is written");
}

#[test]
fn a_search_is_replayed_from_a_table_of_results() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = shipped("searches/nasbench201.rhai").display().to_string();
    let settings = ["--set", "scale=small", "--set", "results=results.csv", "--set", "cells=150"];
    let run = |out: &str| candlewick(folder.path(), &[&["run", &script, "--out", out], &settings[..]].concat());
    table(folder.path(), 15_625);
    let ended = run("whole");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let found = ended.stdout.lines().find_map(|line| line.split("best of 150: ").nth(1)).expect(&ended.stdout);
    assert!(found.parse::<f64>().expect("a number") > 85.0, "{found}");
    assert!(ended.stdout.lines().any(|line| line.starts_with('|') && line.ends_with("~2|")));
    assert!(ended.stdout.lines().last().is_some_and(|line| line.starts_with("Genotype(space='nasbench201'")));
    table(folder.path(), 10);
    run("part").shows(2, &["results.csv has no cell"]);
}

#[test]
fn a_reward_that_is_not_a_number_is_refused_by_name() {
    let told = |method: &str, first: &str| {
        format!(
            r#"
            import "methods/{method}" as method;
            let s = method::start({first});
            let from = space("pnas", #{{ nodes: 2 }});
            let cells = method::ask(from, s);
            let scores = cells.map(|cell| #{{ accuracy: 0.5 }});
            scores[2].accuracy = 0.0 / 0.0;
            method::tell(from, s, cells, scores);
            "#
        )
    };
    let ageing = told("ageing_evolution", "#{ population: 4, sample: 2, stay: 0.0, workers: 1 }");
    let tournament = told("tournament", "#{ population: 4, mutations: 1, sample: 1.0, workers: 1, first: () }");
    let progressive = told("progressive", "#{ keep: 4, members: 2, hidden: 4, steps: 2, lr: 0.01 }");
    for script in [ageing, tournament, progressive] {
        with_methods(&script).shows(2, &["a cell's accuracy is NaN", "not a number to compare or learn from"]);
    }
    let table = r#"
        import "methods/blocks" as blocks;
        blocks::learn(#{}, [1, 0], [9, 18], log(0.0), 0.1, 0.0);
    "#;
    with_methods(table).shows(2, &["the reward of a block is -inf"]);
    let policy = r#"
        import "methods/controller" as controller;
        let policy = controller::make([3, 2], 4, 0.1, 0.0);
        let opt = adam(controller::parameters(policy), #{ lr: 0.01 });
        controller::improve(policy, opt, [[0, 1], [2, 0]], [0.5, 0.0 / 0.0], 0.5, 1, 0.0);
    "#;
    with_methods(policy).shows(2, &["a reward is NaN"]);
}

#[test]
fn a_rotten_row_in_a_table_of_results_is_refused_with_its_line() {
    let good = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|";
    let folder = tempfile::tempdir().expect("a folder");
    let script = shipped("searches/nasbench201.rhai").display().to_string();
    let refused = |text: &str, says: &[&str]| {
        std::fs::write(folder.path().join("results.csv"), text).expect("the table is written");
        let settings = ["--set", "scale=small", "--set", "results=results.csv"];
        candlewick(folder.path(), &[&["run", &script], &settings[..]].concat()).shows(2, says);
    };
    let says = ["results.csv, line 3", "accuracy is \"nan\"", "not a finite number"];
    refused(&format!("cell,accuracy\n{good},90\n{good},nan\n"), &says);
    refused(&format!("cell,accuracy\n{good},\n"), &["results.csv, line 2", "accuracy is \"\""]);
    refused(&format!("cell,accuracy\n{good}\n"), &["results.csv is not a table", "line: 2"]);
    refused(&format!("cell,score\n{good},90\n"), &["has no column \"accuracy\"", "cell, score"]);
    refused(&format!("arch,accuracy\n{good},90\n"), &["has no column \"cell\""]);
    refused("cell,accuracy\n|conv~0|,90\n", &["\"conv~0\" in \"|conv~0|\" is not an edge"]);
    refused(&format!("cell,accuracy\n{good},90\n{good},91\n"), &["two accuracies", good]);
}

#[test]
fn scores_that_another_version_kept_are_refused_by_file() {
    let script = "
        let cell = genotype(\"DARTS_V2\");
        train_cell(cell, images(\"digits\").train.take(40).split(0.5), #{ epochs: 1, channels: 2, layers: 3 });";
    let folder = crate::binary::folder_with(script);
    let run = || candlewick(folder.path(), &["run", "s.rhai"]);
    run().shows(0, &[]);
    let kept = folder.path().join("runs/cell-scores");
    for file in std::fs::read_dir(&kept).expect("scores are kept") {
        let path = file.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("text");
        std::fs::write(&path, text.replace("\"format\": 1", "\"format\": 9")).expect("it is written");
    }
    run().shows(2, &["in form 9, but candlewick", "delete the folder", "cell-scores"]);
}

#[test]
fn a_cell_outside_of_its_space_ends_with_exit_code_2() {
    let outside = |script: &str, says: &[&str]| with_methods(script).shows(2, says);
    outside(
        "mutate(genotype(\"NASNet\"), space(\"enas\"));",
        &["not a cell of the space \"enas\"", "('sep_conv_7x7', 0) into state 2"],
    );
    outside("encode([0, 1, 2, 3, 4, 5], space(\"nasbench201\"));", &["from node 2 to node 3 cannot be 5"]);
}

#[test]
fn every_search_runs_at_its_smallest_scale() {
    let amoebanet = Search::run("amoebanet", &tiny(&["cells=8", "population=4", "sample=2", "space=darts"]));
    assert_eq!(amoebanet.numbers("accuracy").len(), 8);
    let best = amoebanet.numbers("best_accuracy");
    assert!(best.windows(2).all(|pair| pair[0] <= pair[1]), "{best:?}");
    assert!(amoebanet.drew("accuracy-best_accuracy-population_accuracy"));
    let random = Search::run("random_search", &tiny(&["cells=5", "workers=2"]));
    assert_eq!(random.numbers("accuracy").len(), 5);
    let pnas = Search::run("pnas", &tiny(&["blocks=2", "keep=3", "steps=20", "members=2"]));
    assert_eq!(pnas.numbers("accuracy").len(), 136 + 3);
    assert!(pnas.drew("held_out_correlation") && pnas.numbers("chosen_correlation").len() == 1);
    let shared = ["judged_by=40", "cells=4", "finalists=2", "last=1"];
    let shared = Search::run("random_weight_sharing", &tiny(&shared));
    assert!(shared.drew("accuracy") && shared.numbers("train_loss").len() == shared.numbers("path_accuracy").len() * 5);
}

#[test]
fn searches_in_spaces_of_codes_run_too() {
    let tiny = ["portion=0.1", "epochs=1", "channels=2"];
    let motifs = ["motifs=2", "mutations=5", "population=3", "children=2"];
    let motifs = Search::run("hierarchical_evolution", &[&tiny[..], &motifs].concat());
    assert!(motifs.drew("accuracy-best_accuracy") && motifs.drew("cells"));
    let bench = Search::run("nasbench201", &[&tiny[..], &["cells=6", "population=4"]].concat());
    assert!(bench.drew("accuracy-best_accuracy") && bench.drew("cells"));
    assert!(bench.stdout.lines().any(|line| line.starts_with('|') && line.ends_with("~2|")), "{}", bench.stdout);
    // What was found can be trained at another size.
    for found in [motifs, bench] {
        let genotype = format!("genotype={}", found.path("journal.jsonl").display());
        let folder = tempfile::tempdir().expect("a folder");
        let script = shipped("train_coded.rhai").display().to_string();
        let data = found.path("").display().to_string();
        let settings = ["scale=small", "epochs=1", "channels=2", "batch=256", &genotype];
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let given: Vec<&str> = ["run", &script, "--data", &data, "--out", "run"].into_iter().chain(settings).collect();
        let ended = candlewick(folder.path(), &given);
        ended.shows(0, &[]);
        assert!(found.stdout.lines().last() == ended.stdout.lines().last(), "{}", ended.stdout);
        assert!(folder.path().join("run/best.safetensors").is_file());
    }
}

#[test]
fn searches_go_on_after_an_interruption_bit_for_bit() {
    resumes("amoebanet", &tiny(&["cells=10", "population=4", "sample=2"]));
    resumes("pnas", &tiny(&["blocks=2", "keep=3", "steps=20", "members=2"]));
    resumes("random_weight_sharing", &tiny(&["epochs=2", "judged_by=40", "cells=4", "finalists=2", "last=1"][1..]));
}

/// Runs the contest at a small scale.
fn contest(settings: &[&str]) -> (Ended, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let script = shipped("contest.rhai").display().to_string();
    let small = ["limit=200", "channels=2", "layers=3", "last=1", "last_channels=2", "last_layers=3", "trials=2"];
    let settings = small.iter().chain(settings).flat_map(|setting| ["--set", setting]);
    let arguments: Vec<&str> = ["run", &script, "--out", "run"].into_iter().chain(settings).collect();
    (candlewick(folder.path(), &arguments), folder)
}

#[test]
fn a_contest_ends_with_a_table_of_equal_budgets() {
    let (ended, folder) = contest(&["budget=3e8"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let evolved = ["random", "amoebanet", "nasnet", "pnas", "hierarchical", "blockqnn"];
    let all = evolved.iter().chain(&["weight_sharing", "darts", "drawn"]);
    for name in all.clone() {
        assert!(ended.stdout.contains(&format!("| {name} |")), "no {name} in\n{}", ended.stdout);
    }
    let text = std::fs::read_to_string(folder.path().join("run/contest.csv")).expect("the table");
    assert_eq!(text.lines().count(), 1 + 2 * all.count());
    let costs = text.lines().skip(1).filter_map(|line| line.split(',').nth(4)?.parse::<f64>().ok());
    let costs: Vec<f64> = costs.collect();
    assert!(costs.len() == 18 && costs.iter().all(|cost| *cost <= 3e8), "{costs:?}");
    assert!(costs.iter().filter(|cost| **cost > 1.5e8).count() >= 14, "{costs:?}");
    assert!(folder.path().join("run/plots/test_accuracy.png").is_file());
}

#[test]
fn a_budget_that_is_too_small_for_one_cell_is_refused() {
    for searcher in ["random", "pnas", "darts"] {
        let (ended, _) = contest(&["budget=1000", &format!(r#"searchers=["{searcher}"]"#)]);
        ended.shows(2, &["is too small for", "one cell, which takes", "a larger budget"]);
    }
    let (ended, _) = contest(&[r#"searchers=["enas"]"#]);
    ended.shows(2, &["there is no searcher \"enas\"", "amoebanet"]);
}
