//! Whether a WebP is all there: its decoder is content with what it needs for the first picture, and fills up the rest.

/// Walks the chunks to the length that the file's header gives. A byte that only pads the last chunk may be missing.
///
/// # Errors
/// A file that ends before.
pub(super) fn whole(bytes: &[u8]) -> Result<(), String> {
    let cut = || "cut short: its end is missing".to_string();
    let number = |at: usize| {
        let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
        four.map(|four| u32::from_le_bytes(four) as usize).ok_or_else(cut)
    };
    // "RIFF", the length of what follows, "WEBP", and chunks: four letters, a length, and so many bytes.
    let end = number(4)?.saturating_add(8);
    let mut at = 12;
    while at < end {
        let behind = number(at + 4)?.saturating_add(at + 8);
        if behind > bytes.len() {
            return Err(cut());
        }
        at = behind + behind % 2;
    }
    Ok(())
}
