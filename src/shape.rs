//! What one image looks like.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Channels, height and width of an image, or of what a network makes of one; a feature vector is `channels × 1 × 1`.
/// Displayed as "3 channels of 32×32", with `{:#}` as "3×32×32"; as data it is the list of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "[usize; 3]", into = "[usize; 3]")]
pub struct Shape {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl Shape {
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// Pixels of one channel.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Values of all channels.
    pub fn len(self) -> usize {
        self.channels * self.pixels()
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channels, height, width } = self;
        match f.alternate() {
            true => write!(f, "{channels}×{height}×{width}"),
            false => write!(f, "{channels} channels of {height}×{width}"),
        }
    }
}

impl From<[usize; 3]> for Shape {
    fn from([channels, height, width]: [usize; 3]) -> Self {
        Self { channels, height, width }
    }
}

impl From<Shape> for [usize; 3] {
    fn from(shape: Shape) -> Self {
        [shape.channels, shape.height, shape.width]
    }
}
