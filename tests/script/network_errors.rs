//! Bad input to networks and to learning ends with a page that points at the call and says what would be right; a
//! search that goes wrong or is interrupted keeps what it has.

use crate::binary::{candlewick, folder_with};
use crate::scripts::{run, shipped};
use crate::start::{interrupt, start};
use candlewick::run::{Entry, read};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// One network and one batch, on the first two lines.
const SMALL: &str = concat!(
    "let net = supernet(#{ channels: 1, size: 8, classes: 10 }, #{ channels: 2, layers: 3, nodes: 1 });\n",
    "let batch = #{ x: normal([2, 1, 8, 8]), y: [0, 9] };\n",
);

/// Runs `line` after [`SMALL`]; its page must point at the text behind the `^` in `line` and hold all of `texts`.
#[track_caller]
fn refused(line: &str, texts: &[&str]) {
    let column = line.chars().position(|c| c == '^').expect("a mark where the page should point") + 1;
    let script = format!("{SMALL}{}\n", line.replacen('^', "", 1));
    let ended = run(&script);
    ended.shows(2, texts);
    ended.points_at(&script, 3, column);
}

#[test]
fn an_unknown_operation_names_the_closest() {
    let images = "#{ channels: 3, size: 8, classes: 10 }";
    refused(
        &format!("^supernet({images}, #{{ ops: [\"none\", \"sep_conv_3x4\"] }});"),
        &["there is no operation \"sep_conv_3x4\"", "hint: did you mean \"sep_conv_3x3\"?"],
    );
    refused(&format!("^supernet({images}, #{{ ops: [] }});"), &["the number of ops must be from 1 to"]);
    refused(&format!("^supernet({images}, #{{ ops: [\"none\", \"none\"] }});"), &["\"none\" is listed twice"]);
    refused(
        "network(#{ channels: 1, size: 8, classes: 10 }, |g, x| g.^activate(x, \"rellu\"));",
        &["rellu", "\"relu\""],
    );
}

#[test]
fn odd_sizes_name_the_cell_that_cannot_halve_them() {
    refused(
        "^supernet(images(\"digits\", #{ size: 14 }), #{ channels: 4, layers: 5 });",
        &["cell 3 (reduction)", "its input is 7×7", "hint: images are 14×14", "multiples of 4"],
    );
    refused("^supernet(#{ channels: 3, size: [8, 9], classes: 10 });", &["cell 2 (reduction)", "8×9"]);
}

#[test]
fn images_mixing_weights_and_weights_of_another_shape_are_told_the_right_one() {
    refused("net.^forward(normal([2, 3, 8, 8]));", &["takes images × 1 × 8 × 8, not [2, 3, 8, 8]"]);
    refused("net.^forward(normal([8, 8]));", &["takes images × 1 × 8 × 8, not [8, 8]"]);
    refused("net.^forward(zeros([0, 1, 8, 8]));", &["not [0, 1, 8, 8]"]);
    refused(
        "net.^forward(batch.x, #{ normal: zeros([3, 8]) });",
        &["\"normal\" must be 2 edges × 8 operations, not [3, 8]"],
    );
    refused(
        "net.^forward(batch.x, #{ mask: #{ reduce: ones([2, 7]) } });",
        &["the mask \"reduce\" must be [2, 8], not [2, 7]"],
    );
    refused("net.^set_weights(zeros([3]));", &["weights have shape [4284], not [3]"]);
    refused("net.^set_weights(3);", &["takes a flat tensor or a map by name, not the int 3", "hint: clone_weights"]);
    refused("net.^set_weights(#{ \"head.bias\": zeros([11]) });", &["weight \"head.bias\" is [10], not [11]"]);
    refused(
        "net.^set_weights(#{ \"head.bia\": zeros([10]) });",
        &["no weight \"head.bia\"", "did you mean \"head.bias\"?"],
    );
    refused("net.^set_alphas(#{ normal: zeros([8, 2]) });", &["alphas \"normal\" are [2, 8], not [8, 2]"]);
    refused("net.^hessian_vector(batch, zeros([3]));", &["v must have the shape [4284] of the weights, not [3]"]);
    refused(
        "weight_gradient(net, batch); ^evaluate(net, images(\"digits\", #{ size: 16 }).test);",
        &["takes images × 1 × 8 × 8, not [256, 1, 16, 16]"],
    );
    refused(
        "^network(#{ channels: 1, size: 8, classes: 10 }, |g, x| g.conv(x, 8));",
        &["gives 8 channels of 8×8, but 10 classes need a vector of 10 numbers", "hint: end with g.linear"],
    );
}

