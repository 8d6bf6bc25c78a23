//! The tensor as scripts hold it: a cheap handle on a candle tensor whose bytes are metered.

use crate::Result;
use crate::script::binding::ScriptType;
use crate::script::host::{Held, Meter};
use candle_core::{DType, Var};
use std::fmt;
use std::sync::Arc;

/// A tensor in a script's hands. Clones share the values.
#[derive(Clone, Debug)]
pub struct Tensor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    value: candle_core::Tensor,
    variable: Option<Var>,
    held: Held,
}

impl ScriptType for Tensor {
    const NAME: &'static str = "tensor";
}

impl Tensor {
    /// Hands a candle tensor to the script; `meter` is the host's.
    pub fn new(meter: &Arc<Meter>, value: candle_core::Tensor) -> Self {
        let held = meter.hold(bytes(&value));
        Self(Arc::new(Inner { value, variable: None, held }))
    }

    /// Hands a variable over: a tensor with respect to which gradients are taken. Setting the variable shows in the
    /// script's tensor.
    pub fn parameter(meter: &Arc<Meter>, variable: Var) -> Self {
        let value = variable.as_tensor().clone();
        let held = meter.hold(bytes(&value));
        Self(Arc::new(Inner { value, variable: Some(variable), held }))
    }

    /// The candle tensor inside.
    pub fn candle(&self) -> &candle_core::Tensor {
        &self.0.value
    }

    /// The variable inside, if this is a parameter.
    pub fn variable(&self) -> Option<&Var> {
        self.0.variable.as_ref()
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
        self.0.value.dims()
    }

    /// The values as floats; indices are converted. Gradients flow through.
    pub fn float(&self) -> Result<candle_core::Tensor> {
        match self.0.value.dtype() {
            DType::F32 | DType::F64 => Ok(self.0.value.clone()),
            _ => Ok(self.0.value.to_dtype(DType::F32)?),
        }
    }

    /// All values in row-major order.
    pub fn values(&self) -> Result<Vec<f64>> {
        Ok(self.0.value.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
    }

    /// The values as indices, 32-bit unsigned.
    ///
    /// # Errors
    /// Where a value is negative or no whole number.
    pub fn indices(&self) -> Result<candle_core::Tensor> {
        if self.0.value.dtype() == DType::U32 {
            return Ok(self.0.value.contiguous()?);
        }
        if let Some(bad) = self.values()?.iter().find(|v| **v < 0.0 || v.fract() != 0.0 || !v.is_finite()) {
            return Err(crate::Error::user(format!("{bad} is no index: indices are whole numbers from 0")));
        }
        Ok(self.0.value.to_dtype(DType::U32)?.contiguous()?)
    }

    /// The same values as a tensor of indices.
    pub fn to_integers(&self) -> Result<Self> {
        self.with(self.indices()?)
    }

    /// Whether the values are integers by type.
    pub fn is_integer(&self) -> bool {
        self.0.value.dtype().is_int()
    }
}

fn bytes(value: &candle_core::Tensor) -> u64 {
    (value.elem_count() * value.dtype().size_in_bytes()) as u64
}

/// How many values `print` shows before it gives the shape and the extremes only.
const SHOWN: usize = 256;

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.value.elem_count();
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
