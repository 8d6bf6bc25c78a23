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

pub use onnx::{INPUT, IR_VERSION, Normalisation, OPSET, OUTPUT, OnnxOptions, Source, encode, model};