#[test]
fn labels_must_count_classes() {
    let labelled = |call: &str, y: &str| format!("^{call}(net, #{{ x: normal([2, 1, 8, 8]), y: {y} }});");
    let beyond = ["a label is 10, but the network has only 10 classes", "hint: labels count from 0"];
    refused(&labelled("weight_gradient", "[0, 10]"), &beyond);
    refused(&labelled("evaluate", "tensor([0, 10])"), &beyond);
    refused("^alpha_gradient(net, batch, #{ x: normal([1, 1, 8, 8]), y: [10] });", &beyond);
    let none = "hint: labels are whole numbers and count from 0";
    for (y, label) in
        [("[0, -1]", "-1"), ("tensor([-1, 1])", "-1"), ("tensor([0.5, 1.0])", "0.5"), ("[4294967296, 1]", "4294967296")]
    {
        refused(&labelled("weight_gradient", y), &[&format!("a label is {label}, which counts no class"), none]);
    }
    refused(&labelled("weight_gradient", "[0]"), &["one label per image, not [2, 1, 8, 8] with [1]"]);
    refused(&labelled("weight_gradient", "[0, \"cat\"]"), &["`y`", "\"cat\""]);
    refused("^weight_gradient(net, #{ x: batch.x });", &["a batch needs `y`", "hint: #{ x: images, y: labels }"]);
}

#[test]
fn options_are_strict() {
    let images = "#{ channels: 1, size: 8, classes: 10 }";
    refused(
        &format!("^supernet({images}, #{{ layers: \"three\" }});"),
        &["`layers` must be an int, not the string \"three\"", "hint: supernet("],
    );
    refused(&format!("^supernet({images}, #{{ channels: 2.5 }});"), &["`channels` must be an int, not the float 2.5"]);
    refused(&format!("^supernet({images}, #{{ channel: 2 }});"), &["no option `channel`", "did you mean `channels`?"]);
    refused("^supernet(#{ channels: 1, size: 8 });", &["images need `classes`"]);
    refused("^sgd(net.weights, #{ lr: \"fast\" });", &["`lr` must be a float, not the string \"fast\"", "hint: sgd("]);
    refused("^sgd(net.weights, #{ lr: 0.1, momentun: 0.9 });", &["no option `momentun`", "did you mean `momentum`?"]);
    refused("^sgd(net.weights, #{ lr: -1 });", &["lr must be not negative, not -1"]);
    refused(
        "^sgd(net.weights * 2, #{ lr: 0.1 });",
        &["a computed tensor of shape [4284]", "hint: optimisers move net.weights"],
    );
    refused("^adam(net.alphas, #{ lr: 0.1, betas: [0.9] });", &["`betas` are two numbers", "hint: for example"]);
    refused(
        "sgd(net.weights, #{ lr: 0.1 }).^step(zeros([3]));",
        &["gradient 0 has shape [3], but its parameter has [4284]"],
    );
    refused(
        "adam(net.alphas, #{ lr: 0.1 }).^step(weight_gradient(net, batch));",
        &["moves \"normal\", for which this gradient has no part"],
    );
}

#[test]
fn an_alpha_gradient_says_what_its_options_mean() {
    let call = |options: &str| format!("^alpha_gradient(net, batch, batch, #{{ {options} }});");
    refused(&call("order: 3"), &["`order` is 1 or 2, not 3"]);
    refused(&call("order: \"2\""), &["`order` must be an int, not the string \"2\""]);
    refused(&call("order: 2"), &["none is given", "hint: add optimizer: w_opt, or eta: 0.025"]);
    refused(
        &call("order: 2, optimizer: sgd(net.alphas, #{ lr: 0.1 })"),
        &["unrolls", "hint: make it with sgd(net.weights"],
    );
    refused(&call("optimizr: 3"), &["no option `optimizr`", "did you mean `optimizer`?"]);
    refused(&call("relax: |a| a.normal"), &["the closure's result must be a map, not a tensor"]);
    refused(&call("relax: |a| #{ normal: a.normal }"), &["no mixing weights \"reduce\"", "hint: give all of them"]);
    refused("net.^foward(batch.x);", &["no function `foward`", "did you mean `forward`?"]);
    refused("net.^aplhas;", &["no property `aplhas`", "did you mean `alphas`?"]);
}

#[test]
fn parameters_of_a_shipped_search_are_checked_before_anything_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = shipped("first_search.rhai").display().to_string();
    for (setting, texts) in [
        ("epoch=3", ["there is no parameter \"epoch\"", "did you mean \"epochs\"?"]),
        ("epochs=3.5", ["`epochs` takes an int, not \"3.5\"", "--set epochs=20"]),
    ] {
        candlewick(folder.path(), &["run", &script, "--set", setting]).shows(2, &texts);
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing was begun");
}

