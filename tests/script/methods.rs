//! The modules behind `scripts/searches`: each computes what its method says.

use crate::binary::{Ended, candlewick};
use crate::scripts::shipped;

/// Runs a script that imports the searches' modules.
fn with_methods(script: &str, arguments: &[&str]) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    let methods = folder.path().join("methods");
    std::fs::create_dir(&methods).expect("a folder");
    for entry in std::fs::read_dir(shipped("searches/methods")).expect("the modules") {
        let from = entry.expect("an entry").path();
        std::fs::copy(&from, methods.join(from.file_name().expect("a name"))).expect("a copy");
    }
    std::fs::write(folder.path().join("s.rhai"), script).expect("the script is written");
    candlewick(folder.path(), &[&["run", "s.rhai"], arguments].concat())
}

#[test]
fn a_policy_s_gradient_is_that_of_differences_of_its_log_probability() {
    let script = r#"
        import "methods/controller" as controller;
        let policy = controller::make([3, 2, 4], 5, 0.5, 1.7);
        let theta = controller::parameters(policy);
        let code = [2, 0, 3];
        let made = controller::decide(policy, code);
        let exact = gradient(made.log_p, theta);
        for which in 0..theta.len() {
            let w = theta[which];
            let kept = w.detach();
            let d = normal(w.shape);
            w.assign(kept + 1e-5 * d);
            let above = controller::decide(policy, code).log_p.item();
            w.assign(kept - 1e-5 * d);
            let below = controller::decide(policy, code).log_p.item();
            w.assign(kept);
            let along = sum(exact[which] * d).item();
            assert(abs((above - below) / 2e-5 - along) < 1e-6 + 1e-5 * abs(along), `parameter ${which}`);
        }
        // The probabilities of all codes add up to 1.
        let total = 0.0;
        for a in 0..3 { for b in 0..2 { for c in 0..4 {
            total += exp(controller::decide(policy, [a, b, c]).log_p.item());
        } } }
        assert(abs(total - 1.0) < 1e-9);
    "#;
    with_methods(script, &["--precision", "f64"]).shows(0, &[]);
}

#[test]
fn a_policy_finds_the_choice_that_is_rewarded() {
    let script = r#"
        import "methods/controller" as controller;
        let policy = controller::make([4, 3], 8, 0.1, 0.0);
        let theta = controller::parameters(policy);
        let opt = adam(theta, #{ lr: 0.05 });
        let baseline = 0.0;
        for step in 0..60 {
            let loss = tensor(0.0);
            for k in 0..8 {
                let made = controller::draw(policy);
                let reward = if made.code == [2, 1] { 1.0 } else if made.code[0] == 2 { 0.5 } else { 0.0 };
                loss = loss - made.log_p * (reward - baseline) / 8;
                baseline += 0.05 * (reward - baseline);
            }
            opt.step(gradient(loss, theta));
        }
        let probability = exp(controller::decide(policy, [2, 1]).log_p.item());
        assert(probability > 0.8, `${probability}`);
    "#;
    with_methods(script, &[]).shows(0, &[]);
}

#[test]
fn the_table_s_values_are_those_of_the_chain() {
    // Two layers: choice 1 then choice 2 earns 1, everything else 0.2; each layer gets half of it.
    let script = r#"
        import "methods/blocks" as blocks;
        let table = #{};
        let sizes = [2, 3];
        for round in 0..300 {
            for code in [[1, 0], [1, 1], [1, 2]] {
                let reward = if code == [1, 2] { 1.0 } else { 0.2 };
                table = blocks::learn(table, code, sizes, reward, 0.2, 0.0);
            }
        }
        // The last layer is worth its half; the first its half and the best that follows. What the first layer gets
        // of each sample is the mean over what followed: between 0.1 + 0.5 and 0.5 + 0.5.
        assert(abs(blocks::value(table, [1], 2, 0.0) - 0.5) < 1e-6);
        assert(abs(blocks::value(table, [1], 0, 0.0) - 0.1) < 1e-6);
        let first = blocks::value(table, [], 1, 0.0);
        assert(first > 0.6 && first < 1.0, `${first}`);
        assert(blocks::greatest(table, [1], 3, 0.0) == blocks::value(table, [1], 2, 0.0));
        // Without chance the best known block is drawn.
        assert(blocks::draw(table, sizes, 0.0, 0.0) == [1, 2]);
    "#;
    with_methods(script, &[]).shows(0, &[]);
}

#[test]
fn epsilon_falls_as_the_paper_s_table_says() {
    let script = r#"
        import "methods/blocks" as blocks;
        let rounds = #{};
        for round in 0..178 {
            let key = `${blocks::epsilon(round / 178.0)}`;
            rounds[key] = if key in rounds { rounds[key] + 1 } else { 1 };
        }
        let levels = ["1.0", "0.9", "0.8", "0.7", "0.6", "0.5", "0.4", "0.3", "0.2", "0.1"];
        assert_equal(levels.map(|level| rounds[level]), [95, 7, 7, 7, 10, 10, 10, 10, 10, 12]);
        assert(blocks::epsilon(1.0) == 0.1);
    "#;
    with_methods(script, &[]).shows(0, &[]);
}

#[test]
fn the_space_of_trees_is_as_large_as_the_paper_says() {
    // "Approximately 6 × 10^16" at base 8 (Zoph and Le 2017, section 4.2).
    let script = r#"
        import "methods/recurrent_cells" as recurrent;
        let size = 1.0;
        for count in recurrent::tree_choices(8) { size *= count; }
        assert(abs(size - 6.3e16) < 0.1e16, `${size}`);
        let code = [0, 0, 1, 1, 1, 2, 0, 3, 2, 1];
        let tree = recurrent::tree_of(code);
        assert_equal(tree.steps, [["add", "tanh"], ["multiply", "relu"], ["multiply", "sigmoid"]]);
        assert(`${tree}`.contains("inject=(2, 'add', 'identity'), memory=1"));
    "#;
    with_methods(script, &[]).shows(0, &[]);
}

#[test]
fn one_path_moves_the_weights_of_its_ops_only() {
    let script = r#"
        import "methods/weight_sharing" as sharing;
        let ops = ["sep_conv_3x3", "dil_conv_3x3", "skip_connect"];
        let net = supernet(#{ channels: 1, size: 8, classes: 4 }, #{ channels: 2, layers: 3, nodes: 1, ops: ops });
        let cell = genotype(#{ normal: [["sep_conv_3x3", 0], ["skip_connect", 1]],
            reduce: [["dil_conv_3x3", 0], ["skip_connect", 1]] });
        let before = net.named(net.weights.detach());
        let opt = sgd(net.weights, #{ lr: 0.5 });
        sharing::step(net, opt, #{ x: normal([6, 1, 8, 8]), y: [0, 1, 2, 3, 0, 1] }, cell);
        let after = net.named(net.weights);
        for name in after.keys() {
            if !name.contains(".edges.") { continue; }
            // Cell 0 is normal, the others are reductions.
            let runs = ["edges.0.ops.1.", "edges.1.ops.2."];
            if name.contains("cells.0.") { runs = ["edges.0.ops.0."]; }
            let expected = runs.some(|part| name.contains(part));
            assert((norm(after[name] - before[name]).item() > 0.0) == expected, name);
        }
        assert(after.len() > 40);
    "#;
    with_methods(script, &[]).shows(0, &[]);
}
