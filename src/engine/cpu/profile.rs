//! Where the time of passes goes: by kernel, by component of the network, and what lies between.
//!
//! Without a recording, a kernel call only reads a flag. During one, each call is timed with the processor's own
//! counter and added to a tally that no other thread uses; an image group takes a tally when it begins and puts it back
//! when it ends. The cost of the timing itself is measured at the end and subtracted.
//!
//! A recording sees all passes of the process: record only while nothing else runs.

use super::pass::Run;
use crate::graph::plan::{BackStep, Id, RawId, StepId};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

static ON: AtomicBool = AtomicBool::new(false);
/// Names of the kernels that were called while something recorded, by their number.
static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
/// Tables that no thread holds.
static TALLIES: Mutex<Vec<Tally>> = Mutex::new(Vec::new());
/// Held by the recording.
static RECORDER: Mutex<()> = Mutex::new(());

thread_local! {
    static AT_WORK: RefCell<Option<Tally>> = const { RefCell::new(None) };
}

#[inline(always)]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// What a kernel's call does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    pub flops: usize,
    pub bytes: usize,
}

/// A kernel's name and number.
pub struct Kernel {
    name: &'static str,
    number: OnceLock<usize>,
}

impl Kernel {
    pub const fn new(name: &'static str) -> Self {
        Self { name, number: OnceLock::new() }
    }

    fn number(&self) -> usize {
        *self.number.get_or_init(|| {
            let mut names = lock(&NAMES);
            names.push(self.name);
            names.len() - 1
        })
    }
}

/// Calls of one kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub calls: u64,
    pub seconds: f64,
    pub work: Work,
    ticks: u64,
}

/// One direction through one component of the network.
#[derive(Clone, Debug, Default)]
struct Spot {
    ticks: u64,
    /// By kernel.
    counts: Vec<Count>,
}

#[derive(Default)]
struct Tally {
    /// By component and direction.
    spots: Vec<Spot>,
    /// Where the thread is at work, and the tick up to which its time is counted.
    spot: Option<usize>,
    since: u64,
}

impl Tally {
    fn spot(&mut self, index: usize) -> &mut Spot {
        at(&mut self.spots, index)
    }

    /// Counts the time since the last count.
    fn count_time(&mut self) {
        let now = ticks();
        let passed = now.saturating_sub(self.since);
        self.since = now;
        let index = self.spot.unwrap_or(0);
        self.spot(index).ticks += passed;
    }
}

/// The entry at `index`; entries up to it are added where they are missing.
fn at<T: Clone + Default>(entries: &mut Vec<T>, index: usize) -> &mut T {
    if entries.len() <= index {
        entries.resize(index + 1, T::default());
    }
    &mut entries[index]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a kernel's call; it is counted if the thread is at work on an image group.
pub fn timed(kernel: &'static Kernel, work: Work, call: impl FnOnce()) {
    let start = ticks();
    call();
    let passed = ticks().saturating_sub(start);
    AT_WORK.with_borrow_mut(|tally| {
        let Some(tally) = tally else { return };
        let index = tally.spot.unwrap_or(0);
        let count = at(&mut tally.spot(index).counts, kernel.number());
        count.calls += 1;
        count.ticks += passed;
        count.work.flops += work.flops;
        count.work.bytes += work.bytes;
    });
}

/// While it lives, the thread is at work on an image group. None without a recording.
pub fn group() -> Option<Group> {
    is_on().then(|| {
        let tally = lock(&TALLIES).pop().unwrap_or_default();
        AT_WORK.set(Some(Tally { spot: None, since: ticks(), ..tally }));
        Group(())
    })
}

pub struct Group(());

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(mut tally) = AT_WORK.take() {
            tally.count_time();
            lock(&TALLIES).push(tally);
        }
    }
}

/// Spans of the thread that leads a pass: the whole pass, its parallel sections, and the packing of weights before it.
pub const PASSES: usize = 0;
pub const SECTIONS: usize = 1;
pub const PACKING: usize = 2;
static SPANS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Counts a span while it lives. None without a recording.
pub fn span(which: usize) -> Option<Span> {
    is_on().then(|| Span { which, start: ticks() })
}

pub struct Span {
    which: usize,
    start: u64,
}

