//! candle's tensors on the GPU: what a network computes from them, and steps of optimisers that never leave it. Run by
//! `bash .ci/cuda`, on a driver whose kernels run behind the shim, or with `CANDLEWICK_CUDA=1` on this machine's first
//! GPU.

use crate::gpu::asked_for;
use crate::networks::{Case, PARTS, apart, families, run_from};
use crate::noise::noise;
use crate::shim::reads;
use candle_core::{D, DType, Device, Tensor, Var};
use candlewick::Parameter;
use candlewick::batch::Batch;
use candlewick::engine::cuda::{self, Launcher};
use candlewick::engine::{Engine, Mode, Pass, RunningStatistics, Target};
use candlewick::graph::Shape;
use candlewick::learn::{
    Adam, AdamOptions, Optimizer, Order, Sgd, SgdOptions, alpha_gradient, evaluate, weight_gradient,
};
use candlewick::random::Seed;
use candlewick::space::{Network, Supernet, SupernetOptions};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// Held by tests that use the GPU, and by the one that counts what they do there.
static ALONE: RwLock<()> = RwLock::new(());

fn among_others() -> RwLockReadGuard<'static, ()> {
    ALONE.read().unwrap_or_else(PoisonError::into_inner)
}

/// The GPU, with candle's device on it.
fn card() -> Option<Arc<dyn Launcher>> {
    if let Some(gpu) = asked_for() {
        return Some(gpu);
    }
    let is_stand_in = || cuda::inventory().is_ok_and(|found| found.gpus.iter().any(|gpu| gpu.name == "Shim"));
    if std::env::var_os("CANDLEWICK_STAND_IN").is_none() || !is_stand_in() {
        crate::require::skipped("there is no stand-in for the driver: `bash .ci/cuda` makes one");
        return None;
    }
    Some(cuda::open(0).expect("the stand-in opens"))
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).expect("numbers")
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn tensors_on_the_gpu_give_the_bits_that_the_processors_give() {
    let Some(gpu) = card() else { return };
    let _others = among_others();
    for case in families() {
        let engine = Engine::compile_on(case.graph.clone(), gpu.clone()).expect("it runs on a GPU");
        for mode in [Mode::Training, Mode::Evaluation] {
            let sent = run_from(&case, &engine, mode, &Device::Cpu);
            // Once as launches, once recorded, twice from the recording; every time from tensors at other addresses.
            for round in 0..4 {
                let there = run_from(&case, &engine, mode, &gpu.tensors());
                for ((name, there), sent) in PARTS.iter().zip(&there).zip(&sent) {
                    assert!(bits(there) == bits(sent), "{}, round {round}: {name}", case.name);
                }
            }
        }
    }
}

#[test]
fn tensors_on_the_gpu_give_what_the_processors_executor_gives() {
    let Some(gpu) = card() else { return };
    let _others = among_others();
    for case in families() {
        let engine = Engine::compile_on(case.graph.clone(), gpu.clone()).expect("it runs on a GPU");
        let cpu = Engine::compile_for(case.graph.clone(), Target::best().expect("a target")).expect("an engine");
        let there = run_from(&case, &engine, Mode::Training, &gpu.tensors());
        let here = run_from(&case, &cpu, Mode::Training, &Device::Cpu);
        for ((name, there), here) in PARTS.iter().zip(&there).zip(&here) {
            let apart = apart(there, here);
            assert!(apart < 1e-4, "{}: {name} is {apart} apart", case.name);
        }
    }
}

