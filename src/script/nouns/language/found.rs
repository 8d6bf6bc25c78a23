//! A genotype or a tree, where a script may have either.

use crate::script::binding::{Argument, Mismatch, Output, describe_value};
use crate::space::recurrent::{FoundCell, RecurrentGenotype, RecurrentTree};
use rhai::Dynamic;

impl Argument for FoundCell {
    fn describe() -> String {
        "recurrent_genotype or recurrent_tree".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        if let Some(genotype) = value.read_lock::<RecurrentGenotype>() {
            return Ok(Self::Genotype(genotype.clone()));
        }
        match value.read_lock::<RecurrentTree>() {
            Some(tree) => Ok(Self::Tree(tree.clone())),
            None => Err(Mismatch::Found(format!("not {}", describe_value(value)))),
        }
    }
}

impl Output for FoundCell {
    fn describe() -> String {
        <Self as Argument>::describe()
    }

    fn into_dynamic(self) -> Dynamic {
        match self {
            Self::Genotype(genotype) => Dynamic::from(genotype),
            Self::Tree(tree) => Dynamic::from(tree),
        }
    }
}
