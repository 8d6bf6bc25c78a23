//! What a language model is made of, as data: enough to build it again.

use super::activations::Activations;
use super::cells::{self, Gates};
use super::genotype::RecurrentGenotype;
use super::tree::RecurrentTree;
use crate::graph::recurrent::RecurrentGraph;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A recurrent cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cell", rename_all = "snake_case")]
pub enum CellRecipe {
    /// DARTS' search cell: nodes, and the candidates of every edge by name.
    Search { nodes: usize, activations: Vec<String> },
    /// The cell of a genotype.
    Genotype { genotype: RecurrentGenotype },
    /// The LSTM.
    Lstm,
    /// The LSTM whose input gate is min(1 − f, o).
    CappedLstm,
    /// A recurrent highway network.
    Highway { depth: usize },
    /// The cell that reinforcement learning found (Zoph & Le 2017).
    Nas,
    /// A cell of the space that it was found in.
    Tree { tree: RecurrentTree },
}

impl CellRecipe {
    /// The time step, from token vectors of width `inputs` to outputs of width `width`.
    ///
    /// # Errors
    /// Unknown activations, sizes beyond their bounds; DARTS' cells read vectors as wide as their output.
    pub fn build(&self, inputs: usize, width: usize, activations: &Activations<'_>) -> Result<RecurrentGraph> {
        if inputs != width && matches!(self, Self::Search { .. } | Self::Genotype { .. }) {
            return Err(Error::user(format!("{self} is {width} wide, but reads vectors of width {inputs}"))
                .hint("the embedding and all layers of such cells have one width: leave the option embedding out"));
        }
        match self {
            Self::Search { nodes, activations: names } => {
                cells::search_cell(width, *nodes, &activations.select(names.iter().map(String::as_str))?)
            }
            Self::Genotype { genotype } => cells::genotype_cell(width, genotype, activations),
            Self::Lstm => cells::lstm_cell(inputs, width, Gates::Free),
            Self::CappedLstm => cells::lstm_cell(inputs, width, Gates::Capped),
            Self::Highway { depth } => cells::highway_cell(inputs, width, *depth),
            Self::Nas => RecurrentTree::found().cell(inputs, width, activations),
            Self::Tree { tree } => tree.cell(inputs, width, activations),
        }
    }
}

impl From<RecurrentGenotype> for CellRecipe {
    fn from(genotype: RecurrentGenotype) -> Self {
        Self::Genotype { genotype }
    }
}

impl From<RecurrentTree> for CellRecipe {
    fn from(tree: RecurrentTree) -> Self {
        Self::Tree { tree }
    }
}

impl fmt::Display for CellRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Search { nodes, activations } => {
                write!(f, "a search cell of {nodes} nodes over {}", activations.join(", "))
            }
            Self::Genotype { genotype } => write!(f, "{genotype}"),
            Self::Lstm => f.write_str("an LSTM"),
            Self::CappedLstm => f.write_str("an LSTM with capped gates"),
            Self::Highway { depth } => write!(f, "a recurrent highway of depth {depth}"),
            Self::Nas => f.write_str("the NAS cell"),
            Self::Tree { tree } => write!(f, "{tree}"),
        }
    }
}

/// How a language model is built: embedding, layers of one kind of cell, decoder tied to the embedding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanguageRecipe {
    /// Words.
    pub vocabulary: usize,
    /// Width of a word's vector.
    pub embedding: usize,
    #[serde(flatten)]
    pub cell: CellRecipe,
    /// The output widths of the layers, from the first.
    pub widths: Vec<usize>,
    /// The outputs of all layers are added (Melis et al. 2018); otherwise the last one's counts.
    pub skip: bool,
    /// The decoder adds a bias to every word's logit.
    pub bias: bool,
    /// How many softmaxes are mixed (Yang et al. 2018); 0: one, unmixed.
    pub experts: usize,
}

impl LanguageRecipe {
    /// Width of what the decoder sees.
    pub fn width(&self) -> usize {
        self.widths.last().copied().unwrap_or(self.embedding)
    }

    /// Checks what no layer checks by itself.
    ///
    /// # Errors
    /// No layers, skip connections between layers of different widths, a mixture of one softmax.
    pub fn check(&self) -> Result<()> {
        if self.vocabulary < 2 {
            return Err(Error::user(format!("a vocabulary of {} words has nothing to predict", self.vocabulary)));
        }
        if self.widths.is_empty() || self.widths.len() > 64 {
            return Err(Error::user(format!("a language model has from 1 to 64 layers, not {}", self.widths.len())));
        }
        if self.skip && self.widths.iter().any(|&width| width != self.width()) {
            return Err(Error::user(format!("layers of widths {:?} cannot be added to one another", self.widths))
                .hint("with skip: true all layers have one width"));
        }
        match self.experts {
            1 => Err(Error::user("a mixture of one softmax is a softmax").hint("leave experts out, or give 2 or more")),
            2..=64 | 0 => Ok(()),
            many => Err(Error::user(format!("experts must be from 2 to 64, not {many}"))),
        }
    }
}

impl fmt::Display for LanguageRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, layers of widths {:?}, embedding {}", self.cell, self.widths, self.embedding)?;
        if self.skip {
            write!(f, ", outputs added")?;
        }
        if self.experts > 0 {
            write!(f, ", {} softmaxes mixed", self.experts)?;
        }
        write!(f, ", {} words", self.vocabulary)
    }
}
