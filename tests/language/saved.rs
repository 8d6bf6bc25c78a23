//! A saved language model comes back as it was, and a file that does not fit is refused with what it holds.

use crate::binary::{candlewick, folder_with};
use crate::scripts::run;

const DATA: &str = "let data = text(\"austen\", #{ vocabulary: 60 });\n\
                    let train = data.train.windows(4, #{ length: 5 });\n\
                    fn same(a, b) { assert(sum(abs(a - b)).item() == 0.0 && norm(a).item() > 0.0); }\n";

#[test]
fn every_kind_of_model_comes_back_as_it_was() {
    let models = r#"
define_activation("swish", |g, x| g.multiply(x, g.sigmoid(x)));
let own = recurrent_genotype(#{ recurrent: [["swish", 0], ["tanh", 1]] });
let models = [
    recurrent_supernet(data, #{ hidden: 6, nodes: 2, activations: ["none", "swish", "relu"] }),
    language_model(data, #{ cell: own, hidden: 6 }),
    language_model(data, #{ cell: "lstm", widths: [7, 5], embedding: 4, bias: false }),
    language_model(data, #{ cell: "capped_lstm", hidden: 5, layers: 2, skip: true }),
    language_model(data, #{ cell: "highway", hidden: 5, depth: 2, experts: 3 }),
    language_model(data, #{ cell: "nas", hidden: 5 }),
    language_model(data, #{ cell: recurrent_tree(#{
        tree: [["add", "swish"]], inject: [0, "multiply", "tanh"], memory: 0 }), hidden: 5 }),
];
for net in models {
    if "alphas" in net.alphas { net.set_alphas(#{ alphas: normal(net.alphas.alphas.shape) }); }
    let w_opt = sgd(net.weights, #{ lr: 1.0 });
    for step in 0..3 { w_opt.step(weight_gradient(net, train.at(5 * step))); }
    net.save("net.safetensors", #{ about: #{ epoch: 3 } });
    let again = load_language_model("net.safetensors");
    assert(`${again}` == `${net}` && again.words == data.words && again.weight_names == net.weight_names);
    same(again.weights, net.weights);
    for name in net.alphas.keys() { same(again.alphas[name], net.alphas[name]); }
    let part = data.valid.take(100);
    assert(evaluate(again, part, #{ batch: 2 }) == evaluate(net, part, #{ batch: 2 }));

    // Back into a model whose numbers have moved, and on from there.
    let before = evaluate(net, part, #{ batch: 2 });
    w_opt.step(weight_gradient(net, train.at(20)));
    assert(evaluate(net, part, #{ batch: 2 }) != before);
    net.load("net.safetensors");
    assert(evaluate(net, part, #{ batch: 2 }) == before);
    w_opt.step(weight_gradient(net, train.at(20)));
}
let tensors = load_tensors("net.safetensors");
same(tensors.embedding, load_language_model("net.safetensors").weight("embedding"));
"#;
    run(&format!("{DATA}{models}")).shows(0, &[]);
}

#[test]
fn a_text_is_read_with_the_words_of_the_file() {
    let saved = "let net = language_model(data, #{ cell: \"lstm\", hidden: 4 });\n\
                 net.save(\"net.safetensors\");\n\
                 let again = text(\"austen\", #{ words: load_language_model(\"net.safetensors\").words });\n\
                 assert(again.encode(\"It is a truth\") == data.encode(\"It is a truth\"));\n\
                 let few = language_model(3, #{ cell: \"lstm\", hidden: 4 });\n\
                 few.save(\"few.safetensors\", #{ words: [\"a\", \"b\", \"c\"] });\n\
                 assert(load_language_model(\"few.safetensors\").words == [\"a\", \"b\", \"c\"]);";
    run(&format!("{DATA}{saved}")).shows(0, &[]);
}

#[track_caller]
fn refused(script: &str, texts: &[&str]) {
    run(&format!("{DATA}{script}")).shows(2, &[texts, &["s.rhai:"]].concat());
}

#[test]
fn files_that_do_not_fit_are_refused_by_what_they_hold() {
    let saved = "let net = language_model(data, #{ cell: \"lstm\", hidden: 4 }); net.save(\"net.safetensors\");";
    refused(
        &format!("{saved} language_model(data, #{{ cell: \"lstm\", hidden: 5 }}).load(\"net.safetensors\");"),
        &["another model", "widths [4]", "widths [5]", "load_language_model"],
    );
    refused(
        &format!("{saved} load_network(\"net.safetensors\");"),
        &["holds a language model, not a network of images", "load_language_model"],
    );
    refused(
        "let net = discrete(genotype(\"DARTS_V2\"), #{ images: images(\"digits\"), channels: 2, layers: 3 });\n\
         net.save(\"net.safetensors\"); load_language_model(\"net.safetensors\");",
        &["holds a network of images, not a language model", "load_network"],
    );
    refused(
        &format!(
            "{saved} save_tensors(\"state.safetensors\", net.state()); load_language_model(\"state.safetensors\");"
        ),
        &["holds tensors, but no description of a network", "net.save"],
    );
    refused(
        &format!(
            "{saved} net.set_weights(net.weights / 0.0); net.save(\"bad.safetensors\"); net.load(\"bad.safetensors\");"
        ),
        &["holds NaN or infinite values", "diverged"],
    );
    refused("language_model(9, #{ cell: \"lstm\", hidden: 4 }).words;", &["does not know its words"]);
    refused(
        "language_model(9, #{ cell: \"lstm\", hidden: 4 }).save(\"net.safetensors\", #{ words: [\"a\"] });",
        &["1 words were given for a model with a vocabulary of 9"],
    );
}

#[test]
fn an_activation_of_the_script_has_to_be_defined_again() {
    let folder = folder_with(
        "define_activation(\"swish\", |g, x| g.multiply(x, g.sigmoid(x)));\n\
         let cell = recurrent_genotype(#{ recurrent: [[\"swish\", 0]] });\n\
         language_model(9, #{ cell: cell, hidden: 4 }).save(\"net.safetensors\");",
    );
    candlewick(folder.path(), &["run", "s.rhai", "--out", "run"]).shows(0, &[]);
    std::fs::write(folder.path().join("t.rhai"), "load_language_model(\"run/net.safetensors\");").expect("a script");
    candlewick(folder.path(), &["run", "t.rhai"]).shows(2, &["activation \"swish\"", "not built in", "t.rhai:1"]);
}
