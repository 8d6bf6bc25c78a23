//! Data sets that have a name and are not inside the binary: fetched from the Hugging Face hub where this build can.

#[cfg(feature = "hub")]
use super::hub;
use super::loaded::Loaded;
use super::options::ImageOptions;
use super::{cifar, idx};
#[cfg(not(feature = "hub"))]
use crate::Error;
use crate::Result;

/// A data set that can be fetched by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Download {
    Cifar10,
    FashionMnist,
    Mnist,
}

impl Download {
    /// Whether this build can fetch anything: it was built with the feature `hub`.
    pub const POSSIBLE: bool = cfg!(feature = "hub");

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => cifar::NAME,
            Self::FashionMnist => idx::FASHION,
            Self::Mnist => "MNIST",
        }
    }

    /// Takes the files from the cache, or fetches them, and reads them.
    ///
    /// # Errors
    /// No network, or a hub that does not answer.
    #[cfg(feature = "hub")]
    pub(super) fn load(self, options: &ImageOptions) -> Result<Loaded> {
        hub::load(self, options)
    }

    /// Says that this build has no downloads.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "hub"))]
    pub(super) fn load(self, _: &ImageOptions) -> Result<Loaded> {
        Err(Error::user(format!("{} has to be downloaded, and this build of candlewick has no downloads", self.name()))
            .hint(
                "give the folder that holds the data set's files instead of its name, or build candlewick with \
                 `cargo build --release --features hub`",
            ))
    }
}

#[cfg(all(test, not(feature = "hub")))]
mod tests {
    use super::*;
    use crate::data::{Source, images};
    use crate::error::Blame;

    #[test]
    fn a_build_without_downloads_says_so_and_what_to_do() {
        for name in ["cifar10", "fashion-mnist", "mnist"] {
            let error = images(&Source::parse(name), &ImageOptions::default()).err().expect("nothing to read");
            assert_eq!(error.blame, Blame::User);
            assert!(error.message.contains("this build of candlewick has no downloads"), "{}", error.message);
            let hint = error.hint.expect("what to do");
            assert!(hint.contains("folder") && hint.contains("--features hub"), "{hint}");
        }
    }
}
