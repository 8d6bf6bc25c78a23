//! What every ONNX file has around its nodes: versions, inputs and outputs with their types, metadata, and the limit of
//! its size.

use super::proto::{
    DataType, DimensionProto, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};
use super::sheet::Sheet;
use crate::{Error, Result};
use prost::Message;

/// The operators' version. 13 (December 2020) is the first in which all that is used here has its present form (axes as
/// inputs), and nothing used here changed its meaning later, so a newer number would only shut out older readers:
/// onnxruntime reads 13 since 1.6, TensorRT 8.4 reads up to 13, and onnxruntime's quantisation by channel asks for 13
/// at least. Of the operators that can occur TensorRT 8.4 lacks only noise (RandomNormalLike).
pub const OPSET: i64 = 13;

/// The file format's version, the one that belongs to [`OPSET`] (ONNX 1.8).
pub const IR_VERSION: i64 = 7;

/// A dimension of an input or output.
#[derive(Clone, Copy)]
pub(super) enum Dim {
    /// One that each run chooses, by its name.
    Any(&'static str),
    Is(usize),
}

/// The dimension of a batch.
pub(super) const BATCH: Dim = Dim::Any("batch");

/// Protobuf's limit for a message.
const MOST_BYTES: usize = i32::MAX as usize;

/// A file of these nodes and constants. `metadata`: keys and values.
pub(super) fn assemble(
    name: &str,
    sheet: Sheet,
    input: Vec<ValueInfoProto>,
    output: Vec<ValueInfoProto>,
    metadata: &[(String, String)],
) -> ModelProto {
    let entry = |(key, value): &(String, String)| StringStringEntryProto { key: key.clone(), value: value.clone() };
    ModelProto {
        ir_version: IR_VERSION,
        producer_name: "candlewick".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(GraphProto {
            node: sheet.nodes,
            name: name.into(),
            initializer: sheet.initializers,
            input,
            output,
        }),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: metadata.iter().map(entry).collect(),
    }
}

/// The bytes of the file.
///
/// # Errors
/// More than the 2 GiB that a protobuf message can have.
pub fn encode(model: &ModelProto) -> Result<Vec<u8>> {
    let length = model.encoded_len();
    if length > MOST_BYTES {
        return Err(Error::user(format!(
            "the network would be an ONNX file of {length} bytes, but such files end at {MOST_BYTES}"
        ))
        .hint("export a smaller network"));
    }
    Ok(model.encode_to_vec())
}

/// An input or output of floats.
pub(super) fn floats_of(name: &str, dims: &[Dim]) -> ValueInfoProto {
    value_info(name, DataType::Float, dims)
}

/// An input or output of integers.
pub(super) fn integers_of(name: &str, dims: &[Dim]) -> ValueInfoProto {
    value_info(name, DataType::Int64, dims)
}

fn value_info(name: &str, data_type: DataType, dims: &[Dim]) -> ValueInfoProto {
    let dim = |dim: &Dim| match *dim {
        Dim::Any(name) => DimensionProto { dim_param: Some(name.into()), dim_value: None },
        Dim::Is(size) => DimensionProto { dim_value: Some(size as i64), dim_param: None },
    };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor_type = Some(TensorTypeProto { elem_type: data_type.into(), shape });
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type }) }
}
