//! Published cells and what becomes of them: counts to the digit, every cell drawn and trained for a step, auxiliary
//! heads, dropped paths, smoothed labels, DenseNets, and a reason for what cannot be built.

use crate::shared::reference;
use candle_core::{Device, Tensor};
use candlewick::chart::{Figure, svg};
use candlewick::engine::Mode;
use candlewick::graph::{Graph, Shape};
use candlewick::learn::{Batch, Loss, Optimizer, Sgd, SgdOptions, Way, evaluate, weight_gradient, weight_gradient_by};
use candlewick::random::Seed;
use candlewick::run::cells_from_genotype;
use candlewick::space::discrete::AUXILIARY;
use candlewick::space::{
    DenseNetOptions, Discrete, DiscreteOptions, Genotype, Network, Operations, Stem, Supernet, SupernetOptions,
    catalogue, densenet,
};
use serde_json::Value;

fn cifar() -> DiscreteOptions {
    DiscreteOptions::new(Shape::new(3, 32, 32), 10)
}

fn cell(name: &str) -> Genotype {
    catalogue::genotype(name).unwrap()
}

fn graph(name: &str, options: &DiscreteOptions) -> Graph {
    Discrete::build(&cell(name), options).unwrap().graph
}

fn failure<T>(result: candlewick::Result<T>) -> candlewick::Error {
    match result {
        Ok(_) => panic!("this should have been refused"),
        Err(error) => error,
    }
}

