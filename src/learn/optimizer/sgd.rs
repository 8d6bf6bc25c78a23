//! Stochastic gradient descent with momentum, weight decay and clipping, in PyTorch's order of operations.

use super::{Optimizer, check_gradients, check_option, saved_list, saved_scalar, scalar, zeros};
use crate::learn::bilevel::Unroll;
use crate::parameter::{Descent, Momentum};
use crate::{Error, Parameter, Result};
use candle_core::Tensor;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdOptions {
    pub lr: f64,
    pub momentum: f64,
    /// Look ahead along the momentum (Nesterov 1983, as PyTorch has it).
    pub nesterov: bool,
    /// λ of λ·w, added to the gradient after clipping.
    pub weight_decay: f64,
    /// Largest norm of all gradients taken as one vector.
    pub clip: Option<f64>,
}

impl SgdOptions {
    pub fn new(lr: f64) -> Self {
        Self { lr, momentum: 0.0, nesterov: false, weight_decay: 0.0, clip: None }
    }
}

/// With g the clipped gradient plus λ·w: buf ← µ·buf + g; w ← w − lr·buf (Nesterov: w − lr·(g + µ·buf)).
pub struct Sgd {
    parameters: Vec<Parameter>,
    options: SgdOptions,
    /// Zeros before the first step, which makes that step's buffer the gradient itself (dampening 0). None without
    /// momentum.
    buffers: Vec<Tensor>,
}

impl Sgd {
    /// SGD on these parameters, before its first step.
    ///
    /// # Errors
    /// A learning rate or weight decay that is negative or not finite; a momentum outside of [0, 1), `nesterov` without
    /// momentum; a `clip` that is not above 0.
    pub fn new(parameters: Vec<Parameter>, options: SgdOptions) -> Result<Self> {
        check_option("lr", options.lr, f64::INFINITY)?;
        check_option("momentum", options.momentum, 1.0)?;
        check_option("weight_decay", options.weight_decay, f64::INFINITY)?;
        check_clip(options.clip)?;
        if options.nesterov && options.momentum == 0.0 {
            return Err(Error::user("nesterov needs momentum").hint("for example momentum: 0.9"));
        }
        let buffers = if options.momentum == 0.0 { vec![] } else { zeros(&parameters)? };
        Ok(Self { parameters, options, buffers })
    }

    pub fn options(&self) -> &SgdOptions {
        &self.options
    }

    /// The coming step without clipping, at rate `eta`, as the unrolled alpha gradient differentiates through it. The
    /// optimiser must hold exactly one parameter: the flat weights.
    ///
    /// # Errors
    /// An optimiser of more or fewer parameters than one.
    pub fn unroll(&self, eta: f64) -> Result<Unroll> {
        if self.parameters.len() != 1 {
            return Err(Error::user(format!(
                "the second-order step unrolls an optimiser of one flat weight vector; this one holds {} parameters",
                self.parameters.len()
            ))
            .hint("make it with sgd(net.weights, …)"));
        }
        Ok(Unroll {
            eta,
            momentum: self.options.momentum,
            buffer: self.buffers.first().cloned(),
            nesterov: self.options.nesterov,
            weight_decay: self.options.weight_decay,
            clip: None,
        })
    }

    /// One step of the numbers whose flag in `running` is not 0; the others, and their momentum, stay as they are.
    /// `running`: of the type u8 and the shape of the one parameter.
    ///
    /// # Errors
    /// More parameters than one, or flags of another shape; as [`step`](Optimizer::step).
    pub fn step_among(&mut self, gradients: &[Tensor], running: &Tensor) -> Result<()> {
        let [parameter] = self.parameters.as_slice() else {
            return Err(Error::user("weights can stay only where one flat vector of them is moved")
                .hint("make the optimiser with sgd(net.weights, …)"));
        };
        if running.dims() != parameter.dims() {
            return Err(Error::user(format!(
                "{:?} flags of what ran do not fit a parameter of shape {:?}",
                running.dims(),
                parameter.dims()
            )));
        }
        let (before, buffers) = (parameter.detached(), self.buffers.clone());
        self.step(gradients)?;
        for (buffer, before) in self.buffers.iter_mut().zip(&buffers) {
            *buffer = running.where_cond(buffer, before)?;
        }
        let parameter = &self.parameters[0];
        parameter.set(&running.where_cond(&parameter.detached(), &before)?)
    }
}

/// Checks a limit of the gradients' norm.
pub(super) fn check_clip(clip: Option<f64>) -> Result<()> {
    match clip.filter(|clip| clip.is_nan() || *clip <= 0.0) {
        Some(clip) => Err(Error::user(format!("clip must be above 0, not {clip}"))),
        None => Ok(()),
    }
}

/// The factor that brings gradients of this norm down to `limit` (PyTorch's `clip_grad_norm_`); none where they are
/// below.
pub fn clip_factor(norm: f64, limit: f64) -> Option<f64> {
    let factor = limit / (norm + 1e-6);
    (factor < 1.0).then_some(factor)
}

impl Optimizer for Sgd {
    fn step(&mut self, gradients: &[Tensor]) -> Result<()> {
        let norm = check_gradients(&self.parameters, gradients)?;
        let SgdOptions { lr, momentum, nesterov, weight_decay, clip } = self.options;
        let factor = clip.and_then(|limit| clip_factor(norm, limit));
        for (index, (parameter, gradient)) in self.parameters.iter().zip(gradients).enumerate() {
            let by = Descent { factor: factor.unwrap_or(1.0), decay: weight_decay, rate: lr };
            match self.buffers.get_mut(index) {
                Some(buffer) => {
                    *buffer = parameter.descend_with(gradient, buffer, by, Momentum { of: momentum, nesterov })?;
                }
                None => parameter.descend(gradient, by)?,
            }
        }
        Ok(())
    }

    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn lr(&self) -> f64 {
        self.options.lr
    }

    fn set_lr(&mut self, lr: f64) -> Result<()> {
        check_option("lr", lr, f64::INFINITY)?;
        self.options.lr = lr;
        Ok(())
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut state = vec![("lr".to_string(), scalar(self.options.lr)?)];
        state.extend(self.buffers.iter().enumerate().map(|(i, buffer)| (format!("momentum.{i}"), buffer.clone())));
        Ok(state)
    }

    fn restore(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        let buffers = match self.buffers.is_empty() {
            true => vec![],
            false => saved_list(state, "momentum", &self.parameters)?,
        };
        self.set_lr(saved_scalar(state, "lr")?)?;
        self.buffers = buffers;
        Ok(())
    }
}
