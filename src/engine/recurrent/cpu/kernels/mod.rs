//! The arithmetic of recurrent passes: matrix products, programs over tiles, sums over rows.

pub(super) mod columns;
pub(super) mod products;
pub(super) mod tiles;
