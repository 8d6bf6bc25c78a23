//! Dropout of recurrent language models: shares, shapes and scales, and gradients through what is kept.

use candle_core::{DType, Device, Tensor, Var};
use candlewick::random::Seed;
use candlewick::space::dropout::{activity, connections, locked, mask, of_words, slowness};

fn ones(shape: &[usize]) -> Tensor {
    Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn masks_keep_the_share_they_say_and_the_mean() {
    let like = ones(&[1]);
    let values = flat(&mask(&[100, 100], 0.75, &like, &mut Seed(1).rng("mask", 0)).unwrap());
    let kept = values.iter().filter(|value| **value == 4.0).count();
    assert_eq!(values.iter().filter(|value| **value == 0.0).count() + kept, 10_000);
    assert!((2300..2700).contains(&kept), "{kept}");
    let again = |step| flat(&mask(&[100, 100], 0.75, &like, &mut Seed(1).rng("mask", step)).unwrap());
    assert_eq!(again(0), values);
    assert_ne!(again(1), values);
    let double = like.to_dtype(DType::F64).unwrap();
    assert_eq!(mask(&[2], 0.5, &double, &mut Seed(1).rng("mask", 0)).unwrap().dtype(), DType::F64);
    for wrong in [1.0, -0.1, f64::NAN] {
        let error = mask(&[2], wrong, &like, &mut Seed(1).rng("mask", 0)).unwrap_err();
        assert!(error.message.contains("at least 0 and below 1"), "{error}");
    }
}

#[test]
fn a_locked_mask_is_one_for_all_time_steps_and_words_go_whole() {
    let rng = || Seed(2).rng("mask", 0);
    let x = locked(&ones(&[5, 4, 30]), 0.4, &mut rng()).unwrap();
    let steps: Vec<Vec<f32>> = (0..5).map(|step| flat(&x.get(step).unwrap())).collect();
    assert!(steps.iter().all(|step| *step == steps[0]));
    assert!(steps[0].contains(&0.0) && steps[0][..30] != steps[0][30..60]);
    // Fifty words, then the same again.
    let words = Tensor::new((0..100).map(|place| place % 50).collect::<Vec<u32>>(), &Device::Cpu).unwrap();
    let rows = |q| of_words(&ones(&[100, 3]), &words, 50, q, &mut rng()).unwrap().to_vec2::<f32>().unwrap();
    let dropped = rows(0.4);
    assert!(dropped.iter().all(|row| row.iter().all(|value| *value == row[0])));
    assert!(dropped.iter().any(|row| row[0] == 0.0) && dropped.iter().any(|row| row[0] != 0.0));
    assert_eq!(dropped[..50], dropped[50..], "a word is dropped wherever it stands");
    assert_eq!(flat(&locked(&ones(&[2, 1, 3]), 0.0, &mut rng()).unwrap()), [1.0; 6]);
    assert_eq!(rows(0.0), vec![vec![1.0; 3]; 100]);
}

#[test]
fn connections_drop_within_their_ranges_alone_and_pass_gradients() {
    let rng = || Seed(3).rng("mask", 0);
    let weights = Var::from_tensor(&ones(&[100])).unwrap();
    let dropped = connections(&weights, &[10..40, 60..90], 0.5, &mut rng()).unwrap();
    let values = flat(&dropped);
    for (place, value) in values.iter().enumerate() {
        let inside = (10..40).contains(&place) || (60..90).contains(&place);
        assert!(if inside { *value == 0.0 || *value == 2.0 } else { *value == 1.0 }, "{place}: {value}");
    }
    assert!(values.contains(&0.0) && values.contains(&2.0));
    let gradients = dropped.sum_all().unwrap().backward().unwrap();
    assert_eq!(flat(gradients.get(&weights).unwrap()), values);
    let error = connections(&weights, &[0..1, 90..101], 0.5, &mut rng()).unwrap_err();
    assert!(error.message.contains("90 to 101 are not among the 100"), "{error}");
}

#[test]
fn regularisers_are_mean_squares() {
    let hidden = Tensor::new(&[[[1f64, 2.0]], [[3.0, 2.0]], [[0.0, 4.0]]], &Device::Cpu).unwrap();
    let value = |tensor: Tensor| tensor.to_scalar::<f64>().unwrap();
    let is = |tensor: Tensor, expected: f64| assert!((value(tensor) - expected).abs() < 1e-12);
    is(activity(&hidden).unwrap(), (1.0 + 4.0 + 9.0 + 4.0 + 16.0) / 6.0);
    is(slowness(&hidden).unwrap(), (4.0 + 0.0 + 9.0 + 4.0) / 4.0);
    assert_eq!(value(slowness(&hidden.narrow(0, 0, 1).unwrap()).unwrap()), 0.0);
}
