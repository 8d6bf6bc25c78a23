//! From text to tokens.
//!
//! A line is what ends in a line feed, with or without a carriage return before it, or at the end of the text; it gives
//! its tokens and one line end. An empty line gives a line end alone, as in the language models of the literature.

use super::options::{Punctuation, Unit};
use super::vocabulary::{LINE_END, UNKNOWN};

/// How a line is divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Division {
    pub unit: Unit,
    pub punctuation: Punctuation,
}

impl Division {
    /// The tokens of all lines, each with its line's number from 1.
    pub fn of_text(self, text: &str) -> impl Iterator<Item = (usize, &str)> {
        // `lines` knows both line ends and that the last one may be missing.
        text.lines().enumerate().flat_map(move |(line, words)| {
            self.of_line(words).chain(std::iter::once(LINE_END)).map(move |token| (line + 1, token))
        })
    }

    /// The tokens of one line, without its end.
    pub fn of_line(self, line: &str) -> Box<dyn Iterator<Item = &str> + '_> {
        match (self.unit, self.punctuation) {
            (Unit::Character, _) => Box::new(line.char_indices().map(|(start, c)| &line[start..start + c.len_utf8()])),
            (Unit::Word, Punctuation::Attached) => Box::new(line.split_whitespace()),
            (Unit::Word, Punctuation::Apart) => Box::new(line.split_whitespace().flat_map(Apart)),
        }
    }

    /// Text of tokens: words with spaces between them, line ends as such.
    pub fn joined<'a>(self, tokens: impl Iterator<Item = &'a str>) -> String {
        let mut text = String::new();
        let mut opened = true;
        for token in tokens {
            if token == LINE_END {
                text.push('\n');
                opened = true;
                continue;
            }
            let apart = self.punctuation == Punctuation::Apart;
            let closes = apart && token.starts_with([',', '.', ';', ':', '!', '?', ')', ']']);
            if self.unit == Unit::Word && !opened && !closes {
                text.push(' ');
            }
            text.push_str(token);
            opened = apart && token.starts_with(['(', '[']);
        }
        text
    }
}

/// The words and punctuation marks of what stands between white space. A run of one mark is one token ("--").
struct Apart<'a>(&'a str);

impl<'a> Iterator for Apart<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0;
        let first = text.chars().next()?;
        let end = match [LINE_END, UNKNOWN].into_iter().find(|special| text.starts_with(special)) {
            Some(special) => special.len(),
            None if is_mark(first) => text.find(|c| c != first).unwrap_or(text.len()),
            None => word_end(text),
        };
        let (token, rest) = text.split_at(end);
        self.0 = rest;
        Some(token)
    }
}

/// Where the word that `text` begins with ends: before the first mark that has no letters on both sides.
fn word_end(text: &str) -> usize {
    let mut marks = text.char_indices().filter(|(_, c)| is_mark(*c));
    let inside = |at: usize, mark: char| {
        let after = text[at + mark.len_utf8()..].chars().next();
        matches!(mark, '\'' | '’' | '-') && after.is_some_and(|c| !is_mark(c))
    };
    marks.find(|(at, mark)| !inside(*at, *mark)).map_or(text.len(), |(at, _)| at)
}

/// Whether a character is punctuation: of ASCII, Latin-1, general punctuation, and the full-width and ideographic ones.
fn is_mark(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(c, '¡' | '§' | '«' | '¶' | '·' | '»' | '¿')
        || matches!(c, '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}')
        || matches!(c, '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}')
        || matches!(c, '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}' | '\u{ff3b}'..='\u{ff40}')
        || matches!(c, '\u{ff5b}'..='\u{ff65}')
}
