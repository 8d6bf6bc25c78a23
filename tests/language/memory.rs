//! What a window of a language model takes is known before it is taken: limits name what was needed, what was given and
//! what would fit, and nothing that is computed changes with them.

use crate::binary::Ended;
use crate::scripts::{run, run_with};

const DATA: &str = "let data = text(\"austen\", #{ vocabulary: 200 });\n";

/// A supernet within so much, and one training step on a window of `columns` and `length`.
fn step(memory: &str, columns: usize, length: usize) -> Ended {
    run(&format!(
        "{DATA}let net = recurrent_supernet(data, #{{ hidden: 40, nodes: 4, memory: \"{memory}\" }});\n\
         weight_gradient(net, data.train.windows({columns}, #{{ length: {length} }}).next());"
    ))
}

/// The number behind `before` on a page.
fn number(page: &str, before: &str) -> usize {
    let rest = page.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {page}")).1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after {before:?} in {page}"))
}

#[test]
fn a_window_that_does_not_fit_names_the_largest_that_would() {
    let ended = step("60MB", 200, 35);
    ended.shows(
        2,
        &["a window of 35 time steps of 200 columns cannot be trained within 60.0 MB; it takes ", "s.rhai:3"],
    );
    let (columns, time) = (number(&ended.stderr, "at most "), number(&ended.stderr, "or at most "));
    assert!((2..200).contains(&columns) && (2..35).contains(&time), "{}", ended.stderr);
    step("60MB", columns, 35).shows(0, &[]);
    step("60MB", columns + 1, 35).shows(2, &["cannot be trained within 60.0 MB"]);
    step("60MB", 200, time).shows(0, &[]);
    step("60MB", 200, time + 1).shows(2, &["cannot be trained within 60.0 MB"]);
}

#[test]
fn a_limit_within_which_nothing_fits_is_told_when_the_model_is_made() {
    let refused =
        |model: &str, texts: &[&str]| run(&format!("{DATA}{model}")).shows(2, &[texts, &["s.rhai:2"]].concat());
    let told = ["one time step of one column cannot be trained within 1.00 MB", "the least memory that would do is 3"];
    refused("recurrent_supernet(data, #{ hidden: 40, memory: \"1MB\" });", &told);
    refused("language_model(data, #{ cell: \"lstm\", hidden: 40, layers: 2, memory: \"1MB\" });", &told);
    // Gigabytes of weights are refused before any of them is made.
    refused(
        "language_model(data, #{ cell: \"lstm\", hidden: 12000, memory: \"2GB\" });",
        &["cannot be trained within 2.00 GB"],
    );
    refused("recurrent_supernet(data, #{ memory: 3 });", &["`memory` must be a string", "\"2GB\""]);
}

#[test]
fn a_limit_changes_no_number_and_does_not_keep_a_model_from_being_scored() {
    let script = "let nets = [recurrent_supernet(data, #{ hidden: 20, nodes: 3 }),\n\
                  recurrent_supernet(data, #{ hidden: 20, nodes: 3, memory: \"50MB\" })];\n\
                  nets[1].set_weights(nets[0].weights);\n\
                  nets[1].set_alphas(#{ alphas: nets[0].alphas.alphas });\n\
                  let train = data.train.windows(8, #{ length: 10 });\n\
                  let g = nets.map(|net| alpha_gradient(net, train.at(0), train.at(10), #{ order: 2, eta: 1.0 }));\n\
                  assert(sum(abs(g[0].parts.alphas - g[1].parts.alphas)).item() == 0.0);\n\
                  let large = data.train.windows(400, #{ length: 100 });\n\
                  try { weight_gradient(nets[1], large.next()); assert(false); } catch (error) {\n\
                      assert(error.message.contains(\"cannot be trained within 50.0 MB\"));\n\
                  }\n\
                  let scores = nets.map(|net| evaluate(net, data.train.take(41000), #{ batch: 400, length: 100 }));\n\
                  assert(scores[0] == scores[1]);";
    run(&format!("{DATA}{script}")).shows(0, &[]);
}

const NET: &str = "let net = recurrent_supernet(data, #{ hidden: 40, nodes: 4 });\n\
                   let window = data.train.windows(64, #{ length: 35 }).next();\n";

#[test]
fn the_script_s_memory_counts_what_losses_still_hold() {
    let memory = ["--memory", "100MB"];
    let once = format!("{DATA}{NET}for step in 0..20 {{ net.surprise(window); weight_gradient(net, window); }}");
    run_with(&once, &memory).shows(0, &[]);
    let kept = format!("{DATA}{NET}let losses = []; for step in 0..20 {{ losses.push(net.surprise(window)); }}");
    let texts = ["a window of 35 time steps of 64 columns takes", "more than is left of the script's memory"];
    run_with(&kept, &memory).shows(2, &[&texts[..], &["may hold 100 MB", "--memory raises the limit"]].concat());
    // What has had its gradient taken holds nothing any more.
    let used = format!(
        "{DATA}{NET}let losses = [];\n\
         for step in 0..20 {{ let loss = net.surprise(window); gradient(loss, net.weights); losses.push(loss); }}"
    );
    run_with(&used, &memory).shows(0, &[]);
    run_with(&once, &["--memory", "2MB"]).shows(2, &["time steps of 64 columns takes", "columns would fit"]);
    run_with(&once, &["--memory", "100MB", "--precision", "f64"]).shows(2, &["more than is left"]);
}
