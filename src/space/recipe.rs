//! What a network is made of, as data: enough to build it again, and to say how two differ.

use super::catalogue;
use super::densenet::DenseNetOptions;
use super::discrete::{DiscreteOptions, DiscreteRecipe};
use super::genotype::Genotype;
use crate::graph::Shape;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a network was built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Recipe {
    Discrete(DiscreteRecipe),
    DenseNet(DenseNetOptions),
}

impl Recipe {
    /// The genotype, where the network is one's.
    pub fn genotype(&self) -> Option<&Genotype> {
        match self {
            Self::Discrete(recipe) => Some(&recipe.genotype),
            Self::DenseNet(_) => None,
        }
    }

    /// One image.
    pub fn input(&self) -> Shape {
        match self {
            Self::Discrete(recipe) => recipe.options.input,
            Self::DenseNet(options) => options.input,
        }
    }

    /// How `other` differs, in words; none where it is the same network. Drop path, which changes no weight, may
    /// differ.
    pub fn difference(&self, other: &Recipe) -> Option<String> {
        match (self, other) {
            (Self::Discrete(a), Self::Discrete(b)) if a.genotype != b.genotype => {
                Some(format!("{} and {}", short(&a.genotype), short(&b.genotype)))
            }
            (Self::Discrete(a), Self::Discrete(b)) => {
                let b = DiscreteOptions { drop_path: a.options.drop_path, ..b.options.clone() };
                (a.options != b).then(|| format!("{self} and {other}"))
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
        match self {
            Self::Discrete(DiscreteRecipe { genotype, options: o }) => {
                write!(f, "{} with {} channels, {} layers", short(genotype), o.channels, o.layers)?;
                let reductions = o.reductions.as_deref().unwrap_or_default();
                write!(f, " (reductions {reductions:?}), stem {} × {}", o.stem.name(), o.stem_multiplier)?;
                if o.auxiliary {
                    write!(f, ", auxiliary head")?;
                }
                write!(f, ", {} classes", o.classes)?;
            }
            Self::DenseNet(o) => {
                write!(f, "DenseNet-BC (L = {}, k = {}, θ = {})", o.depth, o.growth, o.reduction)?;
                write!(f, ", {} classes", o.classes)?;
            }
        }
        write!(f, ", images of {:#}", self.input())
    }
}
