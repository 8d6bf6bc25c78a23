//! Gradients of a long flat vector, gathered beside candle's tape.
//!
//! To candle the gradient of a slice is as long as the whole vector, and so is every sum of two of them. An operation
//! that reads a part of a model's flat weights can put its part's gradient here instead, while candle's backward pass
//! runs it for its other inputs.

use crate::Result;
use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// Floats that one thread adds at a time.
const CHUNK: usize = 1 << 16;

/// The gradients of parts of one flat vector. Clones share them.
#[derive(Clone, Default)]
pub struct Gathered(Arc<Mutex<Vec<Piece>>>);

struct Piece {
    /// Where the part begins in the flat vector.
    at: usize,
    gradient: Tensor,
    /// None: the part as a whole. Otherwise the part is a matrix, and these are the numbers of its rows that have a
    /// gradient: one row of `gradient` each, the same number perhaps many times.
    rows: Option<Vec<u32>>,
}

impl Gathered {
    /// A part of the flat vector that begins at `at`.
    pub fn part(&self, at: usize) -> Part {
        Part { gathered: self.clone(), at }
    }

    /// The gradient of the flat vector of `len` numbers: the sum of all parts' in the order in which they came, zero
    /// elsewhere. Nothing is left behind.
    ///
    /// # Errors
    /// A part that is not single precision in the processor's memory.
    pub fn take(&self, len: usize) -> Result<Tensor> {
        let pieces = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut flat = vec![0.0f32; len];
        for Piece { at, gradient, rows } in pieces {
            let gradient = gradient.contiguous()?;
            let (storage, layout) = gradient.storage_and_layout();
            let (Storage::Cpu(CpuStorage::F32(values)), Some((from, to))) = (&*storage, layout.contiguous_offsets())
            else {
                return Err(crate::Error::run("gradients are gathered in single precision on the processor"));
            };
            let values = &values[from..to];
            match rows {
                None => {
                    let to = flat[at..at + values.len()].par_chunks_mut(CHUNK);
                    to.zip(values.par_chunks(CHUNK)).for_each(|(to, values)| add(to, values));
                }
                Some(rows) => {
                    let width = values.len() / rows.len().max(1);
                    for (&row, values) in rows.iter().zip(values.chunks_exact(width.max(1))) {
                        let start = at + row as usize * width;
                        add(&mut flat[start..start + width], values);
                    }
                }
            }
        }
        Ok(Tensor::from_vec(flat, len, &Device::Cpu)?)
    }
}

fn add(to: &mut [f32], values: &[f32]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += value);
}

/// Where the gradient of a part goes.
#[derive(Clone)]
pub struct Part {
    gathered: Gathered,
    at: usize,
}

impl Part {
    /// Adds the part's gradient, in any shape.
    pub fn put(&self, gradient: Tensor) {
        self.push(gradient, None);
    }

    /// Adds gradients of rows of the part, a matrix: rows × width, one for each of these row numbers.
    pub(super) fn put_rows(&self, gradient: Tensor, rows: Vec<u32>) {
        self.push(gradient, Some(rows));
    }

    fn push(&self, gradient: Tensor, rows: Option<Vec<u32>>) {
        debug_assert_eq!(gradient.dtype(), DType::F32);
        let piece = Piece { at: self.at, gradient: gradient.detach(), rows };
        self.gathered.0.lock().unwrap_or_else(PoisonError::into_inner).push(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_summed_where_they_lie() {
        let gathered = Gathered::default();
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        gathered.part(1).put(tensor(&[1.0, 2.0, 3.0, 4.0]));
        gathered.part(1).put(tensor(&[10.0]));
        // A matrix of two rows: its second row twice, its first once.
        let rows = tensor(&[1.0, 1.0, 20.0, 20.0, 300.0, 300.0]).reshape((3, 2)).unwrap();
        gathered.part(1).put_rows(rows, vec![1, 0, 1]);
        let flat: Vec<f32> = gathered.take(6).unwrap().to_vec1().unwrap();
        assert_eq!(flat, [0.0, 31.0, 22.0, 304.0, 305.0, 0.0]);
        assert_eq!(gathered.take(1).unwrap().to_vec1::<f32>().unwrap(), [0.0], "what was taken is gone");
    }
}
