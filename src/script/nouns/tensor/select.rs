//! Parts of a tensor: indexing, slices, gathering, sorting, one-hot.

use super::Tensor;
use super::arguments::{Indices, axis};
use super::create::on_cpu;
use crate::script::binding::{Argument, Library, Mismatch, Options};
use crate::{Error, Result};
use candle_core::{D, DType, Tensor as Candle};
use rhai::{Dynamic, Map};
use std::ops::{Range, RangeInclusive};

/// What may stand in `t[…]`.
enum Position {
    At(i64),
    Slice { first: i64, end: i64 },
    Indices(Indices),
}

impl Argument for Position {
    fn describe() -> String {
        "int, range, tensor or [int]".into()
    }
    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Ok(index) = i64::read(value) {
            Ok(Self::At(index))
        } else if let Some(range) = value.read_lock::<Range<i64>>() {
            Ok(Self::Slice { first: range.start, end: range.end })
        } else if let Some(range) = value.read_lock::<RangeInclusive<i64>>() {
            Ok(Self::Slice { first: *range.start(), end: range.end().saturating_add(1) })
        } else {
            Indices::read(value).map(Self::Indices)
        }
    }
}

fn index(t: &Tensor, position: &Position) -> Result<Tensor> {
    let Some(&size) = t.dims().first() else {
        return Err(Error::user("a tensor without axes cannot be indexed").hint("take its number with `item`"));
    };
    match position {
        Position::At(at) => {
            let resolved = if *at < 0 { at + size as i64 } else { *at };
            if !(0..size as i64).contains(&resolved) {
                return Err(Error::user(format!(
                    "the index {at} is out of range: the first axis of {:?} has {size}",
                    t.dims()
                )));
            }
            t.with(t.candle().get(resolved as usize)?)
        }
        Position::Slice { first, end } => slice(t, 0, *first, *end),
        Position::Indices(indices) => select(t, indices, 0),
    }
}

fn slice(t: &Tensor, axis: usize, first: i64, end: i64) -> Result<Tensor> {
    let size = t.dims()[axis] as i64;
    if first < 0 || end > size || first > end {
        return Err(Error::user(format!(
            "the slice {first}..{end} does not fit: axis {axis} of {:?} has {size}",
            t.dims()
        )));
    }
    t.with(t.candle().narrow(axis, first as usize, (end - first) as usize)?.contiguous()?)
}

fn select(t: &Tensor, indices: &Indices, axis: usize) -> Result<Tensor> {
    let indices = indices.resolve(t.dims()[axis], t.device())?;
    let mut dims = t.dims().to_vec();
    dims.splice(axis..=axis, indices.dims().iter().copied());
    t.meter().admit(&dims, t.dtype().size_in_bytes())?;
    let picked = t.candle().contiguous()?.index_select(&indices.flatten_all()?, axis)?;
    t.with(picked.reshape(dims)?)
}

/// The indices that sort the last axis; stable, NaN after every number. Sorted on the processor wherever the tensor is:
/// candle's CUDA kernel settles ties by chance and takes no long rows, and its CPU one has no place for NaN.
fn order(x: &Candle, descending: bool) -> Result<Candle> {
    let values = on_cpu(&x.detach())?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let ascending = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
    let mut order = Vec::with_capacity(values.len());
    for row in values.chunks(x.dim(D::Minus1)?.max(1)) {
        let first = order.len();
        order.extend(0..row.len() as u32);
        order[first..].sort_by(|&a, &b| {
            let (a, b) = (row[a as usize], row[b as usize]);
            if descending { ascending(b, a) } else { ascending(a, b) }
        });
    }
    Ok(Candle::from_vec(order, x.dims(), x.device())?)
}

/// Sorts along an axis: the values (through which gradients flow) and their indices.
fn sorted(t: &Tensor, axis: usize, descending: bool) -> Result<(Candle, Candle)> {
    let last = t.dims().len() - 1;
    let turned = t.float()?.transpose(axis, last)?.contiguous()?;
    let order = order(&turned, descending)?;
    let values = turned.gather(&order, D::Minus1)?;
    Ok((values.transpose(axis, last)?.contiguous()?, order.transpose(axis, last)?.contiguous()?))
}