/// Views into larger tensors: offsets, and strides that candle lays out first.
#[test]
fn views_are_read_where_they_begin() {
    let Some(gpu) = card() else { return };
    let _others = among_others();
    let Case { graph, .. } = families().swap_remove(0);
    let engine = Engine::compile_on(graph.clone(), gpu.clone()).expect("it runs on a GPU");
    let from = graph.shape(graph.input());
    let pass = Pass { statistics: RunningStatistics::new(&graph), ..Pass::default() };
    let output = |device: &Device| {
        let (weights, slots) = (graph.parameters(), graph.slot_count());
        let x = Tensor::from_vec(noise(1, 5 * from.len()), (5, from.channels, from.width, from.height), device);
        let x = x.and_then(|x| x.narrow(0, 2, 2)).and_then(|x| x.transpose(D::Minus1, D::Minus2)).expect("a view");
        let part = |seed, len: usize, at| {
            let whole = Tensor::from_vec(noise(seed, len + 9), len + 9, device);
            whole.and_then(|whole| whole.narrow(0, at, len)).expect("a view")
        };
        numbers(&engine.forward(&x, &part(2, weights, 4), &part(3, slots, 7), &pass).expect("a pass"))
    };
    assert_eq!(bits(&output(&gpu.tensors())), bits(&output(&Device::Cpu)));
}

/// A small supernet on a device, run by the GPU.
fn network(gpu: &Arc<dyn Launcher>, device: &Device) -> Network {
    let options = SupernetOptions { channels: 4, layers: 3, nodes: 1, ..SupernetOptions::new(Shape::new(1, 8, 8), 10) };
    let supernet = Supernet::build(&options).expect("a supernet");
    Network::supernet(supernet, Seed(4), device).and_then(|network| network.on_gpu(gpu)).expect("a network")
}

fn batch(seed: u64, device: &Device) -> Batch {
    let images = Tensor::from_vec(noise(seed, 6 * 64), (6, 1, 8, 8), &Device::Cpu).expect("images");
    let labels = Tensor::new(&[0u32, 1, 9, 3, 3, 7], &Device::Cpu).expect("labels");
    Batch::new(images, labels).and_then(|batch| batch.to_device(device)).expect("a batch")
}

#[test]
fn a_search_steps_where_the_tensors_are() {
    let Some(gpu) = card() else { return };
    let _others = among_others();
    let search = |device: &Device| {
        let network = network(&gpu, device);
        let options =
            SgdOptions { momentum: 0.9, weight_decay: 3e-3, clip: Some(0.5), nesterov: true, ..SgdOptions::new(0.05) };
        let mut w_opt = Sgd::new(vec![network.weights().clone()], options).expect("an optimiser");
        let options = AdamOptions { weight_decay: 1e-3, clip: Some(1.0), ..AdamOptions::new(1e-2) };
        let mut a_opt = Adam::new(network.alphas().parameters(), options).expect("an optimiser");
        let mut losses = Vec::new();
        for step in 0..3 {
            let (train, valid) = (batch(10 + step, device), batch(20 + step, device));
            let order = if step == 0 { Order::First } else { Order::Second(w_opt.unroll(0.05).expect("one vector")) };
            let (loss, of_alphas) = alpha_gradient(&network, &train, &valid, None, &order).expect("a gradient");
            a_opt.step(&of_alphas).expect("a step");
            losses.push(loss);
            let (loss, of_weights) = weight_gradient(&network, &train, None).expect("a gradient");
            assert!(of_weights.device().same_device(device));
            w_opt.step(&[of_weights]).expect("a step");
            losses.push(loss);
        }
        let score = evaluate(&network, [Ok(batch(30, device))], None).expect("a score");
        losses.push(score.loss);
        assert!(network.weights().device().same_device(device));
        let alphas = network.alphas().tensors().iter().flat_map(numbers).collect::<Vec<_>>();
        (losses, numbers(&network.weights().detached()), alphas, network.statistics().values())
    };
    let (there, here) = (search(&gpu.tensors()), search(&Device::Cpu));
    for (there, here) in there.0.iter().zip(&here.0) {
        assert!((there - here).abs() < 1e-4, "losses {there} and {here}");
    }
    let single = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<_>>();
    for (name, there, here) in [
        ("weights", &there.1, &here.1),
        ("alphas", &there.2, &here.2),
        ("running statistics", &single(&there.3), &single(&here.3)),
    ] {
        assert!(apart(there, here) < 1e-4, "{name} are {} apart", apart(there, here));
    }
}

