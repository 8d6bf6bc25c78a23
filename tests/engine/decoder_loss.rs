//! The decoder's loss over a vocabulary: compared with candle's operations in double precision, and those with central
//! differences.

use candle_core::{DType, Device, Tensor, Var};
use candlewick::engine::{DecoderLoss, Isa, log_probabilities};
use candlewick::random::Seed;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

/// Hidden rows, matrix, bias and targets of a decoder, in double precision.
struct Decoder {
    x: Tensor,
    e: Tensor,
    b: Tensor,
    targets: Tensor,
    /// What each row's loss weighs in the sum that gradients are taken of.
    weights: Tensor,
}

fn decoder(seed: u64, rows: usize, vocabulary: usize, width: usize, scale: f64) -> Decoder {
    let mut rng = Seed(seed).rng("decoder", 0);
    let mut normal = |count: usize, scale: f64| -> Vec<f64> {
        // Values that single precision holds exactly, so that both sides see the same.
        let mut value =
            || f64::from((scale * <StandardNormal as Distribution<f64>>::sample(&StandardNormal, &mut rng)) as f32);
        (0..count).map(|_| value()).collect()
    };
    let tensor = |values: Vec<f64>, dims: &[usize]| Tensor::from_vec(values, dims, &Device::Cpu).unwrap();
    let (x, e) = (normal(rows * width, scale), normal(vocabulary * width, 1.0));
    let (b, weights) = (normal(vocabulary, 1.0), normal(rows, 1.0));
    let targets: Vec<u32> = (0..rows).map(|_| rng.random_range(0..vocabulary as u32)).collect();
    Decoder {
        x: tensor(x, &[rows, width]),
        e: tensor(e, &[vocabulary, width]),
        b: tensor(b, &[vocabulary]),
        targets: Tensor::from_vec(targets, rows, &Device::Cpu).unwrap(),
        weights: tensor(weights, &[rows]),
    }
}

/// The losses and the gradients of rows, matrix and bias; of their mean, or of their weighted sum.
fn run(loss: &DecoderLoss, decoder: &Decoder, dtype: DType, weighted: bool) -> (Vec<f64>, [Vec<f64>; 3]) {
    let variable = |tensor: &Tensor| Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap();
    let (x, e, b) = (variable(&decoder.x), variable(&decoder.e), variable(&decoder.b));
    let losses = loss.of_rows(&x, &e, &b, &decoder.targets).unwrap();
    let total = match weighted {
        true => (&losses * decoder.weights.to_dtype(dtype).unwrap()).unwrap().sum_all().unwrap(),
        false => losses.mean_all().unwrap(),
    };
    let gradients = total.backward().unwrap();
    let values = |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    (values(&losses), [&x, &e, &b].map(|variable| values(gradients.get(variable).unwrap())))
}

/// The distance of two vectors over the length of the second.
fn distance(ours: &[f64], exact: &[f64]) -> f64 {
    assert_eq!(ours.len(), exact.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut ours.iter().zip(exact).map(|(a, b)| a - b)) / norm(&mut exact.iter().copied())
}

#[test]
fn tiles_agree_with_the_plain_decoder_in_double_precision() {
    let sizes = [(1, 7, 3), (5, 7, 3), (3, 1, 2), (256, 16, 16), (257, 333, 5), (300, 1000, 17), (40, 4099, 64)];
    for isa in Isa::available() {
        let loss = DecoderLoss::with(isa);
        for (seed, (rows, vocabulary, width)) in sizes.into_iter().enumerate() {
            let decoder = decoder(seed as u64, rows, vocabulary, width, 1.0);
            for weighted in [false, true] {
                let (ours, exact) =
                    (run(&loss, &decoder, DType::F32, weighted), run(&loss, &decoder, DType::F64, weighted));
                let place = format!("{}: {rows}×{vocabulary}×{width}, weighted {weighted}", isa.name());
                if vocabulary == 1 {
                    // A single word is certain: all is zero, but for rounding of logits of either sign.
                    assert!(ours.0.iter().chain(ours.1.iter().flatten()).all(|v| v.abs() < 1e-6), "{place}");
                    continue;
                }
                assert!(distance(&ours.0, &exact.0) < 1e-5, "{place}: losses");
                for (ours, exact) in ours.1.iter().zip(&exact.1) {
                    assert!(distance(ours, exact) < 1e-5, "{place}: {}", distance(ours, exact));
                }
            }
        }
    }
}

