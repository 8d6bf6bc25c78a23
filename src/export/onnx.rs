//! A network of images as an ONNX file: its input, perhaps normalised, the nodes in between, and the logits.

use super::file::{BATCH, Dim, assemble, floats_of};
use super::primitives::Writer;
use super::proto::ModelProto;
use super::sheet::Sheet;
use super::source::{INPUT, OUTPUT, Source};
use crate::graph::Shape;
use crate::{Error, Result};

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
    let dims =
        |fixed: &[usize]| std::iter::once(BATCH).chain(fixed.iter().map(|&dim| Dim::Is(dim))).collect::<Vec<_>>();
    let input = floats_of(INPUT, &dims(&[shape.channels, shape.height, shape.width]));
    let output = floats_of(OUTPUT, &dims(&[graph.shape(source.logits).channels]));
    let name = if options.name.is_empty() { "network" } else { &options.name };
    Ok(assemble(name, sheet, vec![input], vec![output], &options.metadata))
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
