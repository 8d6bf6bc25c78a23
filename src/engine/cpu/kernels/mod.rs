//! Kernels: one family per file, independent of plans. Every function is `unsafe`, says what its pointers must be good
//! for, and is compiled for each instruction set (`lanes/`).

pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod exponential;
pub(crate) mod lanes;
pub(crate) mod load;
pub(crate) mod moments;
pub(crate) mod peaks;
pub(crate) mod permute;
pub(crate) mod pool;
pub(crate) mod prefetch;
pub(crate) mod softmax;
pub(crate) mod standardise;
pub(crate) mod sums;
pub(crate) mod upsample;
