//! Images one at a time, for a network that is asked what they show.

use super::encoded::Encoded;
use super::folder::{entries, is_image};
use super::options::Expected;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// The image in a file, brought to what a network expects: resized (stretched), grey or coloured, normalised. [C, H,
/// W].
///
/// # Errors
/// A file that is not there or is not an image; the error names it.
pub fn single(path: &Path, expected: &Expected) -> Result<Vec<f32>> {
    let shape = expected.shape;
    let mut bytes = vec![0; shape.len()];
    let unreadable = |reason| Error::user(format!("{}: {reason}", path.display())).hint("give a PNG, JPEG or the like");
    Encoded::File(path.to_path_buf()).decode(shape, &mut bytes).map_err(unreadable)?;
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
    let names = entries(folder)?;
    let files: Vec<PathBuf> = names.iter().filter(|name| is_image(name)).map(|name| folder.join(name)).collect();
    match files.is_empty() {
        false => Ok(files),
        true => Err(Error::user(format!("{}: there is no image file in this folder", folder.display()))
            .hint("files in folders inside it do not count")),
    }
}
