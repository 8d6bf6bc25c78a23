//! Batch norms by numbers worked out by hand: how running statistics move, what is added to a variance, and gradients
//! in evaluation, where the statistics are constants.

use candle_core::{Device, Tensor, Var};
use candlewick::engine::Mode;
use candlewick::graph::{Conv, Graph, Node};
use candlewick::random::Seed;
use candlewick::space::Network;

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_close<T: Copy + Into<f64>>(got: &[T], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        let got: f64 = (*got).into();
        let error = (got - expected).abs();
        assert!(error <= tolerance * expected.abs().max(1.0), "{got} is not {expected}");
    }
}

/// A norm right behind the images, and the mean of its channels.
fn norm_of_images(channels: usize, size: usize) -> Network {
    let mut graph = Graph::new(channels, size, size);
    let input = graph.input();
    let normed = graph.batch_norm("norm", input, false).unwrap();
    let mean = graph.global_pool(normed);
    graph.set_output(mean);
    Network::new(graph, Seed(1), &Device::Cpu).unwrap()
}

#[test]
fn running_statistics_go_a_tenth_of_the_way_to_mean_and_unbiased_variance() {
    let network = norm_of_images(2, 2);
    // By channel over both images 0 … 7 and ten times that: means 3.5 and 35, Σ(x − mean)² / 7 = 6 and 600.
    let plane = |first: f32, factor: f32| (0..4).map(move |i| (first + i as f32) * factor);
    let pixels: Vec<f32> =
        [(0.0, 1.0), (0.0, 10.0), (4.0, 1.0), (4.0, 10.0)].into_iter().flat_map(|(a, b)| plane(a, b)).collect();
    let x = Tensor::from_vec(pixels, (2, 2, 2, 2), &Device::Cpu).unwrap();
    assert_close(&network.statistics().values(), &[0.0, 0.0, 1.0, 1.0], 0.0);
    network.forward(&x, None, Mode::Training, None).unwrap();
    // 0.9 · 1 + 0.1 · 6, and so on.
    assert_close(&network.statistics().values(), &[0.35, 3.5, 1.5, 60.9], 1e-6);
    network.forward(&x, None, Mode::Training, None).unwrap();
    assert_close(&network.statistics().values(), &[0.665, 6.65, 1.95, 114.81], 1e-6);
    // The batch itself is normalised by the variance without the correction: 5.25.
    let own = network.forward(&x.narrow(0, 0, 2).unwrap(), None, Mode::Trial, None).unwrap();
    let of_image = |mean: f64| (mean - 3.5) / (5.25f64 + 1e-5).sqrt();
    assert_close(&values(&own.narrow(1, 0, 1).unwrap()), &[of_image(1.5), of_image(5.5)], 1e-6);
}

#[test]
fn a_single_value_has_no_variance_to_correct() {
    let network = norm_of_images(1, 1);
    let x = Tensor::full(4f32, (1, 1, 1, 1), &Device::Cpu).unwrap();
    network.forward(&x, None, Mode::Training, None).unwrap();
    assert_close(&network.statistics().values(), &[0.4, 0.9], 1e-6);
}

#[test]
fn a_hundred_thousandth_is_added_to_every_variance() {
    let network = norm_of_images(1, 2);
    // ±d: the variance is d², so with d² = 1e-5 the norm gives ±1/√2 for it.
    let d = 1e-5f32.sqrt();
    let x = Tensor::from_vec(vec![d, d, d, d, -d, -d, -d, -d], (2, 1, 2, 2), &Device::Cpu).unwrap();
    let expected = [0.5f64.sqrt(), -(0.5f64.sqrt())];
    let batch = network.forward(&x, None, Mode::Trial, None).unwrap();
    assert_close(&values(&batch), &expected, 1e-6);
    network.statistics().set(&[0.0, 1e-5]).unwrap();
    let running = network.forward(&x, None, Mode::Evaluation, None).unwrap();
    assert_close(&values(&running), &expected, 1e-6);
}

