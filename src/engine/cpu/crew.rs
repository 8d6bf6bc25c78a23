//! The threads of one pass: they stay together from its first stage to its last.
//!
//! A pass is a few hundred short parallel sections with a little serial work between them. Handing each section to a
//! thread pool anew costs as much as the section itself where images are small, so helpers join once a pass and wait for
//! the next section by looking at one number. The leader never waits for a helper to come: whoever is there takes the next
//! index, and a leader alone does everything. So passes on several threads at once cannot block one another.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// One section's work: an index, and which thread of the crew runs it (0 is the leader).
type Work<'a> = &'a (dyn Fn(usize, usize) + Sync + 'a);

/// The most indices that a section hands out at once.
const MOST: usize = u16::MAX as usize;
/// Looks at the number before a waiting thread offers its core to others.
const PATIENCE: usize = 2000;

/// The leader's handle on its helpers.
pub struct Crew {
    /// The section's number (upper half), how many indices it has, and the next one to take (16 bits each). One number,
    /// so that an index can only be taken from the section it was seen in.
    ticket: AtomicU64,
    done: AtomicUsize,
    closed: AtomicBool,
    work: UnsafeCell<Option<Work<'static>>>,
    names: AtomicUsize,
}

// SAFETY: `work` is written by the leader while no index is out, and read by whoever holds an index.
unsafe impl Sync for Crew {}

impl Crew {
    /// Runs `lead` with the other threads of the current pool at its disposal.
    pub fn with<R: Send>(lead: impl FnOnce(&Crew) -> R + Send) -> R {
        let crew = Crew {
            ticket: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            work: UnsafeCell::new(None),
            names: AtomicUsize::new(1),
        };
        let lead = || {
            let _closes = Closes(&crew);
            lead(&crew)
        };
        match rayon::current_num_threads() {
            0 | 1 => lead(),
            threads => rayon::join(lead, || crew.gather(threads - 1)).0,
        }
    }

    /// Runs `work` for each index below `count`, side by side; returns when all are done.
    pub fn each(&self, count: usize, work: impl Fn(usize, usize) + Sync) {
        let mut first = 0;
        while first < count {
            let some = (count - first).min(MOST);
            self.some(some, &|index, thread| work(first + index, thread));
            first += some;
        }
    }

    fn some(&self, count: usize, work: Work) {
        // SAFETY: the last section is over, so nobody reads this; the reference is used by holders of an index only, and
        // this function returns when none is out.
        unsafe { *self.work.get() = Some(std::mem::transmute::<Work, Work<'static>>(work)) };
        self.done.store(0, Ordering::Relaxed);
        let section = (self.ticket.load(Ordering::Relaxed) >> 32) + 1;
        self.ticket.store(section << 32 | (count as u64) << 16, Ordering::Release);
        self.take_all(0);
        let mut looks = 0;
        while self.done.load(Ordering::Acquire) < count {
            wait(&mut looks);
        }
    }

    /// Takes indices while there are any.
    fn take_all(&self, thread: usize) {
        loop {
            let ticket = self.ticket.load(Ordering::Acquire);
            let (next, count) = (ticket & 0xffff, ticket >> 16 & 0xffff);
            if next >= count {
                return;
            }
            if self.ticket.compare_exchange_weak(ticket, ticket + 1, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                let _counts = Counts(&self.done);
                // SAFETY: this index is out, so the leader keeps the work in place.
                if let Some(work) = unsafe { *self.work.get() } {
                    work(next as usize, thread);
                }
            }
        }
    }

    /// Invites helpers, one after another.
    fn gather(&self, helpers: usize) {
        if helpers > 0 && !self.closed.load(Ordering::Acquire) {
            rayon::join(|| self.help(), || self.gather(helpers - 1));
        }
    }

    fn help(&self) {
        let thread = self.names.fetch_add(1, Ordering::Relaxed);
        let mut looks = 0;
        while !self.closed.load(Ordering::Acquire) {
            let before = self.ticket.load(Ordering::Relaxed);
            self.take_all(thread);
            if self.ticket.load(Ordering::Relaxed) == before {
                wait(&mut looks);
            } else {
                looks = 0;
            }
        }
    }
}

fn wait(looks: &mut usize) {
    *looks += 1;
    match *looks < PATIENCE {
        true => std::hint::spin_loop(),
        false => std::thread::yield_now(),
    }
}

/// Sends the helpers home, also when the leader panics.
struct Closes<'a>(&'a Crew);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
    }
}

/// Counts an index as done, also when its work panics.
struct Counts<'a>(&'a AtomicUsize);

impl Drop for Counts<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_run_once_in_every_section() {
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let runs: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
            pool.install(|| {
                Crew::with(|crew| {
                    for section in 0..1000 {
                        let count = section % 100;
                        crew.each(count, |index, thread| {
                            assert!(thread < threads);
                            runs[index].fetch_add(1, Ordering::Relaxed);
                        });
                        let all: usize = runs.iter().map(|r| r.swap(0, Ordering::Relaxed)).sum();
                        assert_eq!(all, count);
                    }
                });
            });
        }
    }

    #[test]
    fn crews_of_one_pool_do_not_block_one_another() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let total = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    pool.install(|| {
                        Crew::with(|crew| {
                            for _ in 0..200 {
                                crew.each(3, |_, _| {
                                    total.fetch_add(1, Ordering::Relaxed);
                                });
                            }
                        })
                    })
                });
            }
        });
        assert_eq!(total.into_inner(), 4 * 200 * 3);
    }
}
