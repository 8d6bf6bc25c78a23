//! Optimisers: from gradients to new values of variables.
//!
//! They are made of plain tensor operations, so they run wherever the variables are; with all weights in one flat variable
//! a step is a handful of vector operations.

mod adam;
mod sgd;

pub use adam::{Adam, AdamOptions};
pub use sgd::{Sgd, SgdOptions};

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor, Var};

/// Moves variables against their gradients.
pub trait Optimizer: Send {
    /// One step. `gradients`: one for every variable, in order and of its shape.
    fn step(&mut self, gradients: &[Tensor]) -> Result<()>;

    /// The variables that it moves.
    fn variables(&self) -> &[Var];

    fn lr(&self) -> f64;

    /// Sets the learning rate of the steps to come.
    fn set_lr(&mut self, lr: f64) -> Result<()>;

    /// Its memory as named tensors, the learning rate included; the variables themselves are not part of it.
    fn state(&self) -> Result<Vec<(String, Tensor)>>;

    /// Puts back what [`state`](Self::state) gave.
    fn restore(&mut self, state: &[(String, Tensor)]) -> Result<()>;
}

/// Sees that the gradients fit the variables.
fn check_gradients(variables: &[Var], gradients: &[Tensor]) -> Result<()> {
    if variables.len() != gradients.len() {
        return Err(Error::user(format!(
            "the optimiser holds {} parameters but was given {} gradients",
            variables.len(),
            gradients.len()
        ))
        .hint("one gradient for every parameter, in the order in which the optimiser was given them"));
    }
    for (index, (variable, gradient)) in variables.iter().zip(gradients).enumerate() {
        if variable.dims() != gradient.dims() {
            return Err(Error::user(format!(
                "gradient {index} has shape {:?}, but its parameter has {:?}",
                gradient.dims(),
                variable.dims()
            )));
        }
    }
    Ok(())
}

/// Sees that an option is a finite number within bounds, the upper one excluded.
fn check_option(name: &str, value: f64, below: f64) -> Result<()> {
    if value.is_finite() && (0.0..below).contains(&value) {
        return Ok(());
    }
    let range = if below.is_infinite() { "not negative".to_string() } else { format!("at least 0 and below {below}") };
    Err(Error::user(format!("{name} must be {range}, not {value}")))
}

/// One vector of zeros for every variable.
fn zeros(variables: &[Var]) -> Result<Vec<Tensor>> {
    Ok(variables.iter().map(|v| v.as_detached_tensor().zeros_like()).collect::<candle_core::Result<_>>()?)
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

/// One saved tensor `NAME.INDEX` for every variable, on the variable's device.
fn saved_list(state: &[(String, Tensor)], name: &str, variables: &[Var]) -> Result<Vec<Tensor>> {
    let restored = variables.iter().enumerate().map(|(index, variable)| {
        let name = format!("{name}.{index}");
        let tensor = saved(state, &name)?;
        if tensor.dims() != variable.dims() {
            return Err(Error::user(format!(
                "the saved \"{name}\" has shape {:?}, but its parameter has {:?}",
                tensor.dims(),
                variable.dims()
            )));
        }
        Ok(tensor.to_device(variable.device())?)
    });
    restored.collect()
}
