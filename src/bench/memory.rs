//! How much memory the process has held at most.

/// Peak resident memory in MiB; 0 where the system does not tell.
///
/// On Linux it is the high-water mark of the process's own memory: `getrusage` there also counts what the process that
/// started this one held.
pub fn peak_rss_mb() -> u64 {
    own_peak().unwrap_or_else(usage)
}

/// Linux's `VmHWM`.
fn own_peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib >> 10)
}

fn usage() -> u64 {
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
