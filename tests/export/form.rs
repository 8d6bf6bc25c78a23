//! The file's form, read back: versions, input and output, names, what is left out, and what folding leaves.

use super::networks::{cifar, densenet, discrete, onnx, own};
use super::read_back::{count, described, numbers, read_back};
use candlewick::export::proto::GraphProto;
use candlewick::export::{INPUT, Normalisation, OUTPUT, OnnxOptions, Source, encode, model};
use candlewick::graph::{Graph, Shape};
use candlewick::space::{DiscreteOptions, Network};

fn folded() -> OnnxOptions {
    OnnxOptions { fold_norms: true, ..OnnxOptions::default() }
}

fn graph_of(network: &Network, options: &OnnxOptions) -> GraphProto {
    read_back(&onnx(network, options).unwrap()).graph.unwrap()
}

#[test]
fn a_file_holds_the_network_by_its_names_and_not_its_auxiliary_head() {
    let network = discrete("DARTS_V2", &DiscreteOptions { auxiliary: true, drop_path: true, ..cifar() });
    let graph = graph_of(&network, &OnnxOptions::default());
    let dims = |dims: &[&str]| dims.iter().map(|dim| dim.to_string()).collect::<Vec<_>>();
    assert_eq!(described(&graph.input[0]), (INPUT.to_string(), 1, dims(&["batch", "3", "32", "32"])));
    assert_eq!(described(&graph.output[0]), (OUTPUT.to_string(), 1, dims(&["batch", "10"])));
    assert_eq!((graph.input.len(), graph.output.len()), (1, 1));

    let flat = network.weights().detached().to_vec1::<f32>().unwrap();
    let statistics: Vec<f32> = network.statistics().values().iter().map(|&value| value as f32).collect();
    let find = |name: &str| graph.initializer.iter().find(|tensor| tensor.name == name);
    let mut held = 0;
    for weight in network.graph().weights() {
        match find(&weight.name) {
            Some(tensor) => {
                assert_eq!(
                    tensor.dims,
                    weight.shape.iter().map(|&dim| dim as i64).collect::<Vec<_>>(),
                    "{}",
                    weight.name
                );
                assert_eq!(numbers(tensor), flat[weight.range()], "{}", weight.name);
                held += weight.len();
            }
            None => assert!(weight.name.starts_with("auxiliary."), "{} is missing", weight.name),
        }
    }
    assert_eq!(held, network.parameters());
    let norms: Vec<_> = network.graph().norms().iter().filter(|norm| !norm.name.starts_with("auxiliary")).collect();
    for norm in &norms {
        assert_eq!(numbers(find(&format!("{}.running_mean", norm.name)).unwrap()), statistics[norm.mean()]);
        assert_eq!(numbers(find(&format!("{}.running_var", norm.name)).unwrap()), statistics[norm.variance()]);
    }
    assert_eq!(count(&graph, "BatchNormalization"), norms.len());
    assert_eq!(count(&graph, "Gemm"), 1);
}

#[test]
fn folding_takes_every_norm_behind_a_convolution_and_leaves_the_others() {
    let network = discrete("DARTS_V2", &cifar());
    let (plain, short) = (graph_of(&network, &OnnxOptions::default()), graph_of(&network, &folded()));
    assert_eq!(count(&short, "BatchNormalization"), 0);
    let norms = count(&plain, "BatchNormalization");
    assert_eq!(plain.node.len() - short.node.len(), norms);
    assert_eq!(count(&plain, "Conv"), count(&short, "Conv"));
    assert!(norms > 20 && short.initializer.len() < plain.initializer.len());

    // A dense layer's first norm follows a concatenation or a pool, except behind the stem; its second a convolution. A
    // transition's norm and the last follow concatenations.
    let dense = densenet(Shape::new(1, 8, 8), 16, 4);
    let layers = 2 * 3;
    assert_eq!(count(&graph_of(&dense, &OnnxOptions::default()), "BatchNormalization"), 2 * layers + 2 + 1);
    assert_eq!(count(&graph_of(&dense, &folded()), "BatchNormalization"), layers + 2 + 1);
}

