//! The noun `tensors`: small dense arrays of numbers with automatic differentiation, for whatever a script makes up
//! itself.
//!
//! Alphas, relaxations, noise, losses, controllers: a few hundred numbers, computed eagerly by candle on the host's
//! device. Operations keep gradients flowing; where candle's own version does not, or differentiates wrongly, the files
//! here put the operation together from parts that do (each says so).
//!
//! Values are 32-bit floats, indices 32-bit unsigned integers; `to(t, "float64")` gives doubles for numeric checks.

pub(super) mod arguments;
mod arithmetic;
mod autograd;
mod convolve;
mod create;
mod elementwise;
mod files;
mod gamma;
mod handle;
mod probability;
mod random;
mod reduce;
mod sampling;
mod select;
mod shape;
mod sparse;

pub use handle::Tensor;

use crate::script::binding::Library;

pub fn declare(library: &mut Library) {
    create::declare(library);
    arithmetic::declare(library);
    elementwise::declare(library);
    probability::declare(library);
    reduce::declare(library);
    convolve::declare(library);
    shape::declare(library);
    select::declare(library);
    autograd::declare(library);
    random::declare(library);
    sampling::declare(library);
    sparse::declare(library);
    files::declare(library);
}
