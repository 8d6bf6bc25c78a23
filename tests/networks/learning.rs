//! Learning: optimisers against steps worked out by hand, schedules against the published numbers, and the two alpha
//! gradients against numeric differentiation of what they claim to differentiate.

use candle_core::{DType, Device, Tensor, Var};
use candlewick::engine::Mode;
use candlewick::learn::bilevel::{self, Objective, Order, Split, Unroll, With};
use candlewick::learn::optimizer::{Optimizer, Sgd, SgdOptions};
use candlewick::learn::{norm, schedule};
use candlewick::space::Alphas;
use candlewick::{Error, Parameter, Result};

pub fn parameter(values: &[f64]) -> Parameter {
    Parameter::from_vec(values.to_vec(), values.len(), &Device::Cpu).unwrap()
}

pub fn tensor(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, values.len(), &Device::Cpu).unwrap()
}

pub fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

#[track_caller]
pub fn assert_close(got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (g, e) in got.iter().zip(expected) {
        assert!((g - e).abs() <= tolerance * e.abs().max(1e-12), "{got:?} is not {expected:?}");
    }
}

pub fn failure<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("this should have been refused"),
        Err(error) => error,
    }
}

#[test]
fn norms_are_taken_over_all_tensors() {
    let a = Tensor::new(&[3f32, 0.0, 0.0], &Device::Cpu).unwrap();
    let b = Tensor::new(&[[0f32, 4.0], [0.0, 12.0]], &Device::Cpu).unwrap();
    assert_eq!(norm(&[a.clone(), b.t().unwrap()]).unwrap(), 13.0);
    assert_eq!(norm(&[a.narrow(0, 1, 2).unwrap()]).unwrap(), 0.0);
    assert_eq!(norm(&[]).unwrap(), 0.0);
}

#[test]
fn schedules_give_the_published_rates() {
    assert_eq!(schedule::cosine(0.025, 0.001, 0.0, 50.0), 0.025);
    assert!((schedule::cosine(0.025, 0.001, 49.0, 50.0) - 0.001024).abs() < 5e-7);
    assert!((schedule::cosine(0.025, 0.0, 599.0, 600.0) - 1.71e-7).abs() < 5e-10);
    assert_eq!(schedule::cosine(0.025, 0.001, 50.0, 50.0), 0.001);
    assert_eq!(schedule::cosine(0.025, 0.001, 70.0, 50.0), 0.001);
    assert_eq!(schedule::cosine(0.025, 0.001, 0.0, 0.0), 0.001);
    assert_eq!(schedule::linear(0.0, 0.2, 300.0, 600.0), 0.1);
    assert_eq!(schedule::linear(0.0, 0.2, 700.0, 600.0), 0.2);
    assert_eq!(schedule::step(0.1, 0.97, 0.0, 1.0), 0.1);
    assert!((schedule::step(0.1, 0.97, 2.0, 1.0) - 0.1 * 0.97 * 0.97).abs() < 1e-15);
    assert_eq!(schedule::step(0.1, 0.5, 7.0, 4.0), 0.05);
}

/// Six weights, three alphas: two smooth losses that mix products of both, so that every second derivative is there.
struct Toy;

const ROWS: [[f64; 6]; 3] =
    [[0.9, -0.4, 0.3, 0.7, -0.2, 0.5], [-0.6, 0.8, 0.1, -0.3, 0.9, 0.2], [0.2, 0.5, -0.7, 0.4, 0.1, -0.8]];

impl Objective for Toy {
    fn loss(&self, split: Split, w: &Tensor, p: &[Tensor], _: Mode) -> Result<Tensor> {
        let rows = Tensor::new(&ROWS, &Device::Cpu)?;
        let (shift, target) = match split {
            Split::Train => (0.1, [0.3, -0.2, 0.5]),
            Split::Valid => (-0.3, [-0.1, 0.4, 0.2]),
        };
        let features = rows.matmul(&w.affine(1.0, shift)?.unsqueeze(1)?)?.squeeze(1)?.tanh()?;
        let error = ((features * &p[0])? - tensor(&target))?;
        let bend = (w.sqr()?.sum_all()? * p[0].sqr()?.sum_all()?)?.affine(0.05, 0.0)?;
        Ok((error.sqr()?.sum_all()? + bend)?)
    }
}

