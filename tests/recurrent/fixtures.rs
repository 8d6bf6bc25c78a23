//! A recurrent search network's loss, hidden state and every gradient equal PyTorch's, computed in f64 by an
//! independent program (`docs/darts.md` B): embedding, search cell, tied decoder.

use crate::cells;
use crate::compare::{cpu, error, tensor, values};
use crate::shared::reference;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::loss::cross_entropy;
use candle_nn::ops::softmax;
use candlewick::engine::recurrent::RecurrentEngine;
use candlewick::engine::{Isa, Mode, Pass, Target};
use std::collections::HashMap;
use std::sync::Arc;

/// The language model around the cell, with the weights of the file.
struct Model {
    engine: RecurrentEngine,
    tensors: HashMap<String, Tensor>,
    /// Every parameter of the file by its name.
    parameters: HashMap<String, Var>,
}

impl Model {
    fn open(target: Target) -> Option<Self> {
        let path = reference("fixtures/rnn-h8-n4.safetensors")?;
        let tensors = candle_core::safetensors::load(path, &Device::Cpu).expect("a safetensors file");
        let hidden = tensors["param.embedding"].dims()[1];
        let nodes = tensors.keys().filter(|name| name.starts_with("param.ws.")).count();
        let cell = Arc::new(cells::search(hidden, hidden, nodes).expect("the cell fits together"));
        let engine = RecurrentEngine::compile(cell, target).expect("the cell is whole");
        let parameter = |(name, tensor): (&String, &Tensor)| {
            let name = name.strip_prefix("param.")?;
            let values = tensor.to_dtype(engine.dtype()).expect("a float type");
            Some((name.to_string(), Var::from_tensor(&values).expect("a variable")))
        };
        let parameters = tensors.iter().filter_map(parameter).collect();
        Some(Self { engine, tensors, parameters })
    }

    /// The loss of one of the file's windows, and the state after it.
    fn loss(&self, split: &str) -> candlewick::Result<(Tensor, Tensor)> {
        let of = |name: &str| self.parameters[name].as_tensor();
        let (tokens, targets) = (&self.tensors[&format!("{split}.x")], &self.tensors[&format!("{split}.y")]);
        let (steps, rows) = tokens.dims2()?;
        let embedding = of("embedding");
        let x = embedding.index_select(&tokens.flatten_all()?, 0)?.reshape((steps, rows, ()))?;
        let weights = self.engine.graph().weights().iter().map(|weight| of(&weight.name).flatten_all());
        let w = Tensor::cat(&weights.collect::<Result<Vec<_>, _>>()?, 0)?;
        let p = softmax(of("alpha"), 1)?.flatten_all()?;
        let pass = Pass { mode: Mode::Training, statistics: self.engine.statistics(), ..Pass::default() };
        let (raw, states) = self.engine.forward(&x, &self.engine.zero_states(rows)?, &w, &p, &pass)?;
        let logits = raw.reshape((steps * rows, ()))?.matmul(&embedding.t()?)?.broadcast_add(of("bias"))?;
        Ok((cross_entropy(&logits, &targets.flatten_all()?)?, states[0].clone()))
    }

    fn expected(&self, name: &str) -> Vec<f64> {
        values(&self.tensors[name])
    }

    /// Compares everything of first order with the file.
    #[track_caller]
    fn check(&self, tolerance: f64) {
        let near = |name: &str, got: &[f64]| {
            let error = error(got, &self.expected(name));
            assert!(error < tolerance, "{name}: {error:e}");
        };
        let (loss, hidden) = self.loss("train").expect("the pass runs");
        near("loss", &values(&loss));
        near("hidden", &values(&hidden));
        let gradients = loss.backward().expect("gradients");
        assert_eq!(self.parameters.len(), 4 + self.engine.graph().weights().len() - 1);
        for (name, parameter) in &self.parameters {
            near(&format!("grad.{name}"), &values(gradients.get(parameter).expect("a gradient")));
        }
        let (loss, _) = self.loss("valid").expect("the pass runs");
        let gradients = loss.backward().expect("gradients");
        near("order1.alpha", &values(gradients.get(&self.parameters["alpha"]).expect("a gradient")));
    }
}

#[test]
fn double_precision_agrees_to_the_digits_of_the_file() {
    if let Some(model) = Model::open(Target::Exact) {
        model.check(1e-6);
    }
}

#[test]
fn single_precision_agrees_on_every_instruction_set() {
    for isa in Isa::available() {
        if let Some(model) = Model::open(cpu(isa)) {
            model.check(1e-4);
        }
    }
}

/// The second order of `docs/darts.md` B2: one clipped step of plain gradient descent with weight decay.
#[test]
fn the_second_order_of_the_reference_follows_from_first_orders() {
    let Some(model) = Model::open(Target::Exact) else { return };
    let (eta, clip, decay) = (20.0, 0.25, 5e-7);
    let mut names: Vec<&String> = model.parameters.keys().filter(|name| *name != "alpha").collect();
    names.sort();
    let gradients = |split: &str| {
        let found = model.loss(split).expect("the pass runs").0.backward().expect("gradients");
        let of = |name: &str| values(found.get(&model.parameters[name]).expect("a gradient"));
        (of("alpha"), names.iter().map(|name| of(name)).collect::<Vec<_>>())
    };
    let start: Vec<Vec<f64>> = names.iter().map(|name| values(&model.parameters[*name])).collect();
    // Variables are set in place: nothing that was computed before is read again.
    let move_to = |at: &dyn Fn(usize, usize) -> f64| {
        for (which, name) in names.iter().enumerate() {
            let parameter = &model.parameters[*name];
            let moved: Vec<f64> = (0..start[which].len()).map(|i| at(which, i)).collect();
            parameter.set(&tensor(&moved, parameter.dims(), DType::F64)).expect("one shape");
        }
    };
    let norm = |parts: &[Vec<f64>]| parts.iter().flatten().map(|value| value * value).sum::<f64>().sqrt();
    let (_, g) = gradients("train");
    let cc = (clip / (norm(&g) + 1e-6)).min(1.0);
    move_to(&|which, i| start[which][i] - eta * (cc * g[which][i] + decay * start[which][i]));
    let (ga, v) = gradients("valid");
    let cv = (clip / (norm(&v) + 1e-6)).min(1.0);
    let eps = 0.01 / (cv * norm(&v));
    let [plus, minus] = [1.0, -1.0].map(|sign| {
        move_to(&|which, i| start[which][i] + sign * eps * cv * v[which][i]);
        gradients("train").0
    });
    let halves = plus.iter().zip(&minus).map(|(plus, minus)| (plus - minus) / (2.0 * eps));
    let found: Vec<f64> = ga.iter().zip(halves).map(|(ga, h)| ga - eta * cc * h).collect();
    let error = error(&found, &model.expected("order2.alpha"));
    assert!(error < 1e-4, "{error:e}");
}
