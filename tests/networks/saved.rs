//! A saved network comes back as it was, and a file that does not fit is refused with what it holds and what was
//! needed.

use candle_core::{Device, Tensor};
use candlewick::Error;
use candlewick::engine::Mode;
use candlewick::graph::Shape;
use candlewick::learn::{Batch, Optimizer, Sgd, SgdOptions, evaluate, weight_gradient};
use candlewick::random::Seed;
use candlewick::space::{
    DenseNetOptions, Discrete, DiscreteOptions, Legend, Network, Operation, Operations, SavedNetwork, catalogue,
};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tempfile::tempdir;

fn options() -> DiscreteOptions {
    DiscreteOptions { channels: 2, layers: 3, ..DiscreteOptions::new(Shape::new(1, 8, 8), 4) }
}

fn cell(name: &str, options: &DiscreteOptions) -> Network {
    let built = Discrete::build(&catalogue::genotype(name).unwrap(), options).unwrap();
    Network::discrete(built, Seed(7), &Device::Cpu).unwrap()
}

fn legend() -> Legend {
    let classes = ["ape", "bee", "cow", "dog"].map(String::from).to_vec();
    Legend { classes, mean: vec![0.25], std: vec![0.5], background: [255; 3] }
}

fn batch(shape: Shape) -> Batch {
    let count = 6 * shape.channels * shape.pixels();
    let pixels: Vec<f32> = (0..count).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
    let x = Tensor::from_vec(pixels, (6, shape.channels, shape.height, shape.width), &Device::Cpu).unwrap();
    Batch::new(x, Tensor::new(&[0u32, 1, 2, 3, 0, 1], &Device::Cpu).unwrap()).unwrap()
}

/// A few steps, so that weights and running statistics are nobody's first values.
fn train(network: &Network, shape: Shape) {
    let settings = SgdOptions { lr: 0.1, momentum: 0.9, nesterov: false, weight_decay: 0.0, clip: None };
    let mut sgd = Sgd::new(vec![network.weights().clone()], settings).unwrap();
    for _ in 0..3 {
        let (_, gradient) = weight_gradient(network, &batch(shape), None).unwrap();
        sgd.step(&[gradient]).unwrap();
    }
}

fn save(folder: &Path, network: &Network) -> PathBuf {
    let path = folder.join("net.safetensors");
    let about = serde_json::json!({ "epoch": 3, "test_accuracy": 0.5 });
    SavedNetwork::write(&path, network, &legend(), about.as_object().unwrap()).unwrap();
    path
}

fn weights(network: &Network) -> Vec<f32> {
    network.weights().tensor().to_vec1().unwrap()
}

/// The error must be the user's to fix and hold all of `parts`.
#[track_caller]
fn refused<T>(result: candlewick::Result<T>, parts: &[&str]) {
    let error: Error = result.map(|_| ()).expect_err("this should be refused");
    assert_eq!(error.exit_code(), 2, "{error}");
    let text = format!("{error} / {}", error.hint.clone().unwrap_or_default());
    for part in parts {
        assert!(text.contains(part), "\"{part}\" is missing in: {text}");
    }
}

#[test]
fn a_network_comes_back_as_it_was() {
    let folder = tempdir().unwrap();
    let own = |name: &str, auxiliary| {
        let shape = Shape::new(1, 32, 32);
        let options = DiscreteOptions {
            input: shape,
            auxiliary,
            drop_path: true,
            reductions: Some(vec![1, 2]),
            stem_multiplier: 2,
            ..options()
        };
        (cell(name, &options), shape)
    };
    let dense = DenseNetOptions { depth: 10, growth: 3, ..DenseNetOptions::new(Shape::new(1, 8, 8), 4) };
    let networks = [
        own("DARTS_V2", true),
        own("NASNet", false),
        // A cell of triples, whose nodes have any number of edges.
        own("FairDARTS_a", false),
        (Network::densenet(&dense, Seed(7), &Device::Cpu).unwrap(), dense.input),
    ];
    for (network, shape) in networks {
        train(&network, shape);
        let saved = SavedNetwork::read(&save(folder.path(), &network)).unwrap();
        let again = &saved.network;
        assert_eq!(again.recipe(), network.recipe());
        assert_eq!(again.legend(), Some(&legend()));
        assert_eq!((saved.about["epoch"].as_u64(), saved.about["test_accuracy"].as_f64()), (Some(3), Some(0.5)));
        assert_eq!(weights(again), weights(&network));
        assert_eq!(again.statistics().values(), network.statistics().values());
        assert_eq!((again.has_auxiliary(), again.parameters()), (network.has_auxiliary(), network.parameters()));
        let score = |network: &Network| evaluate(network, [Ok(batch(shape))], None).unwrap();
        assert_eq!(score(again), score(&network));
        // And it can be trained on.
        train(again, shape);
        assert_ne!(weights(again), weights(&network));
    }
}

