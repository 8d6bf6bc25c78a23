//! Stdout and stderr, also where whoever started the program closed them (`2>&-`).
//!
//! Before `main` Rust opens /dev/null in the place of a closed stream, so that no file is taken for it; what is written
//! is then lost, and every write reports success. So the streams are looked at before that.

use std::io::{Error, ErrorKind, Result, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);
static STDERR_CLOSED: AtomicBool = AtomicBool::new(false);
static LOST: AtomicBool = AtomicBool::new(false);

/// What the loader calls before Rust prepares the program.
#[cfg(any(target_os = "linux", target_os = "macos"))]
#[used]
// SAFETY: the section holds pointers to functions of this type, which the loader calls one after another.
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
// SAFETY: as above, under its name there.
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
static LOOK: extern "C" fn() = look;

/// Notes which streams are closed. Nothing of the standard library may be used yet but what needs no preparation.
#[cfg(any(target_os = "linux", target_os = "macos"))]
extern "C" fn look() {
    for (number, closed) in [(libc::STDOUT_FILENO, &STDOUT_CLOSED), (libc::STDERR_FILENO, &STDERR_CLOSED)] {
        // SAFETY: the call reads a flag of a descriptor, and reports an error where there is none of this number.
        closed.store(unsafe { libc::fcntl(number, libc::F_GETFD) } == -1, Ordering::Relaxed);
    }
}

/// Stdout; writing fails where it is closed.
pub struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match STDOUT_CLOSED.load(Ordering::Relaxed) {
            true => Err(Error::other("stdout is closed")),
            false => std::io::stdout().write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        std::io::stdout().flush()
    }
}

/// Stderr; writing fails where it is closed, and what is lost is noted.
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let written = match STDERR_CLOSED.load(Ordering::Relaxed) {
            true => Err(Error::other("stderr is closed")),
            false => std::io::stderr().write(bytes),
        };
        // A reader that has gone away wants no more; a signal only asks for another try.
        let is_loss = |error: &Error| !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted);
        if written.as_ref().is_err_and(is_loss) {
            LOST.store(true, Ordering::Relaxed);
        }
        written
    }

    fn flush(&mut self) -> Result<()> {
        std::io::stderr().flush()
    }
}

/// Whether something that was to be told on stderr could not be written.
pub fn stderr_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}
