//! The three streams of ids that a text becomes.

use super::files::{Found, Part, TextSource};
use super::options::{Punctuation, TextOptions};
use super::tokens::Division;
use super::vocabulary::{LINE_END, Vocabulary};
use crate::data::Listed;
use crate::{Error, Result, interrupt};
use std::sync::Arc;

/// The shares of one text that are training and validation text; the rest is the test text.
const CUT: (usize, usize, usize) = (18, 19, 20);

/// Tokens between two looks at whether the user asked to stop.
const STRETCH: usize = 1 << 16;

/// Tokens in order, as ids of a vocabulary. Clones share them.
#[derive(Clone, Debug)]
pub struct Stream {
    ids: Arc<[u32]>,
    vocabulary: Arc<Vocabulary>,
}

impl Stream {
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Tokens, line ends included.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// The first `count` tokens.
    ///
    /// # Errors
    /// None at all, or more than there are.
    pub fn take(&self, count: usize) -> Result<Self> {
        match self.ids.get(..count).filter(|ids| !ids.is_empty()) {
            Some(ids) => Ok(Self { ids: ids.into(), ..self.clone() }),
            None => Err(Error::user(format!("cannot take {count} of {} tokens", self.len()))
                .hint(format!("take between 1 and {}", self.len()))),
        }
    }

    /// How many rows `batch` equal columns have; what is left over is dropped.
    ///
    /// # Errors
    /// No column at all, or columns without a token that follows another.
    pub fn rows(&self, batch: usize) -> Result<usize> {
        match self.len().checked_div(batch) {
            Some(rows) if rows >= 2 => Ok(rows),
            _ => Err(Error::user(format!("{} tokens cannot be cut into {batch} columns", self.len()))
                .hint(format!("every column needs at least 2 tokens: 1 to {} columns", (self.len() / 2).max(1)))),
        }
    }

    /// The columns, time-major: row t holds token t of each, rows × `batch`.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn columns(&self, batch: usize) -> Result<Vec<u32>> {
        let rows = self.rows(batch)?;
        Ok((0..rows).flat_map(|row| (0..batch).map(move |column| self.ids[column * rows + row])).collect())
    }
}

/// A text: what to learn from, what to choose by, what to judge by.
#[derive(Clone, Debug)]
pub struct Text {
    pub train: Stream,
    pub valid: Stream,
    pub test: Stream,
    /// The files that were read; none where the text is inside the binary.
    pub list: Arc<[Listed]>,
    name: String,
    division: Division,
}

impl Text {
    /// For titles: "austen", or the folder's or file's own name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn vocabulary(&self) -> &Vocabulary {
        &self.train.vocabulary
    }

    /// The ids of a text that is divided as this one was; each line end inside it is a token, its own end is not.
    ///
    /// # Errors
    /// A word that a closed vocabulary does not have.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for (line, words) in text.split('\n').enumerate() {
            if line > 0 {
                ids.push(id_of(self.vocabulary(), LINE_END, "the text given", line)?);
            }
            for word in self.division.of_line(words.strip_suffix('\r').unwrap_or(words)) {
                ids.push(id_of(self.vocabulary(), word, "the text given", line + 1)?);
            }
        }
        Ok(ids)
    }

    /// The text of ids: words with spaces between them (characters without), line ends as such.
    ///
    /// # Errors
    /// An id beyond the vocabulary.
    pub fn decode(&self, ids: &[usize]) -> Result<String> {
        let words: Vec<&str> = ids.iter().map(|id| self.vocabulary().word(*id)).collect::<Result<_>>()?;
        Ok(self.division.joined(words.into_iter()))
    }
}

