//! The objective of language modelling: the mean surprise at the next word over a window, with hidden states carried
//! from window to window (`docs/darts.md` B2).

use super::bilevel::{self, Objective, Order, Relax, Split};
use super::settled::Settled;
use super::vector::gradients;
use crate::engine::Mode;
use crate::space::dropout;
use crate::space::recurrent::{Hidden, LanguageModel, Passed, Weights};
use crate::{Error, Result, interrupt};
use candle_core::{DType, Tensor, Var};
use std::cell::RefCell;

/// A window: words and the words that follow, time × batch each, and the hidden states before it.
#[derive(Clone)]
pub struct Excerpt {
    pub words: Tensor,
    pub next: Tensor,
    pub hidden: Hidden,
}

/// Penalties on activations (Merity, McCann and Socher 2017), added to the loss that trains weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Penalties {
    /// Times the mean square of what the decoder sees.
    pub activation: f64,
    /// Times the mean square of the change from one time step to the next, before dropout.
    pub slowness: f64,
}

impl Penalties {
    fn of(&self, passed: &Passed) -> Result<Option<Tensor>> {
        let mut terms = Vec::new();
        if self.activation != 0.0 {
            terms.push((dropout::activity(&passed.output)? * self.activation)?);
        }
        if self.slowness != 0.0 {
            terms.push((dropout::slowness(&passed.raw)? * self.slowness)?);
        }
        match terms.len() {
            0 => Ok(None),
            _ => Ok(Some(Tensor::stack(&terms, 0)?.sum_all()?)),
        }
    }
}

struct Modelling<'a> {
    model: &'a LanguageModel,
    train: &'a Excerpt,
    valid: Option<&'a Excerpt>,
    penalties: Penalties,
    /// The states after the last pass over each split.
    after: RefCell<[Option<Hidden>; 2]>,
}

impl Objective for Modelling<'_> {
    fn loss(&self, split: Split, w: &Tensor, p: &[Tensor], mode: Mode) -> Result<Tensor> {
        if !w.track_op() || w.dtype() != DType::F32 {
            return self.of(split, self.excerpt(split)?, &Weights::slices(self.model, w)?, p, mode);
        }
        let tracked = if p.iter().any(Tensor::track_op) { p } else { &[] };
        let Gathered { loss, of_w, of_p } = self.gathered(split, w, p, mode)?;
        Settled::put(&loss, w, &flat(tracked, w)?, [of_w, flat(&of_p, w)?])
    }

    fn weight_gradient(&self, w: &Tensor, p: &[Tensor]) -> Result<(f64, Tensor)> {
        if w.dtype() != DType::F32 {
            return bilevel::tracked_weight_gradient(self, w, p);
        }
        let Gathered { loss, of_w, .. } = self.gathered(Split::Train, w, p, Mode::Training)?;
        Ok((loss.to_dtype(DType::F64)?.to_scalar()?, of_w))
    }
}

/// A loss with its gradients, of the mixing weights only where candle tracks them.
struct Gathered {
    loss: Tensor,
    of_w: Tensor,
    of_p: Vec<Tensor>,
}

/// Tensors as one vector; where there are none, one zero like `like`.
fn flat(tensors: &[Tensor], like: &Tensor) -> Result<Tensor> {
    match tensors {
        [] => Ok(Tensor::zeros(1, like.dtype(), like.device())?),
        _ => Ok(Tensor::cat(&tensors.iter().map(Tensor::flatten_all).collect::<candle_core::Result<Vec<_>>>()?, 0)?),
    }
}