#[test]
fn a_convolution_that_others_read_too_keeps_its_norm_apart() {
    let mut g = Graph::new(2, 6, 6);
    let conv = g.pointwise("conv", g.input(), 3).unwrap();
    let norm = g.batch_norm("norm", conv, true).unwrap();
    let both = g.add(&[conv, norm]).unwrap();
    let other = g.pointwise("other", both, 4).unwrap();
    let other = g.batch_norm("other.norm", other, false).unwrap();
    let pooled = g.global_pool(other);
    let logits = g.linear("head", pooled, 3).unwrap();
    g.set_output(logits);
    let graph = graph_of(&own(g), &folded());
    let norms: Vec<&str> =
        graph.node.iter().filter(|node| node.op_type == "BatchNormalization").map(|node| node.name.as_str()).collect();
    assert_eq!(norms, ["norm"]);
}

#[test]
fn zeros_cost_nothing_where_they_are_added() {
    let mut g = Graph::new(2, 6, 6);
    let zero = g.zero(g.input(), 1).unwrap();
    let sum = g.add(&[g.input(), zero]).unwrap();
    let pooled = g.global_pool(sum);
    let logits = g.linear("head", pooled, 3).unwrap();
    g.set_output(logits);
    let graph = graph_of(&own(g), &OnnxOptions::default());
    let operators: Vec<&str> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
    assert_eq!(operators, ["GlobalAveragePool", "Flatten", "Gemm"]);
}

#[test]
fn names_that_clash_are_kept_apart() {
    let mut g = Graph::new(1, 4, 4);
    let a = g.pointwise("logits", g.input(), 2).unwrap();
    let b = g.pointwise("images", a, 2).unwrap();
    let b = g.batch_norm("images", b, false).unwrap();
    let pooled = g.global_pool(b);
    let head = g.linear("global_pool", pooled, 3).unwrap();
    g.set_output(head);
    let network = own(g);
    for options in [OnnxOptions::default(), folded()] {
        let graph = graph_of(&network, &options);
        assert_eq!(graph.node.last().unwrap().output, [OUTPUT]);
        assert!(graph.node.iter().any(|node| node.name == "logits_2"));
    }
}

#[test]
fn the_same_network_is_the_same_file() {
    let network = discrete("FairDARTS_a", &cifar());
    let bytes = || encode(&onnx(&network, &folded()).unwrap()).unwrap();
    assert!(bytes() == bytes());
}

#[test]
fn what_does_not_fit_is_told() {
    let network = densenet(Shape::new(1, 8, 8), 10, 4);
    let told = |options: &OnnxOptions| onnx(&network, options).unwrap_err().message;
    let normalise = |mean: &[f32], std: &[f32]| {
        told(&OnnxOptions {
            normalise: Some(Normalisation { mean: mean.into(), std: std.into() }),
            ..OnnxOptions::default()
        })
    };
    assert!(normalise(&[0.5; 3], &[0.2; 3]).contains("1 channels, but the normalisation has 3 means"));
    assert!(normalise(&[0.5], &[0.0]).contains("above 0"));

    let graph = network.graph();
    let weights = network.weights().detached().to_vec1::<f32>().unwrap();
    let statistics: Vec<f32> = network.statistics().values().iter().map(|&value| value as f32).collect();
    let good =
        Source { graph, logits: network.logits().unwrap(), weights: &weights, statistics: &statistics, mixing: &[] };
    let told = |source: Source<'_>| model(source, &OnnxOptions::default()).unwrap_err().message;
    assert!(told(Source { weights: &weights[1..], ..good }).contains("weights, not"));
    assert!(told(Source { statistics: &[], ..good }).contains("running statistics, not 0"));
    assert!(told(Source { mixing: &[1.0], ..good }).contains("0 mixing weights, not 1"));
    assert!(told(Source { logits: graph.input(), ..good }).contains("8×8"));
}
