//! The two gradients of a bilevel search: of the training loss for the weights, of the validation loss for the alphas.
//!
//! With w the weights, α the alphas and p = relax(α) the mixing weights, DARTS (Liu et al. 2019, equations 5 to 8;
//! `docs/darts.md` A5) descends L_val(w*(α), α) with w* taken as w itself (first order) or as one gradient step from w
//! (second order). Nothing here knows a network: an [`Objective`] is two losses of (w, p), so the same code runs on a
//! toy problem in f64, where it is checked against numeric differentiation.
//!
//! Each pass is asked only for what it must give: the weights are detached where α alone is wanted and the other way
//! round. The model's own weights are never moved: w', w + Rv and w − Rv are tensors of their own, so there is nothing
//! to restore and no rounding drift. The relaxation runs once per gradient, so one sample of a stochastic relaxation
//! serves all of its passes.

use super::optimizer::clip_factor;
use super::vector::{gradients, norm, weighted_sum};
use crate::engine::Mode;
use crate::space::Alphas;
use crate::{Error, Parameter, Result};
use candle_core::{Tensor, Var};

/// Length of the step that the finite differences take, as a vector in weight space (`docs/darts.md` A5).
const DIFFERENCE_STEP: f64 = 0.01;

/// Turns alphas into mixing weights, one matrix per slot block.
pub type Relax<'a> = dyn Fn(&Alphas) -> Result<Vec<Tensor>> + 'a;

/// The examples that a loss is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    Train,
    Valid,
}

/// Two losses as functions of flat weights and mixing weights.
pub trait Objective {
    /// The scalar loss over a split, tracked by candle in whichever of `w` and `p` is. As in the reference, every pass
    /// of the model itself is in training mode, those at w ± Rv included; the unrolled copy's pass is a trial and
    /// leaves no trace.
    ///
    /// # Errors
    /// Whatever keeps the model from computing the loss: shapes, labels, memory, an interruption.
    fn loss(&self, split: Split, w: &Tensor, p: &[Tensor], mode: Mode) -> Result<Tensor>;

    /// The training loss and its gradient for weights that candle tracks.
    ///
    /// # Errors
    /// Those of [`loss`](Self::loss).
    fn weight_gradient(&self, w: &Tensor, p: &[Tensor]) -> Result<(f64, Tensor)> {
        tracked_weight_gradient(self, w, p)
    }
}

/// The training loss and its gradient, taken by candle, for weights that it tracks.
///
/// # Errors
/// Those of the objective.
pub(super) fn tracked_weight_gradient(
    objective: &(impl Objective + ?Sized),
    w: &Tensor,
    p: &[Tensor],
) -> Result<(f64, Tensor)> {
    let loss = objective.loss(Split::Train, w, p, Mode::Training)?;
    let mut gradient = gradients(&loss, &[w])?;
    let gradient = gradient.pop().ok_or_else(|| Error::run("the training loss gave no gradient"))?;
    Ok((value(&loss)?, gradient))
}

/// How the validation loss sees the weights.
#[derive(Clone, Debug)]
pub enum Order {
    /// As they are: ξ = 0.
    First,
    /// After one step on the training loss, differentiated through.
    Second(Unroll),
}

/// The weight step that second order differentiates through.
#[derive(Clone, Debug)]
pub struct Unroll {
    /// η, the current learning rate of the weights.
    pub eta: f64,
    /// µ.
    pub momentum: f64,
    /// The momentum buffer; none: zeros.
    pub buffer: Option<Tensor>,
    pub nesterov: bool,
    /// λ.
    pub weight_decay: f64,
    /// Whether the two weight gradients are clipped before they are used; none: they are not.
    pub clip: Option<Clip>,
}

/// Clipping inside of the unrolled step (`docs/darts.md` B2): a gradient g becomes g·min(c, 1) with c = norm/(‖g‖ +
/// 1e-6).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// The largest norm.
    pub norm: f64,
    /// What the second-order term is multiplied by besides η: c of the training gradient as it is, as the reference's
    /// code does even where nothing was clipped; otherwise min(c, 1), which is the derivative.
    pub unbounded: bool,
}

