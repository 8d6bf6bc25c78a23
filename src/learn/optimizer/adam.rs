//! Adam (Kingma and Ba 2015), with the weight decay either added to the gradient (L2, as the DARTS alphas have it) or
//! taken off the parameter directly (decoupled; Loshchilov and Hutter 2019).

use super::{
    Optimizer, check_clip, check_gradients, check_option, clip_factor, saved_list, saved_scalar, scalar, zeros,
};
use crate::{Error, Parameter, Result};
use candle_core::Tensor;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamOptions {
    pub lr: f64,
    /// Decay of the running means of the gradient and of its square.
    pub betas: (f64, f64),
    pub eps: f64,
    pub weight_decay: f64,
    /// Take lr·λ·w off the parameter instead of adding λ·w to the gradient.
    pub decoupled: bool,
    /// Largest norm of all gradients together; they are scaled down to it before anything else.
    pub clip: Option<f64>,
}

impl AdamOptions {
    pub fn new(lr: f64) -> Self {
        Self { lr, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, decoupled: false, clip: None }
    }
}

/// m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; w ← w − lr · m̂ / (√v̂ + eps), with m̂ and v̂ corrected for their start at
/// zero.
pub struct Adam {
    parameters: Vec<Parameter>,
    options: AdamOptions,
    steps: u32,
    first: Vec<Tensor>,
    second: Vec<Tensor>,
}

impl Adam {
    /// Adam on these parameters, before its first step.
    ///
    /// # Errors
    /// A learning rate, `eps` or weight decay that is negative or not finite; betas outside of [0, 1); a `clip`
    /// that is not above 0.
    pub fn new(parameters: Vec<Parameter>, options: AdamOptions) -> Result<Self> {
        check_option("lr", options.lr, f64::INFINITY)?;
        check_option("the first of betas", options.betas.0, 1.0)?;
        check_option("the second of betas", options.betas.1, 1.0)?;
        check_option("eps", options.eps, f64::INFINITY)?;
        check_option("weight_decay", options.weight_decay, f64::INFINITY)?;
        check_clip(options.clip)?;
        let (first, second) = (zeros(&parameters)?, zeros(&parameters)?);
        Ok(Self { parameters, options, steps: 0, first, second })
    }

    pub fn options(&self) -> &AdamOptions {
        &self.options
    }
}

impl Optimizer for Adam {
    fn step(&mut self, gradients: &[Tensor]) -> Result<()> {
        let norm = check_gradients(&self.parameters, gradients)?;
        let AdamOptions { lr, betas: (beta1, beta2), eps, weight_decay, decoupled, clip } = self.options;
        let factor = clip.and_then(|limit| clip_factor(norm, limit));
        self.steps += 1;
        let correction1 = 1.0 - beta1.powf(self.steps.into());
        let correction2 = 1.0 - beta2.powf(self.steps.into());
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, (first, second)), gradient) in self.parameters.iter().zip(moments).zip(gradients) {
            let mut g = gradient.detach();
            if let Some(factor) = factor {
                g = g.affine(factor, 0.0)?;
            }
            if weight_decay != 0.0 && !decoupled {
                g = (g + parameter.detached().affine(weight_decay, 0.0)?)?;
            }
            *first = (first.affine(beta1, 0.0)? + g.affine(1.0 - beta1, 0.0)?)?;
            *second = (second.affine(beta2, 0.0)? + g.sqr()?.affine(1.0 - beta2, 0.0)?)?;
            let spread = second.sqrt()?.affine(1.0 / correction2.sqrt(), eps)?;
            let delta = (first.affine(lr / correction1, 0.0)? / spread)?;
            match decoupled && weight_decay != 0.0 {
                true => parameter.set(&(parameter.detached().affine(1.0 - lr * weight_decay, 0.0)? - delta)?)?,
                false => parameter.subtract(&delta)?,
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
        let mut state =
            vec![("lr".to_string(), scalar(self.options.lr)?), ("steps".to_string(), scalar(self.steps.into())?)];
        for (i, (first, second)) in self.first.iter().zip(&self.second).enumerate() {
            state.push((format!("first.{i}"), first.clone()));
            state.push((format!("second.{i}"), second.clone()));
        }
        Ok(state)
    }

    fn restore(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        let first = saved_list(state, "first", &self.parameters)?;
        let second = saved_list(state, "second", &self.parameters)?;
        let steps = saved_scalar(state, "steps")?;
        if !(0.0..=f64::from(u32::MAX)).contains(&steps) {
            return Err(Error::user(format!("the saved optimiser counts {steps} steps")));
        }
        self.set_lr(saved_scalar(state, "lr")?)?;
        (self.first, self.second, self.steps) = (first, second, steps as u32);
        Ok(())
    }
}
