//! Cells scored by training them from scratch: alone and many at once, kept on the disk, and what is refused.

use candlewick::random::Seed;
use candlewick::script::{Host, Script, Setup, on_script_thread};
use std::path::{Path, PathBuf};

/// Runs a script that may keep scores in `cells`, on this many threads; the error page where it fails.
fn run_on(threads: usize, cells: Option<&Path>, text: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup {
        script: folder.path().join("search.rhai"),
        out: Some(folder.path().join("run")),
        seed: Seed(3),
        cells: cells.map(PathBuf::from),
        threads,
        ..Setup::default()
    };
    let host = Host::with_sink(setup, Box::new(std::io::sink()));
    on_script_thread(|| Script::compile(host, text.to_string())?.run()).unwrap().map_err(|page| page.render(false))
}

#[track_caller]
fn runs(threads: usize, cells: Option<&Path>, text: &str) {
    if let Err(page) = run_on(threads, cells, text) {
        panic!("{page}");
    }
}

#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let page = run_on(1, None, text).expect_err("this should have been refused");
    for part in parts {
        assert!(page.contains(part), "no \"{part}\" in\n{page}");
    }
}

const SMALL: &str = "
let halves = images(\"digits\").train.take(120).split(0.5);
let how = #{ epochs: 2, channels: 2, layers: 3, batch: 20 };
";

/// The files in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn many_cells_at_once_score_what_each_scores_alone() {
    let scores = |threads: usize| {
        let cells = tempfile::tempdir().unwrap();
        runs(
            threads,
            Some(cells.path()),
            &format!(
                "{SMALL}
                let cells = [];
                for k in 0..4 {{ cells.push(random_genotype(#{{ nodes: 2 }})); }}
                let net = network(halves[0], |g, x| g.linear(g.global_pool(g.op(\"max_pool_5x5\", x, 1)), 10));
                let scores = score_cells(cells + [net, cells[0]], halves, how);
                assert(scores.len() == 6 && scores[5] == scores[0]);
                for k in 0..4 {{
                    assert_equal(train_cell(cells[k], halves, how + #{{ cache: false }}), scores[k]);
                }}
                let o = #{{ epochs: 2, batch: 20, cache: false }};
                assert_equal(train_cell(net, halves, o), scores[4]);"
            ),
        );
        files(cells.path()).iter().map(|path| std::fs::read_to_string(path).unwrap()).collect::<Vec<_>>()
    };
    let (one, two) = (scores(1), scores(2));
    assert_eq!(one.len(), 5);
    assert_eq!(one, two);
}

#[test]
fn what_was_scored_is_not_trained_again() {
    let folder = tempfile::tempdir().unwrap();
    let cells = folder.path().join("cells");
    let cell = "genotype(#{ normal: [[\"conv_3x3\", 0], [\"skip_connect\", 1]],
        reduce: [[\"max_pool_7x7\", 0], [\"conv_1x1\", 1]] })";
    runs(1, Some(&cells), &format!("{SMALL} train_cell({cell}, halves, how);"));
    let path = files(&cells).pop().unwrap();
    // A number that no training gives: whoever gets it has trained nothing.
    let text = std::fs::read_to_string(&path).unwrap();
    let loss = text.lines().find(|line| line.contains("\"loss\"")).unwrap();
    std::fs::write(&path, text.replace(loss, "    \"loss\": 123.5,")).unwrap();
    runs(
        2,
        Some(&cells),
        &format!(
            "{SMALL}
            let cell = {cell};
            assert(train_cell(cell, halves, how).loss == 123.5);
            assert(score_cells([cell, cell], halves, how)[1].loss == 123.5);
            for other in [#{{ seed: 4 }}, #{{ epochs: 1 }}, #{{ lr: 0.01 }}, #{{ channels: 4 }}, #{{ cache: false }}] {{
                assert(train_cell(cell, halves, how + other).loss < 100.0, `${{other}}`);
            }}
            assert(train_cell(cell, [halves[1], halves[0]], how).loss < 100.0);
            define_op(\"other\", |g, x, channels, stride| g.op(\"conv_3x3\", x, channels, stride));"
        ),
    );
    assert_eq!(files(&cells).len(), 6);
}

#[test]
fn an_operation_of_a_script_s_own_is_known_by_what_it_does() {
    let cells = tempfile::tempdir().unwrap();
    let with = |op: &str| {
        format!(
            "{SMALL}
            define_op(\"mine\", |g, x, channels, stride| g.batch_norm(g.conv(g.relu(x), channels, {op})));
            let edges = [[\"mine\", 0], [\"mine\", 1]];
            train_cell(genotype(#{{ normal: edges, reduce: edges }}), halves, how);"
        )
    };
    for (op, count) in [("#{ stride: stride }", 1), ("#{ stride: stride }", 1), ("#{ kernel: 5, stride: stride }", 2)] {
        runs(1, Some(cells.path()), &with(op));
        assert_eq!(files(cells.path()).len(), count);
    }
}

#[test]
fn a_network_keeps_its_weights_and_the_seed_decides() {
    runs(
        1,
        None,
        "let halves = images(\"digits\").train.take(120).split(0.5);
        let make = || network(halves[0], |g, x| g.linear(g.global_pool(g.conv(x, 4)), 10));
        let one = make.call();
        let other = make.call();
        let before = one.clone_weights();
        let score = train_cell(one, halves, #{ epochs: 1 });
        assert(all_close(one.weights, before));
        assert_equal(score, train_cell(other, halves, #{ epochs: 1 }));
        assert(score.parameters == one.parameters && score.macs == one.macs);
        assert(score != train_cell(one, halves, #{ epochs: 1, seed: 99 }));",
    );
}

#[test]
fn recurrent_cells_score_alike_alone_and_together() {
    for threads in [1, 2] {
        let cells = tempfile::tempdir().unwrap();
        runs(
            threads,
            Some(cells.path()),
            "let data  = text(\"austen\", #{ vocabulary: 60 });
            let parts = [data.train.take(600), data.valid.take(300)];
            let cells = [];
            for nodes in 2..4 { cells.push(random_recurrent_genotype(nodes, DARTS_ACTIVATIONS)); }
            let how = #{ epochs: 2, hidden: 6, batch: 5, length: 8, dropout: #{ output: 0.2 } };
            let scores = score_recurrent_cells(cells, parts, how);
            for k in 0..2 {
                assert_equal(train_cell(cells[k], parts, how + #{ cache: false }), scores[k]);
            }
            assert(scores[0].perplexity < 60.0 && scores[0].cost > 0.0);",
        );
        assert_eq!(files(cells.path()).len(), 2);
    }
}

#[test]
fn what_cannot_be_scored_is_refused_with_the_reason() {
    let cell = "genotype(\"DARTS_V2\")";
    let train = |rest: &str| format!("{SMALL} train_cell({cell}, {rest});");
    refused(&train("halves, how + #{ epochs: 0 }"), &["epochs must be at least 1"]);
    refused(&train("halves, #{ channels: 2 }"), &["option `epochs` is missing"]);
    refused(&train("[halves[0]], how"), &["two sets of images, not 1"]);
    refused(&train("halves, how + #{ augment: \"strong\" }"), &["no augmentation \"strong\""]);
    refused(&train("halves, how + #{ drop_path: 1.0 }"), &["drop_path must be at least 0 and below 1"]);
    refused(
        &train("halves, how + #{ lr: 1e30, clip: 1e30 }"),
        &["Genotype(normal=", "in epoch", "smaller learning rate"],
    );
    refused(
        &format!("{SMALL} score_cells([{cell}, \"DARTS_V2\"], halves, how);"),
        &["element 1 is the string \"DARTS_V2\""],
    );
    refused(
        "let net = network(#{ channels: 3, size: 8, classes: 10 }, |g, x| g.linear(g.global_pool(x), 10));
        train_cell(net, images(\"digits\").train.split(0.5), #{ epochs: 1 });",
        &["the network is for images of 3×8×8, these are 1×8×8"],
    );
    let cells = tempfile::tempdir().unwrap();
    let script = format!("{SMALL} train_cell({cell}, halves, how);");
    runs(1, Some(cells.path()), &script);
    let path = files(cells.path()).pop().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"format\": 1", "\"format\": 9")).unwrap();
    let page = run_on(1, Some(cells.path()), &script).expect_err("a cache of another version");
    assert!(page.contains("in form 9") && page.contains("delete the folder"), "{page}");
}
