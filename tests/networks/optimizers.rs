//! Optimisers follow their formulas, refuse what does not fit, and go on where they were put back.

use crate::learning::{assert_close, failure, parameter, tensor, values};
use candlewick::Parameter;
use candlewick::learn::optimizer::{Adam, AdamOptions, Asgd, AsgdOptions, Optimizer, Sgd, SgdOptions};

#[test]
fn sgd_accumulates_momentum_and_decays_weights() {
    let w = parameter(&[1.0, -2.0]);
    let options = SgdOptions { momentum: 0.9, weight_decay: 0.1, ..SgdOptions::new(0.5) };
    let mut sgd = Sgd::new(vec![w.clone()], options).unwrap();
    sgd.step(&[tensor(&[0.2, 0.4])]).unwrap();
    // g + λw = (0.3, 0.2); buf the same; w − 0.5·buf
    assert_close(&values(&w.tensor()), &[0.85, -2.1], 1e-12);
    sgd.step(&[tensor(&[0.0, 0.0])]).unwrap();
    // g = 0.1·w = (0.085, −0.21); buf = 0.9·(0.3, 0.2) + g = (0.355, −0.03)
    assert_close(&values(&w.tensor()), &[0.85 - 0.1775, -2.1 + 0.015], 1e-12);
}

#[test]
fn nesterov_looks_ahead_along_the_momentum() {
    let w = parameter(&[1.0]);
    let options = SgdOptions { momentum: 0.5, nesterov: true, ..SgdOptions::new(0.1) };
    let mut sgd = Sgd::new(vec![w.clone()], options).unwrap();
    sgd.step(&[tensor(&[2.0])]).unwrap();
    assert_close(&values(&w.tensor()), &[1.0 - 0.1 * 3.0], 1e-12);
    sgd.step(&[tensor(&[1.0])]).unwrap();
    // buf = 0.5·2 + 1 = 2; g + µ·buf = 2
    assert_close(&values(&w.tensor()), &[0.7 - 0.2], 1e-12);
    assert!(Sgd::new(vec![w], SgdOptions { nesterov: true, ..SgdOptions::new(0.1) }).is_err());
}

#[test]
fn clipping_takes_one_norm_over_all_gradients_and_comes_before_the_decay() {
    let (a, b) = (parameter(&[10.0]), parameter(&[0.0]));
    let options = SgdOptions { clip: Some(5.0), weight_decay: 0.1, ..SgdOptions::new(1.0) };
    let mut sgd = Sgd::new(vec![a.clone(), b.clone()], options).unwrap();
    sgd.step(&[tensor(&[30.0]), tensor(&[40.0])]).unwrap();
    let factor = 5.0 / (50.0 + 1e-6);
    assert_close(&values(&a.tensor()), &[10.0 - (30.0 * factor + 1.0)], 1e-12);
    assert_close(&values(&b.tensor()), &[-40.0 * factor], 1e-12);
    // Below the limit nothing is scaled.
    a.set(&tensor(&[0.0])).unwrap();
    b.set(&tensor(&[0.0])).unwrap();
    sgd.step(&[tensor(&[3.0]), tensor(&[3.0])]).unwrap();
    assert_close(&values(&a.tensor()), &[-3.0], 1e-12);
}

#[test]
fn asgd_descends_and_then_takes_the_mean_of_what_it_reaches() {
    let w = parameter(&[10.0]);
    let options = AsgdOptions { lr: 0.5, weight_decay: 0.1, clip: Some(1.0) };
    let mut asgd = Asgd::new(vec![w.clone()], options).unwrap();
    let mut expected = 10.0;
    let mut step = |asgd: &mut Asgd, gradient: f64| {
        asgd.step(&[tensor(&[gradient])]).unwrap();
        let clipped = gradient * (1.0 / (gradient.abs() + 1e-6)).min(1.0);
        expected -= 0.5 * (clipped + 0.1 * expected);
        assert_close(&values(&w.tensor()), &[expected], 1e-12);
        expected
    };
    step(&mut asgd, 4.0);
    // Nothing to swap yet.
    asgd.swap().unwrap();
    step(&mut asgd, 0.5);
    asgd.set_averaging(true).unwrap();
    let reached: Vec<f64> = [0.25, -3.0, 0.125].iter().map(|gradient| step(&mut asgd, *gradient)).collect();
    asgd.set_averaging(true).unwrap();
    asgd.swap().unwrap();
    assert_close(&values(&w.tensor()), &[reached.iter().sum::<f64>() / 3.0], 1e-12);
    assert!(failure(asgd.step(&[tensor(&[1.0])])).hint.unwrap().contains("swap_average"));
    assert!(failure(asgd.set_averaging(false)).message.contains("in the weights' place"));
    asgd.swap().unwrap();
    assert_close(&values(&w.tensor()), &[reached[2]], 0.0);
    asgd.set_averaging(false).unwrap();
    assert!(!asgd.is_averaging());
}