const WEIGHTS: [f64; 6] = [0.4, -0.3, 0.8, 0.1, -0.6, 0.5];
const BUFFER: [f64; 6] = [0.2, 0.1, -0.4, 0.3, 0.05, -0.1];

fn toy_alphas(values: &[f64]) -> Alphas {
    Alphas::new(vec![("alpha".into(), parameter(values))])
}

fn softmax(alphas: &Alphas) -> Result<Vec<Tensor>> {
    Ok(vec![candle_nn::ops::softmax(&alphas.tensors()[0], 0)?])
}

fn unroll(eta: f64, nesterov: bool) -> Unroll {
    Unroll { eta, momentum: 0.9, buffer: Some(tensor(&BUFFER)), nesterov, weight_decay: 0.03, clip: None }
}

fn second_order(alphas: &[f64], unroll: Unroll) -> Vec<f64> {
    let (_, gradient) =
        bilevel::alpha_gradient(&Toy, &parameter(&WEIGHTS), &toy_alphas(alphas), &softmax, &Order::Second(unroll))
            .unwrap();
    values(&gradient[0])
}

/// L_val(w'(α), α), with the weight step written out here once more.
fn outer_loss(alphas: &[f64], unroll: &Unroll) -> f64 {
    let p = softmax(&toy_alphas(alphas)).unwrap();
    let w = parameter(&WEIGHTS).tensor();
    let loss = Toy.loss(Split::Train, &w, &p, Mode::Trial).unwrap();
    let gradient = values(loss.backward().unwrap().get(&w).unwrap());
    let step: Vec<f64> = (0..6)
        .map(|i| {
            let g = gradient[i] + unroll.weight_decay * WEIGHTS[i];
            let buffer = unroll.momentum * BUFFER[i] + g;
            WEIGHTS[i] - unroll.eta * if unroll.nesterov { g + unroll.momentum * buffer } else { buffer }
        })
        .collect();
    Toy.loss(Split::Valid, &tensor(&step), &p, Mode::Trial).unwrap().to_scalar().unwrap()
}

fn numeric(alphas: &[f64], unroll: &Unroll) -> Vec<f64> {
    (0..alphas.len())
        .map(|i| {
            let at = |offset: f64| {
                let mut moved = alphas.to_vec();
                moved[i] += offset;
                outer_loss(&moved, unroll)
            };
            (at(1e-5) - at(-1e-5)) / 2e-5
        })
        .collect()
}

fn relative_error(got: &[f64], expected: &[f64]) -> f64 {
    let length = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    length(&mut got.iter().zip(expected).map(|(g, e)| g - e)) / length(&mut expected.iter().copied())
}

const ALPHAS: [f64; 3] = [0.3, -0.5, 0.2];

#[test]
fn the_second_order_gradient_differentiates_through_the_weight_step() {
    for nesterov in [false, true] {
        let unroll = unroll(0.4, nesterov);
        let expected = numeric(&ALPHAS, &unroll);
        let error = relative_error(&second_order(&ALPHAS, unroll.clone()), &expected);
        assert!(error < 3e-5, "nesterov {nesterov}: {error:e}");
        // The curvature term matters here: without it the gradient is far off, so is one scaled by R² (a slip of
        // brackets that divides by 2 and multiplies by R).
        let (_, direct) =
            bilevel::alpha_gradient(&Toy, &parameter(&WEIGHTS), &toy_alphas(&ALPHAS), &softmax, &Order::First).unwrap();
        assert!(relative_error(&values(&direct[0]), &expected) > 1e-2);
    }
}

