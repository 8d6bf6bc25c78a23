//! What a network is made of, as data: enough to build it again, and to say how two differ.

use super::catalogue;
use super::cell::CellKind;
use super::densenet::DenseNetOptions;
use super::discrete::{Discrete, DiscreteOptions, Stem};
use super::genotype::Genotype;
use super::network::Network;
use super::operations::Operations;
use crate::graph::{Graph, Shape};
use crate::random::Seed;
use crate::{Error, Result};
use candle_core::Device;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// How a network was built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Recipe {
    Discrete(DiscreteRecipe),
    DenseNet(DenseNetRecipe),
}

/// A genotype's network; the fields are those of [`DiscreteOptions`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscreteRecipe {
    /// In the literature's form.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub genotype: Genotype,
    /// Channels, height and width of an image.
    pub input: [usize; 3],
    pub classes: usize,
    pub channels: usize,
    pub layers: usize,
    pub reductions: Vec<usize>,
    /// "cifar" or "imagenet".
    pub stem: String,
    pub stem_multiplier: usize,
    pub auxiliary: bool,
    pub drop_path: bool,
}

/// A DenseNet-BC; the fields are those of [`DenseNetOptions`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseNetRecipe {
    /// Channels, height and width of an image.
    pub input: [usize; 3],
    pub classes: usize,
    pub depth: usize,
    pub growth: usize,
    pub reduction: f64,
}

/// What a network's numbers mean: the classes that its outputs stand for, and how pixels were scaled for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Legend {
    /// Class names; output k is the k-th.
    pub classes: Vec<String>,
    /// Per channel, what is subtracted from pixels scaled to 0..1.
    pub mean: Vec<f32>,
    /// Per channel, what they are divided by after that.
    pub std: Vec<f32>,
}

impl Legend {
    /// Classes called 0, 1, 2 …, pixels as they are.
    pub fn plain(classes: usize, channels: usize) -> Self {
        let classes = (0..classes).map(|class| class.to_string()).collect();
        Self { classes, mean: vec![0.0; channels], std: vec![1.0; channels] }
    }

    /// Sees that it fits a network.
    ///
    /// # Errors
    /// Another number of classes or channels, a name that comes twice, a deviation that nothing can be divided by.
    pub fn check(&self, classes: usize, channels: usize) -> Result<()> {
        if self.classes.len() != classes {
            return Err(Error::user(format!("{} class names for a network of {classes} classes", self.classes.len())));
        }
        if let Some((index, name)) = self.classes.iter().enumerate().find(|(i, name)| self.classes[..*i].contains(name))
        {
            return Err(Error::user(format!("class {index} is called \"{name}\" like one before it")));
        }
        for (what, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != channels {
                return Err(Error::user(format!("{what} has {} numbers for {channels} channels", values.len())));
            }
            if let Some(value) = values.iter().find(|v| !v.is_finite() || (what == "std" && **v <= 0.0)) {
                return Err(Error::user(format!("{what} cannot be {value}")));
            }
        }
        Ok(())
    }
}

impl DiscreteRecipe {
    pub(super) fn new(genotype: &Genotype, options: &DiscreteOptions<'_>, kinds: &[CellKind]) -> Self {
        let Shape { channels, height, width } = options.input;
        let reductions = kinds.iter().enumerate().filter(|(_, kind)| **kind == CellKind::Reduction);
        Self {
            genotype: genotype.clone(),
            input: [channels, height, width],
            classes: options.classes,
            channels: options.channels,
            layers: options.layers,
            reductions: reductions.map(|(index, _)| index).collect(),
            stem: options.stem.name().into(),
            stem_multiplier: options.stem_multiplier,
            auxiliary: options.auxiliary,
            drop_path: options.drop_path,
        }
    }

