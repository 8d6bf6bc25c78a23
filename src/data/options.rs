//! What may be asked of [`images`](super::images) besides the source itself.

use crate::legend::Legend;
use crate::shape::Shape;
use crate::{Error, Result};

/// How images are brought into memory. `None` takes what the data are.
#[derive(Clone, Debug, Default)]
pub struct ImageOptions {
    /// Height and width; images of another size are resized (stretched, not cropped). Without it: the size most
    /// training images have, the first of them in a tie.
    pub size: Option<(usize, usize)>,
    /// 1 (grey) or 3 (red, green, blue). Without it: 3 as soon as one image is stored in colour.
    pub channels: Option<usize>,
    /// The share of each class that is held out for testing, for data that come without a test set of their own
    /// (digits, class folders). Without it: 0.2.
    pub test: Option<f64>,
    /// Which images of a class folder are held out. Not the run's seed: runs are compared on one test set.
    pub seed: u64,
    /// Leave out image files of class folders that cannot be read, and say so; otherwise they are an error.
    pub skip_unreadable: bool,
    /// Bring the images to what a trained network was made for.
    pub like: Option<Expected>,
}

/// What a trained network expects of images.
#[derive(Clone, Debug)]
pub struct Expected {
    pub shape: Shape,
    /// All its classes, of which the images may show only some, and the scale of pixels.
    pub legend: Legend,
}

impl ImageOptions {
    /// The largest side accepted; anything above is a slip of the hand.
    const LARGEST_SIDE: usize = 4096;

    pub(super) fn check(&self) -> Result<()> {
        if let Some((height, width)) = self.size
            && !(1..=Self::LARGEST_SIDE).contains(&height.min(width))
                | !(1..=Self::LARGEST_SIDE).contains(&height.max(width))
        {
            let limit = Self::LARGEST_SIDE;
            return Err(Error::user(format!("images cannot have a size of {height}×{width}"))
                .hint(format!("height and width must be from 1 to {limit}")));
        }
        if let Some(channels) = self.channels
            && channels != 1
            && channels != 3
        {
            return Err(Error::user(format!("images cannot have {channels} channels"))
                .hint("channels must be 1 (grey) or 3 (colour)"));
        }
        if self.like.is_some() && (self.size.is_some() || self.channels.is_some()) {
            return Err(Error::user("`like` says which size and channels images get, so neither can be given")
                .hint("leave `size` and `channels` out"));
        }
        if let Some(test) = self.test
            && !(test > 0.0 && (test < 1.0 || (test == 1.0 && self.like.is_some())))
        {
            return Err(Error::user(format!("test must be between 0 and 1, not {test}"))
                .hint("test: 0.2 holds out a fifth of each class"));
        }
        Ok(())
    }

    /// The shape that images are to have, given the one that most of them are stored in.
    pub(super) fn shape(&self, stored: Shape) -> Shape {
        if let Some(like) = &self.like {
            return like.shape;
        }
        let (height, width) = self.size.unwrap_or((stored.height, stored.width));
        Shape { channels: self.channels.unwrap_or(stored.channels), height, width }
    }

    /// The held-out share of data without a test set of their own.
    pub(super) fn held_out(&self) -> f64 {
        self.test.unwrap_or(0.2)
    }

    /// Refuses `test` for data that have a test set of their own.
    pub(super) fn no_held_out(&self, name: &str) -> Result<()> {
        match self.test {
            None => Ok(()),
            Some(_) => {
                Err(Error::user(format!("{name} comes with a test set, so there is nothing for `test` to hold out"))
                    .hint("leave `test` out; `train.split(0.8)` divides the training images"))
            }
        }
    }
}
