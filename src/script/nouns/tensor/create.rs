//! Tensors from nothing, from arrays, and back.

use super::Tensor;
use super::arguments::{Nested, Shape};
use crate::script::binding::{Library, List};
use crate::script::host::Host;
use crate::{Error, Result};
use candle_core::{DType, Device};
use rhai::Dynamic;

/// Makes a tensor of the host's precision on its device from values in row-major order.
pub(super) fn from_values(host: &Host, values: Vec<f64>, dims: &[usize]) -> Result<Tensor> {
    admit(host, dims)?;
    let values = candle_core::Tensor::from_vec(values, dims, &Device::Cpu)?.to_dtype(host.dtype())?;
    Ok(Tensor::new(&host.meter, values.to_device(host.device())?))
}

/// Checks that a tensor of this shape has room.
pub(super) fn admit(host: &Host, dims: &[usize]) -> Result<()> {
    host.meter.admit(dims, host.dtype().size_in_bytes())
}

fn filled(host: &Host, dims: &[usize], value: f64) -> Result<Tensor> {
    admit(host, dims)?;
    let one = candle_core::Tensor::new(value, host.device())?.to_dtype(host.dtype())?;
    Ok(Tensor::new(&host.meter, one.broadcast_as(dims)?.contiguous()?))
}

pub fn declare(library: &mut Library) {
    library.noun("tensors", "Dense arrays of numbers with automatic differentiation.");
    library.kind::<Tensor>(
        "Numbers in a block with axes. Values never change: every function makes a new tensor. Only a parameter \
         (`parameter(t)`, `net.weights`) moves, and shows its current values; what was computed from it before keeps \
         its own. `t[i]` and loops walk the first axis. `print` shows up to 256 values.",
    );
    library.iterable::<Tensor>();
    declare_making(library);
    declare_reading(library);
}

fn declare_making(library: &mut Library) {
    let host = library.host();
    library
        .function("zeros", &["shape"], move |shape: Shape| filled(&host, &shape.0, 0.0))
        .doc("A tensor of zeros. `zeros([])` has no axes and holds one number.")
        .example("assert_equal(zeros([2, 3]).shape, [2, 3]);");
    let host = library.host();
    library
        .function("ones", &["shape"], move |shape: Shape| filled(&host, &shape.0, 1.0))
        .doc("A tensor of ones.")
        .example("assert_equal(ones([2]), tensor([1, 1]));");
    let host = library.host();
    library
        .function("full", &["shape", "value"], move |shape: Shape, value: f64| filled(&host, &shape.0, value))
        .doc("A tensor with the same value everywhere.")
        .example("assert_equal(full([2], 0.5).array(), [0.5, 0.5]);");
    let host = library.host();
    library
        .function("tensor", &["values"], move |values: Dynamic| {
            if let Some(tensor) = values.read_lock::<Tensor>() {
                return Ok(tensor.value());
            }
            let nested = Nested::read(&values)?;
            from_values(&host, nested.values.clone(), &nested.dims)
        })
        .doc("A tensor from a number or nested arrays of numbers; the arrays of one level have equal lengths.")
        .example(
            r#"
            let t = tensor([[1, 2, 3], [4, 5, 6]]);
            assert_equal(t.shape, [2, 3]);
            "#,
        );
    let host = library.host();
    library
        .function("arange", &["first", "end", "step"], move |first: f64, end: Option<f64>, step: Option<f64>| {
            let (first, end) = end.map_or((0.0, first), |end| (first, end));
            let step = step.unwrap_or(1.0);
            if step == 0.0 || !(end - first).is_finite() || step.is_nan() {
                return Err(Error::user("arange needs finite ends and a step other than 0"));
            }
            let count = ((end - first) / step).ceil().max(0.0) as usize;
            admit(&host, &[count])?;
            from_values(&host, (0..count).map(|i| first + step * i as f64).collect(), &[count])
        })
        .doc("The numbers from `first` to just before `end`, `step` apart (1 by default); `arange(n)` counts from 0.")
        .example(
            r#"
            assert_equal(arange(3).array(), [0.0, 1.0, 2.0]);
            assert_equal(arange(1, 2, 0.5).array(), [1.0, 1.5]);
            "#,
        );
    let host = library.host();
    library
        .function("linspace", &["first", "last", "count"], move |first: f64, last: f64, count: usize| {
            admit(&host, &[count])?;
            let gap = (last - first) / (count.max(2) - 1) as f64;
            from_values(&host, (0..count).map(|i| first + gap * i as f64).collect(), &[count])
        })
        .doc("`count` evenly spaced numbers from `first` to `last`, both included.")
        .example("assert_equal(linspace(0, 1, 3).array(), [0.0, 0.5, 1.0]);");
    let host = library.host();
    library
        .function("eye", &["size"], move |size: usize| {
            admit(&host, &[size, size])?;
            let mut values = vec![0.0; size * size];
            values.iter_mut().step_by(size + 1).for_each(|v| *v = 1.0);
            from_values(&host, values, &[size, size])
        })
        .doc("The identity matrix.")
        .example("assert_equal(eye(2), tensor([[1, 0], [0, 1]]));");
}

