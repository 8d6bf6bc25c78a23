//! The worker threads of a process.

use anyhow::{Context, Result};

/// Starts this many worker threads, by default one for every core; says how many.
pub(super) fn start_workers(threads: Option<u16>) -> Result<usize> {
    let threads = match threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    // candle keeps a pool of its own beside rayon's, and sizes it by these.
    for name in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        // SAFETY: nothing else runs yet that could read the environment: the script's thread and the pools start later,
        // and the signal handler does not look at it.
        unsafe { std::env::set_var(name, threads.to_string()) };
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .with_context(|| format!("no {threads} worker threads"))?;
    Ok(threads)
}
