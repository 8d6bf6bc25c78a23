//! The signal of a terminal that goes away. What runs under `nohup` ignores it, and shall go on doing so.

/// Whether the signal is ignored.
#[cfg(unix)]
pub(super) fn is_ignored() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only writes the present one, for which all zeros are valid, into memory
    // that is large enough for it.
    let action = unsafe {
        libc::sigaction(libc::SIGHUP, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Ignores the signal.
#[cfg(unix)]
pub(super) fn ignore() {
    // SAFETY: no handler of ours is involved: the system drops the signal.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
    }
}

/// Whether the signal is ignored: there is none.
#[cfg(not(unix))]
pub(super) fn is_ignored() -> bool {
    false
}

/// Nothing to ignore.
#[cfg(not(unix))]
pub(super) fn ignore() {}
