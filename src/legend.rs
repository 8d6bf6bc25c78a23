//! What numbers of images mean: the classes that labels count, and the scale of pixels.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What the numbers of a data set, or of the network made for it, mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Legend {
    /// Class names; label k, and a network's output k, is the k-th.
    pub classes: Vec<String>,
    /// Per channel, what is subtracted from pixels scaled to 0..1.
    pub mean: Vec<f32>,
    /// Per channel, what they are divided by after that.
    pub std: Vec<f32>,
    /// What shows through where a picture is transparent: red, green, blue.
    #[serde(default = "white")]
    pub background: [u8; 3],
}

/// Networks from before there was a choice.
fn white() -> [u8; 3] {
    [255; 3]
}

impl Legend {
    /// Classes called 0, 1, 2 …, pixels as they are.
    pub fn plain(classes: usize, channels: usize) -> Self {
        let classes = (0..classes).map(|class| class.to_string()).collect();
        Self { classes, mean: vec![0.0; channels], std: vec![1.0; channels], background: white() }
    }

    /// Checks that it fits a network.
    ///
    /// # Errors
    /// Another number of classes or channels, a name that comes twice, a deviation that nothing can be divided by.
    pub fn check(&self, classes: usize, channels: usize) -> Result<()> {
        if self.classes.len() != classes {
            return Err(Error::user(format!("{} class names for a network of {classes} classes", self.classes.len())));
        }
        if let Some((index, name)) = self.classes.iter().enumerate().find(|(i, name)| self.classes[..*i].contains(name))
        {
            return Err(Error::user(format!("class {index} is called \"{name}\" like one before it")));
        }
        for (what, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != channels {
                return Err(Error::user(format!("{what} has {} numbers for {channels} channels", values.len())));
            }
            if let Some(value) = values.iter().find(|v| !v.is_finite() || (what == "std" && **v <= 0.0)) {
                return Err(Error::user(format!("{what} cannot be {value}")));
            }
        }
        Ok(())
    }
}
