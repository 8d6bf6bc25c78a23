//! The two ways of a pass.

/// One of something for the pass forward, one for the pass backward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways<T> {
    pub forward: T,
    pub backward: T,
}