impl Clip {
    /// Clips a gradient; what the second-order term of it is multiplied by.
    fn apply(self, gradient: &mut Tensor) -> Result<f64> {
        let length = norm(std::slice::from_ref(gradient))?;
        match clip_factor(length, self.norm) {
            Some(factor) => {
                *gradient = gradient.affine(factor, 0.0)?;
                Ok(factor)
            }
            None if self.unbounded => Ok(self.norm / (length + 1e-6)),
            None => Ok(1.0),
        }
    }
}

impl Unroll {
    /// Plain gradient descent.
    pub fn plain(eta: f64) -> Self {
        Self { eta, momentum: 0.0, buffer: None, nesterov: false, weight_decay: 0.0, clip: None }
    }

    /// w' = w − η·(µ·buf + g + λ·w): the coming SGD step, but for clipping.
    fn apply(&self, w: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let mut terms = vec![(1.0, w), (-self.rate(), gradient)];
        if self.weight_decay != 0.0 {
            terms.push((-self.rate() * self.weight_decay, w));
        }
        if let Some(buffer) = &self.buffer
            && self.momentum != 0.0
        {
            // With Nesterov's look-ahead the step is g + µ·(µ·buf + g).
            let carried = if self.nesterov { self.momentum.powi(2) } else { self.momentum };
            terms.push((-self.eta * carried, buffer));
        }
        weighted_sum(&terms)
    }

    /// −dw'/dg: η, with Nesterov's look-ahead η·(1 + µ). Momentum buffer and decay drop out of dw'/dα.
    fn rate(&self) -> f64 {
        self.eta * self.look_ahead()
    }

    fn look_ahead(&self) -> f64 {
        if self.nesterov { 1.0 + self.momentum } else { 1.0 }
    }
}

/// The training loss and its gradient for the weights.
///
/// # Errors
/// Those of the relaxation and of the objective.
pub fn weight_gradient(
    objective: &impl Objective,
    w: &Parameter,
    alphas: &Alphas,
    relax: &Relax,
) -> Result<(f64, Tensor)> {
    let p = detached(&relax(alphas)?);
    objective.weight_gradient(&w.tensor(), &p)
}

/// The validation loss and its gradient for every alpha.
///
/// First order: ∇α L_val(w, α). Second order: ∇α L_val(w', α) − η·h with w' = w − η·(µ·buf + ∇w L_train(w, α) + λ·w),
/// v = ∇w' L_val(w', α) and h = (∂²L_train / ∂α∂w)·v by central differences; the loss is then that at w'.
///
/// # Errors
/// A relaxation whose mixing weights do not depend on the alphas; those of the relaxation and of the objective.
pub fn alpha_gradient(
    objective: &impl Objective,
    w: &Parameter,
    alphas: &Alphas,
    relax: &Relax,
    order: &Order,
) -> Result<(f64, Vec<Tensor>)> {
    let p = relax(alphas)?;
    let variables = alphas.tensors();
    check_tracked(&p, &variables)?;
    let wanted: Vec<&Tensor> = variables.iter().collect();
    let still = w.detached();
    let Order::Second(unroll) = order else {
        let loss = objective.loss(Split::Valid, &still, &p, Mode::Training)?;
        return Ok((value(&loss)?, gradients(&loss, &wanted)?));
    };

    let (_, mut descent) = objective.weight_gradient(&w.tensor(), &detached(&p))?;
    let clipped = unroll.clip.map_or(Ok(1.0), |clip| clip.apply(&mut descent))?;
    let unrolled = Var::from_tensor(&unroll.apply(&still, &descent)?)?;
    let loss = objective.loss(Split::Valid, unrolled.as_tensor(), &p, Mode::Trial)?;
    let mut both = wanted.clone();
    both.push(unrolled.as_tensor());
    let mut direct = gradients(&loss, &both)?;
    let mut v = direct.pop().ok_or_else(|| Error::run("the unrolled step gave no weight gradient"))?;
    if let Some(clip) = unroll.clip {
        clip.apply(&mut v)?;
    }
    let loss = value(&loss)?;

    let curvature =
        central_difference(&still, &v, |w| gradients(&objective.loss(Split::Train, w, &p, Mode::Training)?, &wanted))?;
    let gradient =
        direct.iter().zip(&curvature).map(|(direct, h)| Ok((direct - h.affine(unroll.rate() * clipped, 0.0)?)?));
    Ok((loss, gradient.collect::<Result<_>>()?))
}

