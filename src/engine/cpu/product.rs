//! Matrix products on one thread, by the `gemm` crate. It chooses its instructions by the processor alone and its order
//! of additions by the sizes alone, so the same product always gives the same bits.

use super::kernels::sums::Write;
use gemm::{Parallelism, gemm};

/// A matrix within a slice, in either order.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    /// Floats from one row to the next, and from one column to the next.
    row_step: usize,
    column_step: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` floats that begin `stride` apart.
    pub fn new(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(columns <= stride && fits(values.len(), rows, columns, stride), "a matrix lies within its slice");
        Self { values, rows, columns, row_step: stride, column_step: 1 }
    }

    /// Its rows as columns.
    pub fn transposed(self) -> Self {
        let Self { values, rows, columns, row_step, column_step } = self;
        Self { values, rows: columns, columns: rows, row_step: column_step, column_step: row_step }
    }
}

fn fits(len: usize, rows: usize, columns: usize, stride: usize) -> bool {
    rows == 0 || (rows - 1) * stride + columns <= len
}

/// to = or += a · b, the rows of `to` being `stride` apart.
pub fn product(to: &mut [f32], stride: usize, a: Matrix, b: Matrix, write: Write) {
    assert_eq!(a.columns, b.rows, "a product's inner sizes agree");
    assert!(b.columns <= stride && fits(to.len(), a.rows, b.columns, stride), "the product lies within its slice");
    let step = |floats: usize| floats as isize;
    // SAFETY: `Matrix::new` and the assertions above hold all three matrices within their slices, and `to` is borrowed
    // uniquely, so it overlaps neither of the others.
    unsafe {
        gemm(
            a.rows,
            b.columns,
            a.columns,
            to.as_mut_ptr(),
            1,
            step(stride),
            write == Write::Add,
            a.values.as_ptr(),
            step(a.column_step),
            step(a.row_step),
            b.values.as_ptr(),
            step(b.column_step),
            step(b.row_step),
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_what_they_say() {
        // 2×3 within rows of four, times 3×2, given as its transpose.
        let a = [1.0, 2.0, 3.0, 9.0, 4.0, 5.0, 6.0];
        let b = [1.0, 0.0, 2.0, 0.0, 1.0, -1.0];
        let (a, b) = (Matrix::new(&a, 2, 3, 4), Matrix::new(&b, 2, 3, 3).transposed());
        let mut to = [f32::NAN; 5];
        product(&mut to, 3, a, b, Write::Over);
        assert_eq!((&to[..2], &to[3..]), (&[7.0, -1.0][..], &[16.0, -1.0][..]));
        assert!(to[2].is_nan(), "what lies between rows is left alone");
        product(&mut to, 3, a, b, Write::Add);
        assert_eq!((&to[..2], &to[3..]), (&[14.0, -2.0][..], &[32.0, -2.0][..]));
    }
}
