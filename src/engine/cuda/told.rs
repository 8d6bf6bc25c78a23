//! Launches of a program's steps, with what their kernels are told.

use super::launcher::Launch;
use super::plan::THREADS;
use super::program::{Round, Rounds};

/// A launch, and what its kernel is told beside the pass.
pub(super) struct Told {
    name: &'static str,
    file: &'static str,
    kernel: &'static str,
    blocks: u32,
    /// Floats.
    shared: usize,
    words: Vec<Vec<u8>>,
}

impl Told {
    pub fn rounds(rounds: &[&Round], batch: usize) -> Self {
        let told = Rounds::new(rounds, batch);
        let family = rounds[0].family;
        let (kernel, _) = family.kernel();
        let shared = rounds.iter().map(|round| round.shared).max().unwrap_or(0);
        let words = vec![bytemuck::bytes_of(&told).to_vec()];
        Self { name: family.name(), file: kernel, kernel, blocks: told.blocks(), shared, words }
    }

    pub fn flat(kernel: &'static str, first: i32, count: i32) -> Self {
        let words = [first, count].map(|number| number.to_ne_bytes().to_vec()).to_vec();
        let blocks = (count as u32).div_ceil(THREADS as u32);
        Self { name: kernel, file: "weights", kernel, blocks, shared: 0, words }
    }

    pub fn after<'a>(&'a self, pass: &'a [u8]) -> Vec<&'a [u8]> {
        std::iter::once(pass).chain(self.words.iter().map(Vec::as_slice)).collect()
    }

    pub fn launch<'a>(&'a self, arguments: &'a [&'a [u8]]) -> Launch<'a> {
        let Self { name, file, kernel, blocks, shared, .. } = *self;
        let shared = (shared * size_of::<f32>()) as u32;
        Launch { name, file, kernel, grid: [blocks, 1, 1], threads: THREADS as u32, shared, arguments }
    }
}
