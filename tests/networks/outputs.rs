//! Networks with several outputs: values and gradients beside the same made of tensors, and what goes by the logits
//! alone.

use crate::in_scripts::{refused, runs, runs_in_double_precision};

const NET: &str = r#"
let images = #{ channels: 3, size: 6, classes: 4 };
let net = network(images, |g, x| {
    let y = g.relu(g.conv(x, 5, #{ name: "conv" }));
    let features = g.global_pool(y);
    #{ wide: g.linear(features, 20, #{ name: "wide" }), features: features, again: features,
        logits: g.linear(features, 4, #{ name: "head" }) }
});
let x = normal([3, 3, 6, 6]);
let y = [0, 3, 2];
"#;

#[test]
fn outputs_and_their_gradients_are_those_of_tensors() {
    let check = |tolerance: &str| {
        format!(
            "{NET}
            fn vector(of, features, name) {{
                matmul(features, of[name + \".weight\"].transpose()) + of[name + \".bias\"]
            }}
            fn by_hand(net, w, x) {{
                let of = net.named(w);
                let features = mean(relu(conv2d(x, of[\"conv.weight\"])), [2, 3]);
                #{{ logits: vector(of, features, \"head\"), wide: vector(of, features, \"wide\"),
                    features: features, again: features }}
            }}
            fn all(outputs, y) {{
                cross_entropy(outputs.logits, y) + mean(outputs.wide ** 2) + sum(outputs.again ** 3)
            }}
            let w = parameter(net.weights.detach());
            let given = net.outputs(x);
            let expected = by_hand(net, w, x);
            assert_equal(given.keys(), expected.keys());
            for name in given.keys() {{ assert(all_close(given[name], expected[name], {tolerance}), name); }}
            let slope = gradient(all(given, y), net.weights);
            let other = gradient(all(expected, y), w);
            assert(norm(slope - other).item() < {tolerance} * norm(other).item());
            // An output that a loss leaves out gets no gradient.
            let part = net.named(gradient(sum(net.outputs(x).logits), net.weights));
            assert(norm(part[\"wide.weight\"]).item() == 0.0 && norm(part[\"conv.weight\"]).item() > 0.0);"
        )
    };
    runs(&check("1e-5"));
    runs_in_double_precision(&check("1e-10"));
}

const PLAIN: &str = r#"
let plain = network(images, |g, x| {
    let features = g.global_pool(g.relu(g.conv(x, 5, #{ name: "conv" })));
    g.linear(features, 4, #{ name: "head" })
});
let same = #{};
for name in plain.weight_names { same[name] = net.weight(name).detach(); }
plain.set_weights(same);
let batch = #{ x: x, y: y };
assert(net.classes == 4);
assert(all_close(net.forward(x), plain.forward(x)));
assert(all_close(net.forward(x, #{ training: false }), net.outputs(x, #{ training: false }).logits));
assert(all_close(plain.outputs(x).logits, plain.forward(x)) && plain.outputs(x).len() == 1);
assert(abs(evaluate(net, batch).loss - evaluate(plain, batch).loss) < 1e-6);
let own = weight_gradient(net, batch);
let other = weight_gradient(plain, batch);
assert(abs(own.loss - other.loss) < 1e-6);
let own = net.named(own.parts.weights);
let other = plain.named(other.parts.weights);
for name in other.keys() { assert(all_close(own[name], other[name]), name); }
assert(norm(own["wide.weight"]).item() == 0.0);
let exact = net.named(net.exact_gradient(batch).gradient.weights);
for name in other.keys() { assert(all_close(exact[name].to("float32"), other[name], 1e-5), name); }
let twin = net.copy();
assert(all_close(twin.outputs(x).wide, net.outputs(x).wide));
start_run([net]);
net.save_onnx("network.onnx");
"#;

#[test]
fn classes_are_judged_by_the_logits_alone() {
    runs(&format!("{NET}{PLAIN}"));
}

#[test]
fn ends_that_are_none_are_named() {
    let network = |ends: &str| {
        format!("network(#{{ channels: 3, size: 6, classes: 4 }}, |g, x| {{ let v = g.global_pool(x); {ends} }});")
    };
    refused(&network("#{ score: g.linear(v, 4) }"), &["has no `logits`"]);
    refused(&network("#{ logits: g.linear(v, 5) }"), &["4 classes need a vector of 4 numbers"]);
    refused(
        &network("#{ logits: g.linear(v, 4), mask: x }"),
        &["the output `mask` is 3 channels of 6×6, not a vector"],
    );
    refused(&network("#{ logits: g.linear(v, 4), other: 3 }"), &["`other`", "node"]);
    refused(&network("3"), &["node or map"]);
}