#[test]
fn the_same_network_is_the_same_file() {
    let (one, other) = (tempdir().unwrap(), tempdir().unwrap());
    let files = [&one, &other].map(|folder| std::fs::read(save(folder.path(), &cell("DARTS_V1", &options()))).unwrap());
    assert!(files[0] == files[1]);
}

#[test]
fn the_file_tells_other_programs_its_weights_by_name() {
    let folder = tempdir().unwrap();
    let network = cell("DARTS_V1", &options());
    let bytes = std::fs::read(save(folder.path(), &network)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("stem.0.weight").unwrap().shape(), [6, 1, 3, 3]);
    assert_eq!(file.tensor("stem.1.running_var").unwrap().shape(), [6]);
    assert_eq!(file.len(), network.graph().weights().len() + 2 * network.graph().norms().len());
}

#[test]
fn an_old_file_stays_whole_until_the_new_one_is() {
    let folder = tempdir().unwrap();
    let network = cell("DARTS_V1", &options());
    let path = save(folder.path(), &network);
    let before = std::fs::read(&path).unwrap();
    // Where the new file cannot be written the old one is left alone.
    std::fs::create_dir(folder.path().join("net.safetensors.part")).unwrap();
    train(&network, Shape::new(1, 8, 8));
    refused(SavedNetwork::write(&path, &network, &legend(), &Default::default()), &["net.safetensors.part"]);
    assert!(std::fs::read(&path).unwrap() == before);
    std::fs::remove_dir(folder.path().join("net.safetensors.part")).unwrap();
    save(folder.path(), &network);
    assert!(std::fs::read(&path).unwrap() != before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_file_of_another_network_is_refused_and_both_are_named() {
    let folder = tempdir().unwrap();
    let path = save(folder.path(), &cell("DARTS_V1", &options()));
    let untouched = |network: Network, parts: &[&str]| {
        let before = weights(&network);
        refused(SavedNetwork::load_into(&path, &network), parts);
        assert_eq!(weights(&network), before);
    };
    untouched(cell("DARTS_V2", &options()), &["net.safetensors", "DARTS_V1 and DARTS_V2", "load_network"]);
    untouched(cell("DARTS_V1", &DiscreteOptions { channels: 4, ..options() }), &["with 2 channels", "with 4 channels"]);
    untouched(cell("DARTS_V1", &DiscreteOptions { classes: 5, ..options() }), &["4 classes", "5 classes"]);
    untouched(cell("DARTS_V1", &DiscreteOptions { layers: 4, ..options() }), &["3 layers", "4 layers"]);
    let dense = DenseNetOptions { depth: 10, growth: 3, ..DenseNetOptions::new(Shape::new(1, 8, 8), 4) };
    untouched(Network::densenet(&dense, Seed(7), &Device::Cpu).unwrap(), &["DARTS_V1 with", "DenseNet-BC (L = 10"]);
    // Drop path changes no weight.
    let dropping = cell("DARTS_V1", &DiscreteOptions { drop_path: true, ..options() });
    SavedNetwork::load_into(&path, &dropping).unwrap();
    assert_eq!(weights(&dropping), weights(&SavedNetwork::read(&path).unwrap().network));
}

/// Writes the file again with other tensors or another description.
fn tampered(
    path: &Path,
    change: impl Fn(&str, Vec<usize>, Vec<u8>) -> Option<(Vec<usize>, Vec<u8>)>,
    describe: impl Fn(String) -> String,
) -> PathBuf {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let text = describe(metadata.metadata().as_ref().unwrap()["candlewick"].clone());
    let parts: Vec<(String, Vec<usize>, Vec<u8>)> = file
        .tensors()
        .into_iter()
        .filter_map(|(name, view)| {
            let (shape, data) = change(&name, view.shape().to_vec(), view.data().to_vec())?;
            Some((name, shape, data))
        })
        .collect();
    let views =
        parts.iter().map(|(name, shape, data)| (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    let bytes = safetensors::serialize(views, Some(HashMap::from([("candlewick".to_string(), text)]))).unwrap();
    let other = path.with_file_name("tampered.safetensors");
    std::fs::write(&other, bytes).unwrap();
    other
}

#[test]
fn a_damaged_file_is_told_from_a_good_one() {
    let folder = tempdir().unwrap();
    let path = save(folder.path(), &cell("DARTS_V1", &options()));
    let same = |text: String| text;
    let whole = |_: &str, shape, data| Some((shape, data));

    let missing = tampered(&path, |name, shape, data| (name != "head.bias").then_some((shape, data)), same);
    refused(SavedNetwork::read(&missing), &["tampered.safetensors has no \"head.bias\""]);
    let flat =
        tampered(&path, |name, shape, data| Some((if name == "stem.0.weight" { vec![54] } else { shape }, data)), same);
    refused(SavedNetwork::read(&flat), &["\"stem.0.weight\" is [54]", "[6, 1, 3, 3]"]);
    let nan = |name: &str, shape, mut data: Vec<u8>| {
        if name == "head.bias" {
            data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        }
        Some((shape, data))
    };
    refused(SavedNetwork::read(&tampered(&path, nan, same)), &["\"head.bias\" holds NaN or infinite values"]);

    let other = tampered(&path, whole, |text| text.replace("\"channels\":2", "\"channels\":3"));
    refused(SavedNetwork::read(&other), &["is [6, 1, 3, 3]", "[9, 1, 3, 3]"]);
    let huge = tampered(&path, whole, |text| text.replace("\"channels\":2", "\"channels\":999999999"));
    refused(SavedNetwork::read(&huge), &["channels must be from 1 to 65536"]);
    let operation = tampered(&path, whole, |text| text.replace("skip_connect", "skip_conect"));
    refused(SavedNetwork::read(&operation), &["skip_conect", "did you mean \"skip_connect\"?"]);
    let edge = tampered(&path, whole, |text| text.replacen("', 0)", "', 7)", 1));
    refused(SavedNetwork::read(&edge), &["7) feeds state 2, which can only read states 0 to 1"]);
    let later = tampered(&path, whole, |text| {
        text.replace("\"format\":1", "\"format\":2").replace(env!("CARGO_PKG_VERSION"), "9.9.9")
    });
    refused(SavedNetwork::read(&later), &["was written by candlewick 9.9.9"]);
    let strange = tampered(&path, whole, |text| text.replace("\"stem\":", "\"dropout\":0.5,\"stem\":"));
    refused(SavedNetwork::read(&strange), &["unknown field `dropout`"]);
    let nameless = tampered(&path, whole, |text| text.replace("\"ape\",", ""));
    refused(SavedNetwork::read(&nameless), &["3 class names for a network of 4 classes"]);
    let broken = tampered(&path, whole, |text| text[..text.len() / 2].to_string());
    refused(SavedNetwork::read(&broken), &["the description of the network cannot be read"]);

    let cut = folder.path().join("cut.safetensors");
    std::fs::write(&cut, &std::fs::read(&path).unwrap()[..3000]).unwrap();
    refused(SavedNetwork::read(&cut), &["cut.safetensors is not a saved network", "net.save"]);
    let data = [0u8; 8];
    let view = TensorView::new(Dtype::F32, vec![2], &data).unwrap();
    std::fs::write(&cut, safetensors::serialize([("x", view)], None).unwrap()).unwrap();
    refused(SavedNetwork::read(&cut), &["holds tensors, but no description of a network", "load_tensors"]);
    refused(SavedNetwork::read(&folder.path().join("none.safetensors")), &["none.safetensors"]);
}

#[test]
fn what_a_script_defined_has_to_be_defined_again() {
    let folder = tempdir().unwrap();
    let operations = || {
        let mut operations = Operations::new();
        operations.define(Operation::new("twice", "twice as much", |g, x, _| g.add(&[x, x]))).unwrap();
        operations
    };
    let genotype = candlewick::space::Genotype::parse(
        "Genotype(normal=[('twice', 0), ('skip_connect', 1)], normal_concat=[2], reduce=[('max_pool_3x3', 0), \
         ('max_pool_3x3', 1)], reduce_concat=[2])",
    )
    .unwrap();
    let built = Discrete::build_with(&genotype, &options(), &operations()).unwrap();
    let network = Network::discrete(built, Seed(1), &Device::Cpu).unwrap();
    let path = save(folder.path(), &network);
    refused(SavedNetwork::read(&path), &["there is no operation \"twice\""]);
    let again = SavedNetwork::read_with(&path, operations(), Seed(0), &Device::Cpu).unwrap().network;
    let x = batch(Shape::new(1, 8, 8)).images;
    let logits = |network: &Network| {
        network.forward(&x, None, Mode::Evaluation, None).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_eq!(logits(&again), logits(&network));
}