#[test]
fn gradients_of_the_plain_decoder_are_central_differences() {
    let (loss, decoder) = (DecoderLoss::new().unwrap(), decoder(3, 4, 6, 3, 1.0));
    let (_, gradients) = run(&loss, &decoder, DType::F64, true);
    let total = |x: &Tensor, e: &Tensor, b: &Tensor| -> f64 {
        let losses = loss.of_rows(x, e, b, &decoder.targets).unwrap();
        (losses * &decoder.weights).unwrap().sum_all().unwrap().to_scalar().unwrap()
    };
    let step = 1e-5;
    let moved = |tensor: &Tensor, at: usize, by: f64| {
        let mut values = tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        values[at] += by;
        Tensor::from_vec(values, tensor.dims(), &Device::Cpu).unwrap()
    };
    let Decoder { x, e, b, .. } = &decoder;
    let at = |input: usize, place: usize, by: f64| match input {
        0 => total(&moved(x, place, by), e, b),
        1 => total(x, &moved(e, place, by), b),
        _ => total(x, e, &moved(b, place, by)),
    };
    for (input, gradient) in gradients.iter().enumerate() {
        for (place, gradient) in gradient.iter().enumerate() {
            let difference = (at(input, place, step) - at(input, place, -step)) / (2.0 * step);
            assert!((difference - gradient).abs() < 1e-8, "input {input} at {place}: {difference} and {gradient}");
        }
    }
}

#[test]
fn losses_are_those_of_the_log_probabilities() {
    let (loss, decoder) = (DecoderLoss::new().unwrap(), decoder(5, 9, 50, 4, 1.0));
    let Decoder { x, e, b, targets, .. } = &decoder;
    let table = log_probabilities(x, e, b).unwrap();
    let sums = table.exp().unwrap().sum(1).unwrap().to_vec1::<f64>().unwrap();
    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-12));
    let losses = loss.of_rows(x, e, b, targets).unwrap().to_vec1::<f64>().unwrap();
    let (table, targets) = (table.to_vec2::<f64>().unwrap(), targets.to_vec1::<u32>().unwrap());
    for ((row, target), loss) in table.iter().zip(targets).zip(losses) {
        assert!((row[target as usize] + loss).abs() < 1e-12);
    }
}

#[test]
fn large_logits_do_not_overflow() {
    let loss = DecoderLoss::new().unwrap();
    // Logits up to some thousands: exponentials of them would be infinite.
    let decoder = decoder(7, 30, 100, 8, 400.0);
    let (ours, exact) = (run(&loss, &decoder, DType::F32, false), run(&loss, &decoder, DType::F64, false));
    assert!(exact.0.iter().any(|loss| *loss > 1000.0));
    assert!(distance(&ours.0, &exact.0) < 1e-5);
    for (ours, exact) in ours.1.iter().zip(&exact.1) {
        // Logits of thousands are themselves rounded to 10⁻⁴.
        assert!(distance(ours, exact) < 2e-3, "{}", distance(ours, exact));
    }
}

