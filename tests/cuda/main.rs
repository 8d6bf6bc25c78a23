//! GPUs, without one: the kernels' sources compiled by the C++ compiler and driven by the same programs as NVIDIA's
//! driver. Every primitive and every fusion against the exact executor, with shared memory full of NaN, guards around
//! every buffer, and threads in several orders. With `CANDLEWICK_CUDA=1` the executor runs on this machine's first GPU,
//! whose bits must be the shim's.

#[cfg(feature = "cuda")]
mod card;
#[path = "../engine/check.rs"]
mod check;
#[cfg(all(feature = "gpu", target_os = "linux"))]
mod command;
#[path = "../engine/compare.rs"]
mod compare;
#[cfg(all(feature = "cuda", target_os = "linux"))]
mod examples;
mod executor;
mod gpu;
#[path = "../engine/gradients.rs"]
mod gradients;
mod memory;
mod networks;
mod ptx;
mod random_graphs;
mod shim;

#[cfg(all(feature = "gpu", target_os = "linux"))]
#[path = "../support/binary.rs"]
mod binary;
#[path = "../support/noise.rs"]
mod noise;
#[path = "../support/require.rs"]
mod require;
