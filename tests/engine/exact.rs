//! The exact executor, held against hand-computed values and, in every mode, against central differences of itself:
//! every element of every gradient of every primitive.

use crate::noise::noise;
use candlewick::engine::exact::{Exact, Gradients, Inputs, Norms};
use candlewick::engine::{Draws, Mode, Wanted};
use candlewick::graph::{Activation, Conv, Graph, Node, Pool, PoolKind};
use candlewick::random::Seed;
use std::sync::Arc;

const ALL: Wanted = Wanted { x: true, w: true, p: true };

fn wide(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

/// The output of one pass, its gradients for the output's gradient `dy`, and the running statistics after it.
fn run(graph: Graph, x: &[f64], w: &[f64], p: &[f64], dy: &[f64], mode: Mode) -> (Vec<f64>, Gradients, Vec<f64>) {
    let batch = x.len() / (graph.shape(graph.input()).channels * graph.shape(graph.input()).pixels());
    let mut running: Vec<f64> = (0..graph.statistics_len()).map(|at| 1.0 + at as f64).collect();
    let exact = Exact::new(Arc::new(graph)).unwrap();
    let norms = match mode {
        Mode::Training => Norms::Training(&mut running),
        Mode::Trial => Norms::Trial,
        Mode::Evaluation => Norms::Evaluation(&running),
    };
    let inputs = Inputs { x, w, p, batch, active: None };
    let record = exact.forward(inputs, norms, &Draws::default()).unwrap();
    let gradients = exact.backward(&record, dy, ALL).unwrap();
    (record.output().to_vec(), gradients, running)
}

/// A graph of one primitive, or a few.
pub fn graph(channels: usize, size: (usize, usize), body: impl FnOnce(&mut Graph, Node) -> Node) -> Graph {
    let mut graph = Graph::new(channels, size.0, size.1);
    let input = graph.input();
    let output = body(&mut graph, input);
    graph.set_output(output);
    graph
}

#[track_caller]
fn near(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{got:?}, expected {expected:?}");
    let close = got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-12);
    assert!(close, "{got:?}, expected {expected:?}");
}

#[test]
fn a_convolution_correlates_and_does_not_flip_its_kernel() {
    let g = graph(1, (2, 3), |g, x| {
        let conv = Conv { kernel: (2, 2), padding: (1, 0), stride: (1, 2), bias: true, ..Conv::square(1, 2) };
        g.conv("a", x, conv).unwrap()
    });
    let (y, gradients, _) =
        run(g, &[1., 2., 3., 4., 5., 6.], &[1., 10., 100., 1000., 0.5], &[0.], &[1., 2., 4.], Mode::Trial);
    // Rows -1 and 0, 0 and 1, 1 and 2; columns 0 and 1 only.
    near(&y, &[2100.5, 5421.5, 54.5]);
    near(&gradients.x, &[100. + 2., 1000. + 20., 0., 200. + 4., 2000. + 40., 0.]);
    near(&gradients.w, &[2. * 1. + 4. * 4., 2. * 2. + 4. * 5., 1. + 2. * 4., 2. + 2. * 5., 7.]);
}

#[test]
fn groups_and_dilation_pick_the_right_channels_and_pixels() {
    let g = graph(2, (1, 5), |g, x| {
        let conv = Conv { kernel: (1, 2), padding: (0, 0), dilation: (1, 3), groups: 2, ..Conv::square(4, 1) };
        g.conv("a", x, conv).unwrap()
    });
    let x = [1., 2., 3., 4., 5., 10., 20., 30., 40., 50.];
    let (y, _, _) = run(g, &x, &[1., 0., 0., 1., 1., 1., 2., -1.], &[0.], &[0.; 8], Mode::Trial);
    near(&y, &[1., 2., 4., 5., 50., 70., -20., -10.]);
}