/// Numbers in ±1 without a pattern that sums would cancel.
fn scattered(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
}

#[test]
fn gradients_in_evaluation_take_running_statistics_as_constants() {
    let separable = |g: &mut Graph, name: &str, x: Node| {
        let y = g.depthwise(&format!("{name}.1"), x, 3, 1, 1).unwrap();
        let y = g.pointwise(&format!("{name}.2"), y, 5).unwrap();
        g.batch_norm(&format!("{name}.3"), y, true).unwrap()
    };
    let mut graph = Graph::new(3, 6, 6);
    let input = graph.input();
    let slots = graph.slots("normal", 1, 3).unwrap();
    let stem = graph.conv("stem", input, Conv::square(5, 3)).unwrap();
    let stem = graph.batch_norm("norm", stem, true).unwrap();
    let one = separable(&mut graph, "one", stem);
    let pooled = graph.avg_pool_3x3(stem, 1).unwrap();
    let pooled = graph.batch_norm("pooled", pooled, false).unwrap();
    let mixed = graph.mixed(&[(one, slots.slot(0, 0)), (pooled, slots.slot(0, 1)), (stem, slots.slot(0, 2))]).unwrap();
    let vector = graph.global_pool(mixed);
    let logits = graph.linear("head", vector, 4).unwrap();
    graph.set_output(logits);
    let network = Network::new(graph, Seed(1), &Device::Cpu).unwrap();
    let images = 3;
    let tensor = |values: Vec<f32>, shape: &[usize]| Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    // Means and variances that no batch has.
    let statistics = scattered(network.statistics().values().len(), 1).into_iter().map(|s| f64::from(0.7 + 0.5 * s));
    network.statistics().set(&statistics.collect::<Vec<f64>>()).unwrap();
    let x = Var::from_tensor(&tensor(scattered(images * 108, 2), &[images, 3, 6, 6])).unwrap();
    let w = Var::from_tensor(&tensor(scattered(network.graph().parameters(), 3), &[network.graph().parameters()]));
    let (w, p) = (w.unwrap(), Var::from_tensor(&tensor(vec![0.7, -0.4, 0.5], &[1, 3])).unwrap());
    let factors = tensor(scattered(images * 4, 4), &[images, 4]);
    let objective = |x: &Tensor, w: &Tensor, p: &Tensor| {
        let logits = network.forward_at(x, w, std::slice::from_ref(p), Mode::Evaluation, None).unwrap();
        (logits * &factors).unwrap().sum_all().unwrap()
    };
    let store = objective(&x, &w, &p).backward().unwrap();
    let gradient = |of: &Tensor| store.get(of).unwrap().clone();
    let number = |tensor: Tensor| f64::from(tensor.to_scalar::<f32>().unwrap());
    // Without activations the network is affine in the images, in the mixing weights, and in each weight by itself:
    // what a step of any length changes is the gradient times the step, to the rounding of f32.
    let start = number(objective(&x, &w, &p));
    let check = |what: &str, gradient: &Tensor, step: &Tensor, moved: f64| {
        let expected = number((gradient * step).unwrap().sum_all().unwrap());
        let error = (moved - start - expected).abs();
        assert!(error < 2e-5 * start.abs().max(expected.abs()).max(1.0), "{what}: {} is not {expected}", moved - start);
    };
    let step = tensor(scattered(images * 108, 5), &[images, 3, 6, 6]);
    check("images", &gradient(&x), &step, number(objective(&(x.as_tensor() + &step).unwrap(), &w, &p)));
    let step = tensor(vec![0.3, 0.9, -0.8], &[1, 3]);
    check("mixing weights", &gradient(&p), &step, number(objective(&x, &w, &(p.as_tensor() + &step).unwrap())));
    let mut offset = 0;
    for weight in network.graph().weights() {
        let len: usize = weight.shape.iter().product();
        let mut step = vec![0.0; w.elem_count()];
        step[offset..offset + len].copy_from_slice(&scattered(len, 6));
        let step = tensor(step, &[w.elem_count()]);
        check(&weight.name, &gradient(&w), &step, number(objective(&x, &(w.as_tensor() + &step).unwrap(), &p)));
        offset += len;
    }
    assert_eq!(offset, w.elem_count());
}

