//! The front door: everything lives in the library.

fn main() {}