pub fn declare(library: &mut Library) {
    library
        .index(&["t", "position"], |t: Tensor, position: Position| index(&t, &position))
        .doc(
            r#"
            Along the first axis: one element (from the end where negative) without that axis, a slice `t[1..3]`, or the
            elements at several indices `t[[0, 2]]`.
            "#,
        )
        .example(
            r#"
            let t = tensor([[1, 2], [3, 4], [5, 6]]);
            assert_equal(t[-1], tensor([5, 6]));
            assert_equal(t[0..2].shape, [2, 2]);
            assert_equal(t[1][0].item(), 3.0);
            "#,
        );
    library
        .function("slice", &["t", "axis", "first", "end"], |t: Tensor, along: i64, first: i64, end: i64| {
            slice(&t, axis(along, t.dims())?, first, end)
        })
        .doc("The elements from `first` up to but not including `end` along an axis.")
        .example("assert_equal(slice(tensor([[1, 2, 3]]), 1, 0, 2), tensor([[1, 2]]));");
    library
        .function("select", &["t", "indices", "axis"], |t: Tensor, indices: Indices, along: Option<i64>| {
            select(&t, &indices, axis(along.unwrap_or(0), t.dims())?)
        })
        .doc(
            r#"
            The elements at the given indices along an axis (the first by default); the shape of the indices takes the
            place of the axis.
            "#,
        )
        .example("assert_equal(select(tensor([[1, 2, 3]]), [2, 0], 1), tensor([[3, 1]]));");
    library
        .function("gather", &["t", "indices", "axis"], |t: Tensor, indices: Indices, along: Option<i64>| {
            let axis = axis(along.unwrap_or(-1), t.dims())?;
            let indices = indices.resolve(t.dims()[axis], t.device())?;
            let fits = indices.rank() == t.dims().len()
                && (0..indices.rank()).all(|i| i == axis || indices.dims()[i] == t.dims()[i]);
            if !fits {
                return Err(Error::user(format!("cannot gather from {:?} by indices {:?}", t.dims(), indices.dims()))
                    .hint(format!("the shapes are equal but for axis {axis}")));
            }
            t.with(t.candle().contiguous()?.gather(&indices.contiguous()?, axis)?)
        })
        .doc(
            "For each index the element there along an axis (the last by default), at the same place along the others.",
        )
        .example("assert_equal(gather(tensor([[1, 2], [3, 4]]), [[1], [0]], 1), tensor([[2], [3]]));");
    library
        .function("one_hot", &["indices", "classes"], {
            let host = library.host();
            move |indices: Indices, classes: usize| {
                let indices = indices.resolve(classes, host.device())?;
                let mut dims = indices.dims().to_vec();
                dims.push(classes);
                super::create::admit(&host, &dims)?;
                let values = on_cpu(&indices)?.flatten_all()?.to_vec1::<u32>()?;
                let mut hot = vec![0.0; values.len() * classes];
                values.iter().enumerate().for_each(|(row, &class)| hot[row * classes + class as usize] = 1.0);
                super::create::from_values(&host, hot, &dims)
            }
        })
        .doc("1 at each index and 0 elsewhere, along a new last axis with `classes` places.")
        .example("assert_equal(one_hot([1, 0], 2), tensor([[0, 1], [1, 0]]));");
    declare_sorting(library);
}

fn declare_sorting(library: &mut Library) {
    let directed = |t: &Tensor, along: Option<i64>, options: &Options| -> Result<(Candle, Candle)> {
        sorted(t, axis(along.unwrap_or(-1), t.dims())?, options.get("descending")?)
    };
    library
        .function("sort", &["t", "axis", "options"], move |t: Tensor, along: Option<i64>, options: Options| {
            t.with(directed(&t, along, &options)?.0)
        })
        .doc("Sorted along an axis, the last by default; equal numbers keep their order.")
        .option("descending", false, "the greatest first")
        .example(
            r#"
            assert_equal(sort(tensor([3, 1, 2])), tensor([1, 2, 3]));
            assert_equal(sort(tensor([3, 1, 2]), -1, #{ descending: true }), tensor([3, 2, 1]));
            "#,
        );
    library
        .function("argsort", &["t", "axis", "options"], move |t: Tensor, along: Option<i64>, options: Options| {
            t.with(directed(&t, along, &options)?.1)
        })
        .doc("The indices that sort along an axis, the last by default.")
        .option("descending", false, "the greatest first")
        .example("assert_equal(argsort(tensor([3, 1, 2])).array(), [1, 2, 0]);");
    library
        .function("top_k", &["t", "k", "axis"], |t: Tensor, k: usize, along: Option<i64>| {
            let axis = axis(along.unwrap_or(-1), t.dims())?;
            if k > t.dims()[axis] {
                return Err(Error::user(format!(
                    "there is no top {k}: axis {axis} of {:?} has {}",
                    t.dims(),
                    t.dims()[axis]
                )));
            }
            let (values, indices) = sorted(&t, axis, true)?;
            let first =
                |x: Candle| -> Result<Dynamic> { Ok(Dynamic::from(t.with(x.narrow(axis, 0, k)?.contiguous()?)?)) };
            Ok(Map::from([("values".into(), first(values)?), ("indices".into(), first(indices)?)]))
        })
        .doc("The `k` greatest along an axis (the last by default), the greatest first: `#{ values, indices }`.")
        .example(
            r#"
            let top = top_k(tensor([1, 5, 3]), 2);
            assert_equal(top.values, tensor([5, 3]));
            assert_equal(top.indices.array(), [1, 2]);
            "#,
        );
}