/// Images whose mean is large beside their spread, as they come where nothing has normalised them.
#[test]
fn a_mean_of_a_thousand_and_a_spread_of_one_are_normalised_to_a_ten_thousandth() {
    let (images, size) = (7, 9);
    let pixels: Vec<f32> = scattered(images * size * size, 5).into_iter().map(|s| 1000.0 + s).collect();
    let count = pixels.len() as f64;
    let mean = pixels.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = pixels.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let normed = |x: f32| (f64::from(x) - mean) / (variance + 1e-5).sqrt();

    // The norm reads the images as they are, and once more what a convolution made of them.
    let direct = |graph: &mut Graph, x| graph.batch_norm("norm", x, false).unwrap();
    let convolved = |graph: &mut Graph, x| {
        let y = graph.conv("unit", x, Conv { padding: (0, 0), ..Conv::square(1, 1) }).unwrap();
        graph.batch_norm("norm", y, false).unwrap()
    };
    for convolves in [false, true] {
        let mut graph = Graph::new(1, size, size);
        let input = graph.input();
        let y = if convolves { convolved(&mut graph, input) } else { direct(&mut graph, input) };
        // One pixel of the map: a convolution that only looks at its corner.
        let probe =
            graph.conv("probe", y, Conv { kernel: (size, size), padding: (0, 0), ..Conv::square(1, 1) }).unwrap();
        graph.set_output(probe);
        let network = Network::new(graph, Seed(1), &Device::Cpu).unwrap();
        let mut w = vec![0f32; network.parameters()];
        let corner = w.len() - size * size;
        w[0] = 1.0;
        w[corner] = 1.0;
        network.set_weights(&Tensor::from_vec(w, network.parameters(), &Device::Cpu).unwrap()).unwrap();
        let x = Tensor::from_vec(pixels.clone(), (images, 1, size, size), &Device::Cpu).unwrap();
        let got = values(&network.forward(&x, None, Mode::Training, None).unwrap());
        let expected: Vec<f64> = (0..images).map(|image| normed(pixels[image * size * size])).collect();
        assert_close(&got, &expected, 1e-4);
        let unbiased = variance * count / (count - 1.0);
        assert_close(&network.statistics().values(), &[0.1 * mean, 0.9 + 0.1 * unbiased], 1e-5);
    }
}

#[test]
fn a_norm_that_a_mask_leaves_out_keeps_its_running_statistics() {
    // The images are normalised for the masked term alone, but read by the other one too.
    let mut graph = Graph::new(2, 4, 4);
    let slots = graph.slots("mix", 1, 2).unwrap();
    let input = graph.input();
    let normed = graph.batch_norm("norm", input, false).unwrap();
    let mixed = graph.mixed(&[(input, slots.slot(0, 0)), (normed, slots.slot(0, 1))]).unwrap();
    let pooled = graph.global_pool(mixed);
    graph.set_output(pooled);
    let network = Network::new(graph, Seed(1), &Device::Cpu).unwrap();
    let x = Tensor::from_vec(scattered(3 * 32, 2), (3, 2, 4, 4), &Device::Cpu).unwrap();
    let before = network.statistics().values();
    network.forward(&x, None, Mode::Training, Some([true, false].into())).unwrap();
    assert_eq!(network.statistics().values(), before);
    network.forward(&x, None, Mode::Training, Some([true, true].into())).unwrap();
    assert_ne!(network.statistics().values(), before);
}
