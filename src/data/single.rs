//! Images one at a time, for a network that is asked what they show.

use super::encoded::Encoded;
use super::list::Content;
use super::options::Expected;
use super::picture::{Look, Refusal};
use super::tree::Walk;
use crate::error::shown;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The image in a file, brought to what a network expects: upright, before the background that it was trained with,
/// resized (stretched), grey or coloured, normalised. [C, H, W]. Images of more than `most_pixels` are refused.
///
/// # Errors
/// A file that is not there, is not an image or is not whole; the error names it.
pub fn single(path: &Path, expected: &Expected, most_pixels: u64) -> Result<Vec<f32>> {
    let shape = expected.shape;
    let mut bytes = vec![0; shape.len()];
    let unreadable = |reason| {
        Error::user(format!("{}: {reason}", shown(path))).hint(match reason {
            Refusal::TooLarge(_) => "make it smaller, or raise max_megapixels",
            Refusal::Unreadable(_) => "give a PNG, JPEG or the like",
        })
    };
    let look = Look { background: expected.legend.background, most_pixels };
    Encoded::file(path).decode(shape, &look, &mut bytes, &mut Content::default()).map_err(unreadable)?;
    let channels = expected.legend.mean.iter().zip(&expected.legend.std);
    let planes = bytes.chunks_exact(shape.height * shape.width).zip(channels);
    Ok(planes
        .flat_map(|(plane, (mean, std))| plane.iter().map(move |&v| (f32::from(v) / 255.0 - mean) / std))
        .collect())
}

/// The image files in a folder (not in folders inside it), in ascending order.
///
/// # Errors
/// A folder that cannot be read or holds no image.
pub fn image_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut walk = Walk::default();
    let images = walk.list(folder)?.images;
    match images.is_empty() {
        false => Ok(images.iter().map(|name| folder.join(&**name)).collect()),
        true => {
            let passed = walk.passed.to_string();
            Err(Error::user(format!("{}: there is no image file in this folder{passed}", shown(folder)))
                .hint("files in folders inside it do not count"))
        }
    }
}
