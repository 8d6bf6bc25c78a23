//! What an exported network promises: the file's form, the same logits in onnxruntime, and a word for whoever names a
//! run or a file that will not do.

mod command;
mod form;
mod networks;
mod runtime;

#[path = "../support/binary.rs"]
mod binary;
#[path = "../support/require.rs"]
mod require;
