//! A trained network as a file: safetensors, so that other tools read its weights too.
//!
//! The tensors are all weights by name and, for every batch norm, `NAME.running_mean` and `NAME.running_var`, f32. One
//! entry of the metadata, `candlewick`, is JSON with what else it takes to use them: how to build the network
//! ([`Recipe`]), what its classes are called and how its images are scaled ([`Legend`]), the version that wrote it, and
//! whatever the writer had to say.

use super::densenet::densenet;
use super::discrete::{Discrete, DiscreteRecipe};
use super::network::Network;
use super::operations::Operations;
use super::recipe::Recipe;
use crate::graph::Graph;
use crate::legend::Legend;
use crate::random::Seed;
use crate::{Error, Result, files};
use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

/// The metadata's one entry: the order of several would differ from run to run.
const ENTRY: &str = "candlewick";
/// Counts changes that older versions cannot read.
const FORMAT: u32 = 1;

/// A network that was read from a file.
pub struct SavedNetwork {
    /// Built, with its weights and running statistics; it knows its recipe and its legend.
    pub network: Network,
    /// What the writer noted: epoch, accuracy …
    pub about: Map<String, Value>,
    /// The version of candlewick that wrote the file.
    pub version: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    version: String,
    network: Recipe,
    #[serde(flatten)]
    legend: Legend,
    #[serde(default)]
    about: Map<String, Value>,
}

/// A slice of the network's numbers as a tensor of the file.
struct Part {
    name: String,
    shape: Vec<usize>,
    numbers: Numbers,
}

enum Numbers {
    Weights(Range<usize>),
    Statistics(Range<usize>),
}

impl SavedNetwork {
    /// Writes a network to a new file and renames it to `path`; what stood there is whole until then.
    ///
    /// # Errors
    /// A network that no description can rebuild (a supernet, a closure's), a legend that does not fit it, a folder
    /// that cannot be written.
    pub fn write(path: &Path, network: &Network, legend: &Legend, about: &Map<String, Value>) -> Result<()> {
        let Some(recipe) = network.recipe() else {
            return Err(Error::user("only networks that discrete(…) or densenet(…) made can be saved whole").hint(
                "save_tensors(path, net.state()) keeps any network's weights, running statistics and alphas, and \
                     net.set_state(load_tensors(path)) puts them back into one made with the same options",
            ));
        };
        legend.check(network.classes(), recipe.input().channels)?;
        let header = Header {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            network: recipe.clone(),
            legend: legend.clone(),
            about: about.clone(),
        };
        let failed = |error: String| Error::run(format!("{}: {error}", path.display()));
        let header = serde_json::to_string(&header).map_err(|e| failed(e.to_string()))?;
        let weights = network.weights().detached().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        let statistics: Vec<f32> = network.statistics().values().iter().map(|&value| value as f32).collect();
        let parts = parts(network.graph());
        let views = parts.iter().map(|part| {
            let values = match &part.numbers {
                Numbers::Weights(range) => &weights[range.clone()],
                Numbers::Statistics(range) => &statistics[range.clone()],
            };
            let view = TensorView::new(Dtype::F32, part.shape.clone(), bytemuck::cast_slice(values));
            view.map(|view| (part.name.as_str(), view)).map_err(|e| failed(format!("{}: {e}", part.name)))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        let metadata = HashMap::from([(ENTRY.to_string(), header)]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(|e| failed(e.to_string()))?;
        files::replace(path, &bytes)
    }

    /// Reads a network made of the built-in operations.
    ///
    /// # Errors
    /// As [`read_with`](Self::read_with).
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_with(path, Operations::new(), Seed(0), &Device::Cpu)
    }

    /// Reads a network. `seed` is for what its further training draws at random (drop path).
    ///
    /// # Errors
    /// A file that is not a saved network or is damaged, one of a later version, operations that are not in
    /// `operations`, tensors that are missing or of other shapes than the network that the file describes.
    pub fn read_with(path: &Path, operations: Operations<'_>, seed: Seed, device: &Device) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, &e))?;
        let file = File::open(path, &bytes)?;
        let Header { network: recipe, legend, about, version, .. } = file.header()?;
        let inside = |error: Error| Error { message: format!("{}: {}", path.display(), error.message), ..error };
        let network = build(&recipe, &operations, seed, device, |graph| file.check(graph)).map_err(inside)?;
        legend.check(network.classes(), recipe.input().channels).map_err(inside)?;
        file.fill(&network)?;
        Ok(Self { network: network.with_legend(legend), about, version })
    }

    /// Puts a file's weights and running statistics into a network that is built already.
    ///
    /// # Errors
    /// As [`read_with`](Self::read_with), and a file of another genotype or of other shapes, both named. The network is
    /// unchanged then.
    pub fn load_into(path: &Path, network: &Network) -> Result<()> {
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, &e))?;
        let file = File::open(path, &bytes)?;
        if let Some(own) = network.recipe()
            && let Some(difference) = file.header()?.network.difference(own)
        {
            return Err(Error::user(format!("{} holds another network than this one: {difference}", path.display()))
                .hint("load_network(file) builds the network that the file holds"));
        }
        file.check(network.graph())?;
        file.fill(network)
    }
}

