//! How a text is made into tokens, and which of them the vocabulary keeps.

use crate::{Error, Result};

/// What a token is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// What stands between white space.
    #[default]
    Word,
    /// A Unicode character, white space too.
    Character,
}

impl Unit {
    pub const NAMES: [&str; 2] = ["word", "character"];

    /// # Errors
    /// Another name than those of [`NAMES`](Self::NAMES).
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "word" => Ok(Self::Word),
            "character" => Ok(Self::Character),
            _ => Err(Error::unknown("unit of text", name, Self::NAMES)),
        }
    }
}

/// What becomes of the punctuation marks beside words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Punctuation {
    /// They stay: "end." is a word. Right for text that is divided into words already, like Penn Treebank.
    #[default]
    Attached,
    /// They are words of their own; apostrophes and hyphens inside a word stay in it.
    Apart,
}

impl Punctuation {
    pub const NAMES: [&str; 2] = ["attached", "apart"];

    /// # Errors
    /// Another name than those of [`NAMES`](Self::NAMES).
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "attached" => Ok(Self::Attached),
            "apart" => Ok(Self::Apart),
            _ => Err(Error::unknown("treatment of punctuation", name, Self::NAMES)),
        }
    }
}

/// How a text is read.
#[derive(Clone, Debug, Default)]
pub struct TextOptions {
    pub unit: Unit,
    /// None: apart in the novel inside the binary, attached elsewhere.
    pub punctuation: Option<Punctuation>,
    /// Make all letters small.
    pub lowercase: bool,
    /// The most words of the vocabulary, line end and unknown word included: the most frequent of the training text.
    pub vocabulary: Option<usize>,
    /// How often a word must occur in the training text to be in the vocabulary. None: twice where one text is cut into
    /// three, once where the three are given.
    pub least: Option<usize>,
    /// The vocabulary itself, by id, in place of the training text's.
    pub words: Option<Vec<String>>,
}

impl TextOptions {
    /// Checks what can be checked before anything is read.
    ///
    /// # Errors
    /// A vocabulary of fewer than three, a count of zero, options that exclude each other.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(size) = self.vocabulary.filter(|size| *size < 3) {
            return Err(Error::user(format!("a vocabulary of {size} words has no room"))
                .hint("at least 3: the line end, the unknown word and one more"));
        }
        if self.least == Some(0) {
            return Err(Error::user("`least` is how often a word must occur, at least once").hint("least: 1 keeps all"));
        }
        if self.unit == Unit::Character && self.punctuation.is_some() {
            return Err(Error::user("`punctuation` is about words").hint("leave it out with unit: \"character\""));
        }
        if self.words.is_some() && (self.vocabulary.is_some() || self.least.is_some()) {
            return Err(Error::user("`words` is a whole vocabulary, which `vocabulary` and `least` would choose")
                .hint("give either `words`, or the other two"));
        }
        Ok(())
    }
}
