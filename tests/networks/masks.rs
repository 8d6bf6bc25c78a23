//! Candidates that a mask leaves out: their share goes to the others, or what gives them one is refused.

use super::in_scripts::{refused, runs};

/// A supernet whose first edge of normal cells has two of eight candidates, and a batch.
const MASKED: &str = r#"
let net = supernet(#{ channels: 1, size: 8, classes: 10 }, #{ channels: 2, layers: 3, nodes: 1,
    mask: #{ normal: [["skip_connect", "sep_conv_3x3"], DARTS_OPS] } });
net.set_alphas(#{ normal: tensor([[9, 0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 2]]) });
let batch = #{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] };
"#;

#[test]
fn a_softmax_over_what_a_mask_leaves_is_the_default_relaxation() {
    runs(&format!(
        "{MASKED}
        let mask = net.mask;
        assert_equal(mask.normal[0], tensor([0, 0, 0, 1, 1, 0, 0, 0]) * 1.0);
        let relax = |a| #{{
            normal: softmax(a.normal, 1, #{{ mask: mask.normal }}),
            reduce: softmax(a.reduce, 1, #{{ mask: mask.reduce }}),
        }};
        let p = relax.call(net.alphas).normal;
        assert(abs(p[0][3].item() - exp(1.0) / (exp(1.0) + 1.0)) < 1e-6);
        assert(all_close(sum(p, 1), ones([2])));
        let own = alpha_gradient(net, batch, batch);
        let same = alpha_gradient(net, batch, batch, #{{ relax: relax }});
        assert(abs(own.loss - same.loss) < 1e-6);
        assert(all_close(own.parts.normal, same.parts.normal));
        assert(sum(abs(own.parts.normal)).item() > 0.0);
        assert(derive(net, #{{ relax: relax }}) == derive(net));"
    ));
}

#[test]
fn a_softmax_over_all_candidates_is_refused_where_a_mask_left_some_out() {
    let lost = "|a| #{ normal: softmax(a.normal, 1), reduce: softmax(a.reduce, 1) }";
    let parts = ["\"normal\"", "op \"none\" of edge 0", "the mask leaves it out", "net.mask.normal"];
    for call in [
        format!("weight_gradient(net, batch, #{{ relax: {lost} }});"),
        format!("evaluate(net, batch, #{{ relax: {lost} }});"),
        format!("derive(net, #{{ relax: {lost} }});"),
        "net.forward(batch.x, #{ normal: softmax(net.alphas.normal, 1) });".into(),
    ] {
        refused(&format!("{MASKED}{call}"), &parts);
    }
}

#[test]
fn a_mask_of_one_pass_shares_the_weight_among_what_runs() {
    runs(&format!(
        "{MASKED}
        let keep = #{{ reduce: tensor([[1, 1, 1, 1, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 1, 0]]) }};
        let p = softmax(net.alphas.reduce, 1, #{{ mask: keep.reduce }});
        let own = net.forward(batch.x, #{{ mask: keep }});
        assert(all_close(own, net.forward(batch.x, #{{ mask: keep, reduce: p }})));
        assert(all_close(own, net.forward(batch.x, #{{ reduce: p }})));
        assert(!all_close(own, net.forward(batch.x)));"
    ));
    refused(
        &format!(
            "{MASKED} net.forward(batch.x, #{{ reduce: softmax(net.alphas.reduce, 1),
                mask: #{{ reduce: one_hot([4, 4], 8) }} }});"
        ),
        &["\"reduce\"", "op \"none\" of edge 0", "the mask leaves it out"],
    );
}

#[test]
fn edges_without_candidates_have_no_weight_in_a_pass_of_fewer() {
    runs(
        "
        let net = supernet(#{ channels: 1, size: 8, classes: 10 },
            #{ channels: 4, layers: 3, nodes: 1, partial: 2, edge_weights: true });
        let x = normal([4, 1, 8, 8]);
        let keep = #{ normal: tensor([[0, 0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1]]) };
        let one = net.forward(x, #{ mask: keep, training: false });
        let alone = #{ normal: softmax(net.alphas.normal, 1, #{ mask: keep.normal }),
            reduce: softmax(net.alphas.reduce, 1), betas_normal: tensor([[0.0], [1.0]]),
            betas_reduce: softmax(net.alphas.betas_reduce, 0) };
        assert(all_close(one, net.forward(x, #{ mix: alone, training: false })));
    ",
    );
}

#[test]
fn a_mask_that_leaves_nothing_to_run_is_refused() {
    let all = "normal: zeros([2, 8]), reduce: zeros([2, 8])";
    refused(
        &format!("{MASKED} net.forward(batch.x, #{{ mask: #{{ {all} }} }});"),
        &["nothing that runs", "keeps an op"],
    );
    refused(
        &format!("{MASKED} net.forward(batch.x, #{{ mask: #{{ reduce: zeros([2, 8]) }} }});"),
        &["reduce cells", "node 0", "without any op", "edges 0..2"],
    );
    // What the pass keeps is what the space left out.
    refused(
        &format!(
            "{MASKED} let keep = tensor([[1, 1, 1, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0, 0]]);
            net.forward(batch.x, #{{ mask: #{{ normal: keep }} }});"
        ),
        &["normal cells", "node 0", "without any op"],
    );
}

#[test]
fn what_stands_where_a_softmax_is_masked_has_no_say() {
    runs(
        "
        let x = parameter(tensor([[1.0, 900.0, 3.0], [0.0, 5.0, 6.0]]));
        let mask = tensor([[1, 0, 1], [0, 0, 0]]);
        let p = softmax(x / tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]), 1, #{ mask: mask });
        assert(all_close(p[0], tensor([1.0 / (1.0 + exp(2.0)), 0.0, exp(2.0) / (1.0 + exp(2.0))])));
        assert_equal(p[1], zeros([3]));
        let slope = gradient(sum(softmax(x, 1, #{ mask: mask }) * tensor([[1, 2, 3], [4, 5, 6]])), x);
        assert_equal(slope[1], zeros([3]));
        assert(slope[0][1].item() == 0.0 && slope[0][2].item() > 0.1);
    ",
    );
    refused("softmax(zeros([2, 3]), 1, #{ mask: ones([3]) });", &["the mask is [3]", "[2, 3]"]);
}
