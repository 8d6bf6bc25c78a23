//! Steps of language models on random words: of a recurrent search, and of training DARTS_V2's recurrent cell.

use super::report::{Cell, Line, median, rounded};
use super::steps::timed;
use super::{multiply_add_peak, peak_rss_mb, peaks::Crew};
use crate::engine::{Isa, Target};
use crate::learn::{
    Adam, AdamOptions, Clip, Excerpt, Optimizer, Order, Penalties, Sgd, SgdOptions, language_alpha_gradient,
    language_gradient,
};
use crate::random::Seed;
use crate::space::recurrent::{
    Activations, CellRecipe, DARTS_ACTIVATIONS, Dropouts, LanguageModel, LanguageRecipe, recurrent_cell,
};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use rand::RngExt;
use serde::Serialize;

/// The weights' learning rate (`docs/darts.md` B2).
const LR: f64 = 20.0;
/// The norm that gradients are clipped to.
const CLIP: f64 = 0.25;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct LanguageStep {
    /// 1 or 2: a search step of this order; none: a training step of DARTS_V2.
    pub order: Option<usize>,
    pub batch: usize,
    pub hidden: usize,
    pub nodes: usize,
    /// Time steps of a window.
    pub window: usize,
    pub vocabulary: usize,
    /// Steps to time, after one that warms up.
    pub steps: usize,
}

/// One line of the benchmark's output; the fields of the PyTorch side, and how near the machine's peak it came.
#[derive(Clone, Debug, Serialize)]
pub struct LanguageResult {
    pub what: &'static str,
    pub order: usize,
    pub batch: usize,
    pub hidden: usize,
    pub window: usize,
    pub seconds: Vec<f64>,
    pub params: usize,
    pub peak_rss_mb: u64,
    pub gflop_per_step: f64,
    pub gflops: f64,
    /// Of what fused multiply-adds reach on all threads.
    pub share_of_peak: f64,
    pub threads: usize,
    pub simd: &'static str,
}

impl Line for LanguageResult {
    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::word("what", self.what),
            Cell::count("order", self.order),
            Cell::count("batch", self.batch),
            Cell::count("hidden", self.hidden),
            Cell::count("window", self.window),
            Cell::count("threads", self.threads),
            Cell::word("simd", self.simd),
            Cell::number("median s", median(&self.seconds), 3),
            Cell::number("GFLOP/s", self.gflops, 1),
            Cell::percent("% of peak", self.share_of_peak),
            Cell::count("peak MB", self.peak_rss_mb),
        ]
    }
}

impl LanguageStep {
    /// Times the steps on random words, with the dropout of the literature.
    ///
    /// # Errors
    /// An order other than 1 and 2, and whatever the model does not allow.
    pub fn run(&self, seed: Seed) -> Result<LanguageResult> {
        let Self { order, batch, hidden, nodes, window, vocabulary, steps } = *self;
        let cell = match order {
            Some(1 | 2) => CellRecipe::Search { nodes, activations: DARTS_ACTIVATIONS.map(String::from).to_vec() },
            Some(other) => return Err(Error::user(format!("the order is 1 or 2, not {other}"))),
            None => CellRecipe::Genotype { genotype: recurrent_cell("DARTS_V2")? },
        };
        let recipe = LanguageRecipe {
            vocabulary,
            embedding: hidden,
            cell,
            widths: vec![hidden],
            skip: false,
            bias: true,
            experts: 0,
        };
        let model = LanguageModel::new(recipe, &Activations::new(), seed, Target::best()?)?;
        model.set_dropouts(Dropouts { output: 0.75, hidden: 0.25, x: 0.75, input: 0.2, ..Dropouts::default() });
        let (train, valid) = (self.excerpt(&model, seed, 0)?, self.excerpt(&model, seed, 1)?);
        let options = SgdOptions { weight_decay: 5e-7, clip: Some(CLIP), ..SgdOptions::new(LR) };
        let mut w_opt = Sgd::new(vec![model.weights().clone()], options)?;
        let options = AdamOptions { weight_decay: 1e-3, ..AdamOptions::new(3e-3) };
        let mut a_opt = Adam::new(model.alphas().parameters(), options)?;
        let penalties = Penalties { activation: 0.0, slowness: 1e-3 };
        let seconds = timed(steps, &mut || {
            if let Some(order) = order {
                let order = match order {
                    1 => Order::First,
                    _ => {
                        let mut unroll = w_opt.unroll(LR)?;
                        unroll.clip = Some(Clip { norm: CLIP, unbounded: false });
                        Order::Second(unroll)
                    }
                };
                let (_, gradients, _) = language_alpha_gradient(&model, &train, &valid, None, &order)?;
                a_opt.step(&gradients)?;
            }
            let (_, gradient, _) = language_gradient(&model, &train, None, penalties)?;
            w_opt.step(&[gradient])
        })?;
        let peak_rss_mb = peak_rss_mb();
        // As for images: a pass forward is one unit, gradients of inputs and of weights one each.
        let units = match order {
            None => 3,
            Some(1) => 2 + 3,
            Some(_) => (3 + 3 + 2 + 2) + 3,
        };
        let flop = 2.0 * (model.macs() * batch * window * units) as f64;
        let gflops = flop / median(&seconds) / 1e9;
        let isa = Isa::choose()?;
        Ok(LanguageResult {
            what: if order.is_some() { "rnn_step" } else { "rnn_eval" },
            order: order.unwrap_or(1),
            batch,
            hidden,
            window,
            seconds,
            params: model.parameters(),
            peak_rss_mb,
            gflop_per_step: rounded(flop / 1e9, 6),
            gflops: rounded(gflops, 4),
            share_of_peak: rounded(gflops / multiply_add_peak(isa, Crew::AllThreads), 3),
            threads: rayon::current_num_threads(),
            simd: isa.name(),
        })
    }

    fn excerpt(&self, model: &LanguageModel, seed: Seed, index: u64) -> Result<Excerpt> {
        let mut rng = seed.rng("bench words", index);
        let mut words = || {
            let ids: Vec<u32> =
                (0..self.window * self.batch).map(|_| rng.random_range(0..self.vocabulary as u32)).collect();
            Tensor::from_vec(ids, (self.window, self.batch), &Device::Cpu)
        };
        let (words, next) = (words()?, words()?);
        Ok(Excerpt { words, next, hidden: model.zero_hidden(self.batch)? })
    }
}
