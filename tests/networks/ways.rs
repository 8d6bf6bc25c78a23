//! Scripts run parts of a supernet, with losses of their own: one path, masks, copies, weights moved by name, and the
//! curvature in the alphas.

use super::in_scripts::{refused, runs, runs_in_double_precision};

const BEGIN: &str = "let digits = #{ channels: 1, size: 8, classes: 10 };\n\
                     let net = supernet(digits, #{ channels: 4, layers: 3, nodes: 2 });\n\
                     let batch = #{ x: normal([6, 1, 8, 8]), y: [0, 1, 2, 3, 4, 5] };\n\
                     let held = #{ x: normal([6, 1, 8, 8]), y: [5, 4, 3, 2, 1, 0] };\n";

#[track_caller]
fn holds(lines: &str) {
    runs(&format!("{BEGIN}{lines}"));
}

#[track_caller]
fn refuses(lines: &str, texts: &[&str]) {
    refused(&format!("{BEGIN}{lines}"), texts);
}

#[test]
fn one_path_is_the_network_of_its_genotype() {
    holds(
        r#"
        let cell = random_genotype(#{ nodes: 2 });
        let gates = net.gates(cell);
        let one = net.forward(batch.x, #{ path: cell });
        assert_equal(one, net.forward(batch.x, gates + #{ mask: gates }));
        // Ops that weigh nothing and run change no logit.
        assert(all_close(one, net.forward(batch.x, gates), 1e-4));
        assert(net.running_macs(#{ path: cell }) < 0.6 * net.macs);
        assert(net.running_macs(#{ path: cell }) == net.running_macs(#{ mask: gates }));
        let still = weight_gradient(net, batch, #{ path: cell }).parts.weights;
        assert(all_close(still, weight_gradient(net, batch, #{ relax: |a| gates }).parts.weights, 1e-4));
        let same = #{ statistics: "batch", path: cell };
        assert(evaluate(net, [batch], same).loss == evaluate(net, [batch], #{ statistics: "batch", relax: |a| gates,
            mask: gates }).loss);
        let other = net.weights.detach() * 0.5;
        assert(!all_close(one, net.forward(batch.x, #{ path: cell, weights: other })));
        "#,
    );
}

#[test]
fn a_mask_reaches_every_gradient() {
    holds(
        r#"
        let mask = #{ normal: ones([5, 8]) * (arange(8) >= 3), reduce: ones([5, 8]) };
        let shares = |a| #{ normal: softmax(a.normal, 1, #{ mask: mask.normal }), reduce: softmax(a.reduce, 1) };
        let w_opt = sgd(net.weights, #{ lr: 0.1, momentum: 0.9 });
        for order in 1..3 {
            let how = #{ order: order, optimizer: w_opt };
            let masked = alpha_gradient(net, batch, held, how + #{ mask: mask });
            let same = alpha_gradient(net, batch, held, how + #{ relax: shares });
            assert(all_close(masked.parts.normal, same.parts.normal, 1e-3));
            assert(sum(abs(masked.parts.normal.slice(1, 0, 3))).item() == 0.0);
        }
        let v = normal(net.weights.shape);
        let h = net.hessian_vector(batch, v, #{ mask: mask });
        assert(sum(abs(h.normal.slice(1, 0, 3))).item() == 0.0 && norm(h.normal).item() > 0.0);
        "#,
    );
}

#[test]
fn losses_of_ones_own_and_what_is_added_count_in_both_orders() {
    holds(
        r#"
        let own = |logits, labels| cross_entropy(logits, labels);
        let plain = weight_gradient(net, batch).parts.weights;
        assert(all_close(weight_gradient(net, batch, #{ loss: own }).parts.weights, plain, 1e-5));
        let twice = |logits, labels| 2.0 * cross_entropy(logits, labels);
        let w_opt = sgd(net.weights, #{ lr: 0.1 });
        let extra = |a| sum(a.normal ** 2) + 3.0 * sum(a.reduce);
        for order in 1..3 {
            let how = #{ order: order, optimizer: w_opt };
            let plain = alpha_gradient(net, batch, held, how);
            let more = alpha_gradient(net, batch, held, how + #{ extra: extra });
            assert(all_close(more.parts.normal - plain.parts.normal, 2.0 * net.alphas.normal, 1e-5));
            assert(all_close(more.parts.reduce - plain.parts.reduce, full([5, 8], 3.0), 1e-4));
            let added = extra.call(net.alphas).item();
            assert(abs(more.loss - plain.loss - added) < 1e-4);
            if order == 1 {
                let double = alpha_gradient(net, batch, held, how + #{ loss: twice });
                assert(all_close(double.parts.normal, 2.0 * plain.parts.normal, 1e-5));
            }
        }
        "#,
    );
}

#[test]
fn weights_of_ops_that_do_not_run_stay_where_they_are_told_to() {
    holds(
        r#"
        let moved = |idle| {
            let net = supernet(digits, #{ channels: 4, layers: 3, nodes: 2 });
            let w_opt = sgd(net.weights, #{ lr: 0.1, momentum: 0.9, weight_decay: 0.01, idle: idle });
            w_opt.step(weight_gradient(net, batch));
            let before = net.clone_weights();
            w_opt.step(weight_gradient(net, batch, #{ path: genotype(#{
                normal: [["skip_connect", 0], ["skip_connect", 1], ["skip_connect", 0], ["skip_connect", 1]],
                reduce: [["max_pool_3x3", 0], ["max_pool_3x3", 1], ["max_pool_3x3", 0], ["max_pool_3x3", 1]] }) }));
            net.named(net.weights - before)
        };
        let far = |parts, word| {
            let names = parts.keys().filter(|name| name.contains(word));
            assert(names.len() > 0, word);
            let sizes = names.map(|name| max(abs(parts[name])).item());
            sizes.reduce(|most, size| max(most, size), 0.0)
        };
        let stay = moved.call("stay");
        assert(far.call(stay, "ops.4") == 0.0 && far.call(stay, "head") > 0.0 && far.call(stay, "stem") > 0.0);
        assert(far.call(moved.call("move"), "ops.4") > 0.0);
        "#,
    );
}

#[test]
fn a_copy_goes_its_own_way() {
    holds(
        r#"
        let w_opt = sgd(net.weights, #{ lr: 0.1 });
        w_opt.step(weight_gradient(net, batch));
        let trial = net.copy();
        let alone = #{ training: false };
        let before = net.forward(batch.x, alone);
        assert_equal(trial.forward(batch.x, alone), before);
        sgd(trial.weights, #{ lr: 0.1 }).step(weight_gradient(trial, batch));
        trial.set_alphas(#{ normal: zeros([5, 8]) });
        assert_equal(net.forward(batch.x, alone), before);
        assert(!all_close(trial.forward(batch.x, alone), before));
        "#,
    );
}

#[test]
fn weights_move_by_name_and_what_stays_is_told() {
    holds(
        r#"
        let few = supernet(digits, #{ channels: 4, layers: 2, nodes: 2, reductions: [1] });
        let told = transfer(net, few);
        assert(told.moved.contains("stem.0.weight") && told.missing.is_empty());
        assert_equal(few.weight("stem.0.weight"), net.weight("stem.0.weight"));
        // The head of the deeper network has other inputs, so it stays.
        assert(told.other_shape.contains("head.weight"));
        let deep = transfer(few, net);
        assert(some(deep.missing, |name| name.contains("cells.2")));

        let narrow = supernet(digits, #{ channels: 4, layers: 3, nodes: 1, partial: 4 });
        let wide = supernet(digits, #{ channels: 4, layers: 3, nodes: 1, partial: 2 });
        let names = narrow.weight_names;
        let name = filter(names, |name| name.contains("ops.4") && narrow.weight(name).shape[0] == 1)[0];
        let own = wide.weight(name).detach();
        assert(own.shape[0] == 2);
        let told = transfer(narrow, wide, #{ widen: true });
        assert(told.moved.contains(name));
        assert_equal(wide.weight(name)[0].flatten()[0], narrow.weight(name)[0].flatten()[0]);
        assert_equal(wide.weight(name)[1], own[1]);
        "#,
    );
}

#[test]
fn second_derivatives_of_a_smooth_network_are_those_of_its_loss() {
    let script = r#"
        let net = network(#{ channels: 1, size: 4, classes: 3 }, |g, x| {
            let p = g.slots("choice", 2, 3);
            let a = g.conv(x, 3);
            let y = g.mixed(p, [[a, g.activate(a, "silu"), g.batch_norm(a)]]);
            let b = g.conv(g.activate(y, "tanh"), 3);
            let z = g.mixed(p, [[b, g.activate(b, "sigmoid"), g.batch_norm(b)]], 1);
            g.linear(g.global_pool(g.activate(z, "silu")), 3)
        });
        let batch = #{ x: normal([4, 1, 4, 4]), y: [0, 1, 2, 0] };
        net.alphas.choice = normal([2, 3]);
        let h = alpha_hessian(net, [batch, batch]);
        let at = net.alphas.choice.detach();
        let loss = |d| {
            let p = softmax(at + d.reshape([2, 3]), 1);
            cross_entropy(net.forward(batch.x, #{ mix: #{ choice: p } }), batch.y).item()
        };
        let r = 1e-3;
        for i in 0..6 {
            for j in 0..6 {
                let e = |k, sign| one_hot([k], 6).to("float64")[0] * (sign * r);
                let second = (loss.call(e.call(i, 1.0) + e.call(j, 1.0)) - loss.call(e.call(i, 1.0) + e.call(j, -1.0))
                    - loss.call(e.call(i, -1.0) + e.call(j, 1.0)) + loss.call(e.call(i, -1.0) + e.call(j, -1.0)))
                    / (4.0 * r * r);
                let found = h[i][j].item();
                assert(abs(found - second) < 1e-5 + 1e-3 * abs(second), `${i} ${j}: ${found}, not ${second}`);
            }
        }
    "#;
    runs_in_double_precision(script);
}

#[test]
fn the_largest_eigenvalue_is_that_of_the_whole_matrix() {
    runs(
        r#"
        let net = supernet(#{ channels: 1, size: 8, classes: 10 },
            #{ channels: 2, layers: 3, nodes: 1,
               ops: ["skip_connect", "sep_conv_3x3", "max_pool_3x3", "dil_conv_3x3"] });
        let batches = [1, 2].map(|k| #{ x: normal([8, 1, 8, 8]), y: [0, 1, 2, 3, 4, 5, 6, 7] });
        let w_opt = sgd(net.weights, #{ lr: 0.1, momentum: 0.9 });
        for step in 0..5 { w_opt.step(weight_gradient(net, batches[0])); }
        let before = net.state();
        let h = alpha_hessian(net, batches);
        assert(h.shape == [16, 16]);
        assert(norm(h - transpose(h)).item() < 1e-3 * norm(h).item(), "it is symmetric");
        let dense = largest_eigenvalue(h);
        let found = largest_eigenvalue(net, batches);
        assert(abs(found - dense) < 1e-3 * abs(dense), `${found}, not ${dense}`);
        for name in before.keys() { assert_equal(net.state()[name], before[name]); }
        "#,
    );
}

#[test]
fn a_hessian_goes_by_what_the_batch_weighs() {
    runs(
        r#"
        let data = images("digits");
        let net = supernet(data, #{ channels: 2, layers: 3, nodes: 1, ops: ["skip_connect", "sep_conv_3x3"] });
        let twice = [];
        twice.pad(10, 2.0);
        let batch = data.train.batches(8, #{ weights: twice }).next();
        let plain = alpha_hessian(net, #{ x: batch.x, y: batch.y });
        assert(norm(alpha_hessian(net, batch) - 2.0 * plain).item() < 1e-6 * norm(plain).item());
        "#,
    );
}

#[test]
fn rules_choose_pairs_open_gates_and_few_skips() {
    holds(
        r#"
        let ops = ["none", "skip_connect", "sep_conv_3x3", "max_pool_3x3"];
        let p = tensor([[0.1, 0.5, 0.4, 0.0], [0.9, 0.0, 0.1, 0.05],
                        [0.0, 0.6, 0.3, 0.1], [0.0, 0.7, 0.2, 0.1], [0.0, 0.8, 0.1, 0.1]]);
        let of = |how| derive(#{ normal: p, reduce: p }, how + #{ ops: ops, nodes: 2 });
        assert_equal(of.call(#{ rule: "pairs" }).normal,
            [["skip_connect", 0], ["sep_conv_3x3", 0], ["skip_connect", 2], ["skip_connect", 1]]);
        assert_equal(of.call(#{ rule: "threshold", threshold: 0.65 }).normal_concat, [3]);
        "#,
    );
}

#[test]
fn few_skips_and_thresholds_say_what_cannot_be() {
    holds(
        r#"
        let ops = ["skip_connect", "sep_conv_3x3", "max_pool_3x3"];
        let p = tensor([[0.5, 0.4, 0.1], [0.6, 0.3, 0.1], [0.7, 0.2, 0.1], [0.8, 0.1, 0.1], [0.3, 0.5, 0.2]]);
        let of = |how| derive(#{ normal: p, reduce: p }, how + #{ ops: ops, nodes: 2 });
        assert_equal(of.call(#{}).normal.filter(|edge| edge[0] == "skip_connect").len(), 4);
        let few = of.call(#{ skips: 1 });
        assert_equal(few.normal.filter(|edge| edge[0] == "skip_connect"), [["skip_connect", 1]]);
        // Only normal cells are limited.
        assert_equal(few.reduce, of.call(#{}).reduce);
        let open = of.call(#{ rule: "threshold", threshold: 0.65 });
        assert_equal(open.normal, [["skip_connect", 3, 1], ["skip_connect", 3, 0]]);
        assert_equal(open.normal_concat, [3]);
        "#,
    );
    let p = "let p = tensor([[0.5], [0.4]]);\nlet all = #{ ops: [\"skip_connect\"], nodes: 1 };\n";
    refuses(
        &format!("{p}derive(#{{ normal: p, reduce: p }}, all + #{{ rule: \"threshold\", threshold: 0.9 }});"),
        &["normal cell: no operation reaches the threshold 0.9: the strongest has 0.5000"],
    );
    refuses(
        &format!("{p}derive(#{{ normal: p, reduce: p }}, all + #{{ skips: 1 }});"),
        &["the normal cell cannot have as few as 1 skip connections"],
    );
    refuses("derive(net, #{ rule: \"pears\" });", &["rule", "pears", "did you mean \"pairs\""]);
}

#[test]
fn bad_input_is_named() {
    let cell = "let cell = genotype(\"DARTS_V2\");\n";
    refuses(
        &format!("{cell}net.gates(cell);"),
        &["edge 4 of the genotype's normal cell, \"sep_conv_3x3\" from state 1 to 4", "states 0 to 3"],
    );
    refuses(
        "net.forward(batch.x, #{ path: genotype(#{ normal: [[\"conv_7x1_1x7\", 0], [\"skip_connect\", 1]], \
         reduce: [[\"skip_connect\", 0], [\"skip_connect\", 1]] }) });",
        &["edge 0 of the genotype's normal cell, \"conv_7x1_1x7\" from state 0 to 2", "its ops are none"],
    );
    refuses(
        "weight_gradient(net, batch, #{ loss: |logits, labels| log(cross_entropy(logits, labels) * -1.0) });",
        &["train_loss is NaN"],
    );
    refuses(
        "weight_gradient(net, batch, #{ loss: |logits, labels| logits });",
        &["`loss` must give one number, not a tensor of shape [6, 10]"],
    );
    refuses(
        "weight_gradient(net, batch, #{ loss: |logits, labels| sum(logits.detach()) });",
        &["`loss` does not depend on the logits"],
    );
    refuses(
        "alpha_gradient(net, batch, held, #{ extra: |alphas| tensor(1.0) });",
        &["`extra` does not depend on the alphas"],
    );
    refuses(
        "alpha_gradient(net, batch, held, #{ extra: |alphas| sum(alphas.normal) * (0.0 / 0.0) });",
        &["valid_loss is NaN"],
    );
    refuses(
        "weight_gradient(net, batch, #{ path: random_genotype(#{ nodes: 2 }), mask: net.mask });",
        &["give it without `relax` and `mask`"],
    );
    refuses("sgd(net.weights, #{ lr: 0.1, idle: \"rest\" });", &["idle", "rest", "move"]);
    refuses("genotype(\"DARTS_V2\").replaced(\"normal\", 9, \"skip_connect\", 0);", &["has 8 edges", "no edge 9"]);
    refuses(
        "transfer(net, network(digits, |g, x| g.linear(g.global_pool(x), 10)));",
        &["the two networks have no weight in common"],
    );
    refuses("largest_eigenvalue(net, []);", &["there is no batch"]);
}