#[test]
fn halving_shifts_its_second_half_by_a_pixel() {
    let g = graph(1, (2, 4), |g, x| g.halve(x, 2).unwrap());
    let x = [1., 2., 3., 4., 5., 6., 7., 8.];
    let (y, gradients, _) = run(g, &x, &[10., 100.], &[0.], &[1., 2., 3., 4.], Mode::Trial);
    near(&y, &[10., 30., 600., 800.]);
    near(&gradients.x, &[10., 0., 20., 0., 0., 300., 0., 400.]);
    near(&gradients.w, &[1. + 6., 18. + 32.]);
}

#[test]
fn batch_norm_divides_by_n_and_its_running_variance_by_n_minus_1() {
    let norm = || graph(1, (1, 2), |g, x| g.batch_norm("n", x, true).unwrap());
    let x = [1., 3., 5., 7.];
    let (y, _, running) = run(norm(), &x, &[2., 0.5], &[0.], &[0.; 4], Mode::Training);
    let spread = (5f64 + 1e-5).sqrt();
    near(&y, &[-3., -1., 1., 3.].map(|v| 2. * v / spread + 0.5));
    // From 1 and 2 a tenth of the way to the batch's 4 and 20/3.
    near(&running, &[1.3, 2. + (20. / 3. - 2.) / 10.]);
    assert_eq!(run(norm(), &x, &[2., 0.5], &[0.], &[0.; 4], Mode::Trial).2, [1., 2.]);
    let (y, gradients, running) = run(norm(), &x, &[2., 0.5], &[0.], &[1., 0., 0., 0.], Mode::Evaluation);
    near(&y, &[0., 2., 4., 6.].map(|v| 2. * v / (2f64 + 1e-5).sqrt() + 0.5));
    near(&gradients.x, &[2. / (2f64 + 1e-5).sqrt(), 0., 0., 0.]);
    assert_eq!(running, [1., 2.]);
}

#[test]
fn a_batch_norm_of_a_large_mean_keeps_its_digits() {
    let g = graph(1, (1, 4), |g, x| g.batch_norm("n", x, false).unwrap());
    let (y, _, _) = run(g, &[1e9 - 1., 1e9 + 1., 1e9 - 1., 1e9 + 1.], &[], &[0.], &[0.; 4], Mode::Trial);
    near(&y, &[-1., 1., -1., 1.].map(|v| v / (1f64 + 1e-5).sqrt()));
}

#[test]
fn the_first_of_equal_maxima_takes_the_gradient() {
    let pool = Pool { kind: PoolKind::Max, kernel: 2, stride: 1, padding: 1 };
    let g = graph(1, (2, 2), |g, x| g.pool(x, pool).unwrap());
    let (y, gradients, _) =
        run(g, &[-1., -1., -1., -2.], &[], &[0.], &[1., 2., 4., 8., 16., 32., 64., 128., 256.], Mode::Trial);
    near(&y, &[-1., -1., -1., -1., -1., -1., -1., -1., -2.]);
    near(&gradients.x, &[1. + 2. + 8. + 16., 4. + 32., 64. + 128., 256.]);
}

#[test]
fn averages_divide_by_what_they_count() {
    let pool = |count_padding| Pool { kind: PoolKind::Average { count_padding }, kernel: 2, stride: 2, padding: 1 };
    for (count_padding, corner, edge) in [(true, 0.25, 0.5), (false, 1., 1.)] {
        let g = graph(1, (2, 3), |g, x| g.pool(x, pool(count_padding)).unwrap());
        let (y, gradients, _) = run(g, &[1., 2., 4., 8., 16., 32.], &[], &[0.], &[1., 2., 4., 8.], Mode::Trial);
        near(&y, &[corner, 3. * edge, 8. * corner, 24. * edge]);
        let half = edge / 2.;
        near(&gradients.x, &[corner, 2. * half, 2. * half, 4. * corner, 8. * half, 8. * half]);
    }
}

