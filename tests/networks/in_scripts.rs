//! Networks in scripts: the functions that make and train them, masks and relaxations of one's own, and what is
//! refused.

use candle_core::DType;
use candlewick::script::{Host, Script, Setup, on_script_thread};

/// Runs a script; the error page where it fails.
fn run(text: &str) -> Result<(), String> {
    run_in(text, DType::F32)
}

fn run_in(text: &str, dtype: DType) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("search.rhai");
    let setup = Setup { script, out: Some(folder.path().join("run")), dtype, ..Setup::default() };
    let host = Host::with_sink(setup, Box::new(std::io::sink()));
    on_script_thread(|| Script::compile(host, text.to_string())?.run()).unwrap().map_err(|page| page.render(false))
}

#[track_caller]
pub fn runs(text: &str) {
    if let Err(page) = run(text) {
        panic!("{page}");
    }
}

#[track_caller]
pub fn runs_in_double_precision(text: &str) {
    if let Err(page) = run_in(text, DType::F64) {
        panic!("{page}");
    }
}

/// The page of a script that fails, which must hold each of `parts`.
#[track_caller]
pub fn refused(text: &str, parts: &[&str]) {
    let Err(page) = run(text) else { panic!("this should have been refused: {text}") };
    for part in parts {
        assert!(page.contains(part), "no \"{part}\" in\n{page}");
    }
}

