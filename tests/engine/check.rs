//! A network against the f64 interpreter: outputs directly, gradients of images, weights and mixing weights by central
//! differences.

use crate::noise::noise;
use crate::reference;
use candle_core::{Device, Tensor, Var};
use candlewick::engine::{Draws, Engine, Pass};
use candlewick::graph::{Conv, Graph, Node};

/// Builds a network around `body`: input → body → global pool → linear, runs it and compares everything.
pub fn check(
    name: &str,
    channels: usize,
    size: (usize, usize),
    batch: usize,
    body: impl FnOnce(&mut Graph, Node) -> Node,
) {
    check_with(name, channels, size, batch, None, Draws::default(), body);
}

pub fn check_with(
    name: &str,
    channels: usize,
    size: (usize, usize),
    batch: usize,
    active: Option<Vec<bool>>,
    draws: Draws,
    body: impl FnOnce(&mut Graph, Node) -> Node,
) {
    let mut graph = Graph::new(channels, size.0, size.1);
    let input = graph.input();
    let out = body(&mut graph, input);
    // A map that remembers where each pixel was: a plain global pool would hide shifted pixels.
    let shape = graph.shape(out);
    let kernel = Conv { kernel: (shape.height, shape.width), ..Conv::square(5, 1) };
    let head = graph.conv("probe", out, kernel).unwrap();
    let pooled = graph.global_pool(head);
    let logits = graph.linear("head", pooled, 3).unwrap();
    graph.set_output(logits);

    let w: Vec<f32> = noise(1, graph.parameters()).iter().map(|v| v * 0.7 + 0.05).collect();
    let mut p: Vec<f32> = noise(2, graph.slot_count().max(1));
    if let Some(active) = &active {
        p.iter_mut().zip(active).for_each(|(p, a)| *p *= f32::from(u8::from(*a)));
    }
    let x = noise(3, batch * channels * size.0 * size.1);
    let c = noise(4, batch * 3);
    let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    let (wd, pd, xd, cd) = (wide(&w), wide(&p), wide(&x), wide(&c));
    let expected = reference::forward_with(&graph, &xd, &wd, &pd, batch, &draws);
    let objective = |x: &[f64], w: &[f64], p: &[f64], graph: &Graph| -> f64 {
        reference::forward_with(graph, x, w, p, batch, &draws).iter().zip(&cd).map(|(o, c)| o * c).sum()
    };

    let engine = Engine::compile(graph).unwrap();
    let device = Device::Cpu;
    let xv = Var::from_slice(&x, (batch, channels, size.0, size.1), &device).unwrap();
    let wv = Var::from_slice(&w, w.len(), &device).unwrap();
    let pv = Var::from_slice(&p, p.len(), &device).unwrap();
    let pass = Pass { active: active.clone().map(Into::into), draws, ..Pass::default() };
    let logits = engine.forward(&xv, &wv, &pv, &pass).unwrap();
    let got = logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let scale = expected.iter().fold(1e-3f64, |a, b| a.max(b.abs()));
    for (got, expected) in got.iter().zip(&expected) {
        assert!((f64::from(*got) - expected).abs() < 2e-4 * scale, "{name}: output {got}, expected {expected}");
    }

    let ct = Tensor::from_slice(&c, (batch, 3), &device).unwrap();
    let loss = (logits * ct).unwrap().sum_all().unwrap();
    let grads = loss.backward().unwrap();
    let graph = engine.graph();
    for (what, var, values) in [("x", &xv, &xd), ("w", &wv, &wd), ("p", &pv, &pd)] {
        if what == "p" && graph.slot_count() == 0 {
            continue;
        }
        let got = grads.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let step = 1e-5;
        let picks = (0..values.len()).step_by((values.len() / 60).max(1)).chain([values.len() - 1]);
        let expected: Vec<(usize, f64)> = picks
            .filter(|&i| what != "p" || active.as_ref().is_none_or(|a| a[i]))
            .map(|i| {
                let at = |delta: f64| {
                    let mut moved = values.clone();
                    moved[i] += delta;
                    match what {
                        "x" => objective(&moved, &wd, &pd, graph),
                        "w" => objective(&xd, &moved, &pd, graph),
                        _ => objective(&xd, &wd, &moved, graph),
                    }
                };
                (i, (at(step) - at(-step)) / (2.0 * step))
            })
            .collect();
        let scale = expected.iter().fold(1e-3f64, |a, (_, b)| a.max(b.abs()));
        for (i, expected) in expected {
            let error = (f64::from(got[i]) - expected).abs();
            assert!(error < 1e-3 * scale, "{name}: d/d{what}[{i}] is {}, expected {expected} (of {scale})", got[i]);
        }
        if what == "p"
            && let Some(active) = &active
        {
            for (i, _) in active.iter().enumerate().filter(|(_, a)| !**a) {
                assert_eq!(got[i], 0.0, "{name}: a masked slot has a gradient");
            }
        }
    }
}
