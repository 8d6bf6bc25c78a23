//! Recurrent cells as trees: a language model of one against the paper's formulas written out with tensors.

use crate::binary::{candlewick, folder_with};
use crate::scripts::{run, run_with, shipped};

/// A tree over two leaves, the example of Zoph & Le 2017, section 3.4, over several time steps: the loss and the
/// gradient of all weights, in double precision.
#[test]
fn a_tree_computes_what_the_paper_s_example_says() {
    let script = r#"
        let cell = recurrent_tree(#{
            tree: [["add", "tanh"], ["multiply", "relu"], ["multiply", "sigmoid"]],
            inject: [0, "add", "relu"], memory: 1,
        });
        let net = language_model(9, #{ cell: cell, hidden: 3, embedding: 4, bias: false });
        net.set_weights(normal([net.parameters]));
        let x = tensor([[1, 7], [0, 2], [8, 3], [4, 4]]).to("int");
        let y = tensor([[0, 2], [8, 3], [4, 4], [5, 1]]).to("int");

        fn surprise(w, x, y) {
            let embedding = w[0..36].reshape([9, 4]);
            let down = w[36..48].reshape([3, 4]);
            let from_x = w[48..72].reshape([4, 6]);
            let from_h = w[72..90].reshape([3, 6]);
            let h = zeros([2, 3]).to("float64");
            let c = zeros([2, 3]).to("float64");
            let loss = 0.0;
            for step in 0..4 {
                let a = matmul(select(embedding, x[step]), from_x);
                let b = matmul(h, from_h);
                let first = tanh(slice(a, 1, 0, 3) + slice(b, 1, 0, 3));
                let second = slice(a, 1, 3, 6) * slice(b, 1, 3, 6);
                h = sigmoid(relu(first + c) * relu(second));
                c = second;
                loss = loss + cross_entropy(matmul(matmul(h, down), embedding.transpose()), y[step]) / 4;
            }
            loss
        }

        assert_equal(net.weight_names, ["embedding", "projection.weight", "input.weight", "hidden.weight"]);
        let given = net.surprise(#{ x: x, y: y });
        let w = parameter(net.weights.detach());
        let expected = surprise(w, x, y);
        assert(abs(given - expected).item() < 1e-12, `${given} and ${expected}`);
        let slopes = gradient(given, net.weights);
        let others = gradient(expected, w);
        assert(norm(others).item() > 0.1 && norm(slopes - others).item() < 1e-10 * norm(others).item());
    "#;
    run_with(script, &["--precision", "f64"]).shows(0, &[]);
}

#[test]
fn the_found_cell_is_a_tree_and_outlasts_runs_and_files() {
    let script = r#"
        let words = text("austen", #{ vocabulary: 60 });
        let found = recurrent_tree("found");
        let net = language_model(words, #{ cell: found, hidden: 5 });
        let named = language_model(words, #{ cell: "nas", hidden: 5 });
        named.set_weights(net.weights);
        let window = words.train.windows(4, #{ length: 5 }).next();
        assert_equal(net.surprise(window).item(), named.surprise(window).item());
        net.save("net.safetensors");
        let again = load_language_model("net.safetensors");
        assert_equal(again.surprise(window).item(), net.surprise(window).item());
        let run = start_run([net], #{ keep: #{ best: () } });
        for epoch in run.epochs(1) {
            run.kept.best = found;
            run.log(#{ cell: found });
        }
        assert(run.kept.best == found);
        print(found);
    "#;
    let ended = run(script);
    ended.shows(0, &[]);
    let begin = "Genotype(tree=[('add', 'sigmoid'), ('add', 'relu'), ('add', 'sigmoid'), ('multiply', 'relu'), ";
    let printed = ended.stdout.lines().last().expect("the tree");
    assert!(printed.starts_with(begin) && printed.ends_with("inject=(8, 'add', 'tanh'), memory=12)"), "{printed}");
}

#[test]
fn a_tree_is_drawn_and_read_again_from_journals_and_files() {
    let folder = folder_with(
        r#"
        let found = recurrent_tree("found");
        let run = start_run([]);
        run.draw(found);
        let journal = `${run.folder}/journal.jsonl`;
        assert(recurrent_genotype(journal) == found && recurrent_tree(journal) == found);
        assert(recurrent_genotype("cell.json") == recurrent_tree("cell.txt"));
        assert_equal(recurrent_genotype("cell.json").steps, [["multiply", "tanh"]]);
        assert(language_model(50, #{ cell: recurrent_genotype("cell.txt"), hidden: 4 }).parameters == 50 * 5 + 2 * 16);
    "#,
    );
    let json = r#"{"tree": [["multiply", "tanh"]], "inject": [0, "add", "relu"], "memory": 0}"#;
    std::fs::write(folder.path().join("cell.json"), json).expect("a file");
    let text = "cell = Genotype(tree=[('multiply', 'tanh')], inject=(0, 'add', 'relu'), memory=0)\n";
    std::fs::write(folder.path().join("cell.txt"), text).expect("a file");
    std::fs::write(folder.path().join("other.rhai"), "genotype(\"cell.json\");").expect("a file");
    candlewick(folder.path(), &["run", "s.rhai", "--out", "run"]).shows(0, &[]);
    let drawing = std::fs::read_to_string(folder.path().join("run/plots/cells.svg")).expect("the drawing");
    assert!(["identity", "sigmoid"].iter().all(|name| drawing.contains(name)), "its activations are labels");

    // The script that trains found cells takes the journal of the search.
    let train = shipped("rnn_train.rhai").display().to_string();
    let mut arguments = vec!["run", train.as_str(), "--out", "trained", "--set", "genotype=run/journal.jsonl"];
    for setting in ["vocabulary=60", "hidden=4", "epochs=1", "batch=512", "lr=1.0"] {
        arguments.extend(["--set", setting]);
    }
    candlewick(folder.path(), &arguments).shows(0, &["best_valid_perplexity"]);
    candlewick(folder.path(), &["run", "other.rhai"]).shows(2, &["recurrent cell", "recurrent_genotype"]);
}

#[test]
fn own_activations_may_stand_in_trees() {
    let script = r#"
        define_activation("swish", |g, x| g.multiply(x, g.sigmoid(x)));
        let cell = recurrent_tree(#{ tree: [["add", "swish"]], inject: [0, "multiply", "swish"], memory: 0 });
        let net = language_model(20, #{ cell: cell, hidden: 3 });
        let places = tensor([[0, 1], [1, 0]]).to("int");
        assert(net.surprise(#{ x: places, y: places }).item() > 0.0);
    "#;
    run(script).shows(0, &[]);
}

#[test]
fn what_is_no_tree_is_named() {
    let refused = |script: &str, texts: &[&str]| run(script).shows(2, texts);
    let tree = |parts: &str| format!("recurrent_tree(#{{ {parts} }});");
    let model = |step: &str| {
        let cell = format!("recurrent_tree(#{{ tree: [{step}], inject: [0, \"add\", \"relu\"], memory: 0 }})");
        format!("language_model(9, #{{ cell: {cell} }});")
    };
    let inject = "inject: [0, \"add\", \"relu\"], memory: 0";
    refused(&tree(&format!("tree: [[\"add\", \"tanh\"], [\"add\", \"tanh\"]], {inject}")), &["cannot have 2 steps"]);
    refused(&tree(&format!("tree: [[\"ad\", \"tanh\"]], {inject}")), &["step 0", "\"ad\"", "did you mean \"add\""]);
    refused(&tree("tree: [[\"add\", \"tanh\"]], inject: [0, \"add\", \"relu\"]"), &["missing field `memory`"]);
    refused("recurrent_tree(\"fond\");", &["Genotype("]);
    refused(&model("[\"add\", \"tahn\"]"), &["\"tahn\"", "did you mean \"tanh\""]);
    refused(&model("[\"add\", \"none\"]"), &["step 0 has the activation \"none\""]);
    refused("score_recurrent_cells([genotype(\"DARTS_V2\")], text(\"austen\"), #{ epochs: 1 });", &["recurrent_tree"]);
}
