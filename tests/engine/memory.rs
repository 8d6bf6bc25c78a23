//! Training within a limit on memory: the same bits, whatever is recomputed; an error where the limit is too tight
//! names one that will do; what it costs is told.

use crate::binary::{candlewick, folder_with};
use crate::noise::noise;
use crate::scripts::run;
use candle_core::{Device, Tensor};
use candlewick::bytes::parse_bytes;
use candlewick::engine::Mode;
use candlewick::graph::{Conv, Graph, Pool, PoolKind, Shape};
use candlewick::learn::{Batch, Order, Unroll, alpha_gradient, weight_gradient};
use candlewick::random::Seed;
use candlewick::space::{
    DenseNetOptions, Discrete, DiscreteOptions, Network, Supernet, SupernetOptions, catalogue, densenet,
};
use std::sync::{Arc, Mutex};

const IMAGES: usize = 5;

fn batch(channels: usize, size: usize) -> Batch {
    let pixels = noise(3, IMAGES * channels * size * size);
    let images = Tensor::from_vec(pixels, (IMAGES, channels, size, size), &Device::Cpu).unwrap();
    Batch::new(images, Tensor::new(&[0u32, 3, 9, 3, 1], &Device::Cpu).unwrap()).unwrap()
}

fn values(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// The amount behind `what` in a text.
fn amount(text: &str, what: &str) -> u64 {
    let rest = text.split_once(what).unwrap_or_else(|| panic!("no {what:?} in {text}")).1;
    parse_bytes(&rest.split_whitespace().take(2).collect::<String>().replace([',', ';'], "")).unwrap()
}

/// Trains within ever more memory, from the least on, and compares what `measure` makes with what it makes without
/// limit.
fn same_bits(make: impl Fn() -> Network, batch: &Batch, measure: impl Fn(&Network) -> Vec<Vec<u32>>) {
    let free = measure(&make());
    let refused = |network: Network| weight_gradient(&network, batch, None).err();
    let silent = |bytes| make().within(bytes, Arc::new(|_: &str| {}));
    let one = amount(&silent(1).err().expect("one byte is too little").message, "would do is ");
    let least = refused(silent(one).unwrap()).map_or(one, |error| amount(&error.message, "would do is "));
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = told.clone();
    let report = Arc::new(move |line: &str| listener.lock().unwrap().push(line.to_string()));
    let tight = make().within(least, report).unwrap();
    assert!(measure(&tight) == free, "within the least");
    let lines = told.lock().unwrap().clone();
    assert!(lines.len() == 1 && lines[0].contains("are recomputed"), "{lines:?}");
    let usual = amount(&lines[0], "instead of ");
    assert!(amount(&lines[0], "images take ") <= least + least / 100 && least < usual, "{lines:?}");
    for part in 1..4 {
        let bytes = least + (usual - least) * part / 4;
        assert!(measure(&silent(bytes).unwrap()) == free, "within {bytes} bytes");
    }
    // The least that is named is the least: a little less is refused, unless not even one image fits into it.
    assert!(one == least || refused(silent(one.max(least * 97 / 100)).unwrap()).is_some(), "{one} {least}");
}

#[test]
fn a_supernet_learns_the_same_with_less_memory() {
    let options =
        SupernetOptions { channels: 3, layers: 4, nodes: 2, ..SupernetOptions::new(Shape::new(3, 16, 16), 10) };
    let make = || Network::supernet(Supernet::build(&options).unwrap(), Seed(1), &Device::Cpu).unwrap();
    let batch = batch(3, 16);
    same_bits(make, &batch, |network| {
        let mut found = Vec::new();
        for order in [Order::First, Order::Second(Unroll::plain(0.1))] {
            let (_, gradients) = alpha_gradient(network, &batch, &batch, None, &order).unwrap();
            found.extend(gradients.iter().map(values));
        }
        found.push(values(&weight_gradient(network, &batch, None).unwrap().1));
        // Ops that are masked off are not run, in the backward pass either.
        let active: Arc<[bool]> = (0..network.graph().slot_count()).map(|slot| slot % 3 != 1).collect();
        for (mode, everything) in [(Mode::Trial, true), (Mode::Trial, false), (Mode::Evaluation, true)] {
            let x = candle_core::Var::from_tensor(&batch.images).unwrap();
            let images = if everything { x.as_tensor().clone() } else { x.as_detached_tensor() };
            let logits = network.forward(&images, None, mode, Some(active.clone())).unwrap();
            let store = logits.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            found.push(values(store.get(&network.weights().tensor()).unwrap()));
            found.extend(network.alphas().tensors().iter().map(|alpha| values(store.get(alpha).unwrap())));
            found.extend(store.get(&x).map(values));
        }
        found
    });
}

#[test]
fn a_discrete_network_drops_the_same_paths_with_less_memory() {
    let options = DiscreteOptions {
        channels: 4,
        layers: 5,
        auxiliary: true,
        drop_path: true,
        ..DiscreteOptions::new(Shape::new(3, 32, 32), 10)
    };
    for name in ["DARTS_V2", "AmoebaNet"] {
        let make = || {
            let built = Discrete::build(&catalogue::genotype(name).unwrap(), &options).unwrap();
            let network = Network::discrete(built, Seed(1), &Device::Cpu).unwrap();
            network.set_drop_path(0.3).unwrap();
            network
        };
        let batch = batch(3, 32);
        same_bits(make, &batch, |network| {
            (0..2).map(|_| values(&weight_gradient(network, &batch, None).unwrap().1)).collect()
        });
    }
}

#[test]
fn densenets_and_networks_of_ones_own_learn_the_same_with_less_memory() {
    let options = DenseNetOptions { input: Shape::new(3, 32, 32), classes: 10, depth: 22, growth: 4, reduction: 0.5 };
    let dense = || Network::new(densenet(&options).unwrap(), Seed(1), &Device::Cpu).unwrap();
    let own = || {
        let mut graph = Graph::new(3, 32, 32);
        let input = graph.input();
        let mut x = graph.conv("stem", input, Conv::square(20, 3)).unwrap();
        for (block, kind) in
            [PoolKind::Max, PoolKind::Average { count_padding: false }].repeat(3).into_iter().enumerate()
        {
            let first = graph.conv(&format!("{block}.a"), x, Conv::square(20, 3)).unwrap();
            let first = graph.batch_norm(&format!("{block}.norm"), first, true).unwrap();
            let pooled = graph.pool(first, Pool { kind, kernel: 3, stride: 1, padding: 1 }).unwrap();
            let second = graph.conv(&format!("{block}.b"), pooled, Conv::square(20, 3)).unwrap();
            x = graph.add(&[first, second, pooled]).unwrap();
        }
        let vector = graph.global_pool(x);
        let logits = graph.linear("head", vector, 10).unwrap();
        graph.set_output(logits);
        Network::new(graph, Seed(1), &Device::Cpu).unwrap()
    };
    // Large enough for tensors to outweigh what no limit moves.
    let batch = batch(3, 32);
    let gradient = |network: &Network| vec![values(&weight_gradient(network, &batch, None).unwrap().1)];
    same_bits(dense, &batch, gradient);
    same_bits(own, &batch, gradient);
}

/// A network and a batch of digits, with `memory` as the script has it.
fn script(memory: &str) -> String {
    format!(
        "let net = supernet(#{{ channels: 1, size: 16, classes: 10 }}, \
         #{{ channels: 4, layers: 3, memory: {memory} }});\n\
         let batch = #{{ x: normal([16, 1, 16, 16]), y: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5] }};\n\
         for step in 0..2 {{ weight_gradient(net, batch); }}\n"
    )
}

#[test]
fn a_script_hears_once_what_its_limit_costs() {
    let told = |memory: &str| {
        let ended = run(&script(memory));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(ended.stderr.matches("memory: 16 images take").count(), 1, "{}", ended.stderr);
        ended.stderr
    };
    assert!(told("\"1GB\"").contains("within 1.00 GB at no extra cost"));
    let ended = run(&script("\"42MB\""));
    ended.shows(2, &["a batch of 16 images cannot be trained within 42.0 MB", "or take batches of at most"]);
    ended.points_at(&script("\"42MB\""), 3, 20);
    let least = ended.stderr.split_once("would do is ").unwrap().1.lines().next().unwrap();
    assert!(told(&format!("{least:?}")).contains("% more multiply-adds per step"));
}

#[test]
fn a_limit_that_is_none_is_refused_where_the_network_is_made() {
    let refused = |memory: &str, texts: &[&str]| {
        let ended = run(&script(memory));
        ended.shows(2, texts);
        ended.points_at(&script(memory), 1, 11);
    };
    refused("\"2\"", &["\"2\" lacks a unit", "hint: write a number and a unit: \"2GB\""]);
    refused("\"2 GX\"", &["\"GX\" is not a unit of memory"]);
    refused("\"much\"", &["\"much\" is not an amount of memory"]);
    refused("2", &["option `memory` must be a string, not the int 2", "\"2GB\""]);
    refused("\"1kB\"", &["one image cannot be trained within", "the least memory that would do is"]);
    for maker in [
        "network(#{ channels: 1, size: 8, classes: 10 }, |g, x| g.linear(g.global_pool(x), 10), #{ memory: \"1B\" });",
        "discrete(genotype(\"DARTS_V2\"), #{ channels: 2, layers: 3, memory: \"1B\" });",
        "densenet(#{ channels: 1, size: 8, classes: 10 }, #{ depth: 10, memory: \"1B\" });",
    ] {
        run(maker).shows(2, &["one image cannot be trained within"]);
    }
}

#[test]
fn the_benchmark_keeps_within_its_limit() {
    let folder = folder_with("");
    let step = ["bench", "step", "--channels", "4", "--layers", "4", "--size", "16", "--steps", "1", "--batch", "64"];
    let ended = candlewick(folder.path(), &[&step[..], &["--memory", "110MB"]].concat());
    ended.shows(0, &["memory: 64 images take", "within 110 MB"]);
    let line: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let peak = line["peak_rss_mb"].as_f64().unwrap() * f64::from(1 << 20) / 1e6;
    assert!(peak < 1.1 * 110.0, "{peak} MB");
    candlewick(folder.path(), &[&step[..], &["--memory", "40"]].concat()).shows(2, &["lacks a unit"]);
}
