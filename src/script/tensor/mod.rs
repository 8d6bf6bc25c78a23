//! The noun `tensor`: small dense arrays of numbers with automatic differentiation, for whatever a script makes up itself.
//!
//! Alphas, relaxations, noise, losses, controllers: a few hundred numbers, computed eagerly by candle on the host's
//! device. Operations keep gradients flowing; where candle's own version does not, or differentiates wrongly, the files
//! here put the operation together from parts that do (each says so).
//!
//! Values are 32-bit floats, indices 32-bit unsigned integers; `to(t, "float64")` gives doubles for numeric checks.

mod handle;

pub use handle::Tensor;
