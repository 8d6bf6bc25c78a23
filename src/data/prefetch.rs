//! A thread that prepares things ahead of use: batches.
//!
//! A thread of its own rather than a task in rayon's pool: the engine's kernels own that pool during a step, and
//! preparing a batch takes a small part of a step, so one thread always keeps up.

use crate::{Error, Result};
use std::any::Any;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

/// Batches that wait to be taken; enough to ride out a step that is slower or faster than the rest.
const DEPTH: usize = 3;

/// A thread at work and the queue it fills. Dropping it ends the thread.
pub(super) struct Ahead<T> {
    queue: Option<Receiver<Result<T>>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Ahead<T> {
    /// Prepares what `items` gives, a few ahead.
    pub fn start(items: impl Iterator<Item = Result<T>> + Send + 'static) -> Self {
        let (sender, queue) = sync_channel(DEPTH);
        let work = move || {
            for item in items {
                if sender.send(item).is_err() {
                    return;
                }
            }
        };
        // Without a thread (the system refuses one) `take` reports the end of the queue as an error.
        let thread = std::thread::Builder::new().name("batches".into()).spawn(work).ok();
        Self { queue: Some(queue), thread }
    }

    /// The next batch; waits for it.
    ///
    /// # Errors
    /// Whatever went wrong with the batch; a thread that failed, or that the system refused; the end of the queue.
    pub fn take(&mut self) -> Result<T> {
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

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        // Without a receiver the thread's next send fails and it returns.
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given")
}
