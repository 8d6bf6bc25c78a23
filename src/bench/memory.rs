//! How much memory the process has held at most.

/// Peak resident memory in MiB; 0 where the system does not tell.
pub fn peak_rss_mb() -> u64 {
    #[cfg(unix)]
    {
        // SAFETY: getrusage fills the struct that it is given.
        let usage = unsafe {
            let mut usage = std::mem::zeroed::<libc::rusage>();
            libc::getrusage(libc::RUSAGE_SELF, &mut usage);
            usage
        };
        let unit = if cfg!(target_os = "macos") { 1 << 20 } else { 1 << 10 };
        usage.ru_maxrss as u64 / unit
    }
    #[cfg(not(unix))]
    0
}