impl Drop for Span {
    fn drop(&mut self) {
        SPANS[self.which].fetch_add(ticks().saturating_sub(self.start), Ordering::Relaxed);
    }
}

impl Run<'_> {
    /// From here on, this thread is at work on this forward step.
    #[inline(always)]
    pub(super) fn profile_step(&self, step: StepId) {
        if is_on() {
            self.enter(self.plan().output_of(step), 0);
        }
    }

    #[inline(always)]
    pub(super) fn profile_back_step(&self, step: &BackStep) {
        if is_on() {
            let plan = self.plan();
            let raw = match step {
                BackStep::Seed => plan.values[plan.output].raw,
                BackStep::Clear { value } | BackStep::OwnSums { value } | BackStep::Norm { value, .. } => {
                    plan.values[*value].raw
                }
                BackStep::Dots { sum } | BackStep::SumTerm { sum, .. } => plan.sums[*sum].output,
                BackStep::Step { step, .. } | BackStep::Recompute { step } => plan.output_of(*step),
                BackStep::Export => plan.input,
            };
            self.enter(raw, 1);
        }
    }

    #[cold]
    #[inline(never)]
    fn enter(&self, raw: RawId, direction: usize) {
        let spot = 2 * self.plan().raws[raw].component.index() + direction;
        AT_WORK.with_borrow_mut(|tally| {
            if let Some(tally) = tally
                && tally.spot != Some(spot)
            {
                // What came before the first step belongs to it.
                if tally.spot.is_some() {
                    tally.count_time();
                }
                tally.spot = Some(spot);
            }
        });
    }
}

/// What was recorded, in seconds; the cost of recording is subtracted.
#[derive(Debug)]
pub struct Record {
    /// From beginning to end.
    pub wall: f64,
    /// Of the leading thread: whole passes, their parallel sections, packing.
    pub passes: f64,
    pub sections: f64,
    pub packing: f64,
    /// Of all threads: what the recording itself cost.
    pub recording: f64,
    /// By kernel.
    pub kernels: Vec<&'static str>,
    /// By component: forward and backward.
    pub components: Vec<[ComponentRecord; 2]>,
}

/// One direction through one component of the network; seconds of all threads.
#[derive(Clone, Debug, Default)]
pub struct ComponentRecord {
    /// In and between kernels.
    pub seconds: f64,
    /// By kernel.
    pub counts: Vec<Count>,
}

/// Records until it is finished or dropped.
pub struct Recorder {
    _only: MutexGuard<'static, ()>,
    start: Instant,
    start_ticks: u64,
}

impl Recorder {
    pub fn start() -> Self {
        let only = lock(&RECORDER);
        lock(&TALLIES).clear();
        SPANS.iter().for_each(|span| span.store(0, Ordering::Relaxed));
        let recorder = Self { _only: only, start: Instant::now(), start_ticks: ticks() };
        ON.store(true, Ordering::SeqCst);
        recorder
    }

    pub fn finish(self) -> Record {
        let wall = self.start.elapsed().as_secs_f64();
        let tick = wall / ticks().saturating_sub(self.start_ticks).max(1) as f64;
        let tallies = std::mem::take(&mut *lock(&TALLIES));
        let spans: Vec<f64> = SPANS.iter().map(|span| span.load(Ordering::Relaxed) as f64 * tick).collect();
        let cost = Cost::measure(tick);
        let mut spots: Vec<Spot> = Vec::new();
        for tally in tallies {
            for (index, from) in tally.spots.into_iter().enumerate() {
                let spot = at(&mut spots, index);
                spot.ticks += from.ticks;
                for (kernel, count) in from.counts.into_iter().enumerate() {
                    let sum = at(&mut spot.counts, kernel);
                    sum.calls += count.calls;
                    sum.ticks += count.ticks;
                    sum.work.flops += count.work.flops;
                    sum.work.bytes += count.work.bytes;
                }
            }
        }
        let mut components: Vec<[ComponentRecord; 2]> = Vec::new();
        let mut recording = 0.0;
        for (index, spot) in spots.into_iter().enumerate() {
            let (mut counts, mut within) = (spot.counts, 0.0);
            for count in &mut counts {
                let ticks = count.ticks as f64 * tick;
                count.seconds = (ticks - cost.inside * count.calls as f64).max(0.0);
                within += count.seconds;
            }
            let all = spot.ticks as f64 * tick;
            let calls: u64 = counts.iter().map(|count| count.calls).sum();
            // Never less than what the kernels took: the subtracted cost is a mean.
            let seconds = (all - cost.call * calls as f64).max(within).min(all);
            recording += all - seconds;
            at(&mut components, index / 2)[index % 2] = ComponentRecord { seconds, counts };
        }
        let kernels = lock(&NAMES).clone();
        let [passes, sections, packing] = [PASSES, SECTIONS, PACKING].map(|which| spans[which]);
        Record { wall, passes, sections, packing, recording, kernels, components }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        ON.store(false, Ordering::SeqCst);
    }
}

