//! The library's error: what went wrong, whose mistake it was, and what would be right.
//!
//! Errors are values with a message and an optional hint; only the command line turns them into exit codes, and only
//! the script host adds a position in a script.

use crate::streams::Stderr;
use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Who can fix it; decides the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The input was wrong (a script, an option, a file): exit code 2.
    User,
    /// The run failed although the input was sound (disk full, NaN loss): exit code 1.
    Run,
    /// Somebody pressed Ctrl-C: exit code 130.
    Interrupt,
}

/// What went wrong, who can fix it and, where known, what would be right.
#[derive(Clone, Debug)]
pub struct Error {
    pub blame: Blame,
    pub message: String,
    pub hint: Option<String>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A mistake in what the user gave.
    pub fn user(message: impl Into<String>) -> Self {
        Self { blame: Blame::User, message: message.into(), hint: None }
    }

    /// A failure of the run itself.
    pub fn run(message: impl Into<String>) -> Self {
        Self { blame: Blame::Run, message: message.into(), hint: None }
    }

    /// The user asked to stop.
    pub fn interrupted() -> Self {
        Self { blame: Blame::Interrupt, message: "interrupted".into(), hint: None }
    }

    /// Adds what would be right.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An unknown name, with the closest of the known ones as the hint.
    pub fn unknown<'a>(kind: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let error = Self::user(format!("there is no {kind} \"{name}\""));
        match closest(name, known.iter().copied()) {
            Some(close) => error.hint(format!("did you mean \"{close}\"?")),
            None => error.hint(format!("one of: {}", known.join(", "))),
        }
    }

    /// A file or folder that could not be read or written. A disk that is full is nobody's mistake.
    pub fn file(path: &Path, error: &std::io::Error) -> Self {
        let path = shown(path);
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                Self::run(format!("{path}: {error}: make room on this disk first"))
            }
            _ => Self::user(format!("{path}: {error}")),
        }
    }

    pub fn exit_code(&self) -> i32 {
        match self.blame {
            Blame::User => 2,
            Blame::Run => 1,
            Blame::Interrupt => 130,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<candle_core::Error> for Error {
    /// candle's errors are mostly shapes that do not fit: the caller's mistake. What a device reports is not. An error
    /// of ours that went through candle (out of a custom operation) is itself again.
    fn from(error: candle_core::Error) -> Self {
        match error {
            // Captured where RUST_BACKTRACE is set; no reader of an error page wants it.
            candle_core::Error::WithBacktrace { inner, .. } => (*inner).into(),
            candle_core::Error::WrappedContext { wrapped, context } => match wrapped.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::user(format!("{other}\n{context}")),
            },
            candle_core::Error::Cuda(failure) => {
                let failure = failure.to_string();
                let failure = by_the_driver(&failure).unwrap_or(&failure);
                let hint = match failure {
                    "out of memory" => "take smaller batches; --device cpu does without CUDA",
                    _ => "--device cpu does without CUDA",
                };
                Self::run(format!("CUDA reports: {failure}")).hint(hint)
            }
            error => Self::user(error.to_string()),
        }
    }
}

/// A path as it is told, in one line: names may hold line breaks and what else moves a terminal's cursor.
pub fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}

/// A text with its control characters as `\x0A`.
pub fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => plain.push_str(&format!("\\x{:02X}", u32::from(c))),
            false => plain.push(c),
        }
    }
    plain
}

/// The driver's own words in what candle makes of its errors: `DriverError(CUDA_ERROR_…, "out of memory")`.
fn by_the_driver(failure: &str) -> Option<&str> {
    failure.strip_prefix("DriverError(")?.split('"').nth(1)
}

impl From<Error> for candle_core::Error {
    /// The way through candle for an error inside a custom operation; it comes back whole.
    fn from(error: Error) -> Self {
        let context = error.message.clone();
        candle_core::Error::WrappedContext { wrapped: Box::new(error), context }
    }
}

/// Shows a line on stderr. One that cannot be written (a closed or full stderr) is lost, and nothing else with it; that
/// it was is noted.
pub fn tell(line: &str) {
    let _ = writeln!(Stderr, "{line}");
}

/// The known name nearest to `name` in spelling, if any is near enough to be a slip of the hand.
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), k))
        .filter(|(distance, k)| *distance <= 1 + k.len().max(name.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor};

    #[test]
    fn an_error_comes_back_from_candle_as_it_went_in() {
        for error in [Error::interrupted(), Error::run("the disk is full").hint("make room")] {
            let through: Error = candle_core::Error::from(error.clone()).bt().into();
            assert_eq!((through.blame, through.message, through.hint), (error.blame, error.message, error.hint));
        }
        // What candle says by itself is not taken for an interruption, whatever else goes on.
        let other = candle_core::Error::WrappedContext { wrapped: Box::new(fmt::Error), context: "there".into() };
        assert_eq!(Error::from(other).blame, Blame::User);
    }

    #[test]
    fn a_full_disk_is_not_the_user_s_mistake() {
        let file = |kind: ErrorKind| Error::file(Path::new("run/best.safetensors"), &kind.into());
        let full = file(ErrorKind::StorageFull);
        assert_eq!(full.exit_code(), 1);
        assert!(
            full.message.starts_with("run/best.safetensors: ")
                && full.message.ends_with("make room on this disk first")
        );
        assert_eq!(file(ErrorKind::PermissionDenied).exit_code(), 2);
    }

    #[test]
    fn a_failing_device_is_not_the_user_s_mistake() {
        let failure: Error = candle_core::Error::Cuda("out of memory".into()).bt().into();
        assert_eq!((failure.blame, failure.message.as_str()), (Blame::Run, "CUDA reports: out of memory"));
        let by_driver = r#"DriverError(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure")"#;
        let failure: Error = candle_core::Error::Cuda(by_driver.into()).bt().into();
        assert_eq!(failure.message, "CUDA reports: unspecified launch failure");
        let misfit: Error = candle_core::Error::Msg("shapes do not fit".into()).bt().into();
        assert_eq!((misfit.blame, misfit.message.as_str()), (Blame::User, "shapes do not fit"));
    }

    /// An operation that fails with an error of this library.
    struct Failing(Error);

    impl CustomOp1 for Failing {
        fn name(&self) -> &'static str {
            "failing"
        }

        fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
            Err(self.0.clone().into())
        }
    }

    #[test]
    fn an_error_that_went_through_candle_is_as_it_was() {
        let one = Tensor::new(1f32, &Device::Cpu).expect("a number is a tensor");
        for sent in [Error::run("the disk is full").hint("make room"), Error::interrupted(), Error::user("too large")] {
            let error = one.apply_op1(Failing(sent.clone())).expect_err("the operation fails");
            let came: Error = error.bt().into();
            assert_eq!((came.blame, came.message, came.hint), (sent.blame, sent.message, sent.hint));
        }
    }
}