#[test]
fn the_curvature_term_is_the_exact_mixed_derivative() {
    // h against differences of ∇α L_train along v with a step of their own: an error of a factor R², as from /2·R in
    // place of /(2R), would be four orders of magnitude.
    let v = tensor(&[0.5, -1.0, 0.25, 2.0, -0.75, 1.5]);
    let alphas = toy_alphas(&ALPHAS);
    let h = bilevel::hessian_vector(&Toy, &parameter(&WEIGHTS), &alphas, &softmax, &v, With::Alphas).unwrap();
    let alpha_gradient = |offset: f64| {
        let w = (tensor(&WEIGHTS) + v.affine(offset, 0.0).unwrap()).unwrap();
        let alphas = toy_alphas(&ALPHAS);
        let loss = Toy.loss(Split::Train, &w, &softmax(&alphas).unwrap(), Mode::Trial).unwrap();
        values(loss.backward().unwrap().get(&alphas.tensors()[0]).unwrap())
    };
    let (above, below) = (alpha_gradient(1e-6), alpha_gradient(-1e-6));
    let expected: Vec<f64> = above.iter().zip(&below).map(|(a, b)| (a - b) / 2e-6).collect();
    let error = relative_error(&values(&h[0]), &expected);
    assert!(error < 3e-4, "{error:e}");

    let weight_gradient = |offset: f64| {
        let w = Var::from_tensor(&(tensor(&WEIGHTS) + v.affine(offset, 0.0).unwrap()).unwrap()).unwrap();
        let loss = Toy.loss(Split::Train, w.as_tensor(), &softmax(&toy_alphas(&ALPHAS)).unwrap(), Mode::Trial);
        values(loss.unwrap().backward().unwrap().get(&w).unwrap())
    };
    let (above, below) = (weight_gradient(1e-6), weight_gradient(-1e-6));
    let expected: Vec<f64> = above.iter().zip(&below).map(|(a, b)| (a - b) / 2e-6).collect();
    let h = bilevel::hessian_vector(&Toy, &parameter(&WEIGHTS), &alphas, &softmax, &v, With::Weights).unwrap();
    let error = relative_error(&values(&h[0]), &expected);
    assert!(error < 3e-4, "{error:e}");
}

#[test]
fn finite_differences_step_a_hundredth_in_all() {
    // R = 0.01/‖v‖ (Liu et al. 2019, footnote 2): a derivative would not tell one step from another, this difference
    // does.
    let v = tensor(&[0.5, -1.0, 0.25, 2.0, -0.75, 1.5]);
    let r = 0.01 / norm(std::slice::from_ref(&v)).unwrap();
    let alpha_gradient = |offset: f64| {
        let w = (tensor(&WEIGHTS) + v.affine(offset, 0.0).unwrap()).unwrap();
        let alphas = toy_alphas(&ALPHAS);
        let loss = Toy.loss(Split::Train, &w, &softmax(&alphas).unwrap(), Mode::Trial).unwrap();
        values(loss.backward().unwrap().get(&alphas.tensors()[0]).unwrap())
    };
    let (above, below) = (alpha_gradient(r), alpha_gradient(-r));
    let expected: Vec<f64> = above.iter().zip(&below).map(|(a, b)| (a - b) / (2.0 * r)).collect();
    let h =
        bilevel::hessian_vector(&Toy, &parameter(&WEIGHTS), &toy_alphas(&ALPHAS), &softmax, &v, With::Alphas).unwrap();
    let error = relative_error(&values(&h[0]), &expected);
    assert!(error < 1e-10, "{error:e}");
}

#[test]
fn second_order_with_eta_zero_is_first_order() {
    let first =
        bilevel::alpha_gradient(&Toy, &parameter(&WEIGHTS), &toy_alphas(&ALPHAS), &softmax, &Order::First).unwrap();
    assert_eq!(second_order(&ALPHAS, unroll(0.0, false)), values(&first.1[0]));
}

#[test]
fn the_momentum_buffer_takes_part_in_the_unrolled_step() {
    let with = second_order(&ALPHAS, unroll(0.4, false));
    let without = second_order(&ALPHAS, Unroll { buffer: None, ..unroll(0.4, false) });
    assert!(relative_error(&with, &without) > 1e-3);
}

#[test]
fn the_unrolled_step_is_the_coming_sgd_step() {
    let options = SgdOptions { momentum: 0.9, weight_decay: 0.03, ..SgdOptions::new(0.4) };
    let w = parameter(&WEIGHTS);
    let mut sgd = Sgd::new(vec![w.clone()], options).unwrap();
    sgd.restore(&[("lr".into(), Tensor::new(0.4f64, &Device::Cpu).unwrap()), ("momentum.0".into(), tensor(&BUFFER))])
        .unwrap();
    let order = Order::Second(sgd.unroll(0.4).unwrap());
    let (loss, _) = bilevel::alpha_gradient(&Toy, &w, &toy_alphas(&ALPHAS), &softmax, &order).unwrap();
    assert_eq!(values(&w.tensor()), WEIGHTS, "the weights stay where they are");
    let (_, gradient) = bilevel::weight_gradient(&Toy, &w, &toy_alphas(&ALPHAS), &softmax).unwrap();
    sgd.step(&[gradient]).unwrap();
    let p = softmax(&toy_alphas(&ALPHAS)).unwrap();
    let after: f64 = Toy.loss(Split::Valid, &w.tensor(), &p, Mode::Trial).unwrap().to_scalar().unwrap();
    assert!((loss - after).abs() < 1e-12);
}

