//! What the primitives take besides nodes and numbers.

use crate::Error;
use crate::script::binding::{Argument, List, Mismatch};
use rhai::Dynamic;

/// A vertical and a horizontal extent: one number for both, or two.
#[derive(Clone, Copy)]
pub struct Pair(pub usize, pub usize);

impl Argument for Pair {
    fn describe() -> String {
        "int or [int]".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Ok(both) = usize::read(value) {
            return Ok(Self(both, both));
        }
        match List::<usize>::read(value)?.0[..] {
            [vertical, horizontal] => Ok(Self(vertical, horizontal)),
            _ => Err(Mismatch::Error(Error::user("one number, or two: [vertical, horizontal]"))),
        }
    }
}