/// What counting a call costs, in seconds: in all, and the part that is counted as the kernel's own time.
struct Cost {
    call: f64,
    inside: f64,
}

impl Cost {
    /// The cheapest of many rounds: one that nothing interrupted.
    fn measure(tick: f64) -> Self {
        const ROUNDS: usize = 50;
        const CALLS: u64 = 2000;
        static NOTHING: Kernel = Kernel::new("nothing");
        let round = |_| {
            let group = group();
            let start = ticks();
            for _ in 0..CALLS {
                timed(&NOTHING, Work::default(), || std::hint::black_box(()));
            }
            let all = ticks().saturating_sub(start);
            drop(group);
            let spots = std::mem::take(&mut *lock(&TALLIES)).into_iter().flat_map(|tally| tally.spots);
            let inside: u64 = spots.filter_map(|spot| spot.counts.get(NOTHING.number()).map(|count| count.ticks)).sum();
            (all, inside)
        };
        let (all, inside) = (0..ROUNDS).map(round).min().unwrap_or_default();
        let each = |ticks: u64| ticks as f64 * tick / CALLS as f64;
        Self { call: each(all), inside: each(inside) }
    }
}

/// The work of all kernels that `call` calls on this thread.
pub fn work_of(call: impl FnOnce()) -> Work {
    let recorder = Recorder::start();
    let group = group();
    call();
    drop(group);
    let mut work = Work::default();
    for count in recorder.finish().components.iter().flatten().flat_map(|component| &component.counts) {
        work.flops += count.work.flops;
        work.bytes += count.work.bytes;
    }
    work
}

#[inline(always)]
fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has this counter.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

/// Keeps others from recording while it is held: a recording sees all passes of the process.
#[cfg(test)]
pub fn unrecorded() -> MutexGuard<'static, ()> {
    lock(&RECORDER)
}

#[cfg(test)]
mod tests {
    use super::*;

    static KERNEL: Kernel = Kernel::new("a test's kernel");
    static OUTSIDE: Kernel = Kernel::new("another");

    #[test]
    fn a_recording_knows_calls_time_and_work() {
        let recorder = Recorder::start();
        let pass = span(PASSES);
        let at_work = group();
        for _ in 0..10 {
            timed(&KERNEL, Work { flops: 3, bytes: 5 }, || std::thread::sleep(std::time::Duration::from_millis(2)));
        }
        drop(at_work);
        drop(pass);
        let record = recorder.finish();
        let number = record.kernels.iter().position(|name| *name == "a test's kernel").unwrap();
        let component = &record.components[0][0];
        let count = &component.counts[number];
        assert_eq!((count.calls, count.work), (10, Work { flops: 30, bytes: 50 }));
        assert!(count.seconds >= 0.019 && count.seconds <= component.seconds, "{record:?}");
        assert!(component.seconds <= record.passes && record.passes <= record.wall, "{record:?}");
    }

    #[test]
    fn calls_outside_image_groups_are_no_part_of_a_recording() {
        let recorder = Recorder::start();
        timed(&OUTSIDE, Work { flops: 3, bytes: 5 }, || {});
        let components = recorder.finish().components;
        let counts: Vec<&Count> =
            components.iter().flatten().filter_map(|component| component.counts.get(OUTSIDE.number())).collect();
        assert!(counts.iter().all(|count| count.calls == 0), "{counts:?}");
    }
}
