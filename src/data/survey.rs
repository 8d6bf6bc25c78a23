//! What a data set is like, before a decision how to read it: of class folders only the headers are looked at.

use super::encoded::{Encoded, commonest, count, look_over};
use super::folder::{self, Found};
use super::options::ImageOptions;
use super::picture::Refusal;
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

/// Looks a data set over. With `skip_unreadable` every image is decoded, so that the counts are those of
/// [`images`].
///
/// # Errors
/// As [`images`], as far as names and headers tell.
pub fn survey(source: &Source, options: &ImageOptions) -> Result<Survey> {
    if let Source::Folder(path) = source
        && let (path, Layout::Classes) = Layout::find(path)?
    {
        options.check()?;
        let Found { classes, parts, .. } = folder::files(&path, options)?;
        let all: Vec<&Encoded> = parts.iter().flat_map(|(images, _)| images).collect();
        let shapes = look_over(&all, &options.look(), options.skip_unreadable)?;
        let (learn, judge) = shapes.split_at(parts.train.0.len());
        let whole = |labels: &[u32], shapes: &[Result<Shape, Refusal>]| {
            let whole = labels.iter().zip(shapes).filter(|(_, shape)| shape.is_ok()).map(|(label, _)| *label);
            count(&whole.collect::<Vec<_>>(), classes.len())
        };
        return Ok(Survey {
            shape: commonest(learn.iter().flatten()),
            train: whole(&parts.train.1, learn),
            test: whole(&parts.test.1, judge),
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