#[test]
fn words_may_be_masked_and_nan_is_seen() {
    let loss = DecoderLoss::new().unwrap();
    let x = Tensor::new(&[[1f32, 2.0], [f32::NAN, 0.0]], &Device::Cpu).unwrap();
    let e = Tensor::zeros((40, 2), DType::F32, &Device::Cpu).unwrap();
    // All words but two are impossible; whole groups of sixteen are.
    let bias: Vec<f32> = (0..40).map(|word| if word < 2 { 0.0 } else { f32::NEG_INFINITY }).collect();
    let b = Tensor::new(bias, &Device::Cpu).unwrap();
    let targets = Tensor::new(&[1u32, 1], &Device::Cpu).unwrap();
    let losses = loss.of_rows(&x, &e, &b, &targets).unwrap().to_vec1::<f32>().unwrap();
    assert!((losses[0] - std::f32::consts::LN_2).abs() < 1e-6, "{losses:?}");
    assert!(losses[1].is_nan(), "{losses:?}");
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let decoder = decoder(11, 600, 1234, 20, 1.0);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let loss = DecoderLoss::new().unwrap();
            let first = run(&loss, &decoder, DType::F32, true);
            // In used memory, after a pass of another size.
            run(&loss, &self::decoder(1, 10, 30, 3, 1.0), DType::F32, true);
            assert!(run(&loss, &decoder, DType::F32, true) == first, "{threads} threads, the second time");
            first
        })
    };
    let one = with(1);
    for threads in [2, 3, 7] {
        assert!(with(threads) == one, "{threads} threads");
    }
}

#[test]
fn only_what_is_tracked_gets_a_gradient() {
    let (loss, decoder) = (DecoderLoss::new().unwrap(), decoder(13, 20, 60, 6, 1.0));
    let single = |tensor: &Tensor| tensor.to_dtype(DType::F32).unwrap();
    let (all, x) = (run(&loss, &decoder, DType::F32, false), Var::from_tensor(&single(&decoder.x)).unwrap());
    let (e, b) = (single(&decoder.e), single(&decoder.b));
    let losses = loss.of_rows(&x, &e, &b, &decoder.targets).unwrap();
    let total = losses.mean_all().unwrap();
    // Twice: a loss may be differentiated again.
    for _ in 0..2 {
        let gradients = total.backward().unwrap();
        let own: Vec<f32> = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(own.iter().zip(&all.1[0]).all(|(own, all)| f64::from(*own) == *all));
        assert!(gradients.get(&e).is_none() && gradients.get(&b).is_none());
    }
    let free = loss.of_rows(&x.as_tensor().detach(), &e, &b, &decoder.targets).unwrap();
    assert!(!free.track_op());
    assert_eq!(free.to_vec1::<f32>().unwrap(), losses.to_vec1::<f32>().unwrap());
}

#[test]
fn what_does_not_fit_is_refused() {
    let loss = DecoderLoss::new().unwrap();
    let Decoder { x, e, b, targets, .. } = decoder(1, 3, 5, 2, 1.0);
    #[track_caller]
    fn says(result: candlewick::Result<Tensor>, text: &str) {
        let error = result.expect_err("this is refused");
        assert_eq!(error.exit_code(), 2);
        assert!(error.message.contains(text), "{error}");
    }
    let beyond = Tensor::new(&[0u32, 5, 1], &Device::Cpu).unwrap();
    says(loss.of_rows(&x, &e, &b, &beyond), "target 5 is beyond the vocabulary of 5 words");
    says(loss.of_rows(&x, &b, &e, &targets), "do not fit together");
    says(loss.of_rows(&x, &e.narrow(0, 0, 4).unwrap(), &b, &targets), "do not fit together");
    says(loss.of_rows(&x, &e, &b, &targets.narrow(0, 0, 2).unwrap()), "3 hidden rows need 3 targets");
    says(loss.of_rows(&x, &e, &b, &targets.to_dtype(DType::I64).unwrap()), "of type i64");
    says(loss.of_rows(&x, &e.to_dtype(DType::F32).unwrap(), &b, &targets), "matrix is f32");
    says(log_probabilities(&x, &e, &b.narrow(0, 0, 2).unwrap()), "do not fit together");
}
