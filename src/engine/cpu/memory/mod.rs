//! The memory of passes: where tables lie, how large scratch buffers are, packed weights, and the tape that holds it
//! all.

pub(crate) mod floats;
pub(in crate::engine) mod pack;
pub(super) mod scratch;
pub(in crate::engine) mod tables;
pub(super) mod tape;

pub(crate) use floats::Floats;
pub(super) use scratch::Scratch;
pub(super) use tables::Tables;
pub(super) use tape::{Tape, Tapes};
