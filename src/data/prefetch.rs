//! The thread that prepares batches ahead of use.
//!
//! A thread of its own rather than a task in rayon's pool: the engine's kernels own that pool during a step, and
//! preparing a batch takes a small part of a step, so one thread always keeps up.

use super::batches::{Batch, Position, Recipe};
use crate::{Error, Result};
use std::any::Any;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Batches that wait to be taken; enough to ride out a step that is slower or faster than the rest.
const DEPTH: usize = 3;

/// A thread at work and the queue it fills. Dropping it ends the thread.
pub(super) struct Ahead {
    queue: Option<Receiver<Result<Batch>>>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    /// Prepares batches from `position` on, `limit` of them or without end.
    pub fn start(recipe: Arc<Recipe>, position: Position, limit: Option<usize>) -> Self {
        let (sender, queue) = sync_channel(DEPTH);
        let work = move || prepare(&recipe, position, limit, &sender);
        // Without a thread (the system refuses one) `take` reports the end of the queue as an error.
        let thread = std::thread::Builder::new().name("batches".into()).spawn(work).ok();
        Self { queue: Some(queue), thread }
    }

    /// The next batch; waits for it.
    pub fn take(&mut self) -> Result<Batch> {
        match self.queue.as_ref().map(Receiver::recv) {
            Some(Ok(batch)) => batch,
            _ => Err(Error::run(match self.thread.take().map(JoinHandle::join) {
                Some(Err(panic)) => format!("the thread that prepares batches failed: {}", words(&*panic)),
                Some(Ok(())) => "there are no more batches".into(),
                None => "the system refused a thread for preparing batches".into(),
            })),
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Without a receiver the thread's next send fails and it returns.
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn prepare(recipe: &Recipe, from: Position, limit: Option<usize>, queue: &SyncSender<Result<Batch>>) {
    let Position { mut epoch, mut index } = from;
    let mut left = limit.unwrap_or(usize::MAX);
    while left > 0 {
        let order = recipe.order(epoch);
        while index < recipe.count() && left > 0 {
            if queue.send(recipe.batch(Position { epoch, index }, &order)).is_err() {
                return;
            }
            (index, left) = (index + 1, left - 1);
        }
        (epoch, index) = (epoch + 1, 0);
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}
