//! Work spread over threads, each item on one.

use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

/// Runs `work` for the items 0 to `count` − 1, begun in their order, and hands each result to `done` on the calling
/// thread as it comes. Each of `threads` threads has a pool of its own of one thread, so whatever an item spreads over
/// rayon's threads stays on it. With one thread, or one item, the caller's own pool does the work.
///
/// # Errors
/// The first error of `done`, which an error of `work` should become: nothing further is begun, and what is running
/// comes to its end. Threads that the system refuses.
pub fn spread<T: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
    mut done: impl FnMut(usize, Result<T>) -> Result<()>,
) -> Result<()> {
    if threads.min(count) <= 1 {
        return (0..count).try_for_each(|index| done(index, work(index)));
    }
    let refused = |error: &dyn std::fmt::Display| Error::run(format!("no thread to train cells on: {error}"));
    let pools = (0..threads.min(count)).map(|_| rayon::ThreadPoolBuilder::new().num_threads(1).build());
    let pools = pools.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| refused(&error))?;
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for pool in &pools {
            let (sender, next, stop, work) = (sender.clone(), &next, &stop, &work);
            let turns = move || {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count || sender.send((index, work(index))).is_err() {
                        return;
                    }
                }
            };
            let thread = std::thread::Builder::new().name("cells".into());
            thread.spawn_scoped(scope, move || pool.install(turns)).map_err(|error| {
                stop.store(true, Ordering::Relaxed);
                refused(&error)
            })?;
        }
        drop(sender);
        let handed = results.iter().try_for_each(|(index, result)| done(index, result));
        if handed.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        handed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once_and_on_one_thread() {
        let mut seen = [0; 20];
        let work = |index: usize| Ok((index * index, rayon::current_num_threads()));
        spread(3, 20, work, |index, result| {
            assert_eq!(result?, (index * index, 1));
            seen[index] += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [1; 20]);
    }

    #[test]
    fn an_error_ends_it() {
        let begun = AtomicUsize::new(0);
        let work = |index: usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            // Whoever takes the error may be slow to come.
            std::thread::sleep(std::time::Duration::from_millis(1));
            if index == 2 { Err(Error::user("no")) } else { Ok(index) }
        };
        for threads in [1, 2] {
            begun.store(0, Ordering::Relaxed);
            let ended = spread(threads, 10_000, work, |_, result| result.map(drop));
            assert_eq!(ended.unwrap_err().message, "no");
            assert!(begun.load(Ordering::Relaxed) < 10_000);
        }
    }
}