/// Which second derivative of the training loss a Hessian product multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// (∂²L / ∂α∂w)·v: one tensor per alpha.
    Alphas,
    /// (∂²L / ∂w²)·v: one flat vector, for implicit gradients.
    Weights,
}

/// A Hessian-vector product of the training loss by central differences, v in weight space.
///
/// # Errors
/// A v that is not in weight space; with [`With::Alphas`] a relaxation whose mixing weights do not depend on the
/// alphas.
pub fn hessian_vector(
    objective: &impl Objective,
    w: &Parameter,
    alphas: &Alphas,
    relax: &Relax,
    v: &Tensor,
    with: With,
) -> Result<Vec<Tensor>> {
    let w = w.detached();
    if v.dims() != w.dims() {
        return Err(Error::user(format!("v must have the shape {:?} of the weights, not {:?}", w.dims(), v.dims())));
    }
    let v = v.detach();
    let p = relax(alphas)?;
    let variables = alphas.tensors();
    if with == With::Alphas {
        check_tracked(&p, &variables)?;
    }
    let wanted: Vec<&Tensor> = variables.iter().collect();
    let still = detached(&p);
    central_difference(&w, &v, |w| match with {
        With::Alphas => gradients(&objective.loss(Split::Train, w, &p, Mode::Training)?, &wanted),
        With::Weights => Ok(vec![objective.weight_gradient(Var::from_tensor(w)?.as_tensor(), &still)?.1]),
    })
}

/// (f(w + R·v) − f(w − R·v)) / (2R) with R = 0.01/‖v‖: the derivative of `f` at w along v, exact to O(R²). Zeros where
/// v is zero.
fn central_difference(w: &Tensor, v: &Tensor, f: impl Fn(&Tensor) -> Result<Vec<Tensor>>) -> Result<Vec<Tensor>> {
    let length = norm(std::slice::from_ref(v))?;
    if length == 0.0 {
        let at_w = f(w)?;
        return Ok(at_w.iter().map(Tensor::zeros_like).collect::<candle_core::Result<_>>()?);
    }
    let r = DIFFERENCE_STEP / length;
    let above = f(&weighted_sum(&[(1.0, w), (r, v)])?)?;
    let below = f(&weighted_sum(&[(1.0, w), (-r, v)])?)?;
    let slope = above.iter().zip(&below).map(|(above, below)| (above - below)?.affine(1.0 / (2.0 * r), 0.0));
    Ok(slope.collect::<candle_core::Result<_>>()?)
}

/// Checks that gradients can flow from the mixing weights to the alphas: without that all of them would be zero.
fn check_tracked(p: &[Tensor], alphas: &[Tensor]) -> Result<()> {
    let is_alpha = |node: &&Tensor| alphas.iter().any(|alpha| alpha.id() == node.id());
    if alphas.is_empty() || p.iter().any(|p| p.sorted_nodes().iter().any(is_alpha)) {
        return Ok(());
    }
    Err(Error::user(
        "no gradient flows from the mixing weights to the alphas: `relax` does not compute them from the alphas",
    )
    .hint("compute them from the map of alphas that the closure is given, without detach() and without array()"))
}

fn detached(p: &[Tensor]) -> Vec<Tensor> {
    p.iter().map(Tensor::detach).collect()
}

pub(super) fn value(loss: &Tensor) -> Result<f64> {
    Ok(loss.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?)
}
