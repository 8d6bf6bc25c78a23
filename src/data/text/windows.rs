//! Windows for backpropagation through time: stretches of a stream's columns, one after another, epoch after epoch.
//!
//! The length of window `index` of epoch `epoch` is drawn from (stream, epoch and index), so a position is two numbers;
//! where the window begins follows from the lengths before it.

use super::stream::Stream;
use crate::random::Seed;
use crate::{Error, Result, interrupt};
use candle_core::{Device, Tensor};
use rand::RngExt;
use rand_distr::{Distribution, Normal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often a window has the whole base length; otherwise it has half of it.
const WHOLE: f64 = 0.95;
/// In training a discrete network: the standard deviation of a window's length …
const SPREAD: f64 = 5.0;
/// … its least …
const LEAST: usize = 5;
/// … and how far it may pass the base length.
const PAST: usize = 20;

/// How the lengths of windows vary (Merity, Keskar and Socher 2018; DARTS' code).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// Not at all, and every token but the first is predicted once: for validation and test.
    #[default]
    None,
    /// The length, once in twenty half of it, rounded down: a search.
    Search,
    /// Normal around that with a standard deviation of 5, rounded towards zero, from 5 to the length + 20: training.
    Evaluation,
}

impl Jitter {
    pub const NAMES: [&str; 3] = ["none", "search", "evaluation"];

    /// # Errors
    /// Another name than those of [`NAMES`](Self::NAMES).
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "none" => Ok(Self::None),
            "search" => Ok(Self::Search),
            "evaluation" => Ok(Self::Evaluation),
            _ => Err(Error::unknown("jitter", name, Self::NAMES)),
        }
    }
}

/// How columns are cut into windows.
#[derive(Clone, Copy, Debug)]
pub struct WindowOptions {
    pub length: usize,
    pub jitter: Jitter,
}

/// Tokens of all columns for some time steps, and those that come after each.
#[derive(Clone, Debug)]
pub struct Window {
    /// Time × columns, u32.
    pub x: Tensor,
    /// The token after each of `x`: time × columns, u32.
    pub y: Tensor,
    /// The row of the columns that the window begins at.
    pub start: usize,
}

impl Window {
    /// Time steps.
    pub fn length(&self) -> usize {
        self.x.dims()[0]
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.x.dims()[1]
    }
}

/// A position in the endless row of windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowPosition {
    pub epoch: u64,
    /// The window within the epoch.
    pub index: usize,
}

/// What determines every window.
struct Settings {
    /// Rows × columns.
    tokens: Vec<u32>,
    rows: usize,
    batch: usize,
    dropped: usize,
    options: WindowOptions,
    seed: Seed,
    stream: String,
}

impl Settings {
    /// Whether a window may begin at row `start`. In training a last window of a single step is left out.
    fn begins(&self, start: usize) -> bool {
        let last = if self.options.jitter == Jitter::None { 1 } else { 2 };
        start == 0 || start + last < self.rows
    }

    /// The length drawn for a window, whether or not there are so many steps left.
    fn draw(&self, WindowPosition { epoch, index }: WindowPosition) -> usize {
        let WindowOptions { length, jitter } = self.options;
        if jitter == Jitter::None {
            return length;
        }
        let mut rng = self.seed.rng(&self.stream, (epoch << 32) | index as u64);
        let whole = rng.random::<f64>() < WHOLE;
        if jitter == Jitter::Search {
            return if whole { length } else { (length / 2).max(1) };
        }
        let mean = if whole { length as f64 } else { length as f64 / 2.0 };
        // The standard deviation is positive and finite, so there is such a distribution.
        let drawn = Normal::new(mean, SPREAD).map_or(mean, |normal| normal.sample(&mut rng));
        // A float becomes an integer towards zero, a negative one zero.
        (drawn as usize).clamp(LEAST, length + PAST)
    }

    /// Steps of the window at `position` where it begins at row `start`.
    fn length(&self, position: WindowPosition, start: usize) -> usize {
        self.draw(position).min(self.rows - 1 - start)
    }

    fn window(&self, start: usize, length: usize) -> Result<Window> {
        let rows = |from: usize| {
            let tokens = &self.tokens[from * self.batch..(from + length) * self.batch];
            Tensor::from_slice(tokens, (length, self.batch), &Device::Cpu)
        };
        Ok(Window { x: rows(start)?, y: rows(start + 1)?, start })
    }

    /// The position and row after a window of `length` steps.
    fn after(&self, place: Place, length: usize) -> Place {
        let Place { position: WindowPosition { epoch, index }, start } = place;
        match self.begins(start + length) {
            true => Place { position: WindowPosition { epoch, index: index + 1 }, start: start + length },
            false => Place { position: WindowPosition { epoch: epoch + 1, index: 0 }, start: 0 },
        }
    }
}