    fn discrete(&self, operations: Operations<'_>) -> Result<Discrete> {
        let [channels, height, width] = self.input;
        let options = DiscreteOptions {
            input: Shape::new(channels, height, width),
            classes: self.classes,
            channels: self.channels,
            layers: self.layers,
            reductions: Some(self.reductions.clone()),
            stem: Stem::named(&self.stem)?,
            stem_multiplier: self.stem_multiplier,
            auxiliary: self.auxiliary,
            drop_path: self.drop_path,
            operations,
        };
        Discrete::build(&self.genotype, &options)
    }
}

impl Recipe {
    pub(super) fn of_densenet(options: &DenseNetOptions) -> Self {
        let Shape { channels, height, width } = options.input;
        Self::DenseNet(DenseNetRecipe {
            input: [channels, height, width],
            classes: options.classes,
            depth: options.depth,
            growth: options.growth,
            reduction: options.reduction,
        })
    }

    /// Builds the network anew, freshly initialised. `admit` sees the graph before anything of its size is allocated.
    ///
    /// # Errors
    /// Numbers out of bounds, operations that are not in `operations`, and whatever `admit` has against the graph.
    pub fn build(
        &self,
        operations: Operations<'_>,
        seed: Seed,
        device: &Device,
        admit: impl FnOnce(&Graph) -> Result<()>,
    ) -> Result<Network> {
        match self {
            Self::Discrete(recipe) => {
                let discrete = recipe.discrete(operations)?;
                admit(&discrete.graph)?;
                Network::discrete(discrete, seed, device)
            }
            Self::DenseNet(recipe) => {
                let [channels, height, width] = recipe.input;
                let options = DenseNetOptions {
                    input: Shape::new(channels, height, width),
                    classes: recipe.classes,
                    depth: recipe.depth,
                    growth: recipe.growth,
                    reduction: recipe.reduction,
                };
                admit(&super::densenet(&options)?)?;
                Network::densenet(&options, seed, device)
            }
        }
    }

    /// The genotype, where the network is one's.
    pub fn genotype(&self) -> Option<&Genotype> {
        match self {
            Self::Discrete(recipe) => Some(&recipe.genotype),
            Self::DenseNet(_) => None,
        }
    }

    /// Channels, height and width of an image.
    pub fn input(&self) -> [usize; 3] {
        match self {
            Self::Discrete(recipe) => recipe.input,
            Self::DenseNet(recipe) => recipe.input,
        }
    }

    /// How `other` differs, in words; none where it is the same network. Drop path, which changes no weight, may differ.
    pub fn difference(&self, other: &Recipe) -> Option<String> {
        match (self, other) {
            (Self::Discrete(a), Self::Discrete(b)) if a.genotype != b.genotype => {
                Some(format!("{} and {}", short(&a.genotype), short(&b.genotype)))
            }
            (Self::Discrete(a), Self::Discrete(b)) => {
                let same = DiscreteRecipe { genotype: a.genotype.clone(), drop_path: a.drop_path, ..b.clone() } == *a;
                (!same).then(|| format!("{self} and {other}"))
            }
            (a, b) => (a != b).then(|| format!("{a} and {b}")),
        }
    }
}

/// A genotype by its name in the catalogue, or else its text.
fn short(genotype: &Genotype) -> String {
    catalogue::name_of(genotype).map_or_else(|| genotype.to_string(), String::from)
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [depth, height, width] = self.input();
        match self {
            Self::Discrete(r) => {
                write!(f, "{} with {} channels, {} layers", short(&r.genotype), r.channels, r.layers)?;
                write!(f, " (reductions {:?}), stem {} × {}", r.reductions, r.stem, r.stem_multiplier)?;
                if r.auxiliary {
                    write!(f, ", auxiliary head")?;
                }
                write!(f, ", {} classes", r.classes)?;
            }
            Self::DenseNet(r) => {
                write!(f, "DenseNet-BC (L = {}, k = {}, θ = {})", r.depth, r.growth, r.reduction)?;
                write!(f, ", {} classes", r.classes)?;
            }
        }
        write!(f, ", images of {depth}×{height}×{width}")
    }
}

fn as_text<S: Serializer>(genotype: &Genotype, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(genotype)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Genotype, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error: Error| serde::de::Error::custom(error.message))
}
