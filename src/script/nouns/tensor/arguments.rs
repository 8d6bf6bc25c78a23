//! What tensor functions take besides tensors: numbers in their place, shapes, axes, nested arrays.

use super::Tensor;
use crate::script::binding::{Argument, List, Mismatch, describe_value};
use crate::{Error, Result};
use candle_core::{DType, Device};
use rhai::Dynamic;

/// A tensor, or a number that stands for a tensor without axes.
#[derive(Clone, Debug)]
pub enum Operand {
    Tensor(Tensor),
    Number(f64),
}

impl Argument for Operand {
    fn describe() -> String {
        "tensor or float".into()
    }
    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        match f64::read(value) {
            Ok(number) => Ok(Self::Number(number)),
            Err(_) => Tensor::read(value).map(Self::Tensor),
        }
    }
}

impl Operand {
    pub fn tensor(&self) -> Option<&Tensor> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            Self::Number(_) => None,
        }
    }

    /// As a candle tensor of the given type and place.
    pub fn float(&self, dtype: DType, device: &Device) -> Result<candle_core::Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor.float()?.to_dtype(dtype)?),
            Self::Number(number) => Ok(candle_core::Tensor::new(*number, device)?.to_dtype(dtype)?),
        }
    }
}

/// The wider of the operands' float types.
pub fn float_type<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> DType {
    let wide = tensors.into_iter().any(|t| t.dtype() == DType::F64);
    if wide { DType::F64 } else { DType::F32 }
}

/// A shape: the sizes of the axes.
#[derive(Clone, Debug)]
pub struct Shape(pub Vec<usize>);

impl Argument for Shape {
    fn describe() -> String {
        "[int]".into()
    }
    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        List::<usize>::read(value).map(|list| Self(list.0))
    }
}

/// One axis or several; negative ones count from the end.
#[derive(Clone, Debug)]
pub struct Axes(Vec<i64>);

impl Argument for Axes {
    fn describe() -> String {
        "int or [int]".into()
    }
    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        match i64::read(value) {
            Ok(axis) => Ok(Self(vec![axis])),
            Err(_) => List::<i64>::read(value).map(|list| Self(list.0)),
        }
    }
}

impl Axes {
    /// The axes as numbers from 0, in order.
    ///
    /// # Errors
    /// An axis the shape does not have, or the same one twice.
    pub fn resolve(&self, dims: &[usize]) -> Result<Vec<usize>> {
        let mut axes = self.0.iter().map(|&a| axis(a, dims)).collect::<Result<Vec<_>>>()?;
        axes.sort_unstable();
        if axes.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::user(format!("the same axis is given twice: {:?}", self.0)));
        }
        Ok(axes)
    }
}

/// An axis as a number from 0.
pub fn axis(axis: i64, dims: &[usize]) -> Result<usize> {
    let rank = dims.len() as i64;
    let resolved = if axis < 0 { axis + rank } else { axis };
    if (0..rank).contains(&resolved) {
        return Ok(resolved as usize);
    }
    let error = Error::user(format!("there is no axis {axis} in the shape {dims:?}"));
    Err(match rank {
        0 => error.hint("a tensor without axes holds one number: take it with `item`"),
        _ => error.hint(format!("its axes are 0 to {}, or -{rank} to -1 from the end", rank - 1)),
    })
}

/// The shape that two shapes broadcast to.
///
/// # Errors
/// Shapes that do not fit, named with the verb: "cannot add [3, 4] and [5]".
pub fn broadcast(verb: &str, a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |dims: &[usize], i: usize| if i + dims.len() < rank { 1 } else { dims[i + dims.len() - rank] };
    (0..rank)
        .map(|i| match (size(a, i), size(b, i)) {
            (x, y) if x == y || y == 1 => Ok(x),
            (1, y) => Ok(y),
            _ => Err(Error::user(format!("cannot {verb} {a:?} and {b:?}"))
                .hint("shapes fit where, from the last axis back, the sizes are equal or one of them is 1")),
        })
        .collect()
}

/// Numbers in nested arrays of equal lengths, flattened, with their shape.
pub struct Nested {
    pub values: Vec<f64>,
    pub dims: Vec<usize>,
    /// Whether every number is an int.
    pub integer: bool,
}

impl Nested {
    /// Reads a number, an array of numbers, or arrays of such.
    ///
    /// # Errors
    /// Anything else inside, and arrays of unequal lengths.
    pub fn read(value: &Dynamic) -> Result<Self> {
        let mut nested = Self { values: vec![], dims: vec![], integer: true };
        nested.dims = nested.collect(value)?;
        Ok(nested)
    }

