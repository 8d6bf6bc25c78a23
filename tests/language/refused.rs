//! What language models refuse, and what they say then.

use crate::scripts::run;

const NET: &str = "let data = text(\"austen\", #{ vocabulary: 100 });\n\
                   let net = recurrent_supernet(data, #{ hidden: 6, nodes: 2 });\n\
                   let train = data.train.windows(4, #{ length: 5 });\n";

#[track_caller]
fn refused(script: &str, texts: &[&str]) {
    run(&format!("{NET}{script}")).shows(2, &[texts, &["s.rhai:"]].concat());
}

#[test]
fn sizes_that_do_not_fit_are_named() {
    refused("recurrent_supernet(data, #{ nodes: 0 });", &["from 1 to 64 nodes, not 0"]);
    refused("recurrent_supernet(data, #{ hidden: 0 });", &["width"]);
    refused("recurrent_supernet(1);", &["vocabulary of 1 words"]);
    refused("recurrent_supernet(data, #{ activations: [\"none\"] });", &["besides \"none\""]);
    refused(
        "recurrent_supernet(data, #{ activations: [\"tanh\", \"rellu\"] });",
        &["\"rellu\"", "did you mean \"relu\""],
    );
    refused("language_model(data, #{ cell: \"lstn\" });", &["did you mean \"lstm\""]);
    refused("language_model(data, #{ cell: \"lstm\", widths: [4, 6], skip: true });", &["one width"]);
    refused(
        "language_model(data, #{ cell: recurrent_genotype(\"ENAS\"), hidden: 8, embedding: 4 });",
        &["reads vectors of width 4"],
    );
    refused("language_model(data, #{ cell: \"lstm\", hidden: 8, experts: 1 });", &["mixture of one softmax"]);
}

#[test]
fn genotypes_of_the_other_kind_are_told_apart() {
    refused("language_model(data, #{ cell: genotype(\"DARTS_V2\") });", &["convolutional cells", "recurrent_genotype"]);
    refused("recurrent_genotype(`${genotype(\"DARTS_V2\")}`);", &["convolutional cells"]);
    refused("genotype(`${recurrent_genotype(\"DARTS_V2\")}`);", &["recurrent cell", "recurrent_genotype"]);
    refused("recurrent_genotype(\"DARTSV2\");", &["did you mean \"DARTS_V2\""]);
    refused("recurrent_genotype(#{ recurrent: [[\"tanh\", 1]] });", &["can only read states 0 to 0"]);
    refused(
        "language_model(data, #{ cell: recurrent_genotype(#{ recurrent: [[\"none\", 0]] }), hidden: 8 });",
        &["activation \"none\""],
    );
}

#[test]
fn windows_states_and_words_must_fit_the_model() {
    refused("net.surprise(#{ x: zeros([5]), y: zeros([5]) });", &["x"]);
    refused("net.surprise(#{ x: tensor([[100]]), y: tensor([[1]]) });", &["word 100", "vocabulary of 100"]);
    refused(
        "let h = hidden_states(); net.surprise(train.next(), #{ hidden: h });\n\
         net.surprise(data.train.windows(3).next(), #{ hidden: h });",
        &["hidden states", "number of columns"],
    );
    refused(
        "let h = hidden_states(); net.surprise(train.next(), #{ hidden: h });\n\
         recurrent_supernet(data, #{ hidden: 7 }).surprise(train.next(), #{ hidden: h });",
        &["hidden states", "one model"],
    );
    refused("data.train.take(20).windows(4, #{ length: 5 });", &["length"]);
    refused(
        "net.set_state(recurrent_supernet(data, #{ hidden: 7, nodes: 2 }).state());",
        &["\"weights\"", "same options"],
    );
    refused(
        "let state = net.state(); state.extra = zeros([1]); net.set_state(state);",
        &["there is no part of this model's state \"extra\""],
    );
    refused("net.dropout = #{ output: 1.0 };", &["\"output\"", "below 1"]);
    refused("net.dropout = #{ outputs: 0.1 };", &["did you mean \"output\""]);
}

#[test]
fn a_loss_that_explodes_is_named_with_its_step_and_can_be_caught() {
    let blown = "let run = start_run([net, train]);\n\
                 for epoch in run.epochs(1) {\n\
                     for window in run.steps(train) {\n\
                         net.set_weights(net.weights * 0.0 / 0.0);\n\
                         weight_gradient(net, window);\n\
                     }\n\
                 }";
    run(&format!("{NET}{blown}")).shows(2, &["train_loss is NaN"]);
    let caught = "let kept = net.state();\n\
                  try { net.set_weights(net.weights * 0.0 / 0.0); weight_gradient(net, train.next()); }\n\
                  catch (error) { net.set_state(kept); print(error.message); }\n\
                  assert(weight_gradient(net, train.next()).loss > 0.0);";
    let ended = run(&format!("{NET}{caught}"));
    ended.shows(0, &[]);
    assert!(ended.stdout.contains("train_loss is NaN"), "{}", ended.stdout);
}
