//! Optimisers: from gradients to new values of parameters.
//!
//! They are made of plain tensor operations, so they run wherever the parameters are; with all weights in one flat
//! parameter a step is a handful of vector operations.

mod adam;
mod asgd;
mod sgd;

pub use adam::{Adam, AdamOptions};
pub use asgd::{Asgd, AsgdOptions};
use sgd::check_clip;
pub use sgd::{Sgd, SgdOptions, clip_factor};

use crate::learn::vector::norm;
use crate::{Error, Parameter, Result};
use candle_core::{DType, Device, Tensor};

/// Moves parameters against their gradients.
pub trait Optimizer: Send {
    /// One step. `gradients`: one for every parameter, in order and of its shape.
    ///
    /// # Errors
    /// Another number of gradients than of parameters, or other shapes; values that are NaN or infinite. The parameters
    /// are unchanged then.
    fn step(&mut self, gradients: &[Tensor]) -> Result<()>;

    /// The parameters that it moves.
    fn parameters(&self) -> &[Parameter];

    fn lr(&self) -> f64;

    /// Sets the learning rate of the steps to come.
    ///
    /// # Errors
    /// A rate that is negative or not finite.
    fn set_lr(&mut self, lr: f64) -> Result<()>;

    /// Its memory as named tensors, the learning rate included; the parameters themselves are not part of it.
    ///
    /// # Errors
    /// Those of the device.
    fn state(&self) -> Result<Vec<(String, Tensor)>>;

    /// Puts back what [`state`](Self::state) gave.
    ///
    /// # Errors
    /// The state of another optimiser: a tensor that is missing or of another shape.
    fn restore(&mut self, state: &[(String, Tensor)]) -> Result<()>;
}

/// Checks that the gradients fit the parameters and are finite; gives their norm, all taken as one vector.
///
/// # Errors
/// Another number or other shapes; values that are not finite, with which a step would destroy the parameters.
fn check_gradients(parameters: &[Parameter], gradients: &[Tensor]) -> Result<f64> {
    if parameters.len() != gradients.len() {
        return Err(Error::user(format!(
            "the optimiser holds {} parameters but was given {} gradients",
            parameters.len(),
            gradients.len()
        ))
        .hint("one gradient for every parameter, in the order in which the optimiser was given them"));
    }
    for (index, (parameter, gradient)) in parameters.iter().zip(gradients).enumerate() {
        if parameter.dims() != gradient.dims() {
            return Err(Error::user(format!(
                "gradient {index} has shape {:?}, but its parameter has {:?}",
                gradient.dims(),
                parameter.dims()
            )));
        }
    }
    let norm = norm(gradients)?;
    match norm.is_finite() {
        true => Ok(norm),
        false => {
            let norm = shown(norm);
            Err(Error::user(format!("the norm of the gradient is {norm}: the step would destroy the parameters"))
                .hint("a smaller learning rate or clipping before this step may help; so may a look at the loss"))
        }
    }
}

/// A number that is not finite, as the journal writes it.
fn shown(value: f64) -> &'static str {
    if value.is_nan() { "NaN" } else { "inf" }
}

/// Checks that an option is a finite number within bounds, the upper one excluded.
fn check_option(name: &str, value: f64, below: f64) -> Result<()> {
    if value.is_finite() && (0.0..below).contains(&value) {
        return Ok(());
    }
    let range = if below.is_infinite() { "not negative".to_string() } else { format!("at least 0 and below {below}") };
    Err(Error::user(format!("{name} must be {range}, not {value}")))
}

/// Zeros in the shape of every parameter.
fn zeros(parameters: &[Parameter]) -> Result<Vec<Tensor>> {
    Ok(parameters.iter().map(|parameter| parameter.detached().zeros_like()).collect::<candle_core::Result<_>>()?)
}

/// A number as a saved tensor.
fn scalar(value: f64) -> Result<Tensor> {
    Ok(Tensor::new(value, &Device::Cpu)?)
}

/// A saved tensor by name.
fn saved<'a>(state: &'a [(String, Tensor)], name: &str) -> Result<&'a Tensor> {
    let found = state.iter().find(|(known, _)| known == name);
    found
        .map(|(_, tensor)| tensor)
        .ok_or_else(|| Error::user(format!("the saved optimiser has no \"{name}\"")).hint("was another one saved?"))
}

fn saved_scalar(state: &[(String, Tensor)], name: &str) -> Result<f64> {
    Ok(saved(state, name)?.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}

/// One saved tensor `NAME.INDEX` for every parameter, on the parameter's device.
fn saved_list(state: &[(String, Tensor)], name: &str, parameters: &[Parameter]) -> Result<Vec<Tensor>> {
    let restored = parameters.iter().enumerate().map(|(index, parameter)| {
        let name = format!("{name}.{index}");
        let tensor = saved(state, &name)?;
        if tensor.dims() != parameter.dims() {
            return Err(Error::user(format!(
                "the saved \"{name}\" has shape {:?}, but its parameter has {:?}",
                tensor.dims(),
                parameter.dims()
            )));
        }
        Ok(tensor.to_device(parameter.device())?)
    });
    restored.collect()
}