const SMALL: &str = "
let net = supernet(#{ channels: 1, size: 8, classes: 10 }, #{ channels: 2, layers: 3, nodes: 2 });
let train = #{ x: normal([8, 1, 8, 8]), y: [0, 1, 2, 3, 4, 5, 6, 7] };
let valid = #{ x: normal([8, 1, 8, 8]), y: [7, 6, 5, 4, 3, 2, 1, 0] };
";

#[test]
fn a_script_searches_in_both_orders() {
    for order in [1, 2] {
        runs(&format!(
            "{SMALL}
            let w_opt = sgd(net.weights, #{{ lr: 0.05, momentum: 0.9, weight_decay: 3e-4, clip: 5 }});
            let a_opt = adam(net.alphas, #{{ lr: 3e-2, betas: [0.5, 0.999], weight_decay: 1e-3 }});
            let before = net.alphas.normal + 0.0;
            let first = ();
            let loss = 0.0;
            for step in 0..12 {{
                w_opt.lr = cosine(0.05, 0.001, step, 12);
                a_opt.step(alpha_gradient(net, train, valid, #{{ order: {order}, optimizer: w_opt }}));
                loss = w_opt.step(weight_gradient(net, train));
                if first == () {{ first = loss; }}
            }}
            assert(loss < first, `from ${{first}} to ${{loss}}`);
            assert(!all_close(net.alphas.normal, before));
            assert(derive(net).normal.len() == 4);"
        ));
    }
}

#[test]
fn a_relaxation_written_in_the_script_works_in_every_step() {
    runs(&format!(
        "{SMALL}
        let relax = |alphas| #{{ normal: sigmoid(alphas.normal), reduce: sigmoid(alphas.reduce) }};
        let w_opt = sgd(net.weights, #{{ lr: 0.05 }});
        let g = alpha_gradient(net, train, valid, #{{ relax: relax, order: 2, optimizer: w_opt }});
        assert(g.parts.reduce.shape == net.alphas.reduce.shape);
        w_opt.step(weight_gradient(net, train, #{{ relax: relax }}));
        let same = net.forward(valid.x, #{{ normal: sigmoid(net.alphas.normal), reduce: sigmoid(net.alphas.reduce) }});
        let by_hand = gradient(cross_entropy(same, valid.y), net.alphas);
        let by_step = alpha_gradient(net, train, valid, #{{ relax: relax }});
        assert(all_close(by_hand.normal, by_step.parts.normal));
        assert(evaluate(net, valid, #{{ relax: relax }}).examples == 8);
        assert(derive(net, #{{ relax: relax }}) == derive(net));"
    ));
    refused(
        &format!("{SMALL}\nweight_gradient(net, train, #{{ relax: |a| #{{ normal: softmax(a.normal, 1) }} }});"),
        &["no mixing weights \"reduce\"", "normal: …, reduce: …"],
    );
    refused(
        &format!("{SMALL}\nweight_gradient(net, train, #{{ relax: |a| #{{ normal: sofmax(a.normal, 1) }} }});"),
        &["sofmax", "softmax"],
    );
}

#[test]
fn second_order_by_hand_from_script_parts_is_the_built_in_one() {
    runs(&format!(
        "{SMALL}
        let eta = 0.1;
        let built_in = alpha_gradient(net, train, valid, #{{ order: 2, eta: eta }});
        let w = net.clone_weights();
        net.set_weights(w - eta * weight_gradient(net, train).parts.weights);
        let g = gradient(cross_entropy(net.forward(valid.x), valid.y), #{{ w: net.weights, a: net.alphas }});
        net.set_weights(w);
        let h = net.hessian_vector(train, g.w);
        let by_hand = g.a.normal - eta * h.normal;
        assert(all_close(by_hand, built_in.parts.normal, 1e-5));
        assert(!all_close(g.a.normal, built_in.parts.normal, 1e-4), `the curvature term shows`);"
    ));
}

#[test]
fn an_op_that_is_masked_off_at_run_time_gets_no_gradient() {
    runs(&format!(
        "{SMALL}
        let keep = one_hot([4, 4, 4, 4, 4], 8);
        let p = parameter(keep * 1.0);
        let logits = net.forward(train.x, #{{ normal: p, mask: #{{ normal: keep }} }});
        let slope = gradient(cross_entropy(logits, train.y), p);
        assert(all_close(slope, slope * keep));"
    ));
}

#[test]
fn operations_and_networks_of_ones_own_are_trained_like_the_built_in_ones() {
    runs(
        "
        define_op(\"gated\", |g, x, channels, stride| {
            let y = g.batch_norm(g.conv(g.activate(x, \"silu\"), channels, #{ stride: stride, groups: channels }));
            if stride == 1 { g.add([x, y]) } else { y }
        });
        let net = supernet(#{ channels: 1, size: 8, classes: 10 },
            #{ channels: 2, layers: 3, nodes: 1, ops: [\"none\", \"skip_connect\", \"gated\"] });
        let batch = #{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] };
        let w_opt = sgd(net.weights, #{ lr: 0.05 });
        let first = w_opt.step(weight_gradient(net, batch));
        for i in 0..5 { w_opt.step(weight_gradient(net, batch)); }
        assert(weight_gradient(net, batch).loss < first);
        assert(net.weight_names.filter(|n| n.contains(\"ops.2.conv0\")).len() == 6);
        let cells = network(#{ channels: 3, size: 8, classes: 4 }, |g, x| {
            let p = g.slots(\"normal\", 5, 8);
            let a = g.scope(\"cell0\", |g| g.cell(x, x, #{ channels: 2, slots: p, nodes: 2 }));
            let b = g.scope(\"cell1\", |g| g.cell(x, a, #{ channels: 2, slots: p, nodes: 2 }));
            g.linear(g.global_pool(b), 4)
        });
        let g = alpha_gradient(cells, #{ x: normal([2, 3, 8, 8]), y: [0, 1] }, #{ x: normal([2, 3, 8, 8]), y: [2, 3] });
        adam(cells.alphas, #{ lr: 0.1 }).step(g);
    ",
    );
}

/// Beside the same made of tensors: `conv2d` is one more opinion on a convolution.
const BY_HAND: &str = "
let net = network(#{ channels: 3, size: [6, 4], classes: 4 }, |g, x| {
    let y = g.conv(x, 5, #{ stride: 2, name: \"conv\" });
    let y = g.layer_norm(y, #{ name: \"norm\" });
    let y = g.upsample(g.relu(y), 3);
    g.linear(g.global_pool(g.conv(y, 4, #{ kernel: 2, padding: 0, groups: 1, name: \"last\" })), 4, #{ name: \"head\" })
});
net.set_weights(net.weights + 0.3 * normal(net.weights.shape));

fn by_hand(net, w, x) {
    let of = net.named(w);
    let y = conv2d(x, of[\"conv.weight\"], #{ stride: 2 });
    let y = y - mean(y, [1, 2, 3], #{ keepdim: true });
    let y = y / sqrt(variance(y, [1, 2, 3], #{ keepdim: true }) + 1e-5);
    let y = relu(y * of[\"norm.weight\"].reshape([1, 5, 1, 1]) + of[\"norm.bias\"].reshape([1, 5, 1, 1]));
    let y = conv2d(y, ones([5, 1, 1, 1]), #{ groups: 5 });
    let y = y.reshape([2, 5, 3, 1, 2, 1]).broadcast_to([2, 5, 3, 3, 2, 3]).reshape([2, 5, 9, 6]);
    let y = mean(conv2d(y, of[\"last.weight\"], #{ padding: 0 }), [2, 3]);
    matmul(y, of[\"head.weight\"].transpose()) + of[\"head.bias\"]
}
let x = parameter(normal([2, 3, 6, 4]) + 2.0);
let w = parameter(net.weights.detach());
let aim = normal([2, 4]);
let given = net.forward(x);
let expected = by_hand(net, w, x);
";

#[test]
fn layer_norm_and_upsampling_are_what_the_same_made_of_tensors_is() {
    let check = |tolerance: &str| {
        format!(
            "{BY_HAND}
            assert(all_close(given, expected, {tolerance}), `${{given}} and ${{expected}}`);
            assert(all_close(given, net.forward(x, #{{ training: false }}), {tolerance}));
            let slopes = gradient(sum(given * aim), [x, net.weights]);
            let others = gradient(sum(expected * aim), [x, w]);
            for i in 0..2 {{
                let off = norm(slopes[i] - others[i]).item();
                assert(off < {tolerance} * norm(others[i]).item(), `${{i}}: off by ${{off}}`);
            }}"
        )
    };
    runs(&check("1e-4"));
    runs_in_double_precision(&check("1e-9"));
}

#[test]
fn a_candidate_of_a_supernet_may_norm_its_image_and_grow_it() {
    runs(
        "
        define_op(\"coarse\", |g, x, channels, stride| {
            let y = g.layer_norm(g.conv(g.relu(x), channels, #{ stride: 2 }));
            if stride == 1 { g.upsample(y, 2) } else { y }
        });
        let net = supernet(#{ channels: 1, size: 8, classes: 10 },
            #{ channels: 4, layers: 3, nodes: 2, ops: [\"none\", \"skip_connect\", \"coarse\"] });
        let batch = #{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] };
        let w_opt = sgd(net.weights, #{ lr: 0.05 });
        let first = w_opt.step(weight_gradient(net, batch));
        for i in 0..5 { w_opt.step(weight_gradient(net, batch)); }
        assert(weight_gradient(net, batch).loss < first);
        adam(net.alphas, #{ lr: 0.1 }).step(alpha_gradient(net, batch, batch));
    ",
    );
}

#[test]
fn masks_from_scripts_name_operations_or_tick_them() {
    runs(
        "
        let images = #{ channels: 1, size: 8, classes: 10 };
        let all = DARTS_OPS;
        let net = supernet(images, #{ channels: 2, layers: 3, nodes: 1,
            mask: #{ normal: [[\"skip_connect\", \"sep_conv_3x3\"], all] } });
        let macs = net.costs(\"macs\");
        assert(sum(macs.normal[0]).item() == macs.normal[0][4].item());
        assert(derive(net).reduce.len() == 2);
    ",
    );
}

#[test]
fn edges_have_weights_of_their_own() {
    runs(
        "
        let images = #{ channels: 1, size: 8, classes: 10 };
        let net = supernet(images, #{ channels: 4, layers: 3, nodes: 2, partial: 2, edge_weights: true });
        assert(net.alphas.betas_normal.shape == [5, 1] && net.alphas.betas_reduce.shape == [5, 1]);
        let batch = #{ x: normal([4, 1, 8, 8]), y: [0, 1, 2, 3] };

        // The default relaxation is the softmax over an edge's ops and over the edges into a node.
        let by_node = |b| concat([softmax(slice(b, 0, 0, 2), 0), softmax(slice(b, 0, 2, 5), 0)], 0);
        let relax = |a| #{
            normal: softmax(a.normal, 1), reduce: softmax(a.reduce, 1),
            betas_normal: by_node.call(a.betas_normal), betas_reduce: by_node.call(a.betas_reduce),
        };
        let betas = tensor([[2.0], [0.0], [0.5], [-1.0], [1.0]]);
        net.set_alphas(#{ betas_normal: betas });
        let x = batch.x;
        assert(all_close(net.forward(x), net.forward(x, #{ mix: relax.call(net.alphas) })));
        let own = alpha_gradient(net, batch, batch);
        let same = alpha_gradient(net, batch, batch, #{ relax: relax });
        assert(all_close(own.parts.betas_normal, same.parts.betas_normal));
        assert(sum(abs(own.parts.betas_normal)).item() > 0.0);

        // An edge counts by its weight times its best op's: uniform alphas leave the choice to the betas.
        net.set_alphas(#{ normal: zeros([5, 8]) });
        let cell = derive(net);
        assert(cell.normal.map(|pair| pair[1]) == [0, 1, 2, 0]);
        assert(derive(net, #{ relax: relax }) == cell);
        let sure = one_hot([4, 4, 4, 4, 4], 8) * 3.0;
        let weak = tensor([[2.0], [0.0], [0.0], [-5.0], [-4.0]]);
        net.set_alphas(#{ normal: sure, betas_normal: weak });
        assert(derive(net).normal.map(|pair| pair[1]) == [0, 1, 0, 2]);

        let a_opt = adam(net.alphas, #{ lr: 0.1 });
        a_opt.step(alpha_gradient(net, batch, batch));
        assert(!all_close(net.alphas.betas_normal, weak));

        // An edge without ops does not exist, whatever its beta.
        let some = supernet(images, #{ channels: 4, layers: 3, nodes: 1, partial: 2, edge_weights: true,
            mask: #{ normal: [[], [\"skip_connect\"]] } });
        let one = some.forward(x, #{ training: false });
        some.set_alphas(#{ betas_normal: tensor([[9.0], [-9.0]]) });
        assert(all_close(one, some.forward(x, #{ training: false })));
    ",
    );
}

#[test]
fn a_cell_of_ones_own_has_partial_channels_too() {
    runs(
        r#"
        fn weights(channels, partial, ops) {
            let net = network(#{ channels: 3, size: 8, classes: 10 }, |g, x| {
                let p = g.slots("normal", 5, ops.len());
                let b = g.slots("betas", 5, 1);
                let options = #{ channels: channels, slots: p, nodes: 2, ops: ops, partial: partial };
                if partial > 1 { options.edge_weights = b; }
                g.linear(g.global_pool(g.cell(x, x, options)), 10)
            });
            let p = softmax(net.alphas.normal, 1);
            let b = softmax(net.alphas.betas, 0);
            let logits = net.forward(normal([2, 3, 8, 8]), #{ mix: #{ normal: p, betas: b } });
            let slope = gradient(sum(logits * logits), net.alphas).betas;
            // What passes by heeds the edges' weights.
            assert(all_close(slope, zeros([5, 1])) == (partial == 1));
            net.parameters
        }
        // What the candidates add to the two inputs and the classifier: that of a quarter of the channels.
        let ops = ["sep_conv_3x3", "dil_conv_5x5"];
        let skip = ["skip_connect", "none"];
        assert_equal(weights(8, 4, ops) - weights(8, 4, skip), weights(2, 1, ops) - weights(2, 1, skip));
    "#,
    );
}

#[test]
fn what_does_not_fit_is_refused_with_what_would() {
    let images = "#{ channels: 1, size: 8, classes: 10 }";
    refused(&format!("supernet({images}, #{{ partial: 3 }});"), &["partial: 3", "16 channels", "partial: 4"]);
    refused(&format!("supernet({images}, #{{ partial: 0 }});"), &["partial must be from 1 to"]);
    let own = |slots: &str, options: &str| {
        let body =
            format!("g.linear(g.global_pool(g.cell(x, x, #{{ channels: 6, nodes: 1, slots: p, {options} }})), 2)");
        format!(
            "network({images}, |g, x| {{ let p = g.slots(\"p\", 2, 8); let b = g.slots(\"b\", {slots}); {body} }});"
        )
    };
    refused(&own("2, 1", "partial: 4"), &["partial: 4", "6 channels"]);
    refused(&own("3, 1", "partial: 2, edge_weights: b"), &["needs 2 × 1 edge weights", "\"b\" is 3 × 1"]);
    refused(&format!("supernet({images}, #{{ edge_weight: true }});"), &["edge_weight", "edge_weights"]);
    refused(
        &format!(
            "let net = supernet({images}, #{{ channels: 2, layers: 3, nodes: 1, edge_weights: true }});
            derive(net, #{{ relax: |a| #{{ normal: softmax(a.normal, 1), reduce: softmax(a.reduce, 1) }} }});"
        ),
        &["gives no mixing weights \"betas_normal\"", "betas_reduce: …"],
    );
    refused(&format!("{SMALL}net.forward(train.x, #{{ mix: #{{ betas_normal: ones([5, 1]) }} }});"), &["betas_normal"]);
    refused(&format!("supernet({images}, #{{ ops: [\"skip_conect\", \"none\"] }});"), &["skip_conect", "skip_connect"]);
    refused(&format!("supernet({images}, #{{ chanels: 4 }});"), &["chanels", "channels"]);
    refused("supernet(#{ channels: 1, size: 7, classes: 10 });", &["cell 2 (reduction)", "7×7"]);
    refused("supernet(#{ channels: 1, size: 8, clases: 10 });", &["clases", "classes"]);
    refused("supernet(3);", &["images or map"]);
    refused(&format!("supernet({images}, #{{ channels: 1000000000 }});"), &["channels", "65536"]);
    refused(&format!("supernet({images}, #{{ mask: #{{ normal: [[\"none\"]] }} }});"), &["14 edges"]);
    refused(&format!("{SMALL}net.forward(zeros([2, 3, 8, 8]));"), &["[2, 3, 8, 8]"]);
    refused(&format!("{SMALL}net.forward(train.x, #{{ normal: zeros([2, 2]) }});"), &["5 edges × 8", "[2, 2]"]);
    refused(
        &format!("{SMALL}net.forward(train.x, #{{ mix: #{{ normall: zeros([5, 8]) }} }});"),
        &["normall", "normal"],
    );
    refused(&format!("{SMALL}net.weight(\"stem.0.wait\");"), &["stem.0.wait", "stem.0.weight"]);
    refused(&format!("{SMALL}net.set_weights(zeros([3]));"), &["[3]"]);
    refused(&format!("{SMALL}net.costs(\"flops\");"), &["flops", "macs"]);
    refused(&format!("{SMALL}alpha_gradient(net, train, valid, #{{ order: 2 }});"), &["order 2", "optimizer"]);
    refused(&format!("{SMALL}alpha_gradient(net, train, valid, #{{ order: 3 }});"), &["1 or 2"]);
    refused(
        &format!(
            "{SMALL}let o = adam(net.weights, #{{ lr: 1 }});
            alpha_gradient(net, train, valid, #{{ order: 2, optimizer: o }});"
        ),
        &["adam", "eta"],
    );
    refused(&format!("{SMALL}sgd(net.weights, #{{ momentum: 0.9 }});"), &["lr"]);
    refused("sgd(zeros([3]), #{ lr: 0.1 });", &["not a parameter", "parameter(t)"]);
    refused(&format!("{SMALL}sgd(net.weights, #{{ lr: 0.1 }}).step(zeros([3]));"), &["[3]"]);
    refused(&format!("{SMALL}derive(net, #{{ rule: \"dart\" }});"), &["dart", "darts"]);
    refused("genotype(\"Genotype(normal=[('sep_conv_3x3', 0)])\");", &["reduce"]);
    refused(
        "genotype(#{ normal: [[\"sep_conf_3x3\", 0], [\"none\", 1]], reduce: [[\"none\", 0], [\"none\", 1]] });",
        &["sep_conf_3x3", "sep_conv_3x3"],
    );
    refused("genotype(#{ normal: [[\"none\", 0]], reduce: [] });", &["1 pairs"]);
    refused(&format!("network({images}, |g, x| g.global_pool(x));"), &["1 channels", "10 classes"]);
    refused(&format!("network({images}, |g, x| g.conv(x, 4));"), &["4 channels of 8×8", "global_pool"]);
    refused(&format!("network({images}, |g, x| g.activate(x, \"rellu\"));"), &["rellu", "relu"]);
    refused(
        &format!(
            "let kept = ();
            network({images}, |g, x| {{ kept = x; g.linear(g.global_pool(x), 10) }});
            network({images}, |g, x| g.relu(kept));"
        ),
        &["another graph"],
    );
    refused(
        &format!(
            "let kept = ();
            network({images}, |g, x| {{ kept = g; g.linear(g.global_pool(x), 10) }});
            print(kept.slots(\"a\", 1, 1));"
        ),
        &["finished"],
    );
    refused("define_op(\"none\", |g, x, c, s| x);", &["already", "none"]);
    refused("define_op(\"a b\", |g, x, c, s| x);", &["a b"]);
    refused(
        &format!("define_op(\"wide\", |g, x, c, s| g.concat([x, x])); supernet({images}, #{{ ops: [\"wide\"] }});"),
        &["wide", "channels"],
    );
}
