//! Loss, logits and every gradient of the search network equal PyTorch's, computed in f64 by an independent program.

mod shared;

use candle_core::{DType, Device, Tensor};
use candlewick::graph::Shape;
use candlewick::learn::{Batch, Order, Unroll, alpha_gradient, norm, weight_gradient};
use candlewick::random::Seed;
use candlewick::space::{Mode, Network, Supernet, SupernetOptions};
use shared::reference;
use std::collections::HashMap;
use std::path::Path;

/// Largest relative error of losses and first-order gradients, per tensor and in norm.
const FIRST_ORDER: f64 = 1e-4;
/// The same for the second order, whose finite difference amplifies rounding.
const SECOND_ORDER: f64 = 2e-2;

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
        network.set_named(&named).unwrap();
        for kind in ["normal", "reduce"] {
            network.alphas().get(kind).unwrap().set(&tensors[&format!("param.alpha_{kind}")]).unwrap();
        }
        let batch = |split: &str| {
            let tensor = |part: &str| tensors[&format!("{split}.{part}")].clone();
            Batch::new(tensor("x"), tensor("y")).unwrap()
        };
        Some(Self { network, train: batch("train"), valid: batch("valid"), tensors })
    }

    /// The error of `got` against the reference tensor `name`, relative in norm.
    fn error(&self, name: &str, got: &Tensor) -> f64 {
        let expected = &self.tensors[name];
        assert_eq!(got.dims(), expected.dims(), "{name}");
        let difference = (got.detach() - expected).unwrap();
        // A gradient that is nought up to rounding would make any error look large.
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

#[test]
fn logits_and_loss_are_those_of_the_reference() {
    for name in FILES {
        let Some(fixture) = Fixture::open(name) else { continue };
        let logits = fixture.network.forward(&fixture.train.images, None, Mode::Trial, None).unwrap();
        assert!(fixture.error("logits", &logits) < FIRST_ORDER, "{name}: {:e}", fixture.error("logits", &logits));
        let (loss, _) = weight_gradient(&fixture.network, &fixture.train, None).unwrap();
        let loss = Tensor::new(loss as f32, &Device::Cpu).unwrap();
        assert!(fixture.error("loss", &loss) < FIRST_ORDER, "{name}: {:e}", fixture.error("loss", &loss));
    }
}

#[test]
fn every_weight_gradient_is_that_of_the_reference() {
    for name in FILES {
        let Some(fixture) = Fixture::open(name) else { continue };
        let (_, gradient) = weight_gradient(&fixture.network, &fixture.train, None).unwrap();
        let mut compared = 0;
        let mut wrong = Vec::new();
        for weight in fixture.network.graph().weights() {
            let slice = fixture.network.slice_of(&gradient, &weight.name).unwrap();
            let error = fixture.error(&format!("grad.{}", weight.name), &slice);
            compared += 1;
            if error.is_nan() || error >= FIRST_ORDER {
                wrong.push(format!("{} {error:e}", weight.name));
            }
        }
        assert_eq!(compared, fixture.tensors.keys().filter(|k| k.starts_with("grad.") && !k.contains("alpha")).count());
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
    }
}

#[test]
fn alpha_gradients_of_both_orders_are_those_of_the_reference() {
    let second = Order::Second(Unroll { momentum: 0.9, weight_decay: 3e-4, ..Unroll::plain(0.025) });
    for name in FILES {
        let Some(fixture) = Fixture::open(name) else { continue };
        let before = fixture.network.clone_weights().unwrap();
        for (label, order, tolerance) in [("order1", &Order::First, FIRST_ORDER), ("order2", &second, SECOND_ORDER)] {
            let (_, gradients) = alpha_gradient(&fixture.network, &fixture.train, &fixture.valid, None, order).unwrap();
            for (kind, gradient) in ["normal", "reduce"].iter().zip(&gradients) {
                let error = fixture.error(&format!("{label}.alpha_{kind}"), gradient);
                assert!(error < tolerance, "{name} {label} {kind}: {error:e}");
            }
        }
        // The training loss's own alpha gradient, with the batches in each other's place.
        let (_, gradients) =
            alpha_gradient(&fixture.network, &fixture.valid, &fixture.train, None, &Order::First).unwrap();
        for (kind, gradient) in ["normal", "reduce"].iter().zip(&gradients) {
            let error = fixture.error(&format!("grad.alpha_{kind}"), gradient);
            assert!(error < FIRST_ORDER, "{name} grad {kind}: {error:e}");
        }
        let after = fixture.network.clone_weights().unwrap();
        let same = |t: &Tensor| t.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(same(&before), same(&after), "{name}: an alpha gradient leaves the weights as they were");
    }
}
