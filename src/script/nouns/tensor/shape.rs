//! The same numbers in another shape, and several tensors in one.

use super::Tensor;
use super::arguments::{Axes, Shape, axis, broadcast, float_type};
use crate::script::binding::{Library, List};
use crate::{Error, Result};
use candle_core::Tensor as Candle;

pub fn declare(library: &mut Library) {
    library
        .function("reshape", &["t", "shape"], |t: Tensor, shape: List<i64>| {
            t.with(t.candle().reshape(resolve(t.count(), &shape.0, t.dims())?)?)
        })
        .doc("The same numbers in another shape; one size may be -1 and is then worked out from the others.")
        .example("assert_equal(reshape(arange(6), [2, -1]).shape, [2, 3]);");
    library
        .function("flatten", &["t"], |t: Tensor| t.with(t.candle().flatten_all()?))
        .doc("All numbers along one axis.")
        .example("assert_equal(flatten(tensor([[1, 2], [3, 4]])), tensor([1, 2, 3, 4]));");
    library
        .function("transpose", &["t", "a", "b"], |t: Tensor, a: Option<i64>, b: Option<i64>| {
            if t.dims().len() < 2 {
                return Err(Error::user(format!("transpose needs two axes; the shape is {:?}", t.dims())));
            }
            let (a, b) = (axis(a.unwrap_or(-2), t.dims())?, axis(b.unwrap_or(-1), t.dims())?);
            t.with(t.candle().transpose(a, b)?.contiguous()?)
        })
        .doc("Two axes exchanged, the last two by default.")
        .example("assert_equal(transpose(tensor([[1, 2], [3, 4]])), tensor([[1, 3], [2, 4]]));");
    library
        .function("permute", &["t", "axes"], |t: Tensor, axes: List<i64>| {
            let order = axes.0.iter().map(|&a| axis(a, t.dims())).collect::<Result<Vec<_>>>()?;
            let mut sorted = order.clone();
            sorted.sort_unstable();
            if sorted != (0..t.dims().len()).collect::<Vec<_>>() {
                return Err(Error::user(format!("permute takes each axis of {:?} once, not {:?}", t.dims(), axes.0)));
            }
            t.with(t.candle().permute(order)?.contiguous()?)
        })
        .doc("The axes in another order.")
        .example("assert_equal(permute(zeros([2, 3, 4]), [2, 0, 1]).shape, [4, 2, 3]);");
    library
        .function("unsqueeze", &["t", "axis"], |t: Tensor, along: i64| {
            let longer = vec![1; t.dims().len() + 1];
            t.with(t.candle().unsqueeze(axis(along, &longer)?)?)
        })
        .doc("A new axis of size 1 at the given position.")
        .example(
            r#"
            assert_equal(unsqueeze(zeros([3]), 0).shape, [1, 3]);
            assert_equal(unsqueeze(zeros([3]), -1).shape, [3, 1]);
            "#,
        );
    library
        .function("squeeze", &["t", "axes"], |t: Tensor, axes: Option<Axes>| {
            let axes = match axes {
                Some(axes) => axes.resolve(t.dims())?,
                None => (0..t.dims().len()).filter(|&i| t.dims()[i] == 1).collect(),
            };
            if let Some(&wide) = axes.iter().find(|&&i| t.dims()[i] != 1) {
                return Err(Error::user(format!("axis {wide} of {:?} does not have size 1", t.dims())));
            }
            let dims: Vec<usize> = (0..t.dims().len()).filter(|i| !axes.contains(i)).map(|i| t.dims()[i]).collect();
            t.with(t.candle().reshape(dims)?)
        })
        .doc("Without the given axes, which must have size 1; by default without all axes of size 1.")
        .example("assert_equal(squeeze(zeros([1, 3, 1])).shape, [3]);");
    library
        .function("broadcast_to", &["t", "shape"], |t: Tensor, shape: Shape| {
            let misfit = || Error::user(format!("cannot broadcast {:?} to {:?}", t.dims(), shape.0));
            if broadcast("broadcast", t.dims(), &shape.0).map_err(|_| misfit())? != shape.0 {
                return Err(misfit());
            }
            t.meter().admit(&shape.0, t.dtype().size_in_bytes())?;
            t.with(t.candle().broadcast_as(shape.0)?.contiguous()?)
        })
        .doc("Repeated along axes of size 1, and along new axes in front, to the given shape.")
        .example("assert_equal(broadcast_to(tensor([1, 2]), [2, 2]), tensor([[1, 2], [1, 2]]));");
    declare_joining(library);
}

