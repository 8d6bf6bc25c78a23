//! A step after the first asks the allocator for nothing: all memory of a pass is kept for the next one.

use candlewick::engine::cpu::{CpuPlan, Gradients, Isa, Pools, Run, Wanted, Work};
use candlewick::engine::{Draws, NormMode, RunningStatistics};
use candlewick::graph::Shape;
use candlewick::graph::plan::Plan;
use candlewick::space::{Supernet, SupernetOptions};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, which counts what watched threads ask for.
struct Counting;

static ASKED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if WATCHED.try_with(Cell::get).unwrap_or(false) {
        ASKED.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(old, layout, len) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_pass_after_the_first_allocates_nothing() {
    for partial in [1, 4] {
        let options = SupernetOptions {
            channels: 8,
            layers: 3,
            partial,
            edge_weights: partial > 1,
            ..SupernetOptions::new(Shape::new(3, 12, 12), 10)
        };
        let graph = Supernet::build(&options).unwrap().graph;
        let cpu = CpuPlan::new(Plan::new(&graph).unwrap());
        let running = RunningStatistics::new(&graph);
        let pools = Pools::default();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let batch = 5;
        let x = vec![0.3; batch * 3 * 12 * 12];
        let w: Vec<f32> = (0..graph.parameters()).map(|i| (i % 17) as f32 * 0.02 - 0.16).collect();
        let p = vec![0.125; graph.slot_count()];
        let (mut out, dy) = (vec![0.0; batch * 10], vec![0.1; batch * 10]);
        let training = cpu.plan.training.clone();
        let works: Vec<Work> = [(true, true, true), (false, false, true), (false, true, false)]
            .map(|(x, w, p)| Work::new(&cpu.plan, &training.backward, None, Wanted { x, w, p }))
            .into();
        let mut gradients = Gradients { x: vec![0.0; x.len()], w: vec![0.0; w.len()], p: vec![0.0; p.len()] };
        let norm = NormMode::BatchUpdating(running);
        let draws = Draws::default();
        let mut pass = |work: &Work| {
            let mut tape = pools.take(&cpu, &training.memory[0], batch, true).unwrap();
            tape.packed.fill(&cpu.plan, &graph, &w, true);
            let mut run = Run {
                cpu: &cpu,
                graph: &graph,
                isa: Isa::choose().unwrap(),
                tape: &tape,
                memory: &training.memory[0],
                work,
                draws: &draws,
                factors: &[],
                batch,
                w: &w,
                p: &p,
                norm: &norm,
            };
            run.forward_into(&x, &mut out).unwrap();
            run.memory = &training.memory[1];
            run.backward_into(&dy, &mut gradients).unwrap();
            pools.give_back(tape);
        };
        let mut step = || works.iter().for_each(&mut pass);
        pool.install(&mut step);
        pool.broadcast(|_| WATCHED.set(true));
        let before = ASKED.load(Ordering::Relaxed);
        pool.install(|| (0..3).for_each(|_| step()));
        let asked = ASKED.load(Ordering::Relaxed) - before;
        pool.broadcast(|_| WATCHED.set(false));
        assert_eq!(asked, 0, "allocations in three steps of a supernet with channels shared by {partial}");
        assert!(gradients.w.iter().any(|&v| v != 0.0) && gradients.p.iter().any(|&v| v != 0.0));
    }
    // The count would see one.
    WATCHED.set(true);
    let before = ASKED.load(Ordering::Relaxed);
    drop(std::hint::black_box(vec![1u8]));
    assert_eq!(ASKED.load(Ordering::Relaxed) - before, 1);
    WATCHED.set(false);
}
