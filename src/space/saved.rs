//! A trained network as a file: safetensors, so that other tools read its weights too.
//!
//! The tensors are all weights by name and, for every batch norm, `NAME.running_mean` and `NAME.running_var`, f32. The
//! metadata say how to build the network ([`Recipe`]), what its classes are called and how its images are scaled
//! ([`Legend`]), the version that wrote it, and whatever the writer had to say.

use super::densenet::densenet;
use super::discrete::{Discrete, DiscreteRecipe};
use super::file::{self, File, Part};
use super::network::Network;
use super::operations::Operations;
use super::recipe::Recipe;
use super::recurrent::LANGUAGE_KIND;
use crate::graph::Graph;
use crate::legend::Legend;
use crate::random::Seed;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value};
use std::path::Path;

type Header = file::Header<Recipe, Legend>;

/// A network that was read from a file.
pub struct SavedNetwork {
    /// Built, with its weights and running statistics; it knows its recipe and its legend.
    pub network: Network,
    /// What the writer noted: epoch, accuracy …
    pub about: Map<String, Value>,
    /// The version of candlewick that wrote the file.
    pub version: String,
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
        let header = Header::new(recipe.clone(), legend.clone(), about.clone());
        let weights = network.weights().detached().to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
        let mut numbers = weights.to_vec1::<f32>()?;
        numbers.extend(network.statistics().values().iter().map(|&value| value as f32));
        file::write(path, &header, &parts(network.graph()), &numbers)
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
        let Header { network: recipe, legend, about, version, .. } = header(path, &file)?;
        let inside = |error: Error| Error { message: format!("{}: {}", path.display(), error.message), ..error };
        let network = build(&recipe, &operations, seed, device, |graph| file.check(&parts(graph))).map_err(inside)?;
        legend.check(network.classes(), recipe.input().channels).map_err(inside)?;
        fill(&file, &network)?;
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
            && let Some(difference) = header(path, &file)?.network.difference(own)
        {
            return Err(Error::user(format!("{} holds another network than this one: {difference}", path.display()))
                .hint("load_network(file) builds the network that the file holds"));
        }
        file.check(&parts(network.graph()))?;
        fill(&file, network)
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

/// The header of a file that holds a network of images.
fn header(path: &Path, file: &File<'_>) -> Result<Header> {
    match file.kind()? == LANGUAGE_KIND {
        true => Err(Error::user(format!("{} holds a language model, not a network of images", path.display()))
            .hint("load_language_model(file) reads it")),
        false => file.header(),
    }
}

/// All that a file holds of a graph: the weights, then the running statistics.
fn parts(graph: &Graph) -> Vec<Part> {
    let weights = graph.weights().iter().map(|weight| Part {
        name: weight.name.clone(),
        shape: weight.shape.clone(),
        range: weight.range(),
    });
    let statistics = graph.norms().iter().flat_map(|norm| {
        [("running_mean", norm.mean()), ("running_var", norm.variance())].map(|(what, range)| Part {
            name: format!("{}.{what}", norm.name),
            shape: vec![norm.channels],
            range: graph.parameters() + range.start..graph.parameters() + range.end,
        })
    });
    weights.chain(statistics).collect()
}

fn fill(file: &File<'_>, network: &Network) -> Result<()> {
    let numbers = file.numbers(&parts(network.graph()))?;
    let (weights, statistics) = numbers.split_at(network.graph().parameters());
    network.set_weights(&Tensor::from_slice(weights, weights.len(), &Device::Cpu)?)?;
    network.statistics().set(&statistics.iter().map(|&value| f64::from(value)).collect::<Vec<_>>())
}
