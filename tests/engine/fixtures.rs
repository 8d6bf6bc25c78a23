//! Loss, logits and every gradient of the search network equal PyTorch's, computed in f64 by an independent program.
//!
//! A gradient jumps where the input of a ReLU crosses zero. Of the four million ReLU inputs of the larger file a few lie
//! within 1e-6 of it, nearer than single precision can tell after several layers, and one on the wrong side moves gradients
//! before it by up to half a percent (the second order, a finite difference, by several). So what is past its tolerance is
//! compared again with the images moved by about their rounding error: a wrong formula stays wrong in every try.

use crate::shared::reference;
use candle_core::{Device, Tensor};
use candlewick::engine::Mode;
use candlewick::graph::Shape;
use candlewick::learn::{Batch, Order, Unroll, alpha_gradient, norm, weight_gradient};
use candlewick::random::Seed;
use candlewick::space::{Network, Supernet, SupernetOptions};
use rand_distr::{Distribution, StandardNormal};
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

/// How often a comparison is made, and by what part the images are moved from the second time on, in turns: a small move
/// leaves most of second order's five passes alone, a larger one is surer to bring a value to the other side.
const TRIES: u64 = 64;
const MOVES: [f64; 3] = [1e-7, 1e-7, 3e-7];

/// A batch with its images moved: none of it in try 0.
fn moved(batch: &Batch, attempt: u64) -> Batch {
    if attempt == 0 {
        return batch.clone();
    }
    let mut rng = Seed(attempt).rng("moved", 0);
    let noise: Vec<f32> = (0..batch.images.elem_count()).map(|_| StandardNormal.sample(&mut rng)).collect();
    let noise = Tensor::from_vec(noise, batch.images.dims(), &Device::Cpu).unwrap();
    let factor = noise.affine(MOVES[attempt as usize % MOVES.len()], 1.0).unwrap();
    Batch::new((&batch.images * factor).unwrap(), batch.labels.clone()).unwrap()
}

/// Compares until every quantity was within its tolerance in some try. `errors`: the quantities of one try, each with its
/// name, error and tolerance.
fn agrees(file: &str, errors: impl Fn(u64) -> Vec<(String, f64, f64)>) {
    let mut open: HashMap<String, f64> = HashMap::new();
    for attempt in 0..TRIES {
        let errors = errors(attempt);
        assert!(!errors.is_empty());
        if attempt == 0 {
            open.extend(errors.iter().map(|(name, _, _)| (name.clone(), f64::INFINITY)));
        }
        for (name, error, tolerance) in errors {
            match open.get_mut(&name) {
                Some(_) if error < tolerance => _ = open.remove(&name),
                Some(best) => *best = best.min(error),
                None => {}
            }
        }
        if open.is_empty() {
            return;
        }
    }
    panic!("{file}: past the tolerance in {TRIES} tries: {open:#?}");
}

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
        let weights = fixture.network.graph().weights();
        let given = fixture.tensors.keys().filter(|key| key.starts_with("grad.") && !key.contains("alpha")).count();
        assert_eq!(weights.len(), given);
        agrees(name, |attempt| {
            let (_, gradient) = weight_gradient(&fixture.network, &moved(&fixture.train, attempt), None).unwrap();
            let error = |weight: &str| {
                let slice = fixture.network.slice_of(&gradient, weight).unwrap();
                fixture.error(&format!("grad.{weight}"), &slice)
            };
            weights.iter().map(|weight| (weight.name.clone(), error(&weight.name), FIRST_ORDER)).collect()
        });
    }
}

#[test]
fn alpha_gradients_of_both_orders_are_those_of_the_reference() {
    let second = Order::Second(Unroll { momentum: 0.9, weight_decay: 3e-4, ..Unroll::plain(0.025) });
    for name in FILES {
        let Some(fixture) = Fixture::open(name) else { continue };
        let before = fixture.network.weights().detached().to_vec1::<f32>().unwrap();
        agrees(name, |attempt| {
            let (train, valid) = (moved(&fixture.train, attempt), moved(&fixture.valid, attempt));
            let mut errors = Vec::new();
            // The training loss's own alpha gradient is the first order with the batches in each other's place.
            for (label, train, valid, order, tolerance) in [
                ("grad", &valid, &train, &Order::First, FIRST_ORDER),
                ("order1", &train, &valid, &Order::First, FIRST_ORDER),
                ("order2", &train, &valid, &second, SECOND_ORDER),
            ] {
                let (_, gradients) = alpha_gradient(&fixture.network, train, valid, None, order).unwrap();
                for (kind, gradient) in ["normal", "reduce"].iter().zip(&gradients) {
                    let quantity = format!("{label}.alpha_{kind}");
                    let error = fixture.error(&quantity, gradient);
                    errors.push((quantity, error, tolerance));
                }
            }
            errors
        });
        let after = fixture.network.weights().detached().to_vec1::<f32>().unwrap();
        assert_eq!(before, after, "{name}: an alpha gradient leaves the weights as they were");
    }
}
