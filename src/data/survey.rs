//! What a data set is like, before a decision how to read it: of class folders only the headers are looked at.

use super::encoded::{Encoded, commonest, probe};
use super::folder;
use super::options::ImageOptions;
use super::source::{Layout, Source, images};
use crate::Result;
use crate::shape::Shape;

/// What [`survey`] finds.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The shape most training images are stored in.
    pub shape: Shape,
    pub classes: Vec<String>,
    /// Training images of each class.
    pub train: Vec<usize>,
    /// Test images of each class.
    pub test: Vec<usize>,
}

/// Looks a data set over.
///
/// # Errors
/// As [`images`], as far as names and headers tell.
pub fn survey(source: &Source, options: &ImageOptions) -> Result<Survey> {
    if let Source::Folder(path) = source
        && matches!(Layout::of(path)?, Layout::Classes)
    {
        let (classes, train, test) = folder::files(path, options)?;
        let all: Vec<&Encoded> = train.0.iter().chain(&test.0).collect();
        let shapes = probe(&all, options.skip_unreadable)?;
        let count = |labels: &[u32]| {
            (0..classes.len()).map(|class| labels.iter().filter(|label| **label as usize == class).count()).collect()
        };
        return Ok(Survey {
            shape: commonest(shapes[..train.0.len()].iter().flatten()),
            train: count(&train.1),
            test: count(&test.1),
            classes,
        });
    }
    let data = images(source, options)?;
    Ok(Survey {
        shape: data.shape(),
        classes: data.classes().to_vec(),
        train: data.train.class_counts(),
        test: data.test.class_counts(),
    })
}
