//! The two directions of a pass.

/// One value for the forward pass and one for the backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways<T> {
    pub forward: T,
    pub backward: T,
}
