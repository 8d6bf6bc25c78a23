//! Networks for other runtimes: a graph with its weights and running statistics as an ONNX file.
//!
//! What is written is what evaluation computes: batch norms by running statistics, nothing dropped, the mixing weights
//! of a supernet as constants. `onnx` puts the file of a network of images together, `primitives` says each primitive
//! in ONNX's operators; `recurrent` does both for language models. `sheet` keeps nodes and names, `file` what stands
//! around them, `proto` is the format.

mod activation;
mod convolution;
mod file;
mod norm;
mod onnx;
mod primitives;
pub mod proto;
pub mod recurrent;
mod sheet;
mod source;

pub use file::{IR_VERSION, OPSET, encode};
pub use onnx::{Normalisation, OnnxOptions, model};
pub use source::{INPUT, OUTPUT, Source};
