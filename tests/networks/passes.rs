//! Passes of networks: how weights start, what a pass changes, masks, saved states, evaluation.

use candle_core::{Device, Tensor, Var};
use candlewick::engine::{Engine, Mode, Pass};
use candlewick::graph::{Conv, Graph, Shape};
use candlewick::learn::{Batch, evaluate, weight_gradient};
use candlewick::random::Seed;
use candlewick::space::cell::edge_count;
use candlewick::space::{Masks, Network, Supernet, SupernetOptions};
use std::sync::Arc;

fn small(seed: u64, masks: Masks) -> Network {
    let options =
        SupernetOptions { channels: 2, layers: 3, nodes: 2, masks, ..SupernetOptions::new(Shape::new(1, 8, 8), 10) };
    Network::supernet(Supernet::build(&options).unwrap(), Seed(seed), &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn batch() -> Batch {
    let pixels: Vec<f32> = (0..4 * 64).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
    let images = Tensor::from_vec(pixels, (4, 1, 8, 8), &Device::Cpu).unwrap();
    Batch::new(images, Tensor::new(&[0u32, 3, 9, 3], &Device::Cpu).unwrap()).unwrap()
}

#[test]
fn a_network_starts_as_the_specification_says_and_alike_for_equal_seeds() {
    let network = small(7, Masks::default());
    let stem = values(&network.named_slice("stem.0.weight").unwrap());
    let bound = 1.0 / 3.0;
    assert!(stem.iter().all(|w| w.abs() <= bound) && stem.iter().any(|w| w.abs() > 0.8 * bound));
    assert_eq!(values(&network.named_slice("stem.1.weight").unwrap()), [1.0; 6]);
    let alphas: Vec<f32> = network.alphas().tensors().iter().flat_map(values).collect();
    let spread = (alphas.iter().map(|a| a * a).sum::<f32>() / alphas.len() as f32).sqrt();
    assert!((0.7e-3..1.3e-3).contains(&spread), "{spread}");
    let again = small(7, Masks::default());
    assert_eq!(values(&network.weights().tensor()), values(&again.weights().tensor()));
    assert_eq!(alphas, again.alphas().tensors().iter().flat_map(values).collect::<Vec<_>>());
    assert_ne!(values(&network.weights().tensor()), values(&small(8, Masks::default()).weights().tensor()));
}

#[test]
fn only_training_passes_move_running_statistics() {
    let network = small(1, Masks::default());
    let start = network.statistics().values();
    network.forward(&batch().images, None, Mode::Trial, None).unwrap();
    network.forward(&batch().images, None, Mode::Evaluation, None).unwrap();
    assert_eq!(network.statistics().values(), start);
    network.forward(&batch().images, None, Mode::Training, None).unwrap();
    assert_ne!(network.statistics().values(), start);
}

#[test]
fn gradients_at_running_statistics_are_of_the_output_that_was_computed() {
    let network = small(1, Masks::default());
    network.forward(&batch().images, None, Mode::Training, None).unwrap();
    let w = network.weights().tensor();
    let loss =
        network.forward(&batch().images, None, Mode::Evaluation, None).unwrap().sqr().unwrap().sum_all().unwrap();
    let first = values(loss.backward().unwrap().get(&w).unwrap());
    // The second time the pass runs again, after the network's own statistics have moved.
    for _ in 0..3 {
        network.forward(&batch().images.affine(3.0, 1.0).unwrap(), None, Mode::Training, None).unwrap();
    }
    assert_eq!(values(loss.backward().unwrap().get(&w).unwrap()), first);
}

/// No unit loads a map here, so the scratch plane is the activation's alone.
#[test]
fn an_activation_needs_no_convolution_beside_it() {
    let (channels, size) = (33, 40);
    let mut graph = Graph::new(channels, size, size);
    let positive = graph.relu(graph.input());
    let mean = graph.global_pool(positive);
    graph.set_output(mean);
    let network = Network::new(graph, Seed(1), &Device::Cpu).unwrap();
    let pixels: Vec<f32> = (0..2 * channels * size * size).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect();
    let means: Vec<f32> = pixels
        .chunks(size * size)
        .map(|map| map.iter().map(|x| x.max(0.0)).sum::<f32>() / (size * size) as f32)
        .collect();
    let x = Var::from_vec(pixels.clone(), (2, channels, size, size), &Device::Cpu).unwrap();
    let output = network.forward(&x, None, Mode::Training, None).unwrap();
    assert!(values(&output).iter().zip(&means).all(|(a, b)| (a - b).abs() < 1e-5));
    let slope = 1.0 / (size * size) as f32;
    let gradient = output.sum_all().unwrap().backward().unwrap();
    let gradient = values(gradient.get(&x).unwrap());
    assert!(gradient.iter().zip(&pixels).all(|(&g, &x)| (g - if x > 0.0 { slope } else { 0.0 }).abs() < 1e-9));
    let output = network.forward(&x.as_detached_tensor(), None, Mode::Evaluation, None).unwrap();
    assert!(values(&output).iter().zip(&means).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn masked_candidates_get_no_probability_and_the_others_share_it() {
    let mut mask = vec![vec![true; 8]; edge_count(2)];
    mask[0] = vec![false; 8];
    mask[1] = vec![false, false, false, true, true, false, false, false];
    let network = small(1, Masks { normal: Some(mask), reduce: None });
    let p = network.relax(network.alphas()).unwrap();
    let rows = p[0].to_vec2::<f32>().unwrap();
    assert_eq!(rows[0], [0.0; 8]);
    assert!(rows[1].iter().enumerate().all(|(k, &p)| if k == 3 || k == 4 { p > 0.4 } else { p == 0.0 }));
    assert!((rows[2].iter().sum::<f32>() - 1.0).abs() < 1e-6);
    let genotype = network.derive(None);
    assert!(genotype.unwrap_err().message.contains("node 0"), "one edge is not two");
    let (loss, gradient) = weight_gradient(&network, &batch(), None).unwrap();
    assert!(loss.is_finite() && values(&gradient).iter().all(|g| g.is_finite()));
}

#[test]
fn a_saved_state_brings_everything_back() {
    let network = small(1, Masks::default());
    network.forward(&batch().images, None, Mode::Training, None).unwrap();
    let state = network.state().unwrap();
    let logits = values(&network.forward(&batch().images, None, Mode::Evaluation, None).unwrap());
    let other = small(2, Masks::default());
    assert_ne!(values(&other.forward(&batch().images, None, Mode::Evaluation, None).unwrap()), logits);
    other.restore(&state).unwrap();
    assert_eq!(values(&other.forward(&batch().images, None, Mode::Evaluation, None).unwrap()), logits);
    assert!(other.restore(&state[1..]).is_err());
}

#[test]
fn evaluation_counts_every_example_once_whatever_the_batches() {
    let network = small(1, Masks::default());
    let whole = batch();
    let part = |from, count| {
        Batch::new(whole.images.narrow(0, from, count).unwrap(), whole.labels.narrow(0, from, count).unwrap())
    };
    let one = evaluate(&network, [Ok(whole.clone())], None).unwrap();
    let two = evaluate(&network, [part(0, 3), part(3, 1)], None).unwrap();
    assert_eq!((one.examples, two.examples), (4, 4));
    assert!((one.loss - two.loss).abs() < 1e-5);
    assert_eq!(one.hits, two.hits);
    assert!(evaluate(&network, [], None).is_err());
    let beyond = Batch::new(whole.images, Tensor::new(&[0u32, 1, 2, 10], &Device::Cpu).unwrap());
    let error = evaluate(&network, [beyond], None).unwrap_err();
    assert!(error.message.contains("label is 10"), "{error}");
}

#[test]
fn weights_have_the_same_gradient_whether_or_not_others_are_wanted() {
    // A norm right behind the images: its scale has a gradient, the images have none.
    let mut graph = Graph::new(1, 8, 8);
    let input = graph.input();
    let normed = graph.batch_norm("norm", input, true).unwrap();
    let both = graph.add(&[normed, input]).unwrap();
    let mapped = graph.conv("conv", both, Conv::square(6, 3)).unwrap();
    let vector = graph.global_pool(mapped);
    let logits = graph.linear("head", vector, 10).unwrap();
    graph.set_output(logits);
    let start: Vec<f32> = (0..graph.parameters()).map(|i| 0.3 + 0.1 * (i % 7) as f32).collect();
    let w = Var::from_vec(start, graph.parameters(), &Device::Cpu).unwrap();
    let engine = Engine::compile(graph).unwrap();
    let gradient = |x: &Tensor, p: &Tensor| {
        let pass = Pass::default();
        let logits = engine.forward(x, &w, p, &pass).unwrap();
        let store = logits.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        values(store.get(&w).unwrap())
    };
    let (x, p) = (Var::from_tensor(&batch().images).unwrap(), Var::from_vec(vec![0f32], 1, &Device::Cpu).unwrap());
    let alone = gradient(&x.as_detached_tensor(), &p.as_detached_tensor());
    assert_eq!(gradient(&x, &p), alone);
    assert!(alone.iter().all(|g| *g != 0.0));
}

/// The logits of a pass, and with `train` the gradients of weights and alphas, to the bit.
fn bits(network: &Network, images: &Tensor, mode: Mode, active: Option<Arc<[bool]>>, train: bool) -> Vec<u32> {
    let p = network.relax_among(network.alphas(), active.as_deref()).unwrap();
    let (w, p) = match train {
        true => (network.weights().tensor(), p),
        false => (network.weights().detached(), p.iter().map(Tensor::detach).collect()),
    };
    let logits = network.forward_at(images, &w, &p, mode, active).unwrap();
    let mut found = values(&logits);
    if train {
        let store = logits.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        found.extend(values(store.get(&network.weights().tensor()).unwrap()));
        network.alphas().tensors().iter().for_each(|alpha| found.extend(values(store.get(alpha).unwrap())));
    }
    found.into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_pass_is_the_same_whatever_passes_came_before_it() {
    let images = |count: usize| {
        let pixels: Vec<f32> = (0..count * 64).map(|i| ((i * 53 % 97) as f32 / 48.0) - 1.0).collect();
        Tensor::from_vec(pixels, (count, 1, 8, 8), &Device::Cpu).unwrap()
    };
    let slots = small(1, Masks::default()).graph().slot_count();
    let mask = |every: usize| -> Option<Arc<[bool]>> { Some((0..slots).map(|slot| slot % every != 1).collect()) };
    // Masks that differ, so the agenda was worked out again; tapes that were left by inference, by larger and smaller
    // batches, with and without room for gradients.
    let passes = [
        (9, Mode::Evaluation, None, false),
        (4, Mode::Trial, None, true),
        (4, Mode::Trial, mask(2), true),
        (4, Mode::Trial, mask(3), true),
        (2, Mode::Evaluation, mask(3), true),
        (7, Mode::Trial, mask(2), false),
        (40, Mode::Trial, None, true),
        (4, Mode::Trial, mask(2), true),
        (1, Mode::Evaluation, None, false),
        (4, Mode::Trial, None, true),
    ];
    let used = small(1, Masks::default());
    for (number, (count, mode, active, train)) in passes.into_iter().enumerate() {
        let images = images(count);
        let fresh = bits(&small(1, Masks::default()), &images, mode, active.clone(), train);
        assert!(bits(&used, &images, mode, active, train) == fresh, "pass {number}");
    }
    let (all, fewer) =
        (bits(&used, &images(4), Mode::Trial, None, true), bits(&used, &images(4), Mode::Trial, mask(2), true));
    assert_ne!(all, fewer, "a mask changes something");
}

#[test]
fn a_network_with_noise_goes_on_drawing_where_its_state_was_taken() {
    let make = || {
        let mut graph = Graph::new(1, 8, 8);
        let noisy = graph.noise(graph.input(), 1).unwrap();
        let mean = graph.global_pool(noisy);
        graph.set_output(mean);
        Network::new(graph, Seed(3), &Device::Cpu).unwrap()
    };
    let pass = |network: &Network| values(&network.forward(&batch().images, None, Mode::Trial, None).unwrap());
    let (one, other) = (make(), make());
    let first = pass(&one);
    let state = one.state().unwrap();
    let second = pass(&one);
    assert_ne!(first, second);
    other.restore(&state).unwrap();
    assert_eq!(pass(&other), second);
}

#[test]
fn a_plane_that_a_thread_has_loaded_is_not_the_next_pass_s() {
    // One unit, one image, one thread: the last plane that a pass loads is the first that the next one asks for.
    let mut graph = Graph::new(1, 8, 8);
    let positive = graph.relu(graph.input());
    let mapped = graph.conv("conv", positive, Conv::square(2, 3)).unwrap();
    let mean = graph.global_pool(mapped);
    graph.set_output(mean);
    let network = Network::new(graph, Seed(1), &Device::Cpu).unwrap();
    let one = batch().images.narrow(0, 0, 1).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let outputs = [1.0, 3.0].map(|factor| {
        let images = one.affine(factor, 0.0).unwrap();
        pool.install(|| values(&network.forward(&images, None, Mode::Evaluation, None).unwrap()))
    });
    // Without a bias the network is homogeneous: three times the image is three times the output.
    for (single, triple) in outputs[0].iter().zip(&outputs[1]) {
        assert!((3.0 * single - triple).abs() <= 1e-5 * triple.abs() && *triple != 0.0, "{single} {triple}");
    }
}
