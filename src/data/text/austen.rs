//! The novel that travels inside the binary: Pride and Prejudice by Jane Austen (1813), in the public domain, a
//! paragraph a line, without emphasis and rules. 122,000 words.

use crate::{Error, Result};
use flate2::read::GzDecoder;
use std::io::Read;

const TEXT: &[u8] = include_bytes!("austen.txt.gz");

/// The whole text.
pub(super) fn load() -> Result<String> {
    let mut text = String::new();
    match GzDecoder::new(TEXT).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Error::run(format!("the embedded novel is damaged: {error}"))),
    }
}