fn declare_reading(library: &mut Library) {
    library
        .property("shape", |t: Tensor| Ok(List(t.dims().to_vec())))
        .doc("The sizes of the axes.")
        .example("assert_equal(zeros([2, 3]).shape, [2, 3]);");
    library
        .property("size", |t: Tensor| Ok(t.count()))
        .doc("How many numbers it holds.")
        .example("assert_equal(zeros([2, 3]).size, 6);");
    library
        .property("type", |t: Tensor| Ok(type_name(t.dtype()).to_string()))
        .doc(r#"The type of its numbers: "float32", "float64" or "int"."#)
        .example(r#"assert_equal(zeros([1]).type, "float32");"#);
    library
        .function("to", &["t", "type"], |t: Tensor, kind: String| {
            let dtype = match kind.as_str() {
                "float32" => DType::F32,
                "float64" => DType::F64,
                "int" => return t.with(t.indices()?),
                _ => return Err(Error::unknown("type of numbers", &kind, ["float32", "float64", "int"])),
            };
            t.with(t.candle().to_dtype(dtype)?)
        })
        .doc(
            r#"
            The same numbers as "float32", "float64" or "int" (whole numbers from 0). Gradients pass between floats.
            "#,
        )
        .example(r#"assert_equal(ones([1]).to("float64").type, "float64");"#);
    library
        .function("len", &["t"], |t: Tensor| match t.dims() {
            [first, ..] => Ok(*first),
            [] => Err(Error::user("a tensor without axes has no length").hint("take its number with `item`")),
        })
        .doc("The size of the first axis.")
        .example("assert_equal(len(zeros([2, 3])), 2);");
    library
        .function("item", &["t"], |t: Tensor| match t.values()?.as_slice() {
            [only] => Ok(number(*only, t.is_integer())),
            values => Err(Error::user(format!(
                "`item` takes the number of a tensor that holds one; this one has shape {:?} and holds {}",
                t.dims(),
                values.len()
            ))
            .hint("pick one with `t[i]`, or make one with `sum` or `mean`")),
        })
        .doc("The one number of a tensor that holds one: a float, or an int where the tensor holds ints.")
        .example("assert_equal(tensor([[3.5]]).item(), 3.5);");
    library
        .function("array", &["t"], |t: Tensor| Ok(nested(t.dims(), &t.values()?, t.is_integer())))
        .doc("The numbers as nested arrays; a number where the tensor has no axes.")
        .example("assert_equal(tensor([[1, 2], [3, 4]]).array(), [[1.0, 2.0], [3.0, 4.0]]);");
    library
        .function("all_close", &["a", "b", "tolerance"], |a: Tensor, b: Tensor, tolerance: Option<f64>| {
            let tolerance = tolerance.unwrap_or(1e-6);
            let near = |(x, y): (&f64, &f64)| (x - y).abs() <= tolerance || x == y;
            Ok(a.dims() == b.dims() && a.values()?.iter().zip(&b.values()?).all(near))
        })
        .doc(
            "Whether two tensors have the same shape and no numbers differ by more than `tolerance` (1e-6 by default).",
        )
        .example("assert(all_close(tensor([0.1]) * 3, tensor([0.3])));");
}

fn type_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float32",
        DType::F64 => "float64",
        _ => "int",
    }
}

fn number(value: f64, integer: bool) -> Dynamic {
    if integer { Dynamic::from_int(value as i64) } else { Dynamic::from_float(value) }
}

fn nested(dims: &[usize], values: &[f64], integer: bool) -> Dynamic {
    let Some((&first, rest)) = dims.split_first() else { return number(values[0], integer) };
    let stride = rest.iter().product::<usize>();
    let row = |i: usize| nested(rest, &values[i * stride..(i + 1) * stride], integer);
    Dynamic::from_array((0..first).map(row).collect())
}

/// Walks the first axis.
pub struct Rows {
    tensor: Tensor,
    next: usize,
}

impl Iterator for Rows {
    type Item = Result<Dynamic>;

    fn next(&mut self) -> Option<Self::Item> {
        let count = *self.tensor.dims().first()?;
        let index = self.next;
        self.next += 1;
        let row = || self.tensor.with(self.tensor.candle().get(index)?);
        (index < count).then(|| row().map(Dynamic::from))
    }
}

impl IntoIterator for Tensor {
    type Item = Result<Dynamic>;
    type IntoIter = Rows;

    fn into_iter(self) -> Rows {
        // The rows of a parameter are those that it had when the loop began.
        Rows { tensor: self.value(), next: 0 }
    }
}

/// The tensor in the processor's memory; no copy where it is there.
pub(super) fn on_cpu(tensor: &candle_core::Tensor) -> Result<candle_core::Tensor> {
    Ok(tensor.to_device(&Device::Cpu)?)
}