/// Builds the network of a recipe, freshly initialised. `admit` sees the graph before anything of its size is
/// allocated.
///
/// # Errors
/// Numbers out of bounds, operations that are not in `operations`, and whatever `admit` has against the graph.
fn build(
    recipe: &Recipe,
    operations: &Operations<'_>,
    seed: Seed,
    device: &Device,
    admit: impl FnOnce(&Graph) -> Result<()>,
) -> Result<Network> {
    match recipe {
        Recipe::Discrete(DiscreteRecipe { genotype, options }) => {
            let discrete = Discrete::build_with(genotype, options, operations)?;
            admit(&discrete.graph)?;
            Network::discrete(discrete, seed, device)
        }
        Recipe::DenseNet(options) => {
            admit(&densenet(options)?)?;
            Network::densenet(options, seed, device)
        }
    }
}

/// All that a file holds of a graph.
fn parts(graph: &Graph) -> Vec<Part> {
    let weights = graph.weights().iter().map(|weight| Part {
        name: weight.name.clone(),
        shape: weight.shape.clone(),
        numbers: Numbers::Weights(weight.range()),
    });
    let statistics = graph.norms().iter().flat_map(|norm| {
        [("running_mean", norm.mean()), ("running_var", norm.variance())].map(|(what, range)| Part {
            name: format!("{}.{what}", norm.name),
            shape: vec![norm.channels],
            numbers: Numbers::Statistics(range),
        })
    });
    weights.chain(statistics).collect()
}

/// A file in memory.
struct File<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    tensors: SafeTensors<'a>,
}

impl<'a> File<'a> {
    fn open(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| {
            Error::user(format!("{} is not a saved network: {error}", path.display()))
                .hint("net.save(\"best.safetensors\") writes one")
        })?;
        Ok(Self { path, bytes, tensors })
    }

    fn header(&self) -> Result<Header> {
        let none = || {
            Error::user(format!("{} holds tensors, but no description of a network", self.path.display()))
                .hint("net.save(…) writes such a file; load_tensors(…) reads any tensors")
        };
        let damaged = |error: serde_json::Error| {
            Error::user(format!("{}: the description of the network cannot be read: {error}", self.path.display()))
        };
        let (_, metadata) = SafeTensors::read_metadata(self.bytes).map_err(|_| none())?;
        let text = metadata.metadata().as_ref().and_then(|entries| entries.get(ENTRY)).ok_or_else(none)?;
        let value: Value = serde_json::from_str(text).map_err(damaged)?;
        match value.get("format").and_then(Value::as_u64) {
            Some(format) if format > u64::from(FORMAT) => {
                let by = value.get("version").and_then(Value::as_str).unwrap_or("a later version");
                Err(Error::user(format!("{} was written by candlewick {by}", self.path.display()))
                    .hint(format!("this is candlewick {}, which does not know its form", env!("CARGO_PKG_VERSION"))))
            }
            _ => Self::known(value).map_err(damaged),
        }
    }

    /// The header, whose description of the network says nothing that this version does not know.
    fn known(value: Value) -> serde_json::Result<Header> {
        let header: Header = serde_json::from_value(value.clone())?;
        let understood = serde_json::to_value(&header.network)?;
        let said = value.get("network").and_then(Value::as_object).into_iter().flatten();
        match said.map(|(name, _)| name).find(|name| understood.get(name.as_str()).is_none()) {
            Some(strange) => Err(serde::de::Error::custom(format!("unknown field `{strange}`"))),
            None => Ok(header),
        }
    }

    /// Checks that the file holds what the graph needs, and nothing else.
    fn check(&self, graph: &Graph) -> Result<()> {
        let parts = parts(graph);
        for Part { name, shape, .. } in &parts {
            let Ok(view) = self.tensors.tensor(name) else {
                return Err(Error::user(format!("{} has no \"{name}\", which the network needs", self.path.display())));
            };
            if view.shape() != shape || view.dtype() != Dtype::F32 {
                return Err(Error::user(format!(
                    "{}: \"{name}\" is {:?} of type {:?}, but the network's is {shape:?} of type F32",
                    self.path.display(),
                    view.shape(),
                    view.dtype()
                )));
            }
        }
        // As many tensors as parts, and every part among them.
        if self.tensors.len() == parts.len() {
            return Ok(());
        }
        let strange = self.tensors.names().into_iter().filter(|name| parts.iter().all(|part| part.name != *name)).min();
        let strange = strange.unwrap_or_default();
        Err(Error::user(format!("{} holds \"{strange}\", which the network does not have", self.path.display())))
    }

    fn fill(&self, network: &Network) -> Result<()> {
        let mut weights = vec![0f32; network.graph().parameters()];
        let mut statistics = vec![0f32; network.graph().statistics_len()];
        for Part { name, numbers, .. } in parts(network.graph()) {
            let to = match numbers {
                Numbers::Weights(range) => &mut weights[range],
                Numbers::Statistics(range) => &mut statistics[range],
            };
            let view = self.tensors.tensor(&name).map_err(|e| Error::user(format!("{}: {e}", self.path.display())))?;
            // The bytes need not lie on a float's boundary.
            for (to, four) in to.iter_mut().zip(view.data().chunks_exact(4)) {
                *to = f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            }
            if to.iter().any(|value| !value.is_finite()) {
                return Err(Error::user(format!("{}: \"{name}\" holds NaN or infinite values", self.path.display()))
                    .hint("the training had diverged when it was saved, or the file is damaged"));
            }
        }
        let count = weights.len();
        network.set_weights(&Tensor::from_vec(weights, count, &Device::Cpu)?)?;
        network.statistics().set(&statistics.iter().map(|&value| f64::from(value)).collect::<Vec<_>>())
    }
}
