//! Operators between tensors and numbers, with broadcasting; powers, comparisons, the greater and the smaller,
//! `matmul`.

use super::Tensor;
use super::arguments::{Operand, broadcast, float_type};
use crate::script::binding::Library;
use crate::{Error, Result};
use candle_core::Tensor as Candle;
use std::any::TypeId;

/// A tensor on at least one side, a number welcome on the other.
fn mixed() -> Vec<Vec<TypeId>> {
    let (tensor, int, float) = (TypeId::of::<Tensor>(), TypeId::of::<i64>(), TypeId::of::<f64>());
    [[tensor, tensor], [tensor, int], [tensor, float], [int, tensor], [float, tensor]]
        .map(|pair| pair.to_vec())
        .to_vec()
}

/// Both operands as candle tensors of one float type, after a look at their shapes.
fn pair<'a>(verb: &str, a: &'a Operand, b: &'a Operand) -> Result<(Candle, Candle, &'a Tensor)> {
    let Some(some) = a.tensor().or(b.tensor()) else {
        return Err(Error::user(format!("`{verb}` needs a tensor on at least one side")));
    };
    let dtype = float_type(a.tensor().into_iter().chain(b.tensor()));
    if let (Some(a), Some(b)) = (a.tensor(), b.tensor()) {
        some.meter().admit(&broadcast(verb, a.dims(), b.dims())?, dtype.size_in_bytes())?;
    }
    let device = some.device();
    Ok((a.float(dtype, device)?, b.float(dtype, device)?, some))
}

/// Applies a broadcasting operation of candle.
fn apply(
    verb: &str,
    a: &Operand,
    b: &Operand,
    operation: fn(&Candle, &Candle) -> candle_core::Result<Candle>,
) -> Result<Tensor> {
    let (x, y, some) = pair(verb, a, b)?;
    some.with(operation(&x, &y)?)
}

/// `t + number` and the like without a second tensor: `t * scale + shift`.
fn affine(t: &Tensor, scale: f64, shift: f64) -> Result<Tensor> {
    t.with(t.float()?.affine(scale, shift)?)
}

pub(super) fn add(a: &Operand, b: &Operand) -> Result<Tensor> {
    match (a, b) {
        (Operand::Tensor(t), Operand::Number(n)) | (Operand::Number(n), Operand::Tensor(t)) => affine(t, 1.0, *n),
        _ => apply("add", a, b, Candle::broadcast_add),
    }
}

pub(super) fn subtract(a: &Operand, b: &Operand) -> Result<Tensor> {
    match (a, b) {
        (Operand::Tensor(t), Operand::Number(n)) => affine(t, 1.0, -n),
        (Operand::Number(n), Operand::Tensor(t)) => affine(t, -1.0, *n),
        _ => apply("subtract", a, b, Candle::broadcast_sub),
    }
}

pub(super) fn multiply(a: &Operand, b: &Operand) -> Result<Tensor> {
    match (a, b) {
        (Operand::Tensor(t), Operand::Number(n)) | (Operand::Number(n), Operand::Tensor(t)) => affine(t, *n, 0.0),
        _ => apply("multiply", a, b, Candle::broadcast_mul),
    }
}

pub(super) fn divide(a: &Operand, b: &Operand) -> Result<Tensor> {
    apply("divide", a, b, Candle::broadcast_div)
}

/// Powers. A number as exponent keeps negative bases; a tensor as exponent goes through exp and log, for bases above 0.
pub(super) fn power(base: &Operand, exponent: &Operand) -> Result<Tensor> {
    match (base, exponent) {
        // candle's derivative of a power multiplies by a power one lower, which is infinite at 0 for these two.
        (Operand::Tensor(t), Operand::Number(n)) if *n == 0.0 => t.with(t.float()?.affine(0.0, 1.0)?),
        (Operand::Tensor(t), Operand::Number(n)) if *n == 1.0 => t.with(t.float()?),
        (Operand::Tensor(t), Operand::Number(n)) if *n == 2.0 => t.with(t.float()?.sqr()?),
        (Operand::Tensor(t), Operand::Number(n)) => t.with(t.float()?.powf(*n)?),
        _ => apply("raise", base, exponent, |base, exponent| base.log()?.broadcast_mul(exponent)?.exp()),
    }
}