#[test]
fn a_relaxation_of_ones_own_runs_once_a_gradient_and_is_differentiated_through() {
    let calls = std::cell::Cell::new(0);
    let cube = |alphas: &Alphas| {
        calls.set(calls.get() + 1);
        Ok(vec![alphas.get("alpha")?.tensor().powf(3.0)?])
    };
    let order = Order::Second(unroll(0.4, false));
    bilevel::alpha_gradient(&Toy, &parameter(&WEIGHTS), &toy_alphas(&ALPHAS), &cube, &order).unwrap();
    assert_eq!(calls.get(), 1);
    let zero = [0.0; 3];
    let (_, gradient) =
        bilevel::alpha_gradient(&Toy, &parameter(&WEIGHTS), &toy_alphas(&zero), &cube, &Order::First).unwrap();
    assert_eq!(values(&gradient[0]), zero, "the slope of a cube at 0");
    let lost = |alphas: &Alphas| Ok(vec![alphas.get("alfa")?.tensor()]);
    let error =
        failure(bilevel::alpha_gradient(&Toy, &parameter(&WEIGHTS), &toy_alphas(&ALPHAS), &lost, &Order::First));
    assert_eq!(error.hint.unwrap(), "did you mean \"alpha\"?");
}

/// Counts what each pass does to running statistics and which gradients it is asked for.
#[derive(Default)]
struct Watched {
    passes: std::cell::RefCell<Vec<(Split, Mode, bool, bool)>>,
}

impl Objective for Watched {
    fn loss(&self, split: Split, w: &Tensor, p: &[Tensor], mode: Mode) -> Result<Tensor> {
        self.passes.borrow_mut().push((split, mode, w.track_op(), p[0].track_op()));
        Toy.loss(split, w, p, mode)
    }
}

#[test]
fn every_pass_is_asked_only_for_what_it_must_give() {
    use Mode::{Training as Update, Trial as Leave};
    use Split::{Train, Valid};
    let watched = Watched::default();
    let (w, alphas) = (parameter(&WEIGHTS), toy_alphas(&ALPHAS));
    bilevel::weight_gradient(&watched, &w, &alphas, &softmax).unwrap();
    bilevel::alpha_gradient(&watched, &w, &alphas, &softmax, &Order::First).unwrap();
    let second = Order::Second(unroll(0.4, false));
    bilevel::alpha_gradient(&watched, &w, &alphas, &softmax, &second).unwrap();
    // split, running statistics, weights tracked, alphas tracked
    let expected = [
        (Train, Update, true, false),
        (Valid, Update, false, true),
        (Train, Update, true, false),
        (Valid, Leave, true, true),
        (Train, Update, false, true),
        (Train, Update, false, true),
    ];
    assert_eq!(*watched.passes.borrow(), expected);
}

#[test]
fn a_relaxation_without_a_way_to_the_alphas_is_refused_where_their_gradient_is_wanted() {
    let (w, alphas, v) = (parameter(&WEIGHTS), toy_alphas(&ALPHAS), tensor(&[1.0; 6]));
    let cut = |alphas: &Alphas| Ok(vec![candle_nn::ops::softmax(&alphas.tensors()[0].detach(), 0)?]);
    let others = toy_alphas(&ALPHAS);
    let of_others = |_: &Alphas| softmax(&others);
    for order in [Order::First, Order::Second(unroll(0.4, false))] {
        for relax in [&cut as &bilevel::Relax, &of_others] {
            let error = failure(bilevel::alpha_gradient(&Toy, &w, &alphas, relax, &order));
            assert!(error.message.contains("no gradient flows from the mixing weights to the alphas"), "{error}");
            assert!(error.hint.unwrap().contains("without detach()"));
        }
    }
    failure(bilevel::hessian_vector(&Toy, &w, &alphas, &cut, &v, With::Alphas));
    // Where only the weights' gradient is wanted it does no harm.
    bilevel::hessian_vector(&Toy, &w, &alphas, &cut, &v, With::Weights).unwrap();
    bilevel::weight_gradient(&Toy, &w, &alphas, &cut).unwrap();
}
