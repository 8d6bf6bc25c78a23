//! Scores that can be trusted: by the statistics that belong to them, with noise as documented, the same from a state
//! that was kept in a file, and never of a training that has come apart.

use super::in_scripts::{refused, runs};

const DIGITS: &str = r#"
let data = images("digits");
let ops = ["none", "skip_connect", "max_pool_3x3", "sep_conv_3x3"];
let net = supernet(data, #{ channels: 4, layers: 3, nodes: 2, ops: ops });
let w_opt = sgd(net.weights, #{ lr: 0.05, momentum: 0.9, clip: 5 });
fn train(net, w_opt, data) {
    for batch in data.train.take(96).batches(16).epoch(0) { w_opt.step(weight_gradient(net, batch)); }
}
"#;

#[test]
fn a_path_of_a_supernet_is_scored_by_statistics_of_its_own() {
    runs(&format!(
        "{DIGITS}
        train(net, w_opt, data);
        let path = |alphas| #{{ normal: one_hot([3, 3, 3, 3, 3], 4) * 1.0, reduce: one_hot([3, 3, 3, 3, 3], 4) * 1.0 }};
        let test = data.test.take(64);
        let running = evaluate(net, test, #{{ relax: path }});
        let batch = evaluate(net, test, #{{ relax: path, statistics: \"batch\" }});
        let apart = abs(batch.loss - running.loss);
        assert(apart > 0.01, `${{running.loss}} by running, ${{batch.loss}} by the batch`);

        // Batch statistics move nothing.
        assert(evaluate(net, test, #{{ relax: path }}).loss == running.loss);
        let before = net.state();
        assert_equal(recalibrate(net, test, #{{ relax: path }}), 64);
        let after = net.state();
        assert_equal(before.weights, after.weights);
        // But for the unbiased variance, the running statistics are now the batch's.
        let own = evaluate(net, test, #{{ relax: path }});
        assert(abs(own.loss - batch.loss) < 0.1 * apart, `${{batch.loss}} by the batch, ${{own.loss}} recalibrated`);
        net.set_state(before);
        assert(evaluate(net, test, #{{ relax: path }}).loss == running.loss);"
    ));
    refused(&format!("{DIGITS} evaluate(net, data.test, #{{ statistics: \"batches\" }});"), &["batches", "\"batch\""]);
}

#[test]
fn recalibration_is_the_mean_of_the_batches_statistics() {
    runs(
        r#"
        let net = network(#{ channels: 1, size: 2, classes: 1 }, |g, x| g.global_pool(g.batch_norm(x)));
        let ones = #{ x: tensor([1.0, 2.0, 3.0, 6.0]).reshape([1, 1, 2, 2]), y: [0] };
        let tens = #{ x: tensor([10.0, 10.0, 10.0, 14.0, 10.0, 10.0, 10.0, 14.0]).reshape([2, 1, 2, 2]), y: [0, 0] };
        recalibrate(net, [ones, tens]);
        // Means 3 and 11; unbiased variances 14/3 and 24/7; one image and two.
        let statistics = net.state().statistics;
        assert(all_close(statistics, tensor([(3.0 + 2.0 * 11.0) / 3.0, (14.0 / 3.0 + 2.0 * 24.0 / 7.0) / 3.0])));
        recalibrate(net, [ones]);
        assert(all_close(net.state().statistics, tensor([3.0, 14.0 / 3.0])));
    "#,
    );
}

#[test]
fn a_network_scores_the_same_from_a_state_that_was_kept_in_a_file() {
    runs(&format!(
        "{DIGITS}
        train(net, w_opt, data);
        net.set_alphas(#{{ normal: normal([5, 4]) }});
        let test = data.test.take(64);
        let score = evaluate(net, test);
        save_tensors(\"net.safetensors\", net.state());
        let other = supernet(data, #{{ channels: 4, layers: 3, nodes: 2, ops: net.ops }});
        other.set_weights(net.clone_weights());
        other.set_alphas(net.alphas);
        assert(evaluate(other, test).loss != score.loss, \"weights and alphas are not all of it\");
        other.set_state(load_tensors(\"net.safetensors\"));
        let again = evaluate(other, test);
        assert(again.loss == score.loss && again.accuracy == score.accuracy, `${{score}} is now ${{again}}`);"
    ));
    refused(&format!("{DIGITS} net.save(\"net.safetensors\");"), &["net.state()", "net.set_state(load_tensors(path))"]);
}

#[test]
fn the_state_of_another_network_is_refused_and_changes_nothing() {
    let two = "
        let make = |classes| network(#{ channels: 1, size: 4, classes: classes },
            |g, x| g.linear(g.global_pool(g.batch_norm(g.conv(x, 3))), classes));
        let one = make.call(2);
        let other = make.call(3);";
    refused(&format!("{two} one.set_state(other.state());"), &["\"weights\" has shape", "the same options"]);
    refused(&format!("{two} let s = one.state(); s.remove(\"statistics\"); one.set_state(s);"), &["no \"statistics\""]);
    refused(
        &format!("{two} let s = one.state(); s.weight = s.weights; one.set_state(s);"),
        &["\"weight\"", "\"weights\""],
    );
    runs(&format!(
        "{two} let before = one.clone_weights();
        let s = one.state(); s.weights = s.weights + 1.0; s.statistics = zeros([3]);
        try {{
            one.set_state(s);
            throw \"it was taken\";
        }} catch (error) {{ assert(`${{error.message}}`.contains(\"statistics\")); }}
        assert_equal(one.clone_weights(), before);"
    ));
}

#[test]
fn noise_is_redrawn_in_every_pass_and_scoring_shifts_nothing() {
    runs(
        r#"
        let make = || network(#{ channels: 2, size: 4, classes: 2 }, |g, x| g.global_pool(g.add([x, g.noise(x)])));
        let net = make.call();
        let x = zeros([3, 2, 4, 4]);
        let one = net.forward(x, #{ training: false });
        let two = net.forward(x, #{ training: false });
        assert(!all_close(one, two), "the same noise twice");
        assert(!all_close(one[0], one[1]), "the same noise in two images");
        // What training draws does not depend on how often the network was scored.
        let before = net.state();
        let first = net.forward(x);
        net.set_state(before);
        for i in 0..5 { net.forward(x, #{ training: false }); }
        assert_equal(net.forward(x), first);
        // What scoring draws goes on where the state was taken.
        net.set_state(before);
        let third = net.forward(x, #{ training: false });
        assert(!all_close(third, two));
        net.set_state(before);
        assert_equal(net.forward(x, #{ training: false }), third);
    "#,
    );
}

const APART: &str = "
let net = supernet(#{ channels: 1, size: 8, classes: 10 }, #{ channels: 2, layers: 3, nodes: 1 });
let batch = #{ x: normal([8, 1, 8, 8]), y: [0, 1, 2, 3, 4, 5, 6, 7] };
";

#[test]
fn a_training_that_comes_apart_ends_without_a_log() {
    let steps = "let w_opt = sgd(net.weights, #{ lr: 1e30 });
        for step in 0..3 { w_opt.step(weight_gradient(net, batch)); }";
    refused(&format!("{APART}{steps}"), &["train_loss is NaN", "a smaller learning rate"]);
    let in_run = "let w_opt = sgd(net.weights, #{ lr: 1e30 }); let run = start_run([net, w_opt]);
        for epoch in run.epochs(1) { for step in run.steps(3) { w_opt.step(weight_gradient(net, batch)); } }";
    refused(&format!("{APART}{in_run}"), &["train_loss is NaN at step 1 of epoch 0", "the journal up to here"]);
    let alphas = "net.set_alphas(#{ normal: net.alphas.normal * (0.0 / 0.0) }); alpha_gradient(net, batch, batch);";
    refused(&format!("{APART}{alphas}"), &["valid_loss is NaN"]);
}

#[test]
fn a_step_that_would_lose_the_parameters_is_refused_and_not_taken() {
    for optimizer in ["sgd(w, #{ lr: 0.1 })", "sgd(w, #{ lr: 0.1, clip: 5 })", "adam(w, #{ lr: 0.1 })"] {
        for (gradient, shown) in [("0.0 / 0.0", "NaN"), ("1.0 / 0.0", "inf"), ("-1.0 / 0.0", "inf")] {
            runs(&format!(
                "let w = parameter(tensor([1.0, 2.0]));
                let w_opt = {optimizer};
                let told = \"\";
                try {{ w_opt.step(tensor([0.5, {gradient}])); }} catch (error) {{ told = error.message; }}
                assert(told.contains(\"gradient is {shown}\"), told);
                assert_equal(w, tensor([1.0, 2.0]));
                w_opt.step(tensor([0.5, 0.5]));
                assert(w[0].item() < 1.0);"
            ));
        }
    }
    let in_run = "let w = parameter(tensor([1.0])); let w_opt = sgd(w, #{ lr: 0.1 }); let run = start_run([w, w_opt]);
        for epoch in run.epochs(2) { for step in run.steps(2) {
            w_opt.step(if epoch == 1 { tensor([0.0 / 0.0]) } else { tensor([0.1]) });
        } }";
    refused(in_run, &["the norm of the gradient is NaN", "step 2 of epoch 1"]);
}

#[test]
fn a_network_of_real_numbers_learns_and_is_scored_by_a_loss_of_its_own() {
    let start = r#"
        let net = network(#{ channels: 1, size: 8, classes: 1 }, |g, x| g.linear(g.global_pool(x), 1));
        net.set_weights(tensor([2.0, 0.5]));
        let x = stack([zeros([1, 8, 8]), ones([1, 8, 8]), full([1, 8, 8], 3.0)]);
        let batches = [#{ x: x[0..2], y: [0.5, -2.5] }, #{ x: x[2..3], y: [[6.25]] }];
        let loss = |outputs, y| mse(outputs, y);
    "#;
    // The outputs are 0.5, 2.5 and 6.5.
    runs(&format!(
        "{start}
        let score = evaluate(net, batches, #{{ loss: loss }});
        assert_equal(score.keys(), [\"examples\", \"loss\"]);
        assert_equal(score, #{{ examples: 3, loss: (0.0 + 25.0 + 0.0625) / 3.0 }});
        let far = evaluate(net, batches, #{{ loss: |outputs, y| mean(abs(flatten(outputs) - flatten(y))) }});
        assert_equal(far.loss, 5.25 / 3.0);
        // 2 · difference · mean of the image, over two images; whole numbers are no classes of one output either.
        let g = weight_gradient(net, batches[0], #{{ loss: loss }});
        assert_equal(g.loss, 12.5);
        assert_equal(g.parts.weights, tensor([5.0, 5.0]));
        assert_equal(evaluate(net, #{{ x: x, y: [0, 1, 2] }}, #{{ loss: loss }}).keys(), [\"examples\", \"loss\"]);"
    ));
    let real = ["a label is 0.5, which counts no class", "`loss` of your own"];
    refused(&format!("{start} evaluate(net, batches);"), &real);
    refused(&format!("{start} weight_gradient(net, batches[0]);"), &real);
    refused(&format!("{start} evaluate(net, batches, #{{ loss: |outputs, y| outputs }});"), &["must give one number"]);
    refused(&format!("{start} mse(zeros([3, 1]), zeros([2]));"), &["outputs [3, 1] and targets [2] do not fit"]);
}

#[test]
fn alphas_and_their_curvature_follow_a_loss_of_real_numbers() {
    runs(
        r#"
        let net = network(#{ channels: 1, size: 4, classes: 1 }, |g, x| {
            let y = g.mixed(g.slots("block", 1, 2), [[x, g.max_pool(x, 3)]]);
            g.linear(g.global_pool(y), 1)
        });
        let make = |n| #{ x: normal([n, 1, 4, 4]), y: normal([n]) };
        let train = make.call(6);
        let valid = make.call(4);
        let loss = |outputs, y| mse(outputs, y);
        let given = alpha_gradient(net, train, valid, #{ loss: loss }).parts.block;
        let outputs = net.forward(valid.x, #{ mix: #{ block: softmax(net.alphas.block, 1) } });
        assert(all_close(given, gradient(mse(outputs, valid.y), net.alphas.block), 1e-5));
        assert(norm(alpha_gradient(net, train, valid, #{ loss: loss, order: 2, eta: 0.1 }).parts.block).item() > 0.0);
        assert_equal(alpha_hessian(net, [train, valid], #{ loss: loss }).shape, [2, 2]);
    "#,
    );
}

#[test]
fn a_loss_of_its_own_leaves_the_accuracy_of_classes() {
    runs(&format!(
        "{DIGITS}
        let test = data.test.take(64);
        let plain = evaluate(net, test);
        let own = evaluate(net, test, #{{ loss: |logits, y| 2.0 * cross_entropy(logits, y) }});
        assert(abs(own.loss - 2.0 * plain.loss) < 1e-6);
        assert_equal(own.accuracy, plain.accuracy);
        assert_equal(own.class_accuracy, plain.class_accuracy);"
    ));
}