fn dense(depth: usize, growth: usize) -> Graph {
    let options = DenseNetOptions { depth, growth, ..DenseNetOptions::new(Shape::new(3, 32, 32), 10) };
    densenet(&options).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn batch(images: usize, channels: usize, size: usize) -> Batch {
    let pixels: Vec<f32> = (0..images * channels * size * size).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
    let images_tensor = Tensor::from_vec(pixels, (images, channels, size, size), &Device::Cpu).unwrap();
    let labels: Vec<u32> = (0..images as u32).map(|i| i * 7 % 10).collect();
    Batch::new(images_tensor, Tensor::from_vec(labels, images, &Device::Cpu).unwrap()).unwrap()
}

#[test]
fn networks_have_the_published_counts() {
    // name, weights without and with the auxiliary head, multiply-adds: 36 channels, 20 cells
    let table = [
        ("DARTS_V1", 3_169_414, 3_645_840, 500_987_520),
        ("DARTS_V2", 3_349_342, 3_825_768, 528_359_040),
        ("NASNet", 3_830_950, 4_288_944, 603_452_448),
        ("AmoebaNet", 3_145_078, 3_603_072, 488_931_552),
        ("AmoebaNet_B", 3_031_606, 3_471_168, 460_732_032),
        ("SETN", 4_619_206, 5_095_632, 722_392_704),
        ("SNAS_aggressive", 2_313_622, 2_790_048, 374_912_640),
        ("ENAS_micro_official_arc", 4_394_710, 4_871_136, 693_197_856),
        ("FairDARTS_a", 2_360_782, 2_837_208, 371_455_200),
        ("DCO_EDGE_BS_64", 3_998_854, 4_475_280, 598_474_368),
    ];
    for (name, plain, whole, macs) in table {
        let graph = graph(name, &DiscreteOptions { auxiliary: true, drop_path: true, ..cifar() });
        let head = graph.parameters_below(AUXILIARY);
        assert_eq!((graph.parameters() - head, graph.parameters()), (plain, whole), "{name}");
        assert_eq!(graph.macs() - graph.macs_below(AUXILIARY), macs, "{name}");
    }
    let imagenet = DiscreteOptions {
        channels: 48,
        layers: 14,
        stem: Stem::Imagenet,
        ..DiscreteOptions::new(Shape::new(3, 224, 224), 1000)
    };
    for (name, weights, macs) in [("DARTS_V1", 4_510_432, 505_864_704), ("DARTS_V2", 4_718_752, 529_911_552)] {
        let graph = graph(name, &imagenet);
        assert_eq!((graph.parameters(), graph.macs()), (weights, macs), "{name} on ImageNet");
    }
    for (depth, growth, weights) in [(190, 40, 25_624_430), (100, 12, 769_162), (250, 24, 15_324_406)] {
        assert_eq!(dense(depth, growth).parameters(), weights, "DenseNet-BC {depth}, {growth}");
    }
}

#[test]
fn a_normal_cells_output_may_hold_what_it_reads() {
    let text = |normal: &str, reduce: &str| {
        format!(
            "Genotype(normal=[('skip_connect', 0), ('skip_connect', 1)], normal_concat={normal}, \
             reduce=[('max_pool_3x3', 0), ('max_pool_2x2', 1)], reduce_concat={reduce})"
        )
    };
    let options = DiscreteOptions { channels: 4, layers: 3, ..cifar() };
    let passed_on: Genotype = text("[1, 2]", "[2]").parse().unwrap();
    assert_eq!(passed_on.to_string(), text("[1, 2]", "[2]"));
    let parameters = |genotype: &Genotype| Discrete::build(genotype, &options).unwrap().graph.parameters();
    // The two cells behind the normal one, of 8 and 16 channels, each read four more from it.
    let without: Genotype = text("[2]", "[2]").parse().unwrap();
    assert_eq!(parameters(&passed_on), parameters(&without) + 4 * 8 + 4 * 16);
    let error = failure(text("[2]", "[1, 2]").parse::<Genotype>());
    assert!(error.to_string().contains("reduce_concat lists state 1"), "{error}");
}

#[test]
fn every_count_of_the_reference_is_met() {
    let Some(file) = reference("spec/params.json") else { return };
    let spec: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let counts = |graph: &Graph| {
        let head = graph.parameters_below(AUXILIARY);
        [graph.parameters() - head, graph.parameters(), head, graph.macs() - graph.macs_below(AUXILIARY)]
    };
    let expected = |entry: &Value, macs: &Value, found: [usize; 4]| {
        let fields = ["without_aux", "with_aux", "aux_head"].map(|field| entry[field].as_u64().unwrap() as usize);
        // Multiply-adds were counted for some cells only.
        let macs = macs.as_u64().map_or(found[3], |macs| macs as usize);
        [fields[0], fields[1], fields[2], macs]
    };
    let cells = spec["eval_cifar10_C36_L20_classes10"].as_object().unwrap();
    // And AmoebaNet-B and -D.
    assert_eq!(cells.len() + 2, catalogue::published().len());
    for (name, entry) in cells {
        let found = counts(&graph(name, &DiscreteOptions { auxiliary: true, ..cifar() }));
        assert_eq!(found, expected(entry, &entry["macs"], found), "{name}");
    }
    for (name, entry) in spec["eval_imagenet_C48_L14_classes1000_input224"].as_object().unwrap() {
        let input = Shape::new(3, 224, 224);
        let base = DiscreteOptions::new(input, 1000);
        let options = DiscreteOptions { channels: 48, layers: 14, stem: Stem::Imagenet, auxiliary: true, ..base };
        let found = counts(&graph(name, &options));
        assert_eq!(found, expected(entry, &entry["macs"]["total"], found), "{name} on ImageNet");
    }
    for (key, weights) in spec["small_configs_no_aux_classes10"].as_object().unwrap() {
        let (rest, layers) = key.rsplit_once("_L").unwrap();
        let (name, channels) = rest.rsplit_once("_C").unwrap();
        let (channels, layers) = (channels.parse().unwrap(), layers.parse().unwrap());
        let found = match name {
            "search" => {
                let base = SupernetOptions::new(Shape::new(3, 32, 32), 10);
                Supernet::build(&SupernetOptions { channels, layers, ..base }).unwrap().graph
            }
            name => graph(name, &DiscreteOptions { channels, layers, ..cifar() }),
        };
        assert_eq!(found.parameters() as u64, weights.as_u64().unwrap(), "{key}");
    }
    let whole = graph("DARTS_V2", &DiscreteOptions { auxiliary: true, ..cifar() });
    for layer in spec["eval_layers_DARTS_V2_C36_L20"].as_array().unwrap() {
        let scope = match layer["name"].as_str().unwrap() {
            "auxiliary_head" => AUXILIARY.to_string(),
            "classifier" => "head".to_string(),
            name => name.replace("cell", "cells."),
        };
        assert_eq!(whole.parameters_below(&scope) as u64, layer["params"].as_u64().unwrap(), "{scope}");
    }
    for (key, weights) in spec["rivals_by_formula"].as_object().unwrap() {
        let Some(rest) = key.strip_prefix("DenseNet-BC_L") else { continue };
        let (depth, growth) = rest.strip_suffix("_cifar10").unwrap().split_once("_k").unwrap();
        let found = dense(depth.parse().unwrap(), growth.parse().unwrap()).parameters();
        assert_eq!(found as u64, weights.as_u64().unwrap(), "{key}");
    }
}

#[test]
fn the_catalogue_is_the_reference() {
    let names: std::collections::HashSet<_> = catalogue::published().iter().map(|entry| &entry.name).collect();
    assert_eq!(names.len(), catalogue::published().len(), "every name once");
    // The copy of AmoebaNet's specifications that was read named no commit.
    let has_source =
        |entry: &catalogue::Published| entry.source.contains(" @ ") || entry.source.starts_with("tensorflow/tpu ");
    assert!(catalogue::published().iter().all(has_source));
    let Some(file) = reference("spec/genotypes.json") else { return };
    let spec: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let sections = ["cnn", "cnn_edge_lists"].map(|section| spec[section].as_object().unwrap());
    assert_eq!(sections.iter().map(|section| section.len()).sum::<usize>() + 2, names.len(), "and AmoebaNet-B and -D");
    for (name, entry) in sections.into_iter().flatten() {
        let json = cell(name).to_json();
        for field in ["normal", "normal_concat", "reduce", "reduce_concat"] {
            assert_eq!(json[field], entry[field], "{name} {field}");
        }
    }
    for (name, entry) in spec["reduced_spaces"].as_object().unwrap().iter().filter(|(name, _)| name.starts_with('s')) {
        let Ok(space) = catalogue::reduced_space(&name.to_uppercase()) else { continue };
        let of = |kind: &str| entry.get(kind).cloned().unwrap_or_else(|| vec![entry.clone(); 14].into());
        assert_eq!(serde_json::to_value(&space.normal).unwrap(), of("normal"), "{name}");
        assert_eq!(serde_json::to_value(&space.reduce).unwrap(), of("reduce"), "{name}");
    }
}

#[test]
fn every_published_cell_prints_draws_and_trains_for_a_step() {
    let images = batch(2, 3, 32);
    for entry in catalogue::published() {
        let (name, genotype) = (&entry.name, &entry.genotype);
        let text = genotype.to_string();
        let again: Genotype = text.parse().unwrap();
        assert_eq!(&again, genotype, "{name}");
        assert_eq!(again.to_string(), text, "{name}");
        let picture = svg(&Figure::Cells(cells_from_genotype(&genotype.to_json()).unwrap())).unwrap();
        assert!(picture.contains(&genotype.edges(candlewick::space::CellKind::Normal)[0].operation), "{name}");
        let options = DiscreteOptions { channels: 8, layers: 5, auxiliary: true, drop_path: true, ..cifar() };
        let built = Discrete::build(genotype, &options).unwrap();
        let network = Network::discrete(built, Seed(1), &Device::Cpu).unwrap();
        network.set_drop_path(0.2).unwrap();
        let loss = Loss { label_smoothing: 0.1, auxiliary: None };
        let (value, gradient) = weight_gradient_by(&network, &images, &Way { loss, ..Way::default() }).unwrap();
        assert!(value.is_finite() && values(&gradient).iter().all(|g| g.is_finite()), "{name}");
        Sgd::new(vec![network.weights().clone()], SgdOptions::new(0.025)).unwrap().step(&[gradient]).unwrap();
        let score = evaluate(&network, [Ok(images.clone())], None).unwrap();
        assert!(score.loss.is_finite(), "{name}");
    }
}

fn small(drop_path: bool, auxiliary: bool) -> Network {
    let options = DiscreteOptions { channels: 4, layers: 3, drop_path, auxiliary, ..cifar() };
    Network::discrete(Discrete::build(&cell("DARTS_V2"), &options).unwrap(), Seed(3), &Device::Cpu).unwrap()
}

#[test]
fn the_auxiliary_head_speaks_in_training_only_and_counts_apart() {
    let (plain, with) = (small(false, false), small(false, true));
    assert_eq!((plain.parameters(), plain.macs()), (with.parameters(), with.macs()));
    assert_eq!(
        (plain.auxiliary_parameters(), with.weights().dims()[0] - with.parameters()),
        (0, with.auxiliary_parameters())
    );
    assert!(with.auxiliary_parameters() > 400_000);
    let images = batch(3, 3, 32);
    let logits = |net: &Network, mode| net.forward(&images.images, None, mode, None).unwrap();
    assert_eq!(logits(&with, Mode::Trial).dims(), [3, 20]);
    assert_eq!(logits(&with, Mode::Evaluation).dims(), [3, 10]);
    // Equal seeds start equal weights, so the main logits are those of the network without the head.
    assert_eq!(values(&logits(&with, Mode::Trial).narrow(1, 0, 10).unwrap()), values(&logits(&plain, Mode::Trial)));
    let loss = |net: &Network, auxiliary| {
        let loss = Loss { auxiliary, ..Loss::default() };
        weight_gradient_by(net, &images, &Way { loss, ..Way::default() }).unwrap()
    };
    let (main, _) = loss(&plain, None);
    let (without, gradient) = loss(&with, Some(0.0));
    assert_eq!(without, main);
    assert!(values(&with.slice_of(&gradient, "auxiliary.classifier.bias").unwrap()).iter().all(|&g| g == 0.0));
    let (half, _) = loss(&with, Some(0.5));
    let (one, gradient) = loss(&with, Some(1.0));
    assert!(((one - main) - 2.0 * (half - main)).abs() < 1e-5 && one > main);
    assert!(values(&with.slice_of(&gradient, "auxiliary.features.2.weight").unwrap()).iter().any(|&g| g != 0.0));
}

#[test]
fn smoothed_labels_share_a_little_with_every_class() {
    let logits = Tensor::new(&[[2.0f32, 0.0, 0.0], [0.0, 1.0, -1.0]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[0u32, 2], &Device::Cpu).unwrap();
    let loss = |label_smoothing| {
        let loss = Loss { label_smoothing, ..Loss::default() };
        let batch = Batch { images: logits.clone(), labels: labels.clone(), indices: vec![], targets: None };
        loss.of(&logits, &batch, 3).unwrap().to_scalar::<f32>().unwrap()
    };
    let log_p = |row: [f32; 3]| {
        let total: f32 = row.iter().map(|v| v.exp()).sum();
        row.map(|v| v - total.ln())
    };
    let (a, b) = (log_p([2.0, 0.0, 0.0]), log_p([0.0, 1.0, -1.0]));
    assert!((loss(0.0) + (a[0] + b[2]) / 2.0).abs() < 1e-6);
    let row = |p: [f32; 3], right: usize| -(0.9 * p[right] + 0.1 / 3.0 * p.iter().sum::<f32>());
    assert!((loss(0.1) - (row(a, 0) + row(b, 2)) / 2.0).abs() < 1e-6);
    assert!(failure(Loss { label_smoothing: 1.0, ..Loss::default() }.check(true)).message.contains("label_smoothing"));
    assert!(failure(Loss { auxiliary: Some(f64::NAN), ..Loss::default() }.check(true)).message.contains("auxiliary"));
    let without = Loss { auxiliary: Some(0.4), ..Loss::default() }.check(false);
    assert!(failure(without).message.contains("no auxiliary head"));
}

#[test]
fn paths_are_dropped_in_training_only_and_alike_after_a_resume() {
    let images = batch(5, 3, 32);
    let logits = |net: &Network, mode| values(&net.forward(&images.images, None, mode, None).unwrap());
    let (plain, dropping) = (small(false, false), small(true, false));
    assert_eq!(dropping.parameters(), plain.parameters());
    // At probability 0 nothing is dropped. (Sums with paths that may be dropped are added in another order.)
    let alike = |a: Vec<f32>, b: Vec<f32>| a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-4 * a.abs().max(0.1));
    assert!(alike(logits(&plain, Mode::Trial), logits(&dropping, Mode::Trial)));
    let flat = |net: &Network| values(&weight_gradient(net, &images, None).unwrap().1);
    let (without, with) = (flat(&plain), flat(&dropping));
    let largest = without.iter().fold(0.0f32, |largest, g| largest.max(g.abs()));
    assert!(without.iter().zip(&with).all(|(a, b)| (a - b).abs() < 1e-5 * largest));
    dropping.set_drop_path(0.3).unwrap();
    let state = dropping.state().unwrap();
    let first = [logits(&dropping, Mode::Trial), logits(&dropping, Mode::Trial)];
    assert_ne!(first[0], first[1], "every pass draws its own");
    assert_ne!(first[0], logits(&plain, Mode::Trial));
    plain.restore(&state[..2]).unwrap();
    assert!(alike(logits(&dropping, Mode::Evaluation), logits(&plain, Mode::Evaluation)));
    let resumed = small(true, false);
    resumed.restore(&state).unwrap();
    assert_eq!(resumed.drop_path(), 0.3);
    logits(&resumed, Mode::Evaluation);
    assert_eq!(first, [logits(&resumed, Mode::Trial), logits(&resumed, Mode::Trial)]);
    assert!(failure(dropping.set_drop_path(1.0)).message.contains("below 1"));
    assert!(failure(plain.set_drop_path(0.1)).message.contains("no paths"));
}

#[test]
fn the_number_of_threads_changes_no_bit_of_a_pass_with_chance_in_it() {
    let images = batch(19, 3, 32);
    let gradient = |threads| {
        let options = DiscreteOptions { channels: 4, layers: 3, drop_path: true, ..cifar() };
        let built = Discrete::build(&cell("DARTS_minus_cifar10_s4_0"), &options).unwrap();
        assert!(built.graph.noise_count() > 0);
        let network = Network::discrete(built, Seed(3), &Device::Cpu).unwrap();
        network.set_drop_path(0.3).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| values(&weight_gradient(&network, &images, None).unwrap().1))
    };
    assert_eq!(gradient(1), gradient(3));
}

