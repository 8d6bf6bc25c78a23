//! Networks as ONNX files with all that their users need to know: what `net.save_onnx` and `candlewick export` write.

use super::saved::{about, legend};
use crate::export::{self, Normalisation, OnnxOptions, Source};
use crate::script::binding::{Library, List, Options};
use crate::space::{Legend, Network};
use crate::{Error, Result, files};
use rhai::Map;
use serde_json::{Value, json};
use std::path::Path;

/// How a picture becomes an input, for whoever prepares it in another program.
pub const PICTURES: &str = "upright by their orientation tag, over background where they are transparent, without \
                            colour profiles, stretched to height × width (bilinear, smoothed when made smaller), red \
                            green blue or grey";

/// A network to be exported, and how.
pub struct Exported<'a> {
    pub network: &'a Network,
    /// What its classes are called and how its images are scaled.
    pub legend: &'a Legend,
    /// What its maker noted.
    pub about: &'a serde_json::Map<String, Value>,
    /// Make batch norms that follow a convolution part of it.
    pub fold_norms: bool,
    /// Normalise inside the network.
    pub normalise: bool,
}

impl Exported<'_> {
    /// Writes the file, and gives its size in bytes. The graph is called like the file; a supernet is written with its
    /// mixing weights as they are.
    ///
    /// # Errors
    /// A network without an output, or too large for the format; a folder that cannot be written.
    pub fn write(&self, path: &Path) -> Result<usize> {
        let Some(logits) = self.network.logits() else { return Err(Error::user("this network has no output")) };
        let weights = self.network.weights().detached().to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?;
        let statistics: Vec<f32> = self.network.statistics().values().iter().map(|&value| value as f32).collect();
        let mixing = self.network.mixing()?;
        let graph = self.network.graph();
        let source = Source { graph, logits, weights: &weights, statistics: &statistics, mixing: &mixing };
        let Legend { mean, std, .. } = self.legend;
        let options = OnnxOptions {
            name: path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
            fold_norms: self.fold_norms,
            normalise: self.normalise.then(|| Normalisation { mean: mean.clone(), std: std.clone() }),
            metadata: self.metadata(),
        };
        let bytes = export::encode(&export::model(source, &options)?)?;
        files::replace(path, &bytes)?;
        Ok(bytes.len())
    }

    /// What the file says about itself, for whoever runs it; lists are JSON.
    fn metadata(&self) -> Vec<(String, String)> {
        let mut entries = vec![("candlewick_version", env!("CARGO_PKG_VERSION").to_string())];
        if let Some(recipe) = self.network.recipe() {
            entries.push(("network", recipe.to_string()));
            entries.extend(recipe.genotype().map(|genotype| ("genotype", genotype.to_string())));
        }
        let input = match self.normalise {
            true => "pixels from 0 to 1; the graph normalises them",
            false => "pixels from 0 to 1, less mean, divided by std, channel by channel",
        };
        entries.extend([
            ("classes", json!(self.legend.classes).to_string()),
            ("mean", json!(self.legend.mean).to_string()),
            ("std", json!(self.legend.std).to_string()),
            ("background", json!(self.legend.background).to_string()),
            ("input", input.to_string()),
            ("pictures", PICTURES.to_string()),
        ]);
        if !self.about.is_empty() {
            entries.push(("about", json!(self.about).to_string()));
        }
        entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
    }
}

pub fn declare(library: &mut Library) {
    let host = library.host();
    library
        .method("save_onnx", &["net", "file", "options"], move |net: Network, file: String, options: Options| {
            let exported = Exported {
                network: &net,
                legend: &legend(&net, &options)?,
                about: &about(&options)?,
                fold_norms: options.get("fold_norms")?,
                normalise: options.get("normalise")?,
            };
            exported.write(&host.writable(&file)?).map(drop)
        })
        .doc(
            r#"
            Writes the network into the run folder as an ONNX file for onnxruntime, TensorRT and other runtimes: input
            `images` (batch × channels × height × width), output `logits`, batch norms by their running statistics, no
            auxiliary head; a supernet with its mixing weights as they are. Networks with a script's own operations can
            be exported too. `candlewick export` does the same with what `net.save` wrote.
            "#,
        )
        .option("fold_norms", false, "merge batch norms into the convolution before them: fewer nodes, the same logits")
        .option("normalise", false, "normalise inside the network: its input is then pixels from 0 to 1")
        .optional::<List<String>>("classes", "the data set's, or 0, 1 …", "class names")
        .optional::<List<f64>>("mean", "the data set's, or 0", "what is subtracted from pixels of 0..1, per channel")
        .optional::<List<f64>>("std", "the data set's, or 1", "what they are divided by then, per channel")
        .optional::<Map>("about", "nothing", "anything worth keeping in the file's metadata")
        .example(
            r#"
            let net = discrete(genotype("DARTS_V1"), #{ images: images("digits"), channels: 2, layers: 3 });
            net.save_onnx("network.onnx", #{ normalise: true, about: #{ epoch: 3 } });
            "#,
        );
}