#[test]
fn slopes_at_kinks_are_those_of_the_flat_side() {
    let slopes = |activation, x: &[f64]| {
        let g = graph(1, (1, x.len()), |g, x| g.activate(x, activation));
        run(g, x, &[], &[0.], &vec![1.; x.len()], Mode::Trial).1.x
    };
    near(&slopes(Activation::Relu, &[-1., 0., 1.]), &[0., 0., 1.]);
    near(&slopes(Activation::LeakyRelu, &[-1., 0., 1.]), &[0.01, 0.01, 1.]);
    near(&slopes(Activation::HardSwish, &[-4., -3., 3., 4.]), &[0., 0., 1., 1.]);
    near(&slopes(Activation::Elu, &[0., 1.]), &[1., 1.]);
}

#[test]
fn activations_have_their_published_values() {
    let values = |activation| {
        let g = graph(1, (1, 2), |g, x| g.activate(x, activation));
        run(g, &[-1., 2.], &[], &[0.], &[0.; 2], Mode::Trial).0
    };
    let round = |values: Vec<f64>| values.iter().map(|v| (v * 1e6).round() / 1e6).collect::<Vec<_>>();
    near(&round(values(Activation::Relu)), &[0., 2.]);
    near(&round(values(Activation::LeakyRelu)), &[-0.01, 2.]);
    near(&round(values(Activation::Elu)), &[-0.632121, 2.]);
    near(&round(values(Activation::Gelu)), &[-0.158808, 1.954598]);
    near(&round(values(Activation::Silu)), &[-0.268941, 1.761594]);
    near(&round(values(Activation::HardSwish)), &[-0.333333, 1.666667]);
    near(&round(values(Activation::Sigmoid)), &[0.268941, 0.880797]);
    near(&round(values(Activation::Tanh)), &[-0.761594, 0.964028]);
}

/// Holds every gradient of `Σ c · output`, element by element, against central differences: relative to the largest
/// gradient of its tensor. The values are those of the first seed that keeps all kinks further away than the
/// differences reach.
#[track_caller]
pub fn differences(what: &str, graph: Graph, batch: usize, mode: Mode, active: Option<&[bool]>, draws: Draws) {
    const STEP: f64 = 1e-5;
    let graph = Arc::new(graph);
    let exact = Exact::new(graph.clone()).unwrap();
    let from = graph.shape(graph.input());
    let running: Vec<f64> = wide(noise(5, graph.statistics_len())).iter().map(|v| v.abs() + 0.3).collect();
    let pass = |x: &[f64], w: &[f64], p: &[f64]| {
        let mut moved = running.clone();
        let norms = match mode {
            Mode::Training => Norms::Training(&mut moved),
            Mode::Trial => Norms::Trial,
            Mode::Evaluation => Norms::Evaluation(&running),
        };
        exact.forward(Inputs { x, w, p, batch, active }, norms, &draws).unwrap()
    };
    let (values, record) = (0..100)
        .map(|seed| {
            let values = [batch * from.channels * from.pixels(), graph.parameters(), graph.slot_count()];
            let values: Vec<Vec<f64>> = (0u64..).zip(values).map(|(at, len)| wide(noise(3 * seed + at, len))).collect();
            let record = pass(&values[0], &values[1], &values[2]);
            (values, record)
        })
        .find(|(_, record)| exact.margin(record).smallest() > 100.0 * STEP)
        .unwrap_or_else(|| panic!("{what}: no seed keeps away from kinks"));
    let c = wide(noise(4, record.output().len()));
    let gradients = exact.backward(&record, &c, ALL).unwrap();
    for (at, (name, got)) in [("x", &gradients.x), ("w", &gradients.w), ("p", &gradients.p)].into_iter().enumerate() {
        assert_eq!(got.len(), values[at].len());
        let expected: Vec<f64> = (0..got.len())
            .map(|element| {
                let objective = |by: f64| -> f64 {
                    let mut values = values.clone();
                    values[at][element] += by;
                    let record = pass(&values[0], &values[1], &values[2]);
                    record.output().iter().zip(&c).map(|(y, c)| y * c).sum()
                };
                (objective(STEP) - objective(-STEP)) / (2.0 * STEP)
            })
            .collect();
        let scale = expected.iter().fold(0.1f64, |scale, v| scale.max(v.abs()));
        for (element, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let close = (got - expected).abs() < 1e-6 * scale;
            assert!(close, "{what}, {mode:?}: d{name}[{element}] is {got}, expected {expected} (of {scale})");
        }
    }
}

