//! Activations that a script defines: as good as the built-in ones in search, derivation, training, drawings and
//! resumed runs; and what is said where they are wrong.

use crate::binary::{candlewick, folder_with};
use crate::scripts::{run, run_with, shipped};
use candlewick::run::{difference, read};
use std::path::Path;

/// Two supernets of the same numbers, whose tanh goes by two names, and two windows.
const TWINS: &str = r#"
define_activation("my_tanh", |g, x| g.tanh(x));
let data  = text("austen", #{ vocabulary: 80 });
let train = data.train.windows(5, #{ length: 6 });
let window = train.next();
let other  = data.valid.windows(5, #{ length: 6 }).next();
let nets = ["tanh", "my_tanh"].map(|name| {
    recurrent_supernet(data, #{ hidden: 7, nodes: 3, activations: ["none", name, "relu"] })
});
let w = normal([nets[0].parameters]) * 0.3;
let a = normal([6, 3]) + tensor([0.0, 1.0, 0.0]);
for net in nets {
    net.set_weights(w);
    net.set_alphas(#{ alphas: a });
}
fn same(a, b) { assert(sum(abs(a - b)).item() == 0.0 && norm(a).item() > 0.0); }
"#;

#[test]
fn tanh_by_another_name_gives_the_same_numbers() {
    let searched = r#"
let g = nets.map(|net| weight_gradient(net, window));
assert(g[0].loss == g[1].loss);
same(g[0].parts.weights, g[1].parts.weights);
for order in [1, 2] {
    let g = nets.map(|net| alpha_gradient(net, window, other, #{ order: order, eta: 0.5 }));
    assert(g[0].loss == g[1].loss);
    same(g[0].parts.alphas, g[1].parts.alphas);
}
assert(evaluate(nets[0], data.valid.take(400)) == evaluate(nets[1], data.valid.take(400)));
"#;
    run(&format!("{TWINS}{searched}")).shows(0, &[]);
    let trained = r#"
let cells = nets.map(|net| `${derive(net)}`);
let renamed = cells[0];
renamed.replace("'tanh'", "'my_tanh'");
assert(cells[1].contains("'my_tanh'") && cells[1] == renamed);
let nets = cells.map(|cell| language_model(data, #{ cell: recurrent_genotype(cell), hidden: 7 }));
let w = normal([nets[0].parameters]) * 0.3;
for net in nets {
    net.set_weights(w);
    let w_opt = sgd(net.weights, #{ lr: 1.0, clip: 0.25 });
    for step in 0..3 { w_opt.step(weight_gradient(net, train.at(6 * step))); }
}
same(nets[0].weights, nets[1].weights);
let cell = random_recurrent_genotype(5, ["none", "my_tanh"]);
assert(cell.nodes.all(|node| node[0] == "my_tanh"));
"#;
    run(&format!("{TWINS}{trained}")).shows(0, &[]);
}

/// Every primitive in one activation. Its kinks lie where no number of this test does.
const COMPOSED: &str = r#"
define_activation("composed", |g, x| {
    let gate = g.sigmoid(g.scale(x, 2.0, -0.5));
    let y = g.blend(g.tanh(x), g.relu(g.scale(x, 1.0, 0.01)), gate);
    let z = g.multiply(y, g.at_most(g.scale(x, 0.5), 0.31));
    g.subtract(g.add([x, y, z]), g.scale(x, 0.25))
});
let data = text("austen", #{ vocabulary: 20 });
let net  = recurrent_supernet(data, #{ hidden: 4, nodes: 2, activations: ["none", "composed", "sigmoid"] });
let window = data.train.windows(4, #{ length: 3 }).next();
net.set_weights(normal([net.parameters]) * 0.7);
net.set_alphas(#{ alphas: normal([3, 3]) });
let g = weight_gradient(net, window).parts.weights.array();
let h = 1e-5;
let w = net.weights.array();
let seen = 0.0;
for k in range(0, w.len(), 5) {
    let losses = [h, -h].map(|off| {
        let moved = w;
        moved[k] += off;
        net.set_weights(tensor(moved));
        net.surprise(window).item()
    });
    let slope = (losses[0] - losses[1]) / (2.0 * h);
    assert((g[k] - slope).abs() < 1e-8 * (1.0 + slope.abs()));
    seen += slope.abs();
}
assert(seen > 0.1);
net.set_weights(tensor(w));
let g = gradient(net.surprise(window), net.alphas.alphas).flatten().array();
let a = net.alphas.alphas.flatten().array();
let seen = 0.0;
for k in 0..a.len() {
    let losses = [h, -h].map(|off| {
        let moved = a;
        moved[k] += off;
        net.set_alphas(#{ alphas: tensor(moved).reshape([3, 3]) });
        net.surprise(window).item()
    });
    let slope = (losses[0] - losses[1]) / (2.0 * h);
    assert((g[k] - slope).abs() < 1e-8 * (1.0 + slope.abs()));
    seen += slope.abs();
}
assert(seen > 1e-3);
"#;

#[test]
fn gradients_of_a_composed_activation_are_those_of_central_differences() {
    run_with(COMPOSED, &["--precision", "f64"]).shows(0, &[]);
}

#[test]
fn both_executors_agree_about_a_composed_activation() {
    let script = format!(
        "{}print(weight_gradient(net, window).parts.weights.array());",
        COMPOSED.split("let g = ").next().expect("the model comes before its gradient")
    );
    let [exact, fast] = ["f64", "f32"].map(|precision| {
        let ended = run_with(&script, &["--precision", precision]);
        ended.shows(0, &[]);
        serde_json::from_str::<Vec<f64>>(&ended.stdout).expect("a list of numbers")
    });
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let apart = norm(&mut exact.iter().zip(&fast).map(|(a, b)| a - b)) / norm(&mut exact.iter().copied());
    assert!(exact.len() == fast.len() && apart < 1e-5, "{apart:e}");
}

#[test]
fn the_shipped_search_finds_draws_and_resumes_to_the_bit() {
    let script = shipped("own_activation.rhai").display().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let search = |out: &str, more: &[&str]| {
        let small = ["run", &script, "--out", out, "--set", "hidden=8", "--set", "nodes=2"];
        let ended = candlewick(folder.path(), &[&small[..], more].concat());
        ended.shows(0, &[]);
        ended
    };
    let journal = |out: &str| read(&folder.path().join(out).join("journal.jsonl")).expect("a journal");
    let found = search("whole", &["--set", "epochs=2"]);
    assert!(found.stdout.contains("Genotype(recurrent=["), "{}", found.stdout);
    let drawn = |chart: &str| {
        let path = Path::new("whole/plots").join(chart).with_extension("svg");
        std::fs::read_to_string(folder.path().join(path)).expect("a chart")
    };
    assert!(drawn("alphas-recurrent").contains("swish") && drawn("alphas").contains("swish"));
    drawn("cells");

    search("parts", &["--set", "epochs=1"]);
    search("parts", &["--set", "epochs=2", "--resume"]);
    assert_eq!(difference(&journal("whole"), &journal("parts")), None);
}

#[test]
fn a_cell_with_an_activation_of_ones_own_is_drawn_kept_and_put_back() {
    let script = r#"
define_activation("swish", |g, x| g.multiply(x, g.sigmoid(x)));
let cell = recurrent_genotype("Genotype(recurrent=[('swish', 0), ('tanh', 0)], concat=range(1, 3))");
assert(recurrent_genotype(`${cell}`) == cell);
let net = language_model(30, #{ cell: cell, hidden: 5 });
save_tensors("best.safetensors", net.state());
let kept = net.clone_weights();
net.set_weights(net.weights * 0.0);
net.set_state(load_tensors("best.safetensors"));
assert(sum(abs(net.weights - kept)).item() == 0.0 && norm(kept).item() > 0.0);
let run = start_run([net]);
run.log(#{ genotype: cell });
run.draw(cell);
"#;
    let folder = folder_with(script);
    candlewick(folder.path(), &["run", "s.rhai", "--out", "run"]).shows(0, &[]);
    let drawing = std::fs::read_to_string(folder.path().join("run/plots/cells.svg")).expect("a drawing");
    assert!(drawing.contains("swish"));
}

/// Runs `line`; its page must point at the text behind the `^` in `line` and hold all of `texts`.
#[track_caller]
fn refused(line: &str, texts: &[&str]) {
    let column = line.chars().position(|c| c == '^').expect("a mark where the page should point") + 1;
    let script = format!("{}\n", line.replacen('^', "", 1));
    let ended = run(&script);
    ended.shows(2, texts);
    ended.points_at(&script, 1, column);
}

/// A definition of "own", and a model that uses it.
fn used(build: &str) -> String {
    format!("define_activation(\"own\", {build}); recurrent_supernet(9, #{{ hidden: 4, activations: [\"own\"] }});")
}

#[test]
fn names_that_are_taken_or_none_are_told() {
    refused("^define_activation(\"tanh\", |g, x| x);", &["there is already an activation \"tanh\"", "another name"]);
    refused(
        "define_activation(\"a\", |g, x| x); ^define_activation(\"a\", |g, x| x);",
        &["already an activation \"a\""],
    );
    refused("^define_activation(\"a b\", |g, x| x);", &["\"a b\" is not a name for an activation", "my_swish"]);
    refused(
        "define_activation(\"swish\", |g, x| x); ^recurrent_supernet(9, #{ activations: [\"swsih\"] });",
        &["there is no activation \"swsih\"", "did you mean \"swish\"?"],
    );
    let cell = "recurrent_genotype(#{ recurrent: [[\"swish\", 0]] })";
    refused(
        &format!("^language_model(9, #{{ cell: {cell}, hidden: 4 }});"),
        &["there is no activation \"swish\"", "define_activation"],
    );
}

#[test]
fn closures_that_make_no_activation_are_told_where_they_go_wrong() {
    refused(&used("|g, x| g.^tahn(x)"), &["no function `tahn`", "did you mean `tanh`?"]);
    refused(&used("|g, x| g.^conv(x, 3)"), &["`conv`"]);
    refused(&used("|g, x| g.^scale(x, 1.0 / 0.0)"), &["scale", "inf"]);
    refused(&used("|g, x| g.^add([])"), &["there are none"]);
    refused(
        &used("|g| g").replace("; recurrent", "; ^recurrent"),
        &["the closure was called with (step_builder, row)"],
    );
    refused(&used("|g, x| 3").replace("; recurrent", "; ^recurrent"), &["the closure's result must be a row", "3"]);
    // What a script throws is its own failure, not a mistake in it.
    run(&used("|g, x| throw \"not today\"")).shows(1, &["error: not today", "s.rhai:1:33"]);
    // Widths change only in products and slices, which no activation has.
    refused(&used("|g, x| g.^slice(x, 0, 2)"), &["`slice`"]);
    // What it captures is what it saw when it was given, so no row gets from one place of a cell to another.
    let kept = "let kept = []; define_activation(\"own\", |g, x| { kept.push(x); g.add([x, kept[0]]) });";
    run(&format!(
        "{kept} recurrent_supernet(9, #{{ hidden: 4, nodes: 2, activations: [\"own\"] }}); print(kept.len());"
    ))
    .shows(0, &[]);
}
