//! Which tokens have a number.

use super::options::TextOptions;
use crate::error::closest;
use crate::{Error, Result};
use std::cmp::Reverse;
use std::collections::HashMap;

/// The token at the end of every line.
pub const LINE_END: &str = "<eos>";
/// The token for all that are not in the vocabulary.
pub const UNKNOWN: &str = "<unk>";

/// Tokens and their ids: the most frequent of the training text first, among equals the one that comes first.
#[derive(Debug)]
pub struct Vocabulary {
    words: Vec<String>,
    ids: HashMap<String, u32>,
    /// What stands for tokens that are not in it; none where it is closed.
    unknown: Option<u32>,
}

impl Vocabulary {
    /// The vocabulary of a training text that `least` and `vocabulary` choose.
    pub(super) fn of_tokens<'a>(
        tokens: impl Iterator<Item = &'a str>,
        least: usize,
        options: &TextOptions,
    ) -> Result<Self> {
        if let Some(words) = &options.words {
            return Self::of_words(words.clone());
        }
        // How often, and where first.
        let mut seen: HashMap<&str, (usize, usize)> = HashMap::new();
        for (at, token) in tokens.enumerate() {
            seen.entry(token).or_insert((0, at)).0 += 1;
        }
        if seen.keys().all(|token| *token == LINE_END) {
            return Err(Error::user("the training text has no words").hint("give a text of at least some lines"));
        }
        let open = least > 1 || options.vocabulary.is_some();
        // These two are kept whatever their number.
        let given = [seen.remove(LINE_END), seen.remove(UNKNOWN)];
        let mut kept: Vec<(&str, (usize, usize))> =
            seen.iter().map(|(token, count)| (*token, *count)).filter(|(_, (count, _))| *count >= least).collect();
        kept.sort_unstable_by_key(|(_, (count, first))| (Reverse(*count), *first));
        let special: Vec<&str> = [(LINE_END, true), (UNKNOWN, open || given[1].is_some())]
            .into_iter()
            .filter_map(|(token, wanted)| wanted.then_some(token))
            .collect();
        if let Some(size) = options.vocabulary {
            kept.truncate(size - special.len());
        }
        let words = special.into_iter().chain(kept.into_iter().map(|(token, _)| token)).map(String::from).collect();
        Self::with(words, open)
    }

    /// The vocabulary of these words; what is not among them is the unknown word, if that is.
    ///
    /// # Errors
    /// A word twice, no line end, or more words than ids.
    pub fn of_words(words: Vec<String>) -> Result<Self> {
        let open = words.iter().any(|word| word == UNKNOWN);
        Self::with(words, open)
    }

    fn with(words: Vec<String>, open: bool) -> Result<Self> {
        if u32::try_from(words.len()).is_err() {
            return Err(Error::user(format!("a vocabulary of {} words is too large", words.len())));
        }
        let mut ids = HashMap::with_capacity(words.len());
        for (id, word) in words.iter().enumerate() {
            if ids.insert(word.clone(), id as u32).is_some() {
                return Err(Error::user(format!("the vocabulary has \"{word}\" twice")));
            }
        }
        if !ids.contains_key(LINE_END) {
            return Err(Error::user(format!("the vocabulary lacks {LINE_END}, the token of a line's end")));
        }
        let unknown = ids.get(UNKNOWN).copied().filter(|_| open);
        Ok(Self { words, ids, unknown })
    }

    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Never: the line end is always there.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// All words, by id.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The word of an id.
    ///
    /// # Errors
    /// An id beyond the vocabulary.
    pub fn word(&self, id: usize) -> Result<&str> {
        self.words.get(id).map(String::as_str).ok_or_else(|| {
            Error::user(format!("there is no word {id}"))
                .hint(format!("the vocabulary has {} words, counted from 0", self.len()))
        })
    }

    /// The id of a word; that of the unknown word where it has none.
    pub fn id(&self, word: &str) -> Option<u32> {
        self.ids.get(word).copied().or(self.unknown)
    }

    /// The nearest word in spelling.
    pub fn near(&self, word: &str) -> Option<&str> {
        closest(word, self.words.iter().map(String::as_str))
    }
}
