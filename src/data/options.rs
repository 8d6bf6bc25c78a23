//! What may be asked of [`images`](super::images) besides the source itself.

use super::picture::Look;
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
    /// Leave out images that cannot be read, and say so; otherwise they are an error.
    pub skip_unreadable: bool,
    /// Bring the images to what a trained network was made for.
    pub like: Option<Expected>,
    /// What shows through where an image is transparent: red, green, blue. Without it: white, or what the network of
    /// `like` was trained with.
    pub background: Option<[u8; 3]>,
    /// Images of more pixels are refused. Without it: [`ImageOptions::MOST_PIXELS`].
    pub most_pixels: Option<u64>,
    /// Which folders are the classes.
    pub nested: Nested,
    /// Which labels are read where there are several: "fine" or "coarse", or a parquet column's name. Without it: the
    /// fine ones.
    pub labels: Option<String>,
    /// Whether the images of IDX files are turned over their diagonal, rows becoming columns. Without it: those of
    /// EMNIST, which are stored like that.
    pub transpose: Option<bool>,
}

/// Which folders are classes, where folders lie in folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nested {
    /// The inner ones, named by their path, where the outer ones hold no images of their own and the inner ones have
    /// names that do not repeat; else the outer ones.
    #[default]
    Auto,
    /// The outer ones, with all that lies in them.
    Top,
    /// Each folder that holds images, named by its path.
    Path,
}

impl Nested {
    pub const NAMES: [&str; 3] = ["auto", "top", "path"];

    /// "auto", "top" or "path".
    ///
    /// # Errors
    /// Another name.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            "top" => Ok(Self::Top),
            "path" => Ok(Self::Path),
            _ => Err(Error::unknown("way to read nested folders", name, Self::NAMES)),
        }
    }
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
    /// Pixels of the largest image that is read unless more are asked for.
    pub const MOST_PIXELS: u64 = Look::MOST_PIXELS;

    /// How each image is looked at.
    pub(super) fn look(&self) -> Look {
        let like = self.like.as_ref().map(|like| like.legend.background);
        Look {
            background: self.background.or(like).unwrap_or(Look::WHITE),
            most_pixels: self.most_pixels.unwrap_or(Self::MOST_PIXELS),
        }
    }

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
        if self.like.is_some() && self.background.is_some() {
            return Err(Error::user("`like` says which background images get, so it cannot be given")
                .hint("leave `background` out"));
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
