//! The loops of a run: over epochs, between which its state is kept, and over steps.

use super::{Run, State};
use crate::{Result, interrupt};

/// The epochs of a run; see [`Run::epochs`].
pub struct Epochs {
    run: Run,
    /// Which loop over epochs of the run this is, once it has begun.
    begun: Option<u64>,
    next: u64,
    count: u64,
}

impl Epochs {
    pub(super) fn new(run: Run, count: u64) -> Self {
        Self { run, begun: None, next: 0, count }
    }

    /// Settles what the coming epoch begins with: in the run's first loop a resumed run's state is put back, any other
    /// one kept.
    fn settle(&mut self, state: &mut State) -> Result<()> {
        let first = self.begun.is_none();
        let number = *self.begun.get_or_insert(state.loops);
        state.loops += u64::from(first);
        if number > 0 {
            return Ok(());
        }
        match if first { state.restore()? } else { None } {
            Some(epoch) => self.next = epoch,
            None => state.keep(self.next)?,
        }
        Ok(())
    }
}

impl Iterator for Epochs {
    type Item = Result<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        let run = self.run.clone();
        let state = &mut *run.state();
        state.end_step();
        state.progress.end_steps();
        let settled = self.settle(state);
        if settled.is_ok() && self.next >= self.count {
            return None;
        }
        if let Err(stop) = settled.and_then(|()| interrupt::check()) {
            self.count = 0;
            return Some(Err(stop));
        }
        let epoch = self.next;
        self.next += 1;
        state.epoch = epoch;
        state.sums.clear();
        state.progress.begin_epoch(epoch, Some(self.count));
        Some(Ok(epoch))
    }
}

/// The steps of a loop; see [`Run::steps`].
pub struct Steps<I> {
    run: Run,
    items: I,
    count: Option<u64>,
    begun: bool,
}

impl<I> Steps<I> {
    pub(super) fn new(run: Run, items: I, count: Option<u64>) -> Self {
        Self { run, items, count, begun: false }
    }
}

impl<T, I: Iterator<Item = Result<T>>> Iterator for Steps<I> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        {
            let state = &mut *self.run.state();
            state.end_step();
            if !std::mem::replace(&mut self.begun, true) {
                state.progress.begin_steps(self.count);
            }
        }
        // The lock is free while the item is made: making it may take long, or log.
        let item = match interrupt::check() {
            Ok(()) => self.items.next(),
            Err(stop) => Some(Err(stop)),
        };
        let state = &mut *self.run.state();
        match &item {
            Some(Ok(_)) => {
                state.step = state.begun;
                state.begun += 1;
                state.in_step = true;
            }
            _ => state.progress.end_steps(),
        }
        item
    }
}
