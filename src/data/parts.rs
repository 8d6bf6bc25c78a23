//! The parts of a data set: what is learnt from, what it is judged by, and what is kept for choosing between networks.

/// Something of each part.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts<T> {
    pub train: T,
    pub test: T,
    /// Where the data come with a third part.
    pub valid: Option<T>,
}

impl<T> Parts<T> {
    /// All parts there are: training, test, validation.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        [&self.train, &self.test].into_iter().chain(&self.valid)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        [&mut self.train, &mut self.test].into_iter().chain(&mut self.valid)
    }

    /// The same of each part.
    pub fn map<U>(self, mut of: impl FnMut(T) -> U) -> Parts<U> {
        Parts { train: of(self.train), test: of(self.test), valid: self.valid.map(of) }
    }

    /// The same of each part, unless it fails.
    pub fn try_map<U, E>(self, mut of: impl FnMut(T) -> Result<U, E>) -> Result<Parts<U>, E> {
        Ok(Parts { train: of(self.train)?, test: of(self.test)?, valid: self.valid.map(of).transpose()? })
    }
}
