//! What each primitive means, in the plainest loops: f64, images × channels × height × width, nothing shared, nothing
//! fused, no backward pass (central differences make gradients of it).

use candlewick::engine::Draws;
use candlewick::graph::{Conv, Graph, Node, Op, Pool, PoolKind, Shape};
use std::collections::HashMap;

/// The output of a graph in training mode (batch statistics), images × channels.
pub fn forward(graph: &Graph, x: &[f64], w: &[f64], p: &[f64], batch: usize) -> Vec<f64> {
    forward_with(graph, x, w, p, batch, &Draws::default())
}

/// [`forward`] with drop path and noise.
pub fn forward_with(graph: &Graph, x: &[f64], w: &[f64], p: &[f64], batch: usize, draws: &Draws) -> Vec<f64> {
    let mut values: HashMap<Node, Vec<f64>> = HashMap::new();
    for node in graph.nodes() {
        let value = primitive(graph, node, &values, x, w, p, batch, draws);
        values.insert(node, value);
    }
    values.remove(&graph.output().expect("an output")).expect("its value")
}

struct Map<'a> {
    values: &'a [f64],
    shape: Shape,
}

impl Map<'_> {
    fn at(&self, image: usize, channel: usize, r: isize, c: isize) -> Option<f64> {
        let Shape { channels, height, width } = self.shape;
        let inside = r >= 0 && c >= 0 && r < height as isize && c < width as isize;
        inside.then(|| self.values[((image * channels + channel) * height + r as usize) * width + c as usize])
    }
}

#[allow(clippy::too_many_arguments)]
fn primitive(
    graph: &Graph,
    node: Node,
    values: &HashMap<Node, Vec<f64>>,
    x: &[f64],
    w: &[f64],
    p: &[f64],
    batch: usize,
    draws: &Draws,
) -> Vec<f64> {
    let out = graph.shape(node);
    let input = |node: &Node| Map { values: &values[node], shape: graph.shape(*node) };
    let each = |f: &dyn Fn(usize, usize, usize, usize) -> f64| {
        let mut result = Vec::with_capacity(batch * out.channels * out.pixels());
        for image in 0..batch {
            for channel in 0..out.channels {
                for r in 0..out.height {
                    for c in 0..out.width {
                        result.push(f(image, channel, r, c));
                    }
                }
            }
        }
        result
    };
    let weight = |index: usize| &w[graph.weights()[index].range()];
    match graph.op(node) {
        Op::Input => x.to_vec(),
        Op::Conv { input: from, conv, weight: index, bias } => {
            let (map, weights) = (input(from), weight(*index));
            each(&|n, o, r, c| convolve(&map, weights, conv, n, o, r, c) + bias.map_or(0.0, |b| weight(b)[o]))
        }
        Op::Depthwise { input: from, conv, weight: index } => {
            let (map, weights) = (input(from), weight(*index));
            each(&|n, o, r, c| convolve(&map, weights, conv, n, o, r, c))
        }
        Op::Halve { input: from, channels, weights } => {
            let map = input(from);
            let half = channels / 2;
            each(&|n, o, r, c| {
                let (shift, index, row) = if o < half { (0, weights[0], o) } else { (1, weights[1], o - half) };
                let (r, c) = ((2 * r + shift) as isize, (2 * c + shift) as isize);
                let width = map.shape.channels;
                (0..width).map(|i| weight(index)[row * width + i] * map.at(n, i, r, c).unwrap_or(0.0)).sum()
            })
        }
        Op::Norm { input: from, affine, .. } => {
            let map = input(from);
            let pixels = out.pixels();
            let moments: Vec<(f64, f64)> = (0..out.channels)
                .map(|channel| {
                    let all: Vec<f64> = (0..batch)
                        .flat_map(|n| {
                            let first = (n * out.channels + channel) * pixels;
                            map.values[first..first + pixels].to_vec()
                        })
                        .collect();
                    let mean = all.iter().sum::<f64>() / all.len() as f64;
                    (mean, all.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / all.len() as f64)
                })
                .collect();
            each(&|n, o, r, c| {
                let (mean, variance) = moments[o];
                let normed = (map.at(n, o, r as isize, c as isize).unwrap() - mean) / (variance + 1e-5).sqrt();
                affine.map_or(normed, |[gamma, beta]| normed * weight(gamma)[o] + weight(beta)[o])
            })
        }
        Op::Activate { input: from, activation } => {
            let map = input(from);
            each(&|n, o, r, c| activate(*activation, map.at(n, o, r as isize, c as isize).unwrap()))
        }
        Op::Pool { input: from, pool } => {
            let map = input(from);
            each(&|n, o, r, c| pooled(&map, pool, n, o, r, c))
        }
        Op::Zero { .. } => each(&|_, _, _, _| 0.0),
        Op::Noise { id } => {
            let pixels = out.channels * out.pixels();
            (0..batch).flat_map(|n| draws.noise(*id, n).take(pixels).map(f64::from).collect::<Vec<_>>()).collect()
        }
        Op::Sum { terms } => {
            let factors = draws.path_factors(graph.drop_count(), batch);
            let kept = |drop: Option<u32>, n: usize| match drop {
                Some(path) if !factors.is_empty() => f64::from(factors[path as usize * batch + n]),
                _ => 1.0,
            };
            each(&|n, o, r, c| {
                terms
                    .iter()
                    .map(|t| {
                        let factor = t.slot.map_or(1.0, |slot| p[slot.0 as usize]) * kept(t.drop, n);
                        factor * input(&t.node).at(n, o, r as isize, c as isize).unwrap()
                    })
                    .sum()
            })
        }
        Op::Concat { inputs } => each(&|n, mut o, r, c| {
            for node in inputs {
                let map = input(node);
                if o < map.shape.channels {
                    return map.at(n, o, r as isize, c as isize).unwrap();
                }
                o -= map.shape.channels;
            }
            unreachable!()
        }),
        Op::Select { input: from, channels } => {
            let map = input(from);
            each(&|n, o, r, c| map.at(n, channels[o] as usize, r as isize, c as isize).unwrap())
        }
        Op::GlobalPool { input: from } => {
            let map = input(from);
            let pixels = map.shape.pixels();
            each(&|n, o, _, _| {
                let first = (n * map.shape.channels + o) * pixels;
                map.values[first..first + pixels].iter().sum::<f64>() / pixels as f64
            })
        }
    }
}