/// A mask: 1 where the comparison holds, 0 elsewhere, in the operands' float type.
fn compare(a: &Operand, b: &Operand, operation: fn(&Candle, &Candle) -> candle_core::Result<Candle>) -> Result<Tensor> {
    let (x, y, some) = pair("compare", a, b)?;
    let dtype = x.dtype();
    some.with(operation(&x.detach(), &y.detach())?.to_dtype(dtype)?)
}

/// Where `mask` is not 0 the one, elsewhere the other, broadcast together.
pub(super) fn choose(mask: &Candle, a: &Candle, b: &Candle) -> Result<Candle> {
    let dims = broadcast("choose between", a.dims(), b.dims())?;
    let dims = broadcast("choose by a mask", mask.dims(), &dims)?;
    let flags = mask.ne(&mask.zeros_like()?)?.broadcast_as(dims.as_slice())?;
    Ok(flags.where_cond(&a.broadcast_as(dims.as_slice())?, &b.broadcast_as(dims.as_slice())?)?)
}

/// The greater (or smaller); where both are equal, the gradient goes to the first.
fn extreme(
    verb: &str,
    a: &Operand,
    b: &Operand,
    first: fn(&Candle, &Candle) -> candle_core::Result<Candle>,
) -> Result<Tensor> {
    let (x, y, some) = pair(verb, a, b)?;
    let mask = first(&x.detach(), &y.detach())?.to_dtype(x.dtype())?;
    some.with(choose(&mask, &x, &y)?)
}

pub fn declare(library: &mut Library) {
    declare_operators(library);
    declare_comparisons(library);
    library
        .function("pow", &["base", "exponent"], |base: Operand, exponent: Operand| power(&base, &exponent))
        .doc("Powers, element by element; the operator `**` does the same. A tensor as exponent needs bases above 0.")
        .example("assert_equal(pow(tensor([1, 2, 3]), 2), tensor([1, 4, 9]));");
    library
        .function("maximum", &["a", "b"], |a: Operand, b: Operand| extreme("compare", &a, &b, Candle::broadcast_ge))
        .doc("The greater of two, element by element; where both are equal the gradient goes to the first.")
        .example("assert_equal(maximum(tensor([-1, 2]), 0), tensor([0, 2]));");
    library
        .function("minimum", &["a", "b"], |a: Operand, b: Operand| extreme("compare", &a, &b, Candle::broadcast_le))
        .doc("The smaller of two, element by element; where both are equal the gradient goes to the first.")
        .example("assert_equal(minimum(tensor([-1, 2]), 0), tensor([-1, 0]));");
    library
        .function("where", &["mask", "a", "b"], |mask: Tensor, a: Operand, b: Operand| {
            let dtype = float_type(a.tensor().into_iter().chain(b.tensor()));
            let device = mask.device();
            let (x, y) = (a.float(dtype, device)?, b.float(dtype, device)?);
            mask.with(choose(&mask.float()?.detach(), &x, &y)?)
        })
        .doc("The elements of `a` where `mask` is not 0, those of `b` elsewhere.")
        .example(
            r#"
            let t = tensor([-1, 2]);
            assert_equal(where(t > 0, t, 0), tensor([0, 2]));
            "#,
        );
    library
        .function("matmul", &["a", "b"], |a: Tensor, b: Tensor| matmul(&a, &b))
        .doc(
            r#"
            The matrix product over the last two axes, axes before them broadcast. A vector counts as a row on the left
            and as a column on the right: [n] times [n] is a number.
            "#,
        )
        .example(
            r#"
            let a = tensor([[1, 2], [3, 4]]);
            assert_equal(matmul(a, eye(2)), a);
            assert_equal(matmul(a, tensor([1, 1])), tensor([3, 7]));
            "#,
        );
}

fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let misfit = || {
        Error::user(format!("cannot multiply matrices {:?} and {:?}", a.dims(), b.dims()))
            .hint("the last axis of the first and the last but one of the second have the same size")
    };
    if a.dims().is_empty() || b.dims().is_empty() {
        return Err(misfit());
    }
    let dtype = float_type([a, b]);
    let (mut x, mut y) = (a.float()?.to_dtype(dtype)?, b.float()?.to_dtype(dtype)?);
    let (row, column) = (x.rank() == 1, y.rank() == 1);
    if row {
        x = x.unsqueeze(0)?;
    }
    if column {
        y = y.unsqueeze(1)?;
    }
    let (xd, yd) = (x.dims().to_vec(), y.dims().to_vec());
    if xd[xd.len() - 1] != yd[yd.len() - 2] {
        return Err(misfit());
    }
    let mut dims = broadcast("multiply matrices", &xd[..xd.len() - 2], &yd[..yd.len() - 2]).map_err(|_| misfit())?;
    dims.extend([xd[xd.len() - 2], yd[yd.len() - 1]]);
    a.meter().admit(&dims, dtype.size_in_bytes())?;
    let mut product = x.contiguous()?.broadcast_matmul(&y.contiguous()?)?;
    if column {
        product = product.squeeze(candle_core::D::Minus1)?;
    }
    if row {
        product = product.squeeze(product.rank() - if column { 1 } else { 2 })?;
    }
    a.with(product)
}

type Binary = fn(&Operand, &Operand) -> Result<Tensor>;

fn declare_operators(library: &mut Library) {
    let table: [(&'static str, Binary, &'static str, &'static str); 5] = [
        ("+", add, "The sum, element by element.", "assert_equal(tensor([1, 2]) + 1, tensor([2, 3]));"),
        ("-", subtract, "The difference, element by element.", "assert_equal(1 - tensor([1, 2]), tensor([0, -1]));"),
        (
            "*",
            multiply,
            "The product, element by element; see `matmul`.",
            "assert_equal(2 * tensor([1, 2]), tensor([2, 4]));",
        ),
        ("/", divide, "The quotient, element by element.", "assert_equal(tensor([1, 3]) / 2, tensor([0.5, 1.5]));"),
        ("**", power, "Powers, element by element; see `pow`.", "assert_equal(tensor([1, 3]) ** 2, tensor([1, 9]));"),
    ];
    let operands = mixed();
    let operands: Vec<&[TypeId]> = operands.iter().map(Vec::as_slice).collect();
    for (symbol, operation, doc, example) in table {
        library.operator(symbol, &operands, move |a: Operand, b: Operand| operation(&a, &b)).doc(doc).example(example);
    }
    library
        .operator("-", &[&[TypeId::of::<Tensor>()]], |t: Tensor| t.with(t.float()?.neg()?))
        .doc("The negative, element by element.")
        .example("assert_equal(-tensor([1, -2]), tensor([-1, 2]));");
}

fn declare_comparisons(library: &mut Library) {
    type Compare = fn(&Candle, &Candle) -> candle_core::Result<Candle>;
    let table: [(&'static str, Compare, &'static str); 6] = [
        ("<", Candle::broadcast_lt, "assert_equal(tensor([1, 2]) < 2, tensor([1, 0]));"),
        ("<=", Candle::broadcast_le, "assert_equal(tensor([1, 2]) <= 1, tensor([1, 0]));"),
        (">", Candle::broadcast_gt, "assert_equal(tensor([1, 2]) > 1, tensor([0, 1]));"),
        (">=", Candle::broadcast_ge, "assert_equal(tensor([1, 2]) >= 2, tensor([0, 1]));"),
        ("==", Candle::broadcast_eq, "assert_equal(tensor([1, 2]) == 2, tensor([0, 1]));"),
        ("!=", Candle::broadcast_ne, "assert_equal(tensor([1, 2]) != 2, tensor([1, 0]));"),
    ];
    let operands = mixed();
    let operands: Vec<&[TypeId]> = operands.iter().map(Vec::as_slice).collect();
    for (symbol, operation, example) in table {
        library
            .operator(symbol, &operands, move |a: Operand, b: Operand| compare(&a, &b, operation))
            .doc("A mask: 1 where the comparison holds, 0 elsewhere. Whole tensors compare with `all_close`.")
            .example(example);
    }
}
