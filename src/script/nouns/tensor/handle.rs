//! The tensor as scripts hold it: a cheap handle on a candle tensor whose bytes are metered, or on a parameter.
//!
//! A computed tensor never changes. A parameter's handle shows its current values, so whatever is kept for later is
//! made of it first: everything computed from it is a value.

use crate::script::binding::ScriptType;
use crate::script::host::{Held, Meter};
use crate::{Parameter, Result};
use candle_core::{DType, Device};
use std::fmt;
use std::sync::Arc;

/// A tensor in a script's hands. Clones share the values.
#[derive(Clone, Debug)]
pub struct Tensor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    content: Content,
    held: Held,
}

#[derive(Debug)]
enum Content {
    Value(candle_core::Tensor),
    Parameter(Parameter),
}

impl ScriptType for Tensor {
    const NAME: &'static str = "tensor";

    /// One and the same tensor: long ones are not printed whole.
    fn same(&self, other: &Self) -> bool {
        match (self.parameter(), other.parameter()) {
            (Some(own), Some(other)) => own.is(other),
            _ => Arc::ptr_eq(&self.0, &other.0),
        }
    }
}

impl Tensor {
    /// Hands a candle tensor to the script; `meter` is the host's.
    pub fn new(meter: &Arc<Meter>, value: candle_core::Tensor) -> Self {
        let held = meter.hold(bytes(value.dims(), value.dtype()));
        Self(Arc::new(Inner { content: Content::Value(value), held }))
    }

    /// Hands a parameter over: a tensor with respect to which gradients are taken, and which shows every move. Its
    /// current values count while the script holds it; earlier ones count for the tensors that the script made of them.
    pub fn of_parameter(meter: &Arc<Meter>, parameter: Parameter) -> Self {
        let held = meter.hold(bytes(parameter.dims(), parameter.dtype()));
        Self(Arc::new(Inner { content: Content::Parameter(parameter), held }))
    }

    /// The candle tensor inside; a parameter's current values, tracked.
    pub fn candle(&self) -> candle_core::Tensor {
        match &self.0.content {
            Content::Value(value) => value.clone(),
            Content::Parameter(parameter) => parameter.tensor(),
        }
    }

    /// The parameter inside, if this is one.
    pub fn parameter(&self) -> Option<&Parameter> {
        match &self.0.content {
            Content::Value(_) => None,
            Content::Parameter(parameter) => Some(parameter),
        }
    }

    /// The tensor as it is now: a parameter's current values, which later moves leave alone and through which gradients
    /// flow to it.
    pub fn value(&self) -> Self {
        match &self.0.content {
            Content::Value(_) => self.clone(),
            Content::Parameter(parameter) => Self::new(self.meter(), parameter.tensor()),
        }
    }

    pub fn meter(&self) -> &Arc<Meter> {
        self.0.held.meter()
    }

    /// A tensor computed from this one, metered by the same meter.
    ///
    /// # Errors
    /// Where the script's tensors then hold more than they may.
    pub fn with(&self, value: candle_core::Tensor) -> Result<Self> {
        self.meter().admit(value.dims(), value.dtype().size_in_bytes())?;
        Ok(Self::new(self.meter(), value))
    }

    pub fn dims(&self) -> &[usize] {
        match &self.0.content {
            Content::Value(value) => value.dims(),
            Content::Parameter(parameter) => parameter.dims(),
        }
    }

    pub fn dtype(&self) -> DType {
        match &self.0.content {
            Content::Value(value) => value.dtype(),
            Content::Parameter(parameter) => parameter.dtype(),
        }
    }

    pub fn device(&self) -> &Device {
        match &self.0.content {
            Content::Value(value) => value.device(),
            Content::Parameter(parameter) => parameter.device(),
        }
    }

    /// How many numbers it holds.
    pub fn count(&self) -> usize {
        self.dims().iter().product()
    }

    /// The values as floats; indices are converted. Gradients flow through.
    pub fn float(&self) -> Result<candle_core::Tensor> {
        let value = self.candle();
        match value.dtype() {
            DType::F32 | DType::F64 => Ok(value),
            _ => Ok(value.to_dtype(DType::F32)?),
        }
    }

    /// All values in row-major order.
    pub fn values(&self) -> Result<Vec<f64>> {
        Ok(self.candle().flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
    }

    /// The values as indices, 32-bit unsigned.
    ///
    /// # Errors
    /// A value that is negative or not a whole number.
    pub fn indices(&self) -> Result<candle_core::Tensor> {
        let value = self.candle();
        if value.dtype() == DType::U32 {
            return Ok(value.contiguous()?);
        }
        if let Some(bad) = self.values()?.iter().find(|v| **v < 0.0 || v.fract() != 0.0 || !v.is_finite()) {
            return Err(crate::Error::user(format!("{bad} is not an index: indices are whole numbers from 0")));
        }
        Ok(value.to_dtype(DType::U32)?.contiguous()?)
    }

    /// The same values as a tensor of indices.
    pub fn to_integers(&self) -> Result<Self> {
        self.with(self.indices()?)
    }

    /// Whether the values are integers by type.
    pub fn is_integer(&self) -> bool {
        self.dtype().is_int()
    }
}

fn bytes(dims: &[usize], dtype: DType) -> u64 {
    (dims.iter().product::<usize>() * dtype.size_in_bytes()) as u64
}

/// How many values `print` shows before it gives the shape and the extremes only.
const SHOWN: usize = 256;

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count();
        if count > SHOWN {
            return write!(f, "tensor of shape {:?}", self.dims());
        }
        let values = self.values().map_err(|_| fmt::Error)?;
        let integer = self.is_integer();
        write_nested(f, self.dims(), &values, integer)
    }
}

fn write_nested(f: &mut fmt::Formatter<'_>, dims: &[usize], values: &[f64], integer: bool) -> fmt::Result {
    let Some((&first, rest)) = dims.split_first() else {
        // Integers need no digits after the point.
        return if integer { write!(f, "{}", values[0]) } else { write!(f, "{}", Short(values[0])) };
    };
    let stride = rest.iter().product::<usize>();
    f.write_str("[")?;
    for index in 0..first {
        if index > 0 {
            f.write_str(", ")?;
        }
        write_nested(f, rest, &values[index * stride..(index + 1) * stride], integer)?;
    }
    f.write_str("]")
}

/// A float with as many digits as a 32-bit float holds apart, and always a decimal point.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0 as f32)
    }
}