fn convolve(map: &Map, weights: &[f64], conv: &Conv, n: usize, o: usize, r: usize, c: usize) -> f64 {
    let per_group = map.shape.channels / conv.groups;
    let first = o / (conv.channels / conv.groups) * per_group;
    let mut sum = 0.0;
    for i in 0..per_group {
        for kr in 0..conv.kernel.0 {
            for kc in 0..conv.kernel.1 {
                let r = (r * conv.stride.0 + kr * conv.dilation.0) as isize - conv.padding.0 as isize;
                let c = (c * conv.stride.1 + kc * conv.dilation.1) as isize - conv.padding.1 as isize;
                let weight = weights[((o * per_group + i) * conv.kernel.0 + kr) * conv.kernel.1 + kc];
                sum += weight * map.at(n, first + i, r, c).unwrap_or(0.0);
            }
        }
    }
    sum
}

fn pooled(map: &Map, pool: &Pool, n: usize, o: usize, r: usize, c: usize) -> f64 {
    let mut cells = Vec::new();
    for kr in 0..pool.kernel {
        for kc in 0..pool.kernel {
            let r = (r * pool.stride + kr) as isize - pool.padding as isize;
            let c = (c * pool.stride + kc) as isize - pool.padding as isize;
            cells.extend(map.at(n, o, r, c));
        }
    }
    match pool.kind {
        PoolKind::Max => cells.into_iter().fold(f64::NEG_INFINITY, f64::max),
        PoolKind::Average { count_padding: true } => cells.iter().sum::<f64>() / (pool.kernel * pool.kernel) as f64,
        PoolKind::Average { count_padding: false } => cells.iter().sum::<f64>() / cells.len() as f64,
    }
}

fn activate(activation: candlewick::graph::Activation, x: f64) -> f64 {
    use candlewick::graph::Activation::*;
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match activation {
        Relu => x.max(0.0),
        LeakyRelu => x.max(0.01 * x),
        Elu => {
            if x > 0.0 {
                x
            } else {
                x.exp() - 1.0
            }
        }
        Gelu => 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()),
        Silu => x * sigmoid(x),
        HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Sigmoid => sigmoid(x),
        Tanh => x.tanh(),
    }
}