pub const MODES: [Mode; 3] = [Mode::Training, Mode::Trial, Mode::Evaluation];

#[test]
fn convolutions_have_right_gradients() {
    let plain = Conv::square(4, 3);
    for (what, conv) in [
        ("same", plain),
        ("strided, one side padded", Conv { stride: (2, 3), padding: (0, 2), ..plain }),
        ("padded beyond same", Conv { padding: (5, 4), ..plain }),
        ("oblong, dilated, with bias", Conv { kernel: (1, 4), dilation: (2, 2), padding: (1, 3), bias: true, ..plain }),
        ("grouped", plain.groups(2).bias()),
        ("depthwise", plain.groups(4)),
        ("depthwise with bias", Conv { stride: (3, 1), padding: (2, 1), ..plain.groups(4).bias() }),
        ("pointwise", Conv::square(3, 1)),
    ] {
        let g = graph(4, (5, 6), |g, x| g.conv("a", x, conv).unwrap());
        differences(what, g, 2, Mode::Trial, None, Draws::default());
    }
    let g = graph(3, (4, 6), |g, x| g.halve(x, 4).unwrap());
    differences("halve", g, 2, Mode::Trial, None, Draws::default());
    let g = graph(5, (3, 2), |g, x| {
        let pooled = g.global_pool(x);
        g.linear("head", pooled, 3).unwrap()
    });
    differences("global pool and linear", g, 3, Mode::Trial, None, Draws::default());
}

#[test]
fn norms_have_right_gradients_in_every_mode() {
    for mode in MODES {
        for affine in [false, true] {
            let g = graph(3, (3, 4), |g, x| {
                let y = g.pointwise("a", x, 3).unwrap();
                let y = g.batch_norm("n", y, affine).unwrap();
                g.activate(y, Activation::Tanh)
            });
            differences("norm", g, 3, mode, None, Draws::default());
        }
    }
}

#[test]
fn activations_have_right_gradients() {
    for (name, activation) in Activation::ALL {
        // Hard swish is bent at 3: the weights bring some inputs beyond.
        let g = graph(3, (3, 3), |g, x| {
            let y = g.conv("a", x, Conv::square(5, 3)).unwrap();
            g.activate(y, activation)
        });
        differences(name, g, 2, Mode::Trial, None, Draws::default());
    }
}

#[test]
fn pools_have_right_gradients() {
    for kind in [PoolKind::Max, PoolKind::Average { count_padding: false }, PoolKind::Average { count_padding: true }] {
        for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (2, 2, 0), (5, 3, 2), (2, 1, 1)] {
            let pool = Pool { kind, kernel, stride, padding };
            let g = graph(2, (5, 4), |g, x| g.pool(x, pool).unwrap());
            differences(&format!("{pool:?}"), g, 2, Mode::Trial, None, Draws::default());
        }
    }
}

#[test]
fn products_have_right_gradients() {
    for mode in MODES {
        let gated = |g: &mut Graph, x: Node| {
            let y = g.pointwise("a", x, 3).unwrap();
            let y = g.batch_norm("n", y, true).unwrap();
            let pooled = g.global_pool(y);
            let gate = g.linear("b", pooled, 3).unwrap();
            let gate = g.activate(gate, Activation::Sigmoid);
            let z = g.multiply(gate, y).unwrap();
            let z = g.dropout(z, 0.3).unwrap();
            let z = g.batch_norm("m", z, true).unwrap();
            let squared = g.multiply(z, z).unwrap();
            g.multiply(squared, x).unwrap()
        };
        differences("products", graph(3, (4, 3), gated), 3, mode, None, Draws::default());
    }
    let mut g = Graph::new(3, 4, 4);
    let x = g.input();
    let halved = g.max_pool_3x3(x, 2).unwrap();
    let error = g.multiply(x, halved).unwrap_err();
    assert_eq!(error.message, "cannot multiply 3 channels of 4×4 by 3 channels of 2×2");
    assert!(g.dropout(x, 1.0).unwrap_err().message.contains("from 0 to below 1, not 1"));
    let (two, pooled) = (g.slice(x, 0, 2).unwrap(), g.global_pool(x));
    g.multiply(pooled, two).unwrap_err();
}