    fn collect(&mut self, value: &Dynamic) -> Result<Vec<usize>> {
        let Ok(items) = value.as_array_ref() else {
            let flag = value.as_bool().map(|flag| if flag { 1.0 } else { 0.0 });
            let number = f64::read(value).or(flag);
            let bad = |_| Error::user(format!("a tensor holds numbers, not {}", describe_value(value)));
            self.values.push(number.map_err(bad)?);
            self.integer &= value.is_int();
            return Ok(vec![]);
        };
        let mut inner: Option<Vec<usize>> = None;
        for (index, item) in items.iter().enumerate() {
            let dims = self.collect(item)?;
            match &inner {
                Some(first) if *first != dims => {
                    return Err(Error::user(format!(
                        "the arrays are ragged: element 0 has shape {first:?}, element {index} {dims:?}"
                    )));
                }
                _ => inner = Some(dims),
            }
        }
        Ok(std::iter::once(items.len()).chain(inner.unwrap_or_default()).collect())
    }
}

/// Numbers of a tensor or of (nested) arrays, as they are now.
pub struct Numbers {
    pub values: Vec<f64>,
    pub dims: Vec<usize>,
}

impl Argument for Numbers {
    fn describe() -> String {
        "tensor or [float]".into()
    }
    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Ok(tensor) = Tensor::read(value) {
            let values = tensor.values().map_err(Mismatch::Error)?;
            return Ok(Self { values, dims: tensor.dims().to_vec() });
        }
        let Nested { values, dims, .. } = Nested::read(value).map_err(Mismatch::Error)?;
        Ok(Self { values, dims })
    }
}

/// A vertical and a horizontal extent: one number for both, or two.
#[derive(Clone, Copy)]
pub struct Pair(pub usize, pub usize);

impl Argument for Pair {
    fn describe() -> String {
        "int or [int]".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Ok(both) = usize::read(value) {
            return Ok(Self(both, both));
        }
        match List::<usize>::read(value)?.0[..] {
            [vertical, horizontal] => Ok(Self(vertical, horizontal)),
            _ => Err(Mismatch::Error(Error::user("one number, or two: [vertical, horizontal]"))),
        }
    }
}

/// Indices: a tensor of whole numbers, or an int, or (nested) arrays of ints.
pub struct Indices(IndexSource);

enum IndexSource {
    Tensor(Tensor),
    Nested(Nested),
}

impl Argument for Indices {
    fn describe() -> String {
        "tensor or [int]".into()
    }
    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Ok(tensor) = Tensor::read(value) {
            return Ok(Self(IndexSource::Tensor(tensor)));
        }
        Nested::read(value).map(|nested| Self(IndexSource::Nested(nested))).map_err(Mismatch::Error)
    }
}

impl Indices {
    /// The numbers themselves where they are a tensor of these dimensions, which no labels of rows are.
    pub fn as_targets(&self, dims: [usize; 2]) -> Result<Option<candle_core::Tensor>> {
        match &self.0 {
            IndexSource::Tensor(tensor) if tensor.dims() == dims => tensor.float().map(Some),
            _ => Ok(None),
        }
    }

    /// As 32-bit unsigned integers on `device`, each below `bound`.
    ///
    /// # Errors
    /// Values that are not whole numbers from 0 to `bound` - 1.
    pub fn resolve(&self, bound: usize, device: &Device) -> Result<candle_core::Tensor> {
        let indices = match &self.0 {
            IndexSource::Tensor(tensor) => tensor.indices()?,
            IndexSource::Nested(nested) => {
                if let Some(bad) = nested.values.iter().find(|v| **v < 0.0 || v.fract() != 0.0) {
                    return Err(Error::user(format!("{bad} is not an index: indices are whole numbers from 0")));
                }
                let values: Vec<u32> = nested.values.iter().map(|&v| v as u32).collect();
                candle_core::Tensor::from_vec(values, nested.dims.as_slice(), device)?
            }
        };
        let largest = indices.flatten_all()?.to_device(&Device::Cpu)?.to_vec1::<u32>()?.into_iter().max();
        match largest {
            Some(largest) if largest as usize >= bound => {
                Err(Error::user(format!("the index {largest} is out of range: there are {bound}"))
                    .hint("the first is 0"))
            }
            _ => Ok(indices),
        }
    }
}