#[test]
fn identities_are_never_dropped_and_listed_edges_go_together() {
    let drops =
        |name: &str| graph(name, &DiscreteOptions { channels: 4, layers: 3, drop_path: true, ..cifar() }).drop_count();
    // DARTS_V1: normal 8 edges with 3 identities, reduction 8 edges with 3; one normal cell and two reductions.
    assert_eq!(drops("DARTS_V1"), 5 + 2 * 5);
    // FairDARTS_a: normal 3 nodes, reduction 4.
    assert_eq!(drops("FairDARTS_a"), 3 + 2 * 4);
}

#[test]
fn a_dense_network_learns_and_starts_as_its_authors_had_it() {
    let options = DenseNetOptions { depth: 16, growth: 4, ..DenseNetOptions::new(Shape::new(1, 8, 8), 10) };
    let network = Network::new(densenet(&options).unwrap(), Seed(1), &Device::Cpu).unwrap();
    let weight = values(&network.named_slice("blocks.2.1.conv1.weight").unwrap());
    let deviation = (weight.iter().map(|w| w * w).sum::<f32>() / weight.len() as f32).sqrt();
    assert!((deviation / (2.0f32 / 16.0).sqrt() - 1.0).abs() < 0.15, "{deviation}");
    let images = batch(8, 1, 8);
    let mut sgd =
        Sgd::new(vec![network.weights().clone()], SgdOptions { momentum: 0.9, ..SgdOptions::new(0.05) }).unwrap();
    let mut losses = vec![];
    for _ in 0..30 {
        let (loss, gradient) = weight_gradient(&network, &images, None).unwrap();
        sgd.step(&[gradient]).unwrap();
        losses.push(loss);
    }
    assert!(losses[29] < 0.5 * losses[0], "{losses:?}");
    let refused = |options: DenseNetOptions| failure(densenet(&options)).message;
    assert!(refused(DenseNetOptions { depth: 41, ..options }).contains("6n + 4"));
    assert!(refused(DenseNetOptions { reduction: 0.0, ..options }).contains("reduction"));
    assert!(refused(DenseNetOptions { input: Shape::new(1, 10, 8), ..options }).contains("multiples of 4"));
}