/// Sums with slots, shared slots, masks, dropped paths and noise; concatenations, slices and shuffles.
fn cell(g: &mut Graph, x: Node) -> Node {
    let slots = g.slots("normal", 2, 3).unwrap();
    let a = g.depthwise("a", x, 3, 1, 1).unwrap();
    let a = g.batch_norm("n", a, true).unwrap();
    let b = g.pointwise("b", x, 4).unwrap();
    let b = g.batch_norm("m", b, false).unwrap();
    let zero = g.zero(x, 1).unwrap();
    let noise = g.noise(x, 1).unwrap();
    let dropped = g.drop_path(a).unwrap();
    let one = g.mixed(&[(dropped, slots.slot(0, 0)), (b, slots.slot(0, 1)), (zero, slots.slot(0, 2))]).unwrap();
    let two = g.mixed(&[(one, slots.slot(1, 0)), (noise, slots.slot(1, 1)), (a, slots.slot(0, 1))]).unwrap();
    let two = g.drop_path(two).unwrap();
    let both = g.concat(&[one, two, one]).unwrap();
    let shuffled = g.shuffle(both, 3).unwrap();
    let cut = g.slice(shuffled, 2, 7).unwrap();
    let scaled = g.scale(cut, slots.slot(1, 2)).unwrap();
    g.add(&[scaled, cut]).unwrap()
}

#[test]
fn sums_and_moved_channels_have_right_gradients_in_every_mode() {
    for mode in MODES {
        for drop_path in [0.0, 0.5] {
            let draws = Draws { seed: Seed(3), pass: 2, drop_path, ..Draws::default() };
            differences("cell", graph(4, (3, 3), cell), 4, mode, None, draws);
        }
    }
}

#[test]
fn what_is_masked_off_does_not_run() {
    let draws = Draws { seed: Seed(3), pass: 2, drop_path: 0.5, ..Draws::default() };
    for mask in [[true, false, true, true, false, true], [false, true, true, false, true, true], [false; 6]] {
        for mode in MODES {
            differences(&format!("{mask:?}"), graph(4, (3, 3), cell), 3, mode, Some(&mask), draws);
        }
    }
    let graph = Arc::new(graph(4, (3, 3), cell));
    let exact = Exact::new(graph.clone()).unwrap();
    let (x, w, p) = (wide(noise(1, 72)), wide(noise(2, graph.parameters())), wide(noise(3, 6)));
    let norms = graph.norms();
    let mut running = vec![7.0; graph.statistics_len()];
    // Slot 0 reads the first norm, slot 1 both.
    let active = [true, false, true, true, true, true];
    let inputs = Inputs { x: &x, w: &w, p: &p, batch: 2, active: Some(&active) };
    let record = exact.forward(inputs, Norms::Training(&mut running), &draws).unwrap();
    assert!(running[norms[0].mean()].iter().all(|&v| v != 7.0));
    assert!(running[norms[1].offset..].iter().all(|&v| v == 7.0), "a norm that did not run has moved");
    let gradients = exact.backward(&record, &vec![1.0; record.output().len()], ALL).unwrap();
    assert_eq!(gradients.p[1], 0.0);
    assert!(gradients.w[graph.weight("b.weight").unwrap().range()].iter().all(|&v| v == 0.0));
    assert!(gradients.w[graph.weight("a.weight").unwrap().range()].iter().any(|&v| v != 0.0));
}

