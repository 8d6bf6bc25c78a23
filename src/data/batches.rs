//! Batches of a set, epoch after epoch, each fully determined by the seed and its position.
//!
//! Batch `index` of epoch `epoch` is the same whoever asks for it and whenever: the order of an epoch is drawn from
//! (stream, epoch), the augmentation of a batch from (stream, epoch and index). So a position is two numbers, and going
//! on from a checkpoint needs nothing else.

use super::augment::{Augmentation, Normalise};
use super::balance::{self, ClassWeights, Sampling};
use super::mixup;
use super::prefetch::Ahead;
use super::set::ImageSet;
use crate::batch::Batch;
use crate::random::Seed;
use crate::{Error, Result, interrupt};
use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Which augmentation a set of batches starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Augment {
    /// Normalise only.
    #[default]
    None,
    /// Pad, crop and mirror as [`Augmentation::standard`] has it.
    Standard,
}

impl Augment {
    pub const NAMES: [&str; 2] = ["none", "standard"];

    /// "none" or "standard".
    ///
    /// # Errors
    /// Another name, with the closer of the two.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "none" => Ok(Self::None),
            "standard" => Ok(Self::Standard),
            _ => Err(Error::unknown("augmentation", name, Self::NAMES)),
        }
    }
}

/// How a set is made into batches.
#[derive(Clone, Debug)]
pub struct BatchOptions {
    pub augment: Augment,
    /// Overrides the padding of `augment`.
    pub pad: Option<usize>,
    /// Overrides the mirroring of `augment`.
    pub flip: Option<bool>,
    /// Side of the square that is cut out; 0 for none.
    pub cutout: usize,
    /// A fresh order each epoch; otherwise the set's own.
    pub shuffle: bool,
    /// Leave out an epoch's last batch where it is smaller than the rest.
    pub drop_last: bool,
    pub weights: ClassWeights,
    pub sampling: Sampling,
    /// α of mixup; 0 for none.
    pub mixup: f64,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            augment: Augment::None,
            pad: None,
            flip: None,
            cutout: 0,
            shuffle: true,
            drop_last: false,
            weights: ClassWeights::Even,
            sampling: Sampling::Once,
            mixup: 0.0,
        }
    }
}

/// A position in the endless row of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub epoch: u64,
    /// The batch within the epoch.
    pub index: usize,
}

/// What determines every batch; shared with the threads that prepare them.
struct Settings {
    set: ImageSet,
    size: usize,
    augmentation: Augmentation,
    normalise: Normalise,
    shuffle: bool,
    /// What an image of each class counts, where that is not 1.
    weights: Option<Vec<f32>>,
    sampling: Sampling,
    mixup: f64,
    /// Batches in an epoch.
    count: usize,
    seed: Seed,
    order_stream: String,
    augment_stream: String,
    /// How long whoever takes batches has waited for them so far, in nanoseconds.
    waited: AtomicU64,
}

impl Settings {
    /// The images of an epoch in the order in which it visits them.
    fn order(&self, epoch: u64) -> Vec<usize> {
        if self.sampling == Sampling::Balanced {
            return balance::order(&self.set.labels(), &mut self.seed.rng(&self.order_stream, epoch));
        }
        let mut order: Vec<usize> = (0..self.set.len()).collect();
        if self.shuffle {
            order.shuffle(&mut self.seed.rng(&self.order_stream, epoch));
        }
        order
    }

    /// The batch at `position` of an epoch visited in `order`.
    fn batch(&self, position: Position, order: &[usize]) -> Result<Batch> {
        let start = position.index * self.size;
        let indices = order[start..(start + self.size).min(order.len())].to_vec();
        let shape = self.set.shape();
        // No epoch has 2³² batches, so the two numbers never overlap.
        let mut rng = self.seed.rng(&self.augment_stream, (position.epoch << 32) | position.index as u64);
        let mut values = vec![0.0; indices.len() * shape.len()];
        let mut labels = Vec::with_capacity(indices.len());
        for (&index, out) in indices.iter().zip(values.chunks_exact_mut(shape.len())) {
            let missing = || self.set.beyond(index);
            let image = self.set.image(index).ok_or_else(missing)?;
            labels.push(self.set.label(index).ok_or_else(missing)?);
            self.augmentation.apply(image, shape, &self.normalise, &mut rng, out);
        }
        let mut targets = (self.weights.is_some() || self.mixup > 0.0).then(|| self.targets(&labels));
        if let Some(targets) = targets.as_mut().filter(|_| self.mixup > 0.0) {
            mixup::mix(&mut values, targets, indices.len(), self.mixup, &mut rng)?;
        }
        let dims = (indices.len(), shape.channels, shape.height, shape.width);
        let (images, labels) =
            (Tensor::from_vec(values, dims, &Device::Cpu)?, Tensor::from_vec(labels, indices.len(), &Device::Cpu)?);
        let rows = (indices.len(), self.set.classes().len());
        let targets = targets.map(|targets| Tensor::from_vec(targets, rows, &Device::Cpu)).transpose()?;
        Ok(Batch { images, labels, indices, targets })
    }

