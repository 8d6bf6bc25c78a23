//! Typed indices: an index of one kind cannot look up a table of another.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// An index into tables of one kind.
pub trait Id: Copy + Eq + Ord {
    fn new(index: usize) -> Self;
    fn index(self) -> usize;
}

macro_rules! ids {
    ($($(#[$about:meta])* $name:ident,)*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(usize);

        impl Id for $name {
            #[inline(always)]
            fn new(index: usize) -> Self {
                Self(index)
            }

            #[inline(always)]
            fn index(self) -> usize {
                self.0
            }
        }
    )*};
}

ids! {
    /// Index of a raw tensor.
    RawId,
    /// Index of a value.
    ValueId,
    /// Index of a view.
    ViewId,
    /// Index of a norm of the plan.
    NormId,
    /// Index of the factors of one block's lanes.
    FactorsId,
    /// Index of a unit.
    UnitId,
    /// Index of a pool.
    PoolId,
    /// Index of a weighted sum.
    SumId,
    /// Index of a forward step; inputs come first.
    StepId,
    /// Index of a forward stage.
    StageId,
    /// Index of a component of the network.
    ComponentId,
}

/// A vector that is indexed by one kind of index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<I, T> {
    entries: Vec<T>,
    id: PhantomData<I>,
}

impl<I: Id, T> Table<I, T> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, entry: T) -> I {
        self.entries.push(entry);
        I::new(self.entries.len() - 1)
    }

    #[inline(always)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All indices, in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = I> + ExactSizeIterator + use<I, T> {
        (0..self.entries.len()).map(I::new)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.entries.iter()
    }

    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.entries.iter_mut()
    }

    /// All entries with their indices, in order.
    pub fn pairs(&self) -> impl DoubleEndedIterator<Item = (I, &T)> + ExactSizeIterator {
        self.entries.iter().enumerate().map(|(index, entry)| (I::new(index), entry))
    }

    /// The first entry for which `is` holds.
    pub fn position(&self, is: impl Fn(&T) -> bool) -> Option<I> {
        self.entries.iter().position(is).map(I::new)
    }

    /// A side table: the same indices, each with `entry`.
    pub fn beside<U: Clone>(&self, entry: U) -> Table<I, U> {
        std::iter::repeat_n(entry, self.len()).collect()
    }

    /// A side table: the same indices, each with what `make` makes of it.
    pub fn map<U>(&self, make: impl FnMut((I, &T)) -> U) -> Table<I, U> {
        self.pairs().map(make).collect()
    }

    pub fn as_slice(&self) -> &[T] {
        &self.entries
    }
}

impl<I, T> Default for Table<I, T> {
    fn default() -> Self {
        Self { entries: Vec::new(), id: PhantomData }
    }
}

impl<I, T> FromIterator<T> for Table<I, T> {
    fn from_iter<A: IntoIterator<Item = T>>(entries: A) -> Self {
        Self { entries: entries.into_iter().collect(), id: PhantomData }
    }
}

impl<'a, I: Id, T> IntoIterator for &'a Table<I, T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, I: Id, T> IntoIterator for &'a mut Table<I, T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<I: Id, T> Index<I> for Table<I, T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, id: I) -> &T {
        &self.entries[id.index()]
    }
}

impl<I: Id, T> IndexMut<I> for Table<I, T> {
    #[inline(always)]
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.entries[id.index()]
    }
}