impl Modelling<'_> {
    fn excerpt(&self, split: Split) -> Result<&Excerpt> {
        match split {
            Split::Train => Ok(self.train),
            Split::Valid => self.valid.ok_or_else(|| Error::user("there is no validation window")),
        }
    }

    /// The loss with its gradients of the weights and of the mixing weights, taken at once.
    fn gathered(&self, split: Split, w: &Tensor, p: &[Tensor], mode: Mode) -> Result<Gathered> {
        let weights = Weights::gathering(self.model, w)?;
        let leaf = |p: &Tensor| Ok(Var::from_tensor(&p.detach())?.as_tensor().clone());
        let mixing = match p.iter().any(Tensor::track_op) {
            true => p.iter().map(leaf).collect::<Result<Vec<_>>>()?,
            false => vec![],
        };
        let own = if mixing.is_empty() { p } else { &mixing };
        let loss = self.of(split, self.excerpt(split)?, &weights, own, mode)?;
        let wanted: Vec<&Tensor> = weights.tracked().chain(&mixing).collect();
        let mut tracked = gradients(&loss, &wanted)?;
        let of_p = tracked.split_off(wanted.len() - mixing.len());
        Ok(Gathered { loss: loss.detach(), of_w: weights.gradient(tracked)?, of_p })
    }

    fn of(&self, split: Split, excerpt: &Excerpt, w: &Weights, p: &[Tensor], mode: Mode) -> Result<Tensor> {
        let passed = self.model.pass(&excerpt.words, &excerpt.hidden, w, p, mode)?;
        let mut loss = self.model.surprise(&passed, &excerpt.next, w)?.mean_all()?;
        if let (Split::Train, Some(penalty)) = (split, self.penalties.of(&passed)?) {
            loss = (loss + penalty)?;
        }
        self.after.borrow_mut()[split as usize] = Some(passed.hidden);
        Ok(loss)
    }

    fn after(self, split: Split) -> Result<Hidden> {
        let [train, valid] = self.after.into_inner();
        let of_split = if split == Split::Train { train } else { valid };
        of_split.ok_or_else(|| Error::run("no window has passed"))
    }
}

/// Loss, gradient of the flat weights on one window, and the hidden states after it.
///
/// # Errors
/// Those of the relaxation and of the pass.
pub fn language_gradient(
    model: &LanguageModel,
    window: &Excerpt,
    relax: Option<&Relax>,
    penalties: Penalties,
) -> Result<(f64, Tensor, Hidden)> {
    let objective = Modelling { model, train: window, valid: None, penalties, after: RefCell::default() };
    let default = |alphas: &_| model.relax(alphas);
    let (loss, gradient) =
        bilevel::weight_gradient(&objective, model.weights(), model.alphas(), relax.unwrap_or(&default))?;
    Ok((loss, gradient, objective.after(Split::Train)?))
}

/// Validation loss, its gradient for every alpha, and the hidden states after the validation window; see
/// [`bilevel::alpha_gradient`]. Penalties take no part.
///
/// # Errors
/// Those of the relaxation and of the passes.
pub fn language_alpha_gradient(
    model: &LanguageModel,
    train: &Excerpt,
    valid: &Excerpt,
    relax: Option<&Relax>,
    order: &Order,
) -> Result<(f64, Vec<Tensor>, Hidden)> {
    let penalties = Penalties::default();
    let objective = Modelling { model, train, valid: Some(valid), penalties, after: RefCell::default() };
    let default = |alphas: &_| model.relax(alphas);
    let (loss, gradient) =
        bilevel::alpha_gradient(&objective, model.weights(), model.alphas(), relax.unwrap_or(&default), order)?;
    Ok((loss, gradient, objective.after(Split::Valid)?))
}

/// How surprised a model is by a text, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surprise {
    /// Mean negative log-likelihood of a token, in nats.
    pub loss: f64,
    /// Tokens that were predicted.
    pub tokens: usize,
}

impl Surprise {
    /// e to the loss.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }
}

/// The mean surprise over windows in order, hidden states carried along from zeros, nothing dropped. Hears Ctrl-C
/// between windows.
///
/// # Errors
/// No windows, those of different columns; those of the passes.
pub fn evaluate_language(
    model: &LanguageModel,
    windows: impl IntoIterator<Item = Result<(Tensor, Tensor)>>,
    p: Option<&[Tensor]>,
) -> Result<Surprise> {
    let p = match p {
        Some(p) => p.iter().map(Tensor::detach).collect::<Vec<_>>(),
        None => model.relax(model.alphas())?.iter().map(Tensor::detach).collect(),
    };
    let w = Weights::slices(model, &model.weights().detached())?;
    let (mut total, mut tokens) = (0.0, 0);
    let mut hidden: Option<Hidden> = None;
    for window in windows {
        interrupt::check()?;
        let (words, next) = window?;
        let before = match hidden.take() {
            Some(hidden) => hidden,
            None => model.zero_hidden(words.dims()[1])?,
        };
        let passed = model.pass(&words, &before, &w, &p, Mode::Evaluation)?;
        let surprise = model.surprise(&passed, &next, &w)?;
        total += surprise.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
        tokens += next.elem_count();
        hidden = Some(passed.hidden);
    }
    match tokens {
        0 => Err(Error::user("there is nothing to evaluate: no windows")),
        _ => Ok(Surprise { loss: total / tokens as f64, tokens }),
    }
}