    /// Images × classes: an image's weight at its class.
    fn targets(&self, labels: &[u32]) -> Vec<f32> {
        let mut targets = vec![0.0; labels.len() * self.set.classes().len()];
        for (row, &label) in targets.chunks_exact_mut(self.set.classes().len()).zip(labels) {
            row[label as usize] = self.weights.as_ref().map_or(1.0, |weights| weights[label as usize]);
        }
        targets
    }

    /// What is ready, or gets ready while the caller waits.
    fn take(&self, ahead: &mut Ahead<Batch>) -> Result<Batch> {
        let began = Instant::now();
        let batch = ahead.take();
        self.waited.fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
        batch
    }

    /// The position after `position`.
    fn after(&self, Position { epoch, index }: Position) -> Position {
        match index + 1 < self.count {
            true => Position { epoch, index: index + 1 },
            false => Position { epoch: epoch + 1, index: 0 },
        }
    }
}

/// The endless row of batches from a position on.
struct Row {
    settings: Arc<Settings>,
    position: Position,
    /// The order of the position's epoch, once it is known.
    order: Option<Vec<usize>>,
}

impl Iterator for Row {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let order = self.order.get_or_insert_with(|| self.settings.order(self.position.epoch));
        let batch = self.settings.batch(self.position, order);
        let next = self.settings.after(self.position);
        if next.epoch != self.position.epoch {
            self.order = None;
        }
        self.position = next;
        Some(batch)
    }
}

/// Batches of a set: whole epochs with [`epoch`](Self::epoch), or one after another without end with
/// [`next`](Self::next). Both ways prepare batches ahead on a thread of their own. Clones are one and the same: what
/// one takes with `next` the others will not see.
#[derive(Clone)]
pub struct Batches {
    settings: Arc<Settings>,
    state: Arc<Mutex<State>>,
}

/// Where `next` stands, and the thread that works ahead of it.
struct State {
    position: Position,
    ahead: Option<Ahead<Batch>>,
}

impl Batches {
    /// Batches of `size` images. `stream` names whose random numbers these are: two consumers of one seed with the same
    /// stream see the same orders.
    ///
    /// # Errors
    /// A size of zero, a set smaller than one whole batch under `drop_last`, padding or a cutout larger than the image;
    /// weights that do not fit the classes, an α of mixup below 0; balanced sampling in the set's own order, or of what
    /// weights already balance.
    pub fn new(set: &ImageSet, size: usize, options: &BatchOptions, seed: Seed, stream: &str) -> Result<Self> {
        if size == 0 || set.is_empty() {
            return Err(Error::user(format!("{} images cannot be cut into batches of {size}", set.len()))
                .hint("a batch needs at least one image"));
        }
        let standard = match options.augment {
            Augment::None => Augmentation::default(),
            Augment::Standard => Augmentation::standard(set),
        };
        let augmentation = Augmentation {
            pad: options.pad.unwrap_or(standard.pad),
            flip: options.flip.unwrap_or(standard.flip),
            cutout: options.cutout,
        };
        let (height, width) = (set.shape().height, set.shape().width);
        for (what, value) in [("padding", augmentation.pad), ("cutout", augmentation.cutout)] {
            if value > height.min(width) {
                return Err(Error::user(format!("{what} must fit into images of {height}×{width}, but it is {value}"))
                    .hint(format!("at most {}, the image's shorter side", height.min(width))));
            }
        }
        mixup::check(options.mixup)?;
        let weights = options.weights.settle(&set.class_counts())?;
        if options.sampling == Sampling::Balanced && (weights.is_some() || !options.shuffle) {
            return Err(match weights {
                Some(_) => Error::user("classes are balanced twice, by their weights and by sampling")
                    .hint("either weights: \"balanced\" or sampling: \"balanced\""),
                None => Error::user("balanced sampling draws the order of an epoch, but shuffle is false"),
            });
        }
        let count = if options.drop_last { set.len() / size } else { set.len().div_ceil(size) };
        if count == 0 {
            return Err(Error::user(format!("there is no whole batch of {size} in {} images", set.len()))
                .hint("a smaller batch, or without drop_last"));
        }
        let settings = Settings {
            set: set.clone(),
            size,
            augmentation,
            normalise: Normalise::of(set),
            shuffle: options.shuffle,
            weights,
            sampling: options.sampling,
            mixup: options.mixup,
            count,
            seed,
            order_stream: format!("{stream}: order"),
            augment_stream: format!("{stream}: augmentation"),
            waited: AtomicU64::new(0),
        };
        let state = State { position: Position::default(), ahead: None };
        Ok(Self { settings: Arc::new(settings), state: Arc::new(Mutex::new(state)) })
    }

