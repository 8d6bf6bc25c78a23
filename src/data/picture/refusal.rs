//! Why a picture is not read: what can be done about it depends on it.

use std::fmt;

/// In words that follow the file's name.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// Damaged, of a form that is not read, or a file that cannot be opened.
    Unreadable(String),
    /// More pixels than are wanted.
    TooLarge(String),
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Unreadable(reason)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unreadable(reason) | Self::TooLarge(reason)) = self;
        f.write_str(reason)
    }
}
