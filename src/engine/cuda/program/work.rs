//! What a round takes: operations, and bytes from and to memory.

use crate::graph::plan::LANES;
use std::collections::BTreeMap;

/// Bytes of a pixel of one block.
pub(super) const PIXEL: usize = LANES * size_of::<f32>();

/// What a round takes for an image, beside the tensors that it reads as a whole: bytes from and to memory, and
/// operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    pub bytes: u64,
    pub flops: u64,
}

impl Work {
    pub fn new(bytes: usize, flops: usize) -> Self {
        Self { bytes: bytes as u64, flops: flops as u64 }
    }

    pub fn times(self, count: usize) -> Self {
        Self { bytes: self.bytes * count as u64, flops: self.flops * count as u64 }
    }
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.flops += other.flops;
    }
}

/// Tensors of an image that the items of a round read, several of them often the same one, and tensors that they
/// write, whose bytes are among the round's work. By place in the region: bytes.
#[derive(Clone, Debug, Default)]
pub struct Tensors {
    pub reads: BTreeMap<usize, u64>,
    pub writes: BTreeMap<usize, u64>,
}

impl Tensors {
    pub fn read(&mut self, place: usize, floats: usize) {
        note(&mut self.reads, place, (floats * size_of::<f32>()) as u64);
    }

    pub fn write(&mut self, place: usize, floats: usize) {
        note(&mut self.writes, place, (floats * size_of::<f32>()) as u64);
    }

    /// Bytes that come from memory, once each, where `cached` tensors do not.
    pub fn fetched(&self, cached: &BTreeMap<usize, u64>) -> u64 {
        let fetched = |&(place, bytes): &(&usize, &u64)| cached.get(place).is_none_or(|cached| cached < bytes);
        self.reads.iter().filter(fetched).map(|(_, bytes)| bytes).sum()
    }

    /// Adds these tensors to those in a cache.
    pub fn cache(&self, cached: &mut BTreeMap<usize, u64>) {
        self.reads.iter().chain(&self.writes).for_each(|(&place, &bytes)| note(cached, place, bytes));
    }
}

/// A tensor and its first part lie at one place.
fn note(tensors: &mut BTreeMap<usize, u64>, place: usize, bytes: u64) {
    let noted = tensors.entry(place).or_default();
    *noted = bytes.max(*noted);
}