    /// Batches in an epoch.
    pub fn len(&self) -> usize {
        self.settings.count
    }

    pub fn is_empty(&self) -> bool {
        self.settings.count == 0
    }

    /// Images in a batch (the last of an epoch may have fewer).
    pub fn batch_size(&self) -> usize {
        self.settings.size
    }

    pub fn set(&self) -> &ImageSet {
        &self.settings.set
    }

    pub fn augmentation(&self) -> Augmentation {
        self.settings.augmentation
    }

    /// The batches of epoch `epoch`, from the first. Where `next` stands does not change.
    pub fn epoch(&self, epoch: u64) -> Epoch {
        self.epoch_from(Position { epoch, index: 0 })
    }

    /// The batches of an epoch from `position` on, none if that is the epoch's end.
    pub fn epoch_from(&self, position: Position) -> Epoch {
        let left = self.settings.count.saturating_sub(position.index);
        let ahead = (left > 0).then(|| Ahead::start(self.row(position).take(left)));
        Epoch { settings: self.settings.clone(), ahead, left }
    }

    /// The next batch, going on with a fresh epoch where one ends.
    ///
    /// # Errors
    /// Ctrl-C; the system refused a thread for preparing batches.
    pub fn next(&self) -> Result<Batch> {
        interrupt::check()?;
        let mut state = self.lock();
        let position = state.position;
        let ahead = state.ahead.get_or_insert_with(|| Ahead::start(self.row(position)));
        let batch = self.settings.take(ahead)?;
        state.position = self.settings.after(position);
        Ok(batch)
    }

    /// How long those who took batches have waited for them so far, the first of an epoch included.
    pub fn waited(&self) -> Duration {
        Duration::from_nanos(self.settings.waited.load(Ordering::Relaxed))
    }

    /// Where `next` stands: the batch that it will give.
    pub fn position(&self) -> Position {
        self.lock().position
    }

    /// Makes `next` go on from here.
    ///
    /// # Errors
    /// A batch beyond the end of its epoch.
    pub fn set_position(&self, position: Position) -> Result<()> {
        if position.index >= self.settings.count {
            return Err(Error::user(format!("there is no batch {} in an epoch", position.index))
                .hint(format!("an epoch has {} batches, counted from 0", self.settings.count)));
        }
        let mut state = self.lock();
        if state.position != position {
            *state = State { position, ahead: None };
        }
        Ok(())
    }

    fn row(&self, position: Position) -> Row {
        Row { settings: self.settings.clone(), position, order: None }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing inside can be left half done, so a panic elsewhere does not matter here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ImageSet {
    /// All images in order, normalised and not augmented, for evaluation; the last batch may be smaller.
    ///
    /// # Errors
    /// A size of zero.
    pub fn batches_in_order(&self, size: usize) -> Result<Epoch> {
        let options = BatchOptions { shuffle: false, ..BatchOptions::default() };
        Ok(Batches::new(self, size, &options, Seed(0), "in order")?.epoch(0))
    }
}

/// The batches of one epoch.
pub struct Epoch {
    settings: Arc<Settings>,
    ahead: Option<Ahead<Batch>>,
    left: usize,
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let batch = match interrupt::check() {
            Ok(()) => self.settings.take(self.ahead.as_mut()?),
            Err(stop) => Err(stop),
        };
        if batch.is_err() {
            self.left = 0;
        }
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Epoch {}