#[test]
fn adam_follows_its_closed_form() {
    // With a constant gradient and no decay every corrected moment is the gradient itself: steps of lr·g/(|g| + eps).
    let w = parameter(&[1.0, 1.0]);
    let options = AdamOptions { betas: (0.5, 0.999), ..AdamOptions::new(0.01) };
    let mut adam = Adam::new(vec![w.clone()], options).unwrap();
    for _ in 0..3 {
        adam.step(&[tensor(&[0.3, -4.0])]).unwrap();
    }
    assert_close(&values(&w.tensor()), &[1.0 - 0.03 * 0.3 / (0.3 + 1e-8), 1.0 + 0.03 * 4.0 / (4.0 + 1e-8)], 1e-9);
}

#[test]
fn adam_adds_eps_to_the_root() {
    // A gradient as small as eps makes half a step; with eps under the root it would be a ten-thousandth of one.
    let w = parameter(&[1.0, 1.0]);
    let mut adam = Adam::new(vec![w.clone()], AdamOptions::new(0.01)).unwrap();
    for _ in 0..2 {
        adam.step(&[tensor(&[1e-8, -3e-8])]).unwrap();
    }
    assert_close(&values(&w.tensor()), &[1.0 - 0.02 * 0.5, 1.0 + 0.02 * 0.75], 1e-9);
}

#[test]
fn adam_decays_through_the_gradient_or_beside_it() {
    let w = parameter(&[2.0]);
    let options = AdamOptions { weight_decay: 0.5, ..AdamOptions::new(0.1) };
    Adam::new(vec![w.clone()], options).unwrap().step(&[tensor(&[-3.0])]).unwrap();
    // g = −3 + 0.5·2 = −2: one step of lr against its sign
    assert_close(&values(&w.tensor()), &[2.1], 1e-8);
    let w = parameter(&[2.0]);
    let options = AdamOptions { decoupled: true, ..options };
    Adam::new(vec![w.clone()], options).unwrap().step(&[tensor(&[-3.0])]).unwrap();
    assert_close(&values(&w.tensor()), &[2.0 - 0.1 * 0.5 * 2.0 + 0.1], 1e-8);
}

#[test]
fn an_optimiser_put_back_goes_on_as_if_it_had_never_stopped() {
    let gradients = [[0.3, -0.2], [0.1, 0.5], [-0.7, 0.2], [0.4, 0.4]];
    let make: [fn(Parameter) -> Box<dyn Optimizer>; 4] = [
        |w| {
            let options = SgdOptions { momentum: 0.9, weight_decay: 0.01, clip: Some(0.3), ..SgdOptions::new(0.1) };
            Box::new(Sgd::new(vec![w], options).unwrap())
        },
        |w| Box::new(Sgd::new(vec![w], SgdOptions::new(0.1)).unwrap()),
        |w| Box::new(Adam::new(vec![w], AdamOptions { weight_decay: 0.01, ..AdamOptions::new(0.1) }).unwrap()),
        |w| {
            let mut asgd = Asgd::new(vec![w], AsgdOptions { lr: 0.1, weight_decay: 0.01, clip: None }).unwrap();
            asgd.set_averaging(true).unwrap();
            Box::new(asgd)
        },
    ];
    for make in make {
        let whole = parameter(&[1.0, 2.0]);
        let mut unstopped = make(whole.clone());
        let halves = parameter(&[1.0, 2.0]);
        let mut first = make(halves.clone());
        for gradient in &gradients[..2] {
            unstopped.step(&[tensor(gradient)]).unwrap();
            first.step(&[tensor(gradient)]).unwrap();
        }
        unstopped.set_lr(0.05).unwrap();
        first.set_lr(0.05).unwrap();
        let state = first.state().unwrap();
        let mut second = make(halves.clone());
        second.restore(&state).unwrap();
        assert_eq!(second.lr(), 0.05);
        for gradient in &gradients[2..] {
            unstopped.step(&[tensor(gradient)]).unwrap();
            second.step(&[tensor(gradient)]).unwrap();
        }
        assert_eq!(values(&whole.tensor()), values(&halves.tensor()));
        assert!(failure(second.restore(&[])).message.contains("saved optimiser"));
    }
}

#[test]
fn optimisers_refuse_gradients_and_options_that_do_not_fit() {
    let mut sgd = Sgd::new(vec![parameter(&[1.0, 2.0])], SgdOptions::new(0.1)).unwrap();
    assert!(failure(sgd.step(&[])).message.contains("1 parameters but was given 0"));
    assert!(failure(sgd.step(&[tensor(&[1.0])])).message.contains("[1]"));
    assert!(failure(sgd.set_lr(f64::NAN)).message.contains("lr"));
    assert!(Sgd::new(vec![], SgdOptions { momentum: 1.0, ..SgdOptions::new(0.1) }).is_err());
    assert!(Sgd::new(vec![], SgdOptions { clip: Some(0.0), ..SgdOptions::new(0.1) }).is_err());
    assert!(Adam::new(vec![], AdamOptions { betas: (0.5, 1.5), ..AdamOptions::new(0.1) }).is_err());
}
