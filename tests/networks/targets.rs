//! Losses towards targets: classes that weigh differently, images laid over one another, smoothed labels beside both.

use candle_core::{Device, Tensor, Var};
use candlewick::learn::{Batch, Loss};

/// Logits of two images of three classes, and their logarithms of probabilities.
fn two() -> (Tensor, [[f64; 3]; 2]) {
    let rows = [[2.0f64, 0.0, 0.0], [0.0, 1.0, -1.0]];
    let log_p = rows.map(|row| row.map(|v| v - row.iter().map(|v| v.exp()).sum::<f64>().ln()));
    (Tensor::new(&rows, &Device::Cpu).unwrap(), log_p)
}

fn loss(logits: &Tensor, labels: [u32; 2], targets: Option<[[f64; 3]; 2]>, label_smoothing: f64) -> f64 {
    let batch = Batch {
        images: logits.clone(),
        labels: Tensor::new(&labels, &Device::Cpu).unwrap(),
        indices: vec![],
        targets: targets.map(|targets| Tensor::new(&targets, &Device::Cpu).unwrap()),
    };
    let loss = Loss { label_smoothing, ..Loss::default() };
    loss.of(logits, &batch, 3).unwrap().to_scalar::<f64>().unwrap()
}

#[test]
fn an_image_counts_as_much_as_its_targets_weigh() {
    let (logits, p) = two();
    // The weighted mean is over images: 1/2 · (3 · ℓ₀ + 0.5 · ℓ₁).
    let weighted = loss(&logits, [0, 2], Some([[3.0, 0.0, 0.0], [0.0, 0.0, 0.5]]), 0.0);
    assert!((weighted + (3.0 * p[0][0] + 0.5 * p[1][2]) / 2.0).abs() < 1e-12, "{weighted}");
    // A mixed image: λ · ℓ(a) + (1 − λ) · ℓ(b).
    let mixed = loss(&logits, [0, 2], Some([[0.7, 0.3, 0.0], [0.0, 0.3, 0.7]]), 0.0);
    assert!((mixed + (0.7 * p[0][0] + 0.3 * p[0][1] + 0.3 * p[1][1] + 0.7 * p[1][2]) / 2.0).abs() < 1e-12);
}

#[test]
fn targets_that_say_what_labels_do_give_the_same_loss() {
    let (logits, _) = two();
    for smoothing in [0.0, 0.1] {
        let plain = loss(&logits, [0, 2], None, smoothing);
        let towards = loss(&logits, [0, 2], Some([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), smoothing);
        assert!((plain - towards).abs() < 1e-12, "{smoothing}: {plain} {towards}");
        // Smoothing keeps an image's weight.
        let twice = loss(&logits, [0, 2], Some([[2.0, 0.0, 0.0], [0.0, 0.0, 2.0]]), smoothing);
        assert!((twice - 2.0 * plain).abs() < 1e-12);
    }
}

#[test]
fn the_gradient_of_a_logit_is_its_probability_times_the_weight_less_the_target() {
    let (logits, log_p) = two();
    let targets = [[2.1, 0.9, 0.0], [0.0, 0.5, 0.25]];
    let logits = Var::from_tensor(&logits).unwrap();
    let batch = Batch {
        images: logits.as_tensor().clone(),
        labels: Tensor::new(&[0u32, 1], &Device::Cpu).unwrap(),
        indices: vec![],
        targets: Some(Tensor::new(&targets, &Device::Cpu).unwrap()),
    };
    let loss = Loss::default().of(logits.as_tensor(), &batch, 3).unwrap();
    let found = loss.backward().unwrap().get(&logits).unwrap().to_vec2::<f64>().unwrap();
    for image in 0..2 {
        let weight: f64 = targets[image].iter().sum();
        for class in 0..3 {
            let expected = (weight * log_p[image][class].exp() - targets[image][class]) / 2.0;
            assert!((found[image][class] - expected).abs() < 1e-12);
        }
    }
}

#[test]
fn targets_of_another_shape_are_refused() {
    let (logits, _) = two();
    let targets = Some(Tensor::zeros((2, 4), logits.dtype(), &Device::Cpu).unwrap());
    let labels = Tensor::new(&[0u32, 1], &Device::Cpu).unwrap();
    let batch = Batch { images: logits.clone(), labels, indices: vec![], targets };
    let error = Loss::default().of(&logits, &batch, 3).unwrap_err();
    assert!(error.message.contains("targets [2, 4] do not fit logits [2, 3]"), "{error}");
}
