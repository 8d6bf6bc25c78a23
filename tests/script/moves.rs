//! Parameters that move: what a script computed before keeps its numbers, and what could only lie is refused.

use crate::tensors::{run as works, run_seeded};

#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let page = run_seeded(text, 1).expect_err("this is refused").render(false);
    for part in parts {
        assert!(page.contains(part), "no {part:?} in:\n{page}");
    }
}

/// A small supernet, a batch and the two optimisers.
const NET: &str = r#"
    let net = supernet(#{ channels: 1, size: 8, classes: 10 }, #{ channels: 2, layers: 3, nodes: 1 });
    let w_opt = sgd(net.weights, #{ lr: 0.5, momentum: 0.9 });
    let a_opt = adam(net.alphas, #{ lr: 0.1 });
    let x = normal([4, 1, 8, 8]);
    let y = [0, 1, 2, 3];
    let batch = #{ x: x, y: y };
"#;

fn with_net(text: &str) -> String {
    format!("{NET}{text}")
}

#[test]
fn what_was_made_of_a_parameter_keeps_its_values_when_it_moves() {
    let printed = works(
        r#"
        let w = parameter(tensor([1.0, 2.0]));
        let o = sgd(w, #{ lr: 0.1 });
        let made = #{
            detach: w.detach(), flatten: w.flatten(), reshape: w.reshape([2, 1]).reshape([2]),
            transpose: w.reshape([1, 2]).transpose().reshape([2]), slice: w.slice(0, 0, 2), concat: concat([w]),
            stack: stack([w])[0], squeeze: w.squeeze(), to: w.to("float32"), copy: tensor(w), range: w[0..2],
            elements: stack([w[0], w[1]]),
        };
        o.step(gradient(sum(w * w), w));
        for name in made.keys() { print(made[name]); }
        w.assign(tensor([7.0, 8.0]));
        for name in made.keys() { print(made[name]); }
        print(w);
        "#,
    );
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 25);
    assert!(lines[..24].iter().all(|line| *line == "[1.0, 2.0]"), "{printed}");
    assert_eq!(lines[24], "[7.0, 8.0]", "the parameter itself shows where it is");
}

#[test]
fn a_loop_walks_the_rows_that_a_parameter_had_when_it_began() {
    let script = "let w = parameter(tensor([[1.0], [2.0]])); for row in w { print(row); w.assign(w + 10.0); }";
    assert_eq!(works(script), "[1.0]\n[2.0]\n");
}

#[test]
fn weights_and_alphas_kept_before_a_step_can_be_put_back() {
    works(&with_net(
        r#"
        let w0 = net.weights.detach();
        let part = net.weight("head.bias");
        let all = net.named(net.weights);
        let a0 = net.alphas.normal.detach();
        let numbers = w0.array();
        w_opt.step(weight_gradient(net, batch));
        a_opt.step(alpha_gradient(net, batch, batch));
        assert(norm(net.weights - w0).item() > 0.01 && norm(net.alphas.normal - a0).item() > 0.01);
        net.set_weights(w0);
        net.set_alphas(#{ normal: a0 });
        assert_equal(net.weights.array(), numbers);
        assert_equal(net.weight("head.bias"), part);
        assert_equal(all["head.bias"], part);
        assert_equal(net.alphas.normal, a0);
        net.set_weights(net.weights);
        net.set_weights(net.named(net.weights));
        assert_equal(net.weights, w0);
        "#,
    ));
}

/// Compares the gradients of one loss, the second taken after the first was stepped along, with those taken together.
#[test]
fn a_second_gradient_belongs_to_the_weights_that_made_the_loss() {
    works(&with_net(
        r#"
        let loss = cross_entropy(net.forward(x), y);
        let together = gradient(loss, #{ w: net.weights, a: net.alphas });
        let loss = cross_entropy(net.forward(x), y);
        w_opt.step(gradient(loss, net.weights));
        // Passes at the moved weights, and other batches, in between.
        let other = cross_entropy(net.forward(normal([3, 1, 8, 8])), [1, 2, 3]);
        let moved = gradient(other, net.alphas);
        let after = gradient(loss, net.alphas);
        assert_equal(after.normal, together.a.normal);
        assert_equal(after.reduce, together.a.reduce);
        let here = gradient(cross_entropy(net.forward(x), y), net.alphas);
        assert(norm(here.normal - after.normal).item() > 1e-3 * norm(after.normal).item());
        "#,
    ));
}

#[test]
fn the_backward_pass_run_again_leaves_running_statistics_alone() {
    works(&with_net(
        r#"
        let scores = || cross_entropy(net.forward(x, #{ training: false }), y).item();
        let loss = cross_entropy(net.forward(x), y);
        let before = scores.call();
        let first = gradient(loss, net.weights);
        let again = gradient(loss, net.weights);
        assert_equal(first, again);
        assert_equal(scores.call(), before);
        "#,
    ));
}

#[test]
fn a_loss_older_than_the_parameter_is_refused() {
    let hint = "hint: take all gradients in one call before the step";
    let moved = "the second argument has moved since the loss was computed";
    let w = "let w = parameter(tensor([1.0])); let u = parameter(tensor([2.0])); let loss = sum(w * u);\n";
    refused(&format!("{w}sgd(w, #{{ lr: 0.1 }}).step(gradient(loss, w)); gradient(loss, w);"), &[moved, hint]);
    refused(&format!("{w}w.assign(w); gradient(loss, w);"), &[moved, hint]);
    refused(&format!("{w}w.assign(w); gradient(loss + sum(w), [u, w]);"), &["element 1 has moved", hint]);
    refused(
        &with_net("let l = sum(net.weights ** 2); net.set_weights(net.weights); gradient(l, net.weights);"),
        &[moved],
    );
    let alphas =
        "let l = sum(net.alphas.normal ** 2); net.alphas.normal = net.alphas.normal * 2.0; gradient(l, net.alphas);";
    refused(&with_net(alphas), &["`normal` has moved since the loss was computed"]);
    // The other one's gradient is the one at the value that made the loss.
    works(&format!("{w}w.assign(w * 5.0); assert_equal(gradient(loss, u), tensor([1.0]));"));
}

#[test]
fn a_loss_without_parameters_has_no_gradient() {
    let message = "the loss does not depend on any parameter";
    let w = "let w = parameter(tensor([1.0]));\n";
    refused(&format!("{w}gradient(sum(gradient(sum(w ** 3), w)), w);"), &[message, "hint: compute it from parameters"]);
    refused(&format!("{w}gradient(sum(w.detach()), w);"), &[message]);
    refused(&format!("{w}gradient(tensor(3.0), w);"), &[message]);
    works(&format!("{w}assert_equal(gradient(sum(w) * 0.0, w), zeros([1]));"));
    works(&format!("{w}let u = parameter(ones([2])); assert_equal(gradient(sum(w), u), zeros([2]));"));
}

#[test]
fn alphas_cut_off_inside_relax_are_refused() {
    let cut =
        "relax: |alphas| #{ normal: softmax(alphas.normal.detach(), 1), reduce: softmax(alphas.reduce.detach(), 1) }";
    let message = "no gradient flows from the mixing weights to the alphas";
    let order2 = format!("alpha_gradient(net, batch, batch, #{{ order: 2, eta: 0.1, {cut} }});");
    refused(&with_net(&format!("alpha_gradient(net, batch, batch, #{{ {cut} }});")), &[message, "hint: "]);
    refused(&with_net(&order2), &[message]);
    refused(&with_net(&format!("net.hessian_vector(batch, net.weights.detach(), #{{ {cut} }});")), &[message]);
    works(&with_net(&format!("weight_gradient(net, batch, #{{ {cut} }});")));
}

#[test]
fn a_relaxation_sees_the_alphas_of_its_call() {
    works(&with_net(
        r#"
        let seen = [];
        let relax = |alphas| {
            seen.push(alphas.normal.detach());
            #{ normal: softmax(alphas.normal, 1), reduce: softmax(alphas.reduce, 1) }
        };
        let first = evaluate(net, [batch], #{ relax: relax }).loss;
        net.alphas.normal = one_hot([4, 4], 8) * 10.0;
        let second = evaluate(net, [batch], #{ relax: relax }).loss;
        assert(first != second && norm(seen[0]).item() < 0.1 && norm(seen[1]).item() > 10.0);
        "#,
    ));
}

#[test]
fn setting_an_entry_of_alphas_sets_the_alphas() {
    works(&with_net(
        r#"
        let reduce = net.alphas.reduce.detach();
        net.alphas.normal = ones([2, 8]);
        net.alphas.normal += 1.0;
        assert_equal(net.alphas.normal, full([2, 8], 2.0));
        net.alphas = #{ normal: net.alphas.normal * 2.0 };
        assert_equal(net.alphas.normal, full([2, 8], 4.0));
        assert_equal(net.alphas.reduce, reduce);
        "#,
    ));
    refused(
        &with_net("net.alphas.norml = ones([2, 8]);"),
        &["there is no alpha \"norml\"", "did you mean \"normal\"?"],
    );
    refused(&with_net("net.alphas.normal = ones([2, 7]);"), &["alphas \"normal\" are [2, 8], not [2, 7]"]);
    refused(&with_net("net.alphas.normal = 3;"), &["`normal` must be a tensor, not the int 3"]);
}

#[test]
fn changing_what_a_property_gave_is_refused_and_reading_it_is_not() {
    let copy = "what it gives is a copy";
    let gradient = "let g = weight_gradient(net, batch);\n";
    let parts = format!("{gradient}g.parts.weights = g.parts.weights * 2.0;");
    refused(&with_net(&parts), &["gradient.parts cannot be set", copy]);
    refused(&with_net(&format!("{gradient}g.parts.other = 1;")), &["gradient.parts cannot be set", copy]);
    refused(&with_net("net.ops[0] = \"none at all\";"), &["network.ops cannot be set", copy]);
    refused(&with_net("net.ops.push(\"another\");"), &["network.ops cannot be set", copy]);
    refused("let t = zeros([2]); t.shape[0] = 3;", &["tensor.shape cannot be set", copy]);
    refused("let t = zeros([2]); t.type += \"?\";", &["tensor.type cannot be set"]);
    works(&with_net(
        r#"
        let g = weight_gradient(net, batch);
        assert_equal(g.parts.weights.flatten().shape, net.weights.shape);
        assert_equal(g.parts.keys(), ["weights"]);
        assert_equal(net.ops.filter(|op| op != "none").len(), net.ops.len() - 1);
        let copy = net.ops;
        copy[0] = "changed";
        assert_equal(net.ops[0], "none");
        assert_equal(net.alphas.keys(), ["normal", "reduce"]);
        fn second(list) { list[1] }
        assert_equal(net.weight_names.len(), net.weight_names.filter(|name| true).len());
        "#,
    ));
}
