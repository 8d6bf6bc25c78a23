//! Labelled images and the batches made of them; text and the windows made of it (`text/`).
//!
//! A [`Source`] (a name or a folder) is read once into memory as bytes ([`Images`], two [`ImageSet`]s), or a set is
//! made of numbers ([`Given`]); [`Batches`] turn a set into augmented, normalised tensors on a thread of their own,
//! ahead of use. One file reads one layout on disk. This room knows nothing of networks, scripts or the sandbox: its
//! callers make sure that the folder may be read.

mod augment;
mod balance;
mod batches;
mod cifar;
mod digits;
mod download;
mod encoded;
mod folder;
mod given;
#[cfg(feature = "hub")]
mod hub;
mod idx;
mod inner;
mod labels;
mod list;
mod loaded;
mod mirrors;
mod mixup;
mod names;
mod options;
mod parquet;
mod parts;
mod pickle;
mod picture;
mod prefetch;
mod set;
mod single;
mod source;
mod survey;
pub mod text;
mod tree;

pub use crate::batch::Batch;
pub use augment::Augmentation;
pub use balance::{ClassWeights, Sampling};
pub use batches::{Augment, BatchOptions, Batches, Epoch, Position};
pub use download::Download;
pub use given::Given;
pub use list::{Content, Listed, difference};
pub use options::{Expected, ImageOptions, Nested};
pub use set::{Image, ImageSet, Images};
pub use single::{image_files, single};
pub use source::{NAMES, Source, images};
pub use survey::{Survey, survey};
