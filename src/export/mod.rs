//! Networks for other runtimes: a graph with its weights and running statistics as an ONNX file.
//!
//! What is written is what evaluation computes: batch norms by running statistics, nothing dropped, the mixing weights
//! of a supernet as constants. `onnx` puts the file together, `primitives` says each primitive in ONNX's operators,
//! `sheet` keeps nodes and names, `proto` is the format.

mod activation;
mod convolution;
mod onnx;
mod primitives;
pub mod proto;
mod sheet;
mod source;

pub use onnx::{IR_VERSION, Normalisation, OPSET, OnnxOptions, encode, model};
pub use source::{INPUT, OUTPUT, Source};