#[test]
fn only_wanted_gradients_come_back() {
    let graph = Arc::new(graph(4, (3, 3), cell));
    let exact = Exact::new(graph.clone()).unwrap();
    let (x, w, p) = (wide(noise(1, 72)), wide(noise(2, graph.parameters())), wide(noise(3, 6)));
    let inputs = Inputs { x: &x, w: &w, p: &p, batch: 2, active: None };
    let record = exact.forward(inputs, Norms::Trial, &Draws::default()).unwrap();
    let dy = wide(noise(4, record.output().len()));
    let all = exact.backward(&record, &dy, ALL).unwrap();
    assert_eq!((all.x.len(), all.w.len(), all.p.len()), (x.len(), w.len(), p.len()));
    let only = exact.backward(&record, &dy, Wanted { x: false, w: true, p: false }).unwrap();
    assert_eq!(only, Gradients { w: all.w.clone(), ..Gradients::default() });
    let only = exact.backward(&record, &dy, Wanted { x: true, w: false, p: true }).unwrap();
    assert_eq!(only, Gradients { w: Vec::new(), ..all });
}

#[test]
fn margins_are_distances_from_kinks_and_ties() {
    let max = Pool { kind: PoolKind::Max, kernel: 2, stride: 2, padding: 0 };
    let g = graph(1, (2, 4), |g, x| {
        let y = g.pool(x, max).unwrap();
        let r = g.relu(y);
        let zero = g.zero(y, 1).unwrap();
        let zero = g.relu(zero);
        g.add(&[r, zero]).unwrap()
    });
    let exact = Exact::new(Arc::new(g)).unwrap();
    let pass = |x: &[f64]| {
        let inputs = Inputs { x, w: &[], p: &[], batch: 1, active: None };
        exact.forward(inputs, Norms::Trial, &Draws::default()).unwrap()
    };
    let one = pass(&[-0.5, -0.25, 4., 4., -2., -3., 1., 1.]);
    let margin = exact.margin(&one);
    assert_eq!((margin.kink, margin.on_kink, margin.gap, margin.ties), (0.25, 2, 0.25, 1));
    assert_eq!((margin.smallest(), margin.relative), (0.25, 0.0625));
    let other = pass(&[0.5, -0.25, 4., 5., -2., -3., 1., 1.]);
    let crossed = exact.crossed(&one, &other);
    assert_eq!((crossed.kinks, crossed.winners), (1, 2));
    assert_eq!(exact.crossed(&one, &one), Default::default());
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let exact = Exact::new(Arc::new(graph(4, (3, 3), cell))).unwrap();
    let (w, p) = (vec![0.0; exact.graph().parameters()], vec![0.0; 6]);
    let inputs = Inputs { x: &[0.0; 72], w: &w, p: &p, batch: 2, active: None };
    let says = |inputs, norms| exact.forward(inputs, norms, &Draws::default()).unwrap_err().message;
    assert_eq!(says(Inputs { batch: 3, ..inputs }, Norms::Trial), "the network takes 108 pixels, not 72");
    assert!(says(Inputs { w: &w[1..], ..inputs }, Norms::Trial).contains("weights, not"));
    assert_eq!(says(Inputs { p: &p[1..], ..inputs }, Norms::Trial), "the network takes 6 mixing weights, not 5");
    assert_eq!(
        says(Inputs { active: Some(&[true]), ..inputs }, Norms::Trial),
        "the network takes 6 mask entries, not 1"
    );
    assert!(says(inputs, Norms::Evaluation(&[1.0])).contains("running statistics, not 1"));
    let record = exact.forward(inputs, Norms::Trial, &Draws::default()).unwrap();
    assert!(exact.backward(&record, &[1.0], ALL).unwrap_err().message.contains("output gradients, not 1"));
}

#[test]
fn threads_change_no_bit() {
    let pass = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let g = graph(4, (9, 9), cell);
            let (x, w, p) = (wide(noise(1, 4 * 324)), wide(noise(2, g.parameters())), wide(noise(3, 6)));
            run(g, &x, &w, &p, &wide(noise(4, 4 * 7 * 81)), Mode::Training)
        })
    };
    let one = pass(1);
    assert!(one == pass(2) && one == pass(5));
}