/// The wanted sizes with -1 worked out.
fn resolve(count: usize, wanted: &[i64], dims: &[usize]) -> Result<Vec<usize>> {
    let misfit = || Error::user(format!("cannot reshape {dims:?} ({count} numbers) to {wanted:?}"));
    let known = wanted.iter().filter(|&&size| size != -1).try_fold(1usize, |product, &size| {
        usize::try_from(size).ok().and_then(|size| product.checked_mul(size)).ok_or_else(misfit)
    })?;
    let open = wanted.iter().filter(|&&size| size == -1).count();
    let fits = match open {
        0 => known == count,
        1 => known > 0 && count.is_multiple_of(known),
        _ => false,
    };
    if !fits {
        return Err(misfit());
    }
    Ok(wanted.iter().map(|&size| if size == -1 { count / known } else { size as usize }).collect())
}

/// The tensors as candle's, all of one float type (or all of them indices).
fn uniform(tensors: &[Tensor]) -> Result<Vec<Candle>> {
    if tensors.iter().all(Tensor::is_integer) {
        return Ok(tensors.iter().map(|t| t.candle()).collect());
    }
    let dtype = float_type(tensors);
    tensors.iter().map(|t| Ok(t.float()?.to_dtype(dtype)?)).collect()
}

fn shapes(tensors: &[Tensor]) -> String {
    tensors.iter().map(|t| format!("{:?}", t.dims())).collect::<Vec<_>>().join(", ")
}

fn declare_joining(library: &mut Library) {
    library
        .function("concat", &["tensors", "axis"], |tensors: List<Tensor>, along: Option<i64>| {
            let tensors = tensors.0;
            let first = tensors.first().ok_or_else(|| Error::user("concat needs at least one tensor"))?;
            let axis = axis(along.unwrap_or(0), first.dims())?;
            let others = |t: &Tensor| {
                let mut dims = t.dims().to_vec();
                (axis < dims.len()).then(|| dims.remove(axis));
                (t.dims().len(), dims)
            };
            if tensors.iter().any(|t| others(t) != others(first)) {
                return Err(Error::user(format!("cannot concat {} along axis {axis}", shapes(&tensors)))
                    .hint("the sizes of all other axes are equal"));
            }
            let values = uniform(&tensors)?;
            let mut dims = first.dims().to_vec();
            dims[axis] = tensors.iter().map(|t| t.dims()[axis]).sum();
            first.meter().admit(&dims, values[0].dtype().size_in_bytes())?;
            first.with(Candle::cat(&values, axis)?)
        })
        .doc("The tensors one after the other along an axis, the first by default.")
        .example("assert_equal(concat([ones([2]), zeros([1])]), tensor([1, 1, 0]));");
    library
        .function("stack", &["tensors", "axis"], |tensors: List<Tensor>, along: Option<i64>| {
            let tensors = tensors.0;
            let first = tensors.first().ok_or_else(|| Error::user("stack needs at least one tensor"))?;
            if tensors.iter().any(|t| t.dims() != first.dims()) {
                return Err(Error::user(format!("cannot stack {}", shapes(&tensors))).hint("the shapes must be equal"));
            }
            let axis = axis(along.unwrap_or(0), &vec![1; first.dims().len() + 1])?;
            let values = uniform(&tensors)?;
            let mut dims = first.dims().to_vec();
            dims.insert(axis, tensors.len());
            first.meter().admit(&dims, values[0].dtype().size_in_bytes())?;
            first.with(Candle::stack(&values, axis)?)
        })
        .doc("The tensors, of one shape, along a new axis, the first by default.")
        .example("assert_equal(stack([ones([2]), zeros([2])]).shape, [2, 2]);");
}
