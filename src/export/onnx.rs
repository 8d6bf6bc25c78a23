//! A whole ONNX file: versions, input, output, metadata, and the nodes in between.

use super::primitives::Writer;
use super::proto::{
    DataType, DimensionProto, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};
use super::sheet::Sheet;
use super::source::{INPUT, OUTPUT, Source};
use crate::graph::Shape;
use crate::{Error, Result};
use prost::Message;

/// The operators' version. 13 (December 2020) is the first in which all that is used here has its present form (axes as
/// inputs), and nothing used here changed its meaning later, so a newer number would only shut out older readers:
/// onnxruntime reads 13 since 1.6, TensorRT 8.4 reads up to 13, and onnxruntime's quantisation by channel asks for 13
/// at least. Of the operators that can occur TensorRT 8.4 lacks only noise (RandomNormalLike).
pub const OPSET: i64 = 13;

/// The file format's version, the one that belongs to [`OPSET`] (ONNX 1.8).
pub const IR_VERSION: i64 = 7;

/// The name of the dimension that each run chooses.
const BATCH: &str = "batch";

/// Protobuf's limit for a message.
const MOST_BYTES: usize = i32::MAX as usize;

/// What pixels from 0 to 1 go through before they enter a network: (pixel − mean) / std, one number per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalisation {
    pub mean: Vec<f32>,
    pub std: Vec<f32>,
}

/// How a network is written.
#[derive(Clone, Debug, Default)]
pub struct OnnxOptions {
    /// The graph's name; empty: "network".
    pub name: String,
    /// Batch norms that follow a convolution or a linear layer become part of it; the others stay.
    pub fold_norms: bool,
    /// Begin with a normalisation, so that the input is pixels from 0 to 1.
    pub normalise: Option<Normalisation>,
    /// Keys and values of `metadata_props`.
    pub metadata: Vec<(String, String)>,
}

/// The network as the messages of an ONNX file.
///
/// # Errors
/// Flat vectors that are not the graph's, logits that are a map, a normalisation that does not fit the images.
pub fn model(source: Source<'_>, options: &OnnxOptions) -> Result<ModelProto> {
    check(&source)?;
    let graph = source.graph;
    let shape = graph.shape(graph.input());
    let mut sheet = Sheet::default();
    sheet.reserve(INPUT);
    sheet.reserve(OUTPUT);
    let images = match &options.normalise {
        Some(normalisation) => normalise(&mut sheet, normalisation, shape)?,
        None => INPUT.to_string(),
    };
    let sheet = Writer::new(source, sheet, images, options.fold_norms).write();
    let entry = |(key, value): &(String, String)| StringStringEntryProto { key: key.clone(), value: value.clone() };
    Ok(ModelProto {
        ir_version: IR_VERSION,
        producer_name: "candlewick".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(GraphProto {
            node: sheet.nodes,
            name: if options.name.is_empty() { "network".into() } else { options.name.clone() },
            initializer: sheet.initializers,
            input: vec![value_info(INPUT, &[shape.channels, shape.height, shape.width])],
            output: vec![value_info(OUTPUT, &[graph.shape(source.logits).channels])],
        }),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: options.metadata.iter().map(entry).collect(),
    })
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

fn check(source: &Source<'_>) -> Result<()> {
    let Source { graph, logits, weights, statistics, mixing } = *source;
    let lengths = [
        ("weights", weights.len(), graph.parameters()),
        ("running statistics", statistics.len(), graph.statistics_len()),
        ("mixing weights", mixing.len(), graph.slot_count()),
    ];
    if let Some((what, given, needed)) = lengths.into_iter().find(|(_, given, needed)| given != needed) {
        return Err(Error::user(format!("the network has {needed} {what}, not {given}")));
    }
    let shape = graph.shape(logits);
    match shape.pixels() {
        1 => Ok(()),
        _ => Err(Error::user(format!("a network ends in one number per class, but this one ends in {shape}"))
            .hint("end with a global pool and a linear layer")),
    }
}

/// Adds the nodes that normalise; gives the name of what they make.
fn normalise(sheet: &mut Sheet, normalisation: &Normalisation, images: Shape) -> Result<String> {
    let Normalisation { mean, std } = normalisation;
    let channels = images.channels;
    if mean.len() != channels || std.len() != channels {
        return Err(Error::user(format!(
            "the images have {channels} channels, but the normalisation has {} means and {} standard deviations",
            mean.len(),
            std.len()
        )));
    }
    if let Some(bad) = std.iter().find(|&&std| !(std > 0.0 && std.is_finite())) {
        return Err(Error::user(format!("a standard deviation must be above 0, not {bad}")));
    }
    let dims = [1, channels, 1, 1];
    let mean = sheet.floats("normalise.mean", &dims, mean.iter().copied());
    let std = sheet.floats("normalise.std", &dims, std.iter().copied());
    let centred = sheet.node("Sub", &[INPUT, &mean], "normalise.centred", vec![]);
    Ok(sheet.node("Div", &[&centred, &std], "normalise", vec![]))
}

/// A tensor of floats whose first dimension each run chooses.
fn value_info(name: &str, dims: &[usize]) -> ValueInfoProto {
    let batch = DimensionProto { dim_param: Some(BATCH.into()), dim_value: None };
    let fixed = dims.iter().map(|&dim| DimensionProto { dim_value: Some(dim as i64), dim_param: None });
    let shape = Some(TensorShapeProto { dim: std::iter::once(batch).chain(fixed).collect() });
    let tensor_type = Some(TensorTypeProto { elem_type: DataType::Float.into(), shape });
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type }) }
}
