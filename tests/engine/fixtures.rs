//! Loss, logits and every gradient of the search network equal PyTorch's, computed in f64 by an independent program: in
//! double precision at the first try, and to the last bit twice. What single precision makes of the same files is for
//! `scripts/fixture.rhai` to say and explain (`fixture_script.rs`).

use crate::shared::reference;
use candle_core::{DType, Device, Tensor};
use candlewick::engine::Mode;
use candlewick::graph::Shape;
use candlewick::learn::{Batch, Order, Unroll, alpha_gradient, norm, weight_gradient};
use candlewick::random::Seed;
use candlewick::space::{Network, Supernet, SupernetOptions};
use std::collections::HashMap;
use std::path::Path;

/// Largest relative error of losses and first-order gradients, per tensor and in norm: the files hold single precision.
const FIRST_ORDER: f64 = 1e-6;
/// The same for the second order, whose finite difference divides by 2R.
const SECOND_ORDER: f64 = 1e-4;

/// A network with the weights and alphas of a reference file, and what the file says of it.
struct Fixture {
    network: Network,
    train: Batch,
    valid: Batch,
    tensors: HashMap<String, Tensor>,
}

impl Fixture {
    fn open(name: &str) -> Option<Self> {
        let path = reference(&format!("fixtures/{name}.safetensors"))?;
        let header = header(&path);
        let size = |key: &str| header[key].parse::<usize>().unwrap();
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        let images = tensors["train.x"].dims();
        let options = SupernetOptions {
            channels: size("channels"),
            layers: size("layers"),
            nodes: size("nodes"),
            ..SupernetOptions::new(Shape::new(images[1], images[2], images[3]), tensors["logits"].dims()[1])
        };
        let network = Network::supernet(Supernet::build(&options).unwrap(), Seed(1), &Device::Cpu).unwrap();
        let named: Vec<(String, Tensor)> = tensors
            .iter()
            .filter_map(|(name, tensor)| {
                let weight = name.strip_prefix("param.").filter(|name| !name.starts_with("alpha_"))?;
                Some((weight.to_string(), tensor.clone()))
            })
            .collect();
        let network = network.in_double_precision().unwrap();
        network.set_named(&named).unwrap();
        for kind in ["normal", "reduce"] {
            let alpha = tensors[&format!("param.alpha_{kind}")].to_dtype(DType::F64).unwrap();
            network.alphas().get(kind).unwrap().set(&alpha).unwrap();
        }
        let batch = |split: &str| {
            let tensor = |part: &str| tensors[&format!("{split}.{part}")].clone();
            Batch::new(tensor("x"), tensor("y")).unwrap()
        };
        Some(Self { network, train: batch("train"), valid: batch("valid"), tensors })
    }

    /// The error of `got` against the reference tensor `name`, relative in norm.
    fn error(&self, name: &str, got: &Tensor) -> f64 {
        let expected = &self.tensors[name].to_dtype(DType::F64).unwrap();
        assert_eq!(got.dims(), expected.dims(), "{name}");
        let difference = (got.detach() - expected).unwrap();
        // A gradient that is zero up to rounding would make any error look large.
        norm(&[difference]).unwrap() / norm(std::slice::from_ref(expected)).unwrap().max(1e-6)
    }
}

/// The string map in a safetensors file's header.
fn header(path: &Path) -> HashMap<String, String> {
    let bytes = std::fs::read(path).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    metadata.metadata().clone().unwrap()
}

const FILES: [&str; 2] = ["cnn-c4-l3-n2", "cnn-c8-l6-n4"];

fn bits(tensor: &Tensor) -> Vec<u64> {
    tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap().into_iter().map(f64::to_bits).collect()
}

#[test]
fn logits_loss_and_every_weight_gradient_are_those_of_the_reference() {
    for name in FILES {
        let Some(fixture) = Fixture::open(name) else { continue };
        let logits = fixture.network.forward(&fixture.train.images, None, Mode::Trial, None).unwrap();
        assert!(fixture.error("logits", &logits) < FIRST_ORDER, "{name}: {:e}", fixture.error("logits", &logits));
        let (loss, gradient) = weight_gradient(&fixture.network, &fixture.train, None).unwrap();
        let loss = Tensor::new(loss, &Device::Cpu).unwrap();
        assert!(fixture.error("loss", &loss) < FIRST_ORDER, "{name}: {:e}", fixture.error("loss", &loss));
        let weights = fixture.network.graph().weights();
        let given = fixture.tensors.keys().filter(|key| key.starts_with("grad.") && !key.contains("alpha")).count();
        assert_eq!(weights.len(), given);
        for weight in weights {
            let slice = fixture.network.slice_of(&gradient, &weight.name).unwrap();
            let error = fixture.error(&format!("grad.{}", weight.name), &slice);
            assert!(error < FIRST_ORDER, "{name}, {}: {error:e}", weight.name);
        }
        let (_, again) = weight_gradient(&fixture.network, &fixture.train, None).unwrap();
        assert!(bits(&gradient) == bits(&again), "{name}: the same bits a second time");
    }
}

#[test]
fn alpha_gradients_of_both_orders_are_those_of_the_reference() {
    let second = Order::Second(Unroll { momentum: 0.9, weight_decay: 3e-4, ..Unroll::plain(0.025) });
    for name in FILES {
        let Some(fixture) = Fixture::open(name) else { continue };
        let before = bits(&fixture.network.weights().detached());
        let (train, valid) = (&fixture.train, &fixture.valid);
        // The training loss's own alpha gradient is the first order with the batches in each other's place.
        for (label, train, valid, order, tolerance) in [
            ("grad", valid, train, &Order::First, FIRST_ORDER),
            ("order1", train, valid, &Order::First, FIRST_ORDER),
            ("order2", train, valid, &second, SECOND_ORDER),
        ] {
            let (_, gradients) = alpha_gradient(&fixture.network, train, valid, None, order).unwrap();
            for (kind, gradient) in ["normal", "reduce"].iter().zip(&gradients) {
                let error = fixture.error(&format!("{label}.alpha_{kind}"), gradient);
                assert!(error < tolerance, "{name}, {label}.alpha_{kind}: {error:e}");
            }
        }
        let after = bits(&fixture.network.weights().detached());
        assert!(before == after, "{name}: an alpha gradient leaves the weights as they were");
    }
}
