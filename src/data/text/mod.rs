//! Text as numbers: a vocabulary, three streams of ids, and the windows that training takes from them.
//!
//! A [`TextSource`] is read once ([`read`]): lines to tokens, the training text's tokens to a [`Vocabulary`], all
//! tokens to ids. A [`Stream`] cut into columns gives [`Windows`], a function of the seed and of a position alone, as
//! batches of images are.

mod austen;
mod files;
mod options;
mod stream;
mod tokens;
mod vocabulary;
mod windows;

pub use files::TextSource;
pub use options::{Punctuation, TextOptions, Unit};
pub use stream::{Stream, Text, read};
pub use vocabulary::{LINE_END, UNKNOWN, Vocabulary};
pub use windows::{Jitter, Window, WindowOptions, WindowPosition, Windows};