#[test]
fn networks_that_cannot_be_built_say_why() {
    let error = failure(catalogue::genotype("DARTS_V22"));
    assert_eq!(error.hint.unwrap(), "did you mean \"DARTS_V2\"?");
    assert!(failure(catalogue::genotype("whatever_this_is")).hint.unwrap().contains("genotypes()"));
    assert_eq!(failure(catalogue::reduced_space("s1")).hint.unwrap(), "did you mean \"S1\"?");

    let build = |options: DiscreteOptions| failure(Discrete::build(&cell("DARTS_V2"), &options));
    let error = build(DiscreteOptions { layers: 6, ..DiscreteOptions::new(Shape::new(3, 30, 30), 10) });
    assert!(error.message.contains("cell 4 (reduction)") && error.message.contains("15×15"), "{error}");
    let error =
        build(DiscreteOptions { auxiliary: true, layers: 6, ..DiscreteOptions::new(Shape::new(1, 16, 16), 10) });
    assert!(error.message.contains("8×8") && error.message.contains("4×4"), "{error}");
    assert!(build(DiscreteOptions { channels: 3, stem: Stem::Imagenet, ..cifar() }).message.contains("odd"));
    assert!(build(DiscreteOptions { classes: 0, ..cifar() }).message.contains("classes"));
    assert!(failure(Stem::named("cifra")).hint.unwrap().contains("cifar"));
    let unknown: Genotype = cell("DARTS_V2").to_string().replace("dil_conv_3x3", "dil_conv_3x4").parse().unwrap();
    assert_eq!(failure(Discrete::build(&unknown, &cifar())).hint.unwrap(), "did you mean \"dil_conv_3x3\"?");
    // A label that the network has no class for.
    let options = DiscreteOptions { channels: 4, layers: 3, classes: 5, auxiliary: true, ..cifar() };
    let network =
        Network::discrete(Discrete::build(&cell("DARTS_V2"), &options).unwrap(), Seed(1), &Device::Cpu).unwrap();
    let error = failure(weight_gradient(&network, &batch(2, 3, 32), None));
    assert!(error.message.contains("label is 7") && error.message.contains("5 classes"), "{error}");
}

#[test]
fn maps_larger_than_the_papers_reach_the_auxiliary_head_too() {
    let options =
        DiscreteOptions { channels: 4, layers: 3, auxiliary: true, ..DiscreteOptions::new(Shape::new(3, 64, 48), 10) };
    let built = Discrete::build(&cell("DARTS_V2"), &options).unwrap();
    let shape = built.graph.shape(built.graph.output().unwrap());
    assert_eq!(shape, Shape::new(20, 1, 1));
    cell("SDARTS_c10_s4_pcdarts").check_operations(&Operations::new()).unwrap();
}