#[test]
fn a_step_brings_single_numbers_to_the_processor() {
    let Some(gpu) = card() else { return };
    // Other tests of this process would be counted too.
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    let device = gpu.tensors();
    let network = network(&gpu, &device);
    let options = SgdOptions { momentum: 0.9, weight_decay: 3e-3, clip: Some(0.5), ..SgdOptions::new(0.05) };
    let mut w_opt = Sgd::new(vec![network.weights().clone()], options).expect("an optimiser");
    let mut a_opt = Adam::new(network.alphas().parameters(), AdamOptions::new(1e-2)).expect("an optimiser");
    for step in 0..3 {
        let (train, valid) = (batch(step, &device), batch(step + 10, &device));
        if reads().is_none() {
            return;
        }
        let (_, of_alphas) = alpha_gradient(&network, &train, &valid, None, &Order::First).expect("a gradient");
        a_opt.step(&of_alphas).expect("a step");
        let (_, of_weights) = weight_gradient(&network, &train, None).expect("a gradient");
        w_opt.step(&[of_weights]).expect("a step");
        // Two losses, and the norms of two gradients.
        assert_eq!(reads(), Some((4, size_of::<f64>())));
    }
}

#[test]
fn running_statistics_arrive_in_the_order_of_the_passes() {
    let Some(gpu) = card() else { return };
    let _others = among_others();
    let after = |device: &Device| {
        let network = network(&gpu, device);
        // Nothing but the statistics is waited for.
        for step in 0..5 {
            let images = batch(step, device).images;
            network.forward(&images, None, Mode::Training, None).expect("a pass");
        }
        network.statistics().values().iter().map(|value| *value as f32).collect::<Vec<_>>()
    };
    // Not the same bits: the GPU's softmax of the alphas rounds in its own way.
    let apart = apart(&after(&gpu.tensors()), &after(&Device::Cpu));
    assert!(apart < 1e-5, "running statistics are {apart} apart");
}

#[test]
fn a_label_beyond_the_classes_is_refused() {
    let Some(gpu) = card() else { return };
    let _others = among_others();
    let device = gpu.tensors();
    let network = network(&gpu, &device);
    let images = Tensor::zeros((2, 1, 8, 8), DType::F32, &device).expect("images");
    let labels = Tensor::new(&[0u32, 10], &device).expect("labels");
    let batch = Batch::new(images, labels).expect("a batch");
    let error = weight_gradient(&network, &batch, None).expect_err("there are ten classes");
    assert!(error.message.contains("a label is 10, but the network has only 10 classes"), "{}", error.message);
}

#[test]
fn a_gradient_that_is_not_a_number_moves_nothing() {
    let Some(gpu) = card() else { return };
    let _others = among_others();
    let device = gpu.tensors();
    let start = Var::from_vec(noise(1, 5000), 5000, &device).expect("a variable");
    let parameter = Parameter::new(start.as_tensor()).expect("a parameter");
    let mut optimizer = Sgd::new(vec![parameter.clone()], SgdOptions::new(0.1)).expect("an optimiser");
    let mut gradient = noise(2, 5000);
    gradient[4999] = f32::NAN;
    let gradient = Tensor::from_vec(gradient, 5000, &device).expect("a gradient");
    let error = optimizer.step(&[gradient]).expect_err("it is refused");
    assert!(error.message.contains("the norm of the gradient is NaN"), "{}", error.message);
    assert_eq!(bits(&numbers(&parameter.detached())), bits(&noise(1, 5000)));
}

/// Another device's tensors cannot be read on this one's stream.
#[test]
fn tensors_of_another_device_are_refused() {
    let Some(gpu) = card() else { return };
    let _others = among_others();
    let Case { graph, .. } = families().swap_remove(0);
    let engine = Engine::compile_on(graph.clone(), gpu).expect("it runs on a GPU");
    let other = cuda::open(0).expect("another one").tensors();
    let error = engine.runs_on(&other).expect_err("it is refused");
    assert!(error.message.contains("not of another device"), "{}", error.message);
}
