//! What passes ask the allocator for: the first one what a memory limit counts, the kernels' part of those after it
//! nothing, as all its memory is kept for the next one.

use super::executor::CpuOptions;
use super::memory::Tapes;
use super::pass::Run;
use super::pass::agenda::Agenda;
use super::pass::stages::Flat;
use super::plan::CpuPlan;
use crate::engine::{Draws, Mode, RunningStatistics, Wanted};
use crate::graph::plan::Plan;
use crate::graph::{Activation, Conv, Graph, Slot};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, counting the requests of watched threads.
struct Counting;

static ASKED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    /// What this thread has asked for so far.
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    let _ = BYTES.try_with(|all| all.set(all.get() + bytes));
    if WATCHED.try_with(Cell::get).unwrap_or(false) {
        ASKED.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        count(len);
        // SAFETY: the caller's promise, passed on; the block came from the same allocator.
        unsafe { System.realloc(old, layout, len) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on; the block came from the same allocator.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often the pool's threads ask the allocator while `work` is done.
pub(in crate::engine) fn watch(pool: &rayon::ThreadPool, work: impl FnOnce()) -> usize {
    pool.broadcast(|_| WATCHED.set(true));
    let before = ASKED.load(Ordering::Relaxed);
    work();
    let asked = ASKED.load(Ordering::Relaxed) - before;
    pool.broadcast(|_| WATCHED.set(false));
    asked
}

/// Every kind of step: convolutions of all kinds, norms, pools, a mixed sum, a gather, an applied activation, a sibling
/// family.
fn graph() -> Graph {
    let mut g = Graph::new(3, 12, 12);
    let slots = g.slots("mix", 1, 4).unwrap();
    let slot = |column| Slot(slots.slot(0, column).0);
    let stem = g.conv("stem", g.input(), Conv::square(8, 3)).unwrap();
    let stem = g.batch_norm("stem_norm", stem, true).unwrap();
    let relu = g.relu(stem);
    let depthwise = g.depthwise("depthwise", relu, 3, 1, 1).unwrap();
    let separable = g.pointwise("pointwise", depthwise, 8).unwrap();
    let separable = g.batch_norm("norm", separable, false).unwrap();
    let pool = g.max_pool_3x3(stem, 1).unwrap();
    let pool = g.batch_norm("pool_norm", pool, false).unwrap();
    let smooth = g.activate(stem, Activation::Silu);
    let shuffled = g.shuffle(smooth, 2).unwrap();
    let mixed = g.mixed(&[(separable, slot(0)), (pool, slot(1)), (stem, slot(2)), (shuffled, slot(3))]).unwrap();
    let halved = g.relu(mixed);
    let halved = g.halve(halved, 16).unwrap();
    let pooled = g.global_pool(halved);
    let logits = g.linear("head", pooled, 10).unwrap();
    g.set_output(logits);
    g
}

#[test]
fn a_pass_after_the_first_allocates_nothing() {
    let _alone = super::profile::unrecorded();
    let graph = graph();
    let cpu = CpuPlan::new(Plan::new(&graph).unwrap());
    let statistics = RunningStatistics::new(&graph);
    let tapes = Tapes::default();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let batch = 5;
    let x: Vec<f32> = (0..batch * 3 * 12 * 12).map(|i| (i % 23) as f32 * 0.1 - 1.0).collect();
    let w: Vec<f32> = (0..graph.parameters()).map(|i| (i % 17) as f32 * 0.02 - 0.16).collect();
    let p = vec![0.125; graph.slot_count()];
    let (mut out, dy) = (vec![0.0; batch * 10], vec![0.1; batch * 10]);
    let training = cpu.plan.training.clone();
    let agendas: Vec<Agenda> = [(true, true, true), (false, false, true), (false, true, false)]
        .map(|(x, w, p)| Agenda::new(&cpu.plan, &graph, &training.backward, None, Wanted { x, w, p }))
        .into();
    let mut gradients = Flat { x: vec![0.0; x.len()], w: vec![0.0; w.len()], p: vec![0.0; p.len()] };
    let (draws, options) = (Draws::default(), CpuOptions::choose().unwrap());
    let mut pass = |agenda: &Agenda| {
        let mut tape = tapes.take(&cpu, training.placement.forward.len, batch, true).unwrap();
        tape.packed.fill(&cpu, &graph, &w, true);
        let mut run = Run {
            cpu: &cpu,
            graph: &graph,
            isa: options.isa,
            cache: options.cache,
            tape: &tape,
            placement: &training.placement.forward,
            agenda,
            draws: &draws,
            factors: &[],
            batch,
            w: &w,
            p: &p,
            mode: Mode::Training,
            statistics: &statistics,
        };
        run.forward_into(&x, &mut out).unwrap();
        run.placement = &training.placement.backward;
        run.backward_into(&dy, &mut gradients).unwrap();
        tapes.give_back(tape);
    };
    let mut step = || agendas.iter().for_each(&mut pass);
    pool.install(&mut step);
    let asked = watch(&pool, || pool.install(|| (0..3).for_each(|_| step())));
    assert_eq!(asked, 0, "allocations in three steps");
    assert!(gradients.w.iter().any(|&v| v != 0.0) && gradients.p.iter().any(|&v| v != 0.0));
    // The count does see an allocation.
    WATCHED.set(true);
    let before = ASKED.load(Ordering::Relaxed);
    drop(std::hint::black_box(vec![1u8]));
    assert_eq!(ASKED.load(Ordering::Relaxed) - before, 1);
    WATCHED.set(false);
}

/// Wide enough that every kind of table is far larger than what the allocations themselves cost.
fn wide() -> Graph {
    let mut g = Graph::new(3, 6, 6);
    let slots = g.slots("mix", 1, 2).unwrap();
    let slot = |column| Slot(slots.slot(0, column).0);
    let stem = g.pointwise("stem", g.input(), 512).unwrap();
    let stem = g.batch_norm("stem_norm", stem, true).unwrap();
    let smooth = g.activate(stem, Activation::Silu);
    let deep = g.depthwise("deep", smooth, 3, 1, 1).unwrap();
    let deep = g.pointwise("wide", deep, 512).unwrap();
    let deep = g.batch_norm("norm", deep, false).unwrap();
    let mixed = g.mixed(&[(stem, slot(0)), (deep, slot(1))]).unwrap();
    let pooled = g.global_pool(mixed);
    let logits = g.linear("head", pooled, 2048).unwrap();
    g.set_output(logits);
    g
}

#[test]
fn a_limit_counts_the_bytes_that_a_pass_asks_for() {
    let cpu = CpuPlan::new(Plan::new(&wide()).unwrap());
    let region = cpu.plan.training.placement.forward.len;
    for (threads, batch) in [(1, 1), (1, 40), (3, 5)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (asked, counted) = pool.install(|| {
            let before = BYTES.get();
            let tape = Tapes::default().take(&cpu, region, batch, true).unwrap();
            let asked = BYTES.get() - before;
            drop(tape);
            (asked, size_of::<f32>() * region * batch + cpu.table_bytes(batch))
        });
        // Not counted: aligning a buffer, and what a thread's lists are beside their entries.
        let slack = 2048 + 2048 * threads;
        assert!(asked.abs_diff(counted) < slack, "{threads} threads, {batch} images: {counted} of {asked} bytes");
    }
}
