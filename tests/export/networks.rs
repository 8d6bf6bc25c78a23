//! Networks to export, with weights and running statistics as training leaves them: nothing is 0 or 1 by luck.

use candle_core::{Device, Tensor};
use candlewick::engine::Mode;
use candlewick::export::{self, OnnxOptions, Source, proto::ModelProto};
use candlewick::graph::{Graph, Init, Shape};
use candlewick::random::Seed;
use candlewick::space::{DenseNetOptions, Discrete, DiscreteOptions, Network, catalogue};
use rand::RngExt;

/// Random numbers in ±1.
pub fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = Seed(seed).rng("test", 0);
    (0..len).map(|_| 2.0 * rng.random::<f32>() - 1.0).collect()
}

pub fn images(network: &Network, count: usize, seed: u64) -> Tensor {
    let Shape { channels, height, width } = network.graph().shape(network.graph().input());
    let values = noise(seed, count * channels * height * width);
    Tensor::from_vec(values, (count, channels, height, width), &Device::Cpu).unwrap()
}

/// Moves gammas and betas from 1 and 0, and lets the running statistics follow a few batches.
pub fn settled(network: Network) -> Network {
    let mut flat = network.weights().detached().to_vec1::<f32>().unwrap();
    for (index, weight) in network.graph().weights().iter().enumerate() {
        let own = &mut flat[weight.range()];
        match weight.init {
            Init::Constant(start) => {
                let moves = noise(1000 + index as u64, own.len());
                own.iter_mut().zip(moves).for_each(|(value, by)| *value = start + 0.4 * by);
            }
            _ => own.iter_mut().for_each(|value| *value *= 1.3),
        }
    }
    let length = flat.len();
    network.set_weights(&Tensor::from_vec(flat, length, &Device::Cpu).unwrap()).unwrap();
    for pass in 0..12 {
        network.forward(&images(&network, 6, 50 + pass), None, Mode::Training, None).unwrap();
    }
    network
}

pub fn small(input: Shape) -> DiscreteOptions {
    DiscreteOptions { channels: 8, layers: 5, ..DiscreteOptions::new(input, 10) }
}

pub fn cifar() -> DiscreteOptions {
    small(Shape::new(3, 32, 32))
}

pub fn discrete(name: &str, options: &DiscreteOptions) -> Network {
    let built = Discrete::build(&catalogue::genotype(name).unwrap(), options).unwrap();
    settled(Network::discrete(built, Seed(3), &Device::Cpu).unwrap())
}

pub fn densenet(input: Shape, depth: usize, growth: usize) -> Network {
    let options = DenseNetOptions { depth, growth, ..DenseNetOptions::new(input, 10) };
    settled(Network::densenet(&options, Seed(4), &Device::Cpu).unwrap())
}

pub fn own(graph: Graph) -> Network {
    settled(Network::new(graph, Seed(5), &Device::Cpu).unwrap())
}

/// The network's file.
pub fn onnx(network: &Network, options: &OnnxOptions) -> candlewick::Result<ModelProto> {
    let weights = network.weights().detached().to_vec1::<f32>()?;
    let statistics: Vec<f32> = network.statistics().values().iter().map(|&value| value as f32).collect();
    let mut mixing = vec![];
    for p in network.relax(network.alphas())? {
        mixing.extend(p.flatten_all()?.to_vec1::<f32>()?);
    }
    let logits = network.logits().expect("an output");
    let graph = network.graph();
    export::model(Source { graph, logits, weights: &weights, statistics: &statistics, mixing: &mixing }, options)
}
