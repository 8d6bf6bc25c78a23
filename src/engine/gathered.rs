//! Gradients of a long flat vector, gathered beside candle's tape.
//!
//! To candle the gradient of a slice is as long as the whole vector, and so is every sum of two of them. An operation
//! that reads a part of a model's flat weights can put its part's gradient here instead, while candle's backward pass
//! runs it for its other inputs.

use crate::{Error, Result};
use candle_core::{CpuStorage, Device, Storage, Tensor};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Floats that one thread adds at a time.
const CHUNK: usize = 1 << 16;

/// The gradient of one flat vector, to which those of its parts are added. Clones share it.
#[derive(Clone)]
pub struct Gathered(Arc<Mutex<Vec<f32>>>);

impl Gathered {
    /// Zeros, for a flat vector of `len` numbers.
    pub fn new(len: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![0.0; len])))
    }

    /// A part of the flat vector that begins at `at`.
    pub fn part(&self, at: usize) -> Part {
        Part { gathered: self.clone(), at }
    }

    /// The gradient of the flat vector: the sum of all parts' in the order in which they came, zero elsewhere. Nothing
    /// is left behind.
    ///
    /// # Errors
    /// Those of candle.
    pub fn take(&self) -> Result<Tensor> {
        let flat = std::mem::take(&mut *self.lock());
        let len = flat.len();
        Ok(Tensor::from_vec(flat, len, &Device::Cpu)?)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<f32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    ///
    /// # Errors
    /// A gradient that is not in single precision in the processor's memory.
    pub fn put(&self, gradient: &Tensor) -> Result<()> {
        self.with(gradient, |values, flat| {
            let to = flat[self.at..self.at + values.len()].par_chunks_mut(CHUNK);
            to.zip(values.par_chunks(CHUNK)).for_each(|(to, values)| add(to, values));
        })
    }

    /// Adds gradients of rows of the part, a matrix: one row of `gradient` for each of these row numbers, of which the
    /// same may come many times.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub(super) fn put_rows(&self, gradient: &Tensor, rows: &[u32]) -> Result<()> {
        self.with(gradient, |values, flat| {
            let width = (values.len() / rows.len().max(1)).max(1);
            for (&row, values) in rows.iter().zip(values.chunks_exact(width)) {
                let at = self.at + row as usize * width;
                add(&mut flat[at..at + width], values);
            }
        })
    }

    fn with(&self, gradient: &Tensor, add: impl FnOnce(&[f32], &mut [f32])) -> Result<()> {
        let gradient = gradient.detach().contiguous()?;
        let (storage, layout) = gradient.storage_and_layout();
        match (&*storage, layout.contiguous_offsets()) {
            (Storage::Cpu(CpuStorage::F32(values)), Some((from, to))) => {
                add(&values[from..to], &mut self.gathered.lock());
                Ok(())
            }
            _ => Err(Error::run("gradients are gathered in single precision on the processor")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_summed_where_they_lie() {
        let gathered = Gathered::new(6);
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        gathered.part(1).put(&tensor(&[1.0, 2.0, 3.0, 4.0])).unwrap();
        gathered.part(1).put(&tensor(&[10.0])).unwrap();
        // A matrix of two rows: its second row twice, its first once.
        let rows = tensor(&[1.0, 1.0, 20.0, 20.0, 300.0, 300.0]).reshape((3, 2)).unwrap();
        gathered.part(1).put_rows(&rows, &[1, 0, 1]).unwrap();
        let flat: Vec<f32> = gathered.take().unwrap().to_vec1().unwrap();
        assert_eq!(flat, [0.0, 31.0, 22.0, 304.0, 305.0, 0.0]);
        let double = Tensor::new(&[1f64], &Device::Cpu).unwrap();
        assert!(Gathered::new(1).part(0).put(&double).is_err());
    }
}