/// The entries of the journal, every line of which must be whole.
#[track_caller]
fn whole_journal(run: &Path) -> Vec<Entry> {
    let path = run.join("journal.jsonl");
    let text = std::fs::read_to_string(&path).expect("a journal");
    assert!(text.ends_with("}\n"), "cut off: {text}");
    let entries = read(&path).expect("it can be read");
    assert_eq!(entries.len(), text.lines().count());
    entries
}

#[test]
fn a_batch_too_large_for_the_machine_is_an_error_not_an_abort() {
    let script = "let net = supernet(#{ channels: 1, size: 8, classes: 10 }, #{ channels: 16, layers: 8 });\n\
                  net.forward(zeros([200000, 1, 8, 8]));\n";
    let folder = folder_with(script);
    let ended = candlewick(folder.path(), &["run", "s.rhai"]);
    ended.shows(2, &["a batch of 200000 images needs", "GiB", "take smaller batches"]);
}

#[test]
fn a_loss_that_is_no_number_names_the_step_and_leaves_the_run() {
    let script = "let net = supernet(#{ channels: 1, size: 8, classes: 10 }, #{ channels: 2, layers: 3, nodes: 1 });\n\
                  let train = images(\"digits\").train.take(64).batches(16);\n\
                  let w_opt = sgd(net.weights, #{ lr: 1e30 });\n\
                  let run = start_run([net, w_opt, train]);\n\
                  for epoch in run.epochs(2) {\n  for batch in run.steps(train) {\n    \
                  run.log(#{ train_loss: w_opt.step(weight_gradient(net, batch)) });\n  }\n}\n";
    let folder = folder_with(script);
    let ended = candlewick(folder.path(), &["run", "s.rhai", "--out", "run"]);
    ended.shows(2, &["error: train_loss is NaN at step 1 of epoch 0", "hint:"]);
    ended.points_at(script, 7, 39);
    let run = folder.path().join("run");
    let journal = whole_journal(&run);
    assert!(
        journal.len() == 2 && journal[0]["train_loss"].is_f64() && journal[1]["train_loss"] == "NaN",
        "{journal:?}"
    );
    assert_eq!(std::fs::read_to_string(run.join("s.rhai")).expect("the script as it ran"), script);
    assert!(run.join("run.json").is_file());
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_large_search_within_a_second() {
    let script = "let net = supernet(#{ channels: 3, size: 32, classes: 10 }, #{ channels: 16, layers: 8 });\n\
                  let batch = #{ x: normal([32, 3, 32, 32]), y: LABELS };\n\
                  let w_opt = sgd(net.weights, #{ lr: 0.025, momentum: 0.9 });\n\
                  let a_opt = adam(net.alphas, #{ lr: 3e-4 });\n\
                  let run = start_run([net, w_opt, a_opt]);\n\
                  for epoch in run.epochs(50) {\n  for step in run.steps(1000) {\n    \
                  run.log(#{ turn: step });\n    print(\"go\");\n    \
                  a_opt.step(alpha_gradient(net, batch, batch, #{ order: 2, optimizer: w_opt }));\n    \
                  run.log(#{ train_loss: w_opt.step(weight_gradient(net, batch)) });\n  }\n}\n";
    // Somewhere in a forward pass, somewhere in a backward pass.
    for wait in [50, 700, 1500] {
        let folder = folder_with(&script.replace("LABELS", &format!("{:?}", [3; 32])));
        let mut child = start(folder.path(), &["run", "s.rhai", "--out", "run"]);
        let mut first = [0u8; 3];
        child.stdout.as_mut().expect("piped").read_exact(&mut first).expect("it prints");
        std::thread::sleep(Duration::from_millis(wait));
        let asked = Instant::now();
        interrupt(&child);
        let status = child.wait().expect("it ends");
        assert!(asked.elapsed() < Duration::from_secs(1), "took {:?} after {wait} ms", asked.elapsed());
        assert_eq!(status.code(), Some(130));
        let journal = whole_journal(&folder.path().join("run"));
        assert_eq!(journal[0]["turn"], 0, "{journal:?}");
    }
}

#[test]
fn a_latency_of_too_many_images_or_of_no_passes_is_refused() {
    let net = "let net = supernet(#{ channels: 1, size: 8, classes: 2 }, #{ channels: 2, layers: 3 });\n";
    for (options, error) in [
        ("#{ images: 9000000000000000 }", "more than is left of the script's memory"),
        ("#{ passes: 0 }", "at least one image and one pass"),
    ] {
        run(&format!("{net}net.latency({options});")).shows(2, &[error]);
    }
}
