//! Recurrent networks on the processor, in single precision.
//!
//! A time step is a row of stages. Between two of them all threads wait for one another; there matrix products run
//! over all rows that are ready (`kernels/products.rs`), and norms take their sums. Within a stage everything element
//! by element is one program over tiles that stay in the first caches (`plan/program.rs`, `kernels/tiles.rs`). What
//! depends on the token vectors alone is made for the whole window at once. Kept for the backward pass are products
//! and sums; the rest is recomputed there, and the gradient of a product overwrites the product. Weights get their
//! gradients in the end, from one product over all rows of all time steps.
//!
//! Work is cut by sizes alone (rows, columns), never by the number of threads, and what is summed is summed in a fixed
//! order: so no bit depends on who did what.

#[cfg(test)]
mod allocations;
mod executor;
mod kernels;
mod memory;
mod pass;
mod plan;

pub(super) use executor::CpuRecurrent;
