//! What does not fit is refused with what was wrong and what would be right.

use crate::cells;
use candle_core::{DType, Device, Tensor};
use candlewick::engine::recurrent::RecurrentEngine;
use candlewick::engine::{Dropout, Pass, Target};
use candlewick::error::Blame;
use candlewick::graph::Init;
use candlewick::graph::recurrent::RecurrentGraph;
use candlewick::{Error, Result};
use std::sync::Arc;

#[track_caller]
fn says<T>(result: Result<T>, text: &str) {
    let Err(Error { blame, message, .. }) = result else { panic!("it should be refused: {text}") };
    assert_eq!(blame, Blame::User);
    assert!(message.contains(text), "{message:?} should hold {text:?}");
}

#[test]
fn a_step_that_does_not_fit_together_is_refused() {
    says(RecurrentGraph::new(0), "`width` must be from 1 to 65536, not 0");
    let mut g = RecurrentGraph::new(3).unwrap();
    let h = g.state("h", 4).unwrap();
    says(g.state("h", 4), "two states are called \"h\"");
    says(g.state("c", 1 << 20), "`width` must be from 1 to 65536, not 1048576");
    says(g.add(g.input(), h), "different widths: 3 and 4");
    let w = g.weight("w", 4, 4, Init::Uniform(0.1)).unwrap();
    says(g.weight("w", 1, 1, Init::Uniform(0.1)), "two weights are called \"w\"");
    says(g.weight("v", 1, 0, Init::Uniform(0.1)), "`columns` must be from 1 to 65536, not 0");
    says(g.product(&[h, h], w, None), "takes vectors of width 4; the inputs are 8 wide together");
    says(g.product(&[], w, None), "the inputs are 0 wide together");
    let b = g.bias("b", 3, Init::Constant(0.0)).unwrap();
    says(g.product(&[h], w, Some(b)), "the bias \"b\" is 3 wide, the product with \"w\" 4");
    says(g.slice(h, 2, 3), "3 columns from 2 on do not fit a width of 4");
    says(g.slice(h, usize::MAX, 2), "do not fit a width of 4");
    says(g.affine(h, f64::NAN, 0.0), "`scale` must be a finite number");
    says(g.at_most(h, 1e300), "`most` must be a finite number");
    g.mask("m", h).unwrap();
    says(g.mask("m", g.input()), "the mask \"m\" is 4 wide elsewhere, here 3");
    g.norm("n", h).unwrap();
    says(g.norm("n", g.input()), "the norm \"n\" is 4 wide elsewhere, here 3");
    says(g.mean(&[]), "the values of a mean: there are none");
    let slots = g.slots("alpha", 1, 2).unwrap();
    let mut other = RecurrentGraph::new(3).unwrap();
    says(other.mixed(&[(other.input(), slots.slot(0, 1))]), "there is no mixing weight 1");
    says(g.set_next(g.input(), h), "only a state has a next value");
    says(g.set_next(h, g.input()), "the state \"h\" is 4 wide, its next value 3");
    says(RecurrentEngine::compile(Arc::new(g.clone()), Target::Exact).map(|_| ()), "has no output");
    g.set_output(h);
    says(RecurrentEngine::compile(Arc::new(g), Target::Exact).map(|_| ()), "nothing says what the state \"h\" is");
}

#[test]
fn a_pass_that_does_not_fit_the_step_is_refused() {
    for target in [Target::Exact, Target::best().unwrap()] {
        let engine = RecurrentEngine::compile(Arc::new(cells::search(3, 4, 2).unwrap()), target).unwrap();
        let zeros = |shape: &[usize]| Tensor::zeros(shape, engine.dtype(), &Device::Cpu).unwrap();
        let (w, p) = (zeros(&[engine.graph().parameters()]), zeros(&[engine.graph().slot_count()]));
        let states = engine.zero_states(2).unwrap();
        let pass = Pass { statistics: engine.statistics(), ..Pass::default() };
        let run = |x: &Tensor, states: &[Tensor], pass: &Pass| engine.forward(x, states, &w, &p, pass);
        let x = zeros(&[5, 2, 3]);
        assert!(run(&x, &states, &pass).is_ok());
        says(run(&zeros(&[5, 2, 4]), &states, &pass), "takes token vectors of time × batch × 3, not [5, 2, 4]");
        says(run(&zeros(&[0, 2, 3]), &states, &pass), "not [0, 2, 3]");
        says(run(&zeros(&[5, 3, 3]), &states, &pass), "the state \"h\" is batch × width, here 3 × 4");
        says(run(&x, &[], &pass), "the network has 1 states; 0 were given");
        says(engine.forward(&x, &states, &p, &p, &pass), "weights; the tensor given has shape");
        says(engine.forward(&x, &states, &w, &w, &pass), "mixing weights; the tensor given has shape");
        says(run(&x.to_dtype(DType::F16).unwrap(), &states, &pass), "the token vectors are f16");
        let dropout = |name: &str, q: f64| Pass { dropout: Dropout::new([(name, q)]), ..pass.clone() };
        let unknown = run(&x, &states, &dropout("hh", 0.5));
        assert_eq!(unknown.as_ref().unwrap_err().hint.as_deref(), Some("did you mean \"h\"?"));
        says(unknown, "there is no mask \"hh\"");
        says(run(&x, &states, &dropout("h", 1.0)), "must be at least 0 and below 1, not 1");
        let mask = Pass { active: Some([true].into()), ..pass.clone() };
        says(run(&x, &states, &mask), "the mask has 1 entries; the network has 15 mixing weights");
        let other = cells::lstm(3, 4, 1, false).unwrap();
        let training = candlewick::engine::Mode::Training;
        let statistics = candlewick::engine::RunningStatistics::of(other.norms());
        says(
            run(&x, &states, &Pass { mode: training, statistics, ..pass.clone() }),
            "are 0 numbers; the network has 8",
        );
    }
}