/// Reads a text into memory.
///
/// # Errors
/// A file or folder that is not there, lacks a part or is empty; text that is not UTF-8 (with the line); a word of the
/// validation or test text that a closed vocabulary does not have (with file and line); one text too short to be cut.
pub fn read(source: &TextSource, options: &TextOptions) -> Result<Text> {
    options.check()?;
    let (name, mut found) = Found::read(source)?;
    let list = found.parts_mut().iter_mut().filter_map(|part| part.listed.take()).collect();
    if options.lowercase {
        found.parts_mut().iter_mut().for_each(|part| part.text = part.text.to_lowercase());
    }
    let own = if *source == TextSource::Austen { Punctuation::Apart } else { Punctuation::Attached };
    let division = Division { unit: options.unit, punctuation: options.punctuation.unwrap_or(own) };
    let [train, valid, test] = match found {
        Found::Three(parts) => three(&parts, division, options)?,
        Found::One(part) => cut(&part, division, options)?,
    };
    Ok(Text { train, valid, test, list, name, division })
}

impl Found {
    fn parts_mut(&mut self) -> &mut [Part] {
        match self {
            Self::Three(parts) => parts.as_mut_slice(),
            Self::One(part) => std::slice::from_mut(part),
        }
    }
}

/// The streams of three texts; the first one makes the vocabulary.
fn three(parts: &[Part; 3], division: Division, options: &TextOptions) -> Result<[Stream; 3]> {
    let tokens = division.of_text(&parts[0].text).map(|(_, token)| token);
    let vocabulary = Vocabulary::of_tokens(tokens, options.least.unwrap_or(1), options);
    let vocabulary = Arc::new(vocabulary.map_err(|error| in_file(&parts[0].file, error))?);
    let stream = |part: &Part| -> Result<Stream> {
        Ok(Stream { ids: ids(part, division, &vocabulary)?.into(), vocabulary: vocabulary.clone() })
    };
    Ok([stream(&parts[0])?, stream(&parts[1])?, stream(&parts[2])?])
}

/// The streams of one text, cut by tokens; its first part makes the vocabulary.
fn cut(part: &Part, division: Division, options: &TextOptions) -> Result<[Stream; 3]> {
    let count = division.of_text(&part.text).count();
    let (valid, test) = (count * CUT.0 / CUT.2, count * CUT.1 / CUT.2);
    if valid == 0 || valid == test || test == count {
        return Err(Error::user(format!("{}: {count} tokens cannot be cut into three texts", part.file))
            .hint("give a longer text, or a folder with train, valid and test files"));
    }
    let tokens = division.of_text(&part.text).map(|(_, token)| token).take(valid);
    let vocabulary = Vocabulary::of_tokens(tokens, options.least.unwrap_or(2), options);
    let vocabulary = Arc::new(vocabulary.map_err(|error| in_file(&part.file, error))?);
    let ids = ids(part, division, &vocabulary)?;
    let stream = |ids: &[u32]| Stream { ids: ids.into(), vocabulary: vocabulary.clone() };
    Ok([stream(&ids[..valid]), stream(&ids[valid..test]), stream(&ids[test..])])
}

fn ids(part: &Part, division: Division, vocabulary: &Vocabulary) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    for (at, (line, token)) in division.of_text(&part.text).enumerate() {
        if at % STRETCH == 0 {
            interrupt::check()?;
        }
        ids.push(id_of(vocabulary, token, &part.file, line)?);
    }
    Ok(ids)
}

fn id_of(vocabulary: &Vocabulary, word: &str, file: &str, line: usize) -> Result<u32> {
    vocabulary.id(word).ok_or_else(|| {
        let near = vocabulary.near(word).map_or(String::new(), |near| format!("; the nearest that is: \"{near}\""));
        Error::user(format!("{file}, line {line}: \"{word}\" is not in the vocabulary{near}")).hint(
            "the vocabulary is that of the training text; with #{ least: 2 } or #{ vocabulary: 10000 } all other words \
             are <unk>",
        )
    })
}

fn in_file(file: &str, error: Error) -> Error {
    Error { message: format!("{file}: {}", error.message), ..error }
}