/// A position and the row at which its window begins.
#[derive(Clone, Copy, Default)]
struct Place {
    position: WindowPosition,
    start: usize,
}

/// Windows of a stream: whole epochs with [`epoch`](Self::epoch), or one after another without end with
/// [`next`](Self::next). Clones are one and the same: what one takes with `next` the others will not see.
#[derive(Clone)]
pub struct Windows {
    settings: Arc<Settings>,
    place: Arc<Mutex<Place>>,
}

impl Windows {
    /// Windows over `batch` columns. `stream` names whose random numbers the lengths are.
    ///
    /// # Errors
    /// A length of zero, a window longer than the columns, columns of fewer than two tokens.
    pub fn new(text: &Stream, batch: usize, options: WindowOptions, seed: Seed, stream: &str) -> Result<Self> {
        let rows = text.rows(batch)?;
        if options.length == 0 || options.length >= rows {
            let message = format!(
                "a window of {} tokens, each with the next one, does not fit into columns of {rows} tokens",
                options.length
            );
            return Err(Error::user(message)
                .hint(format!("a length from 1 to {} fits, or fewer columns than {batch}", rows - 1)));
        }
        let settings = Settings {
            tokens: text.columns(batch)?,
            rows,
            batch,
            dropped: text.len() - rows * batch,
            options,
            seed,
            stream: format!("{stream}: lengths"),
        };
        Ok(Self { settings: Arc::new(settings), place: Arc::default() })
    }

    /// Windows in an epoch.
    pub fn len(&self, epoch: u64) -> usize {
        let (mut place, mut count) = (Place { position: WindowPosition { epoch, index: 0 }, start: 0 }, 0);
        while place.position.epoch == epoch {
            place = self.settings.after(place, self.settings.length(place.position, place.start));
            count += 1;
        }
        count
    }

    /// Columns.
    pub fn batch(&self) -> usize {
        self.settings.batch
    }

    /// Tokens of a column.
    pub fn rows(&self) -> usize {
        self.settings.rows
    }

    /// Tokens at the end of the stream that fill no column.
    pub fn dropped(&self) -> usize {
        self.settings.dropped
    }

    pub fn options(&self) -> WindowOptions {
        self.settings.options
    }

    /// The windows of epoch `epoch`, from the first. Where `next` stands does not change.
    pub fn epoch(&self, epoch: u64) -> impl Iterator<Item = Result<Window>> + use<> {
        let settings = self.settings.clone();
        let mut place = Place { position: WindowPosition { epoch, index: 0 }, start: 0 };
        std::iter::from_fn(move || {
            (place.position.epoch == epoch).then(|| {
                interrupt::check()?;
                let length = settings.length(place.position, place.start);
                let window = settings.window(place.start, length);
                place = settings.after(place, length);
                window
            })
        })
    }

    /// The next window, going on with the next epoch where one ends.
    ///
    /// # Errors
    /// An interruption.
    pub fn next(&self) -> Result<Window> {
        interrupt::check()?;
        let mut place = self.lock();
        let length = self.settings.length(place.position, place.start);
        let window = self.settings.window(place.start, length)?;
        *place = self.settings.after(*place, length);
        Ok(window)
    }

    /// The window that begins at row `start` mod (rows − 1), of the options' length or what is left: the validation
    /// window of a search step, at the training window's place.
    ///
    /// # Errors
    /// None but a failure of the device.
    pub fn at(&self, start: usize) -> Result<Window> {
        let start = start % (self.settings.rows - 1);
        self.settings.window(start, self.settings.options.length.min(self.settings.rows - 1 - start))
    }

    /// Where `next` stands: the window that it will give.
    pub fn position(&self) -> WindowPosition {
        self.lock().position
    }

    /// Makes `next` go on from here.
    ///
    /// # Errors
    /// A window beyond the end of its epoch.
    pub fn set_position(&self, position: WindowPosition) -> Result<()> {
        let mut place = Place { position: WindowPosition { epoch: position.epoch, index: 0 }, start: 0 };
        while place.position != position {
            place = self.settings.after(place, self.settings.length(place.position, place.start));
            if place.position.epoch != position.epoch {
                return Err(Error::user(format!("there is no window {} in epoch {}", position.index, position.epoch))
                    .hint(format!("it has {} windows, counted from 0", self.len(position.epoch))));
            }
        }
        *self.lock() = place;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        // A place is whole whatever a panicking thread was doing.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
