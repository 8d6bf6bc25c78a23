//! The worker threads of a process.

use crate::error::tell;
use anyhow::{Context, Result};

/// Starts this many worker threads, by default one for every core; says how many.
pub(super) fn start_workers(threads: Option<u16>) -> Result<usize> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match threads.map(usize::from) {
        // More threads than cores only wait for one another; two are never many.
        Some(wanted) if wanted > cores.max(2) => {
            tell(&format!("note: this machine has {cores} cores, so {} threads run, not {wanted}", cores.max(2)));
            cores.max(2)
        }
        Some(wanted) => wanted,
        None => cores,
    };
    // candle keeps a pool of its own beside rayon's, and sizes it by these.
    for name in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        // SAFETY: nothing else runs yet that could read the environment: the script's thread and the pools start later,
        // and the signal handler does not look at it.
        unsafe { std::env::set_var(name, threads.to_string()) };
    }
    keep_freed_memory();
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .with_context(|| format!("no {threads} worker threads"))?;
    Ok(threads)
}

/// Lets the allocator keep what is freed. By default glibc gives every large block back to the system and takes it
/// again, page by page and zeroed: a quarter of a language model's step, whose flat vectors are a hundred megabytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn keep_freed_memory() {
    // SAFETY: both calls only set a number of the allocator's, under its own lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn keep_freed_memory() {}
