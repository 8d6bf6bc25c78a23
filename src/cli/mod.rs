//! The command line: parses, dispatches, and turns errors into pages and exit codes. One file a subcommand.
//!
//! The library's errors say whose mistake it was and what would be right. Here, and only here, they travel as
//! [`anyhow::Error`], beside those of other crates: those are given a context on the way up, and blame the run.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 success, 1 the run failed or something could not be
//! written on either (a reader that has gone away, as behind `| head -1`, has read enough), 2 the user's mistake, 130
//! interrupted.

mod bench;
mod check;
mod device;
mod devices;
mod doc;
mod export;
mod hang_up;
mod lines;
mod precision;
mod run;
mod workers;

use crate::Error;
use crate::bytes::parse_bytes;
use crate::error::tell;
use crate::script::Page;
use crate::streams::stderr_lost;
use clap::{CommandFactory, Parser, Subcommand};
use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Differentiable architecture search as short Rhai scripts.
#[derive(Parser)]
#[command(name = "candlewick", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a script.
    Run(run::Arguments),
    /// Look for mistakes in a script without running it.
    Check(check::Arguments),
    /// What scripts can call.
    Doc(doc::Arguments),
    /// Write a trained network as a file for other runtimes.
    Export(export::Arguments),
    /// Measure the engine's speed on this machine.
    Bench(bench::Arguments),
    /// What `--device` can name on this machine.
    Devices(devices::Arguments),
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return told(&answer),
    };
    let result = match cli.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::check(arguments),
        Command::Doc(arguments) => doc::doc(arguments),
        Command::Export(arguments) => export::export(arguments),
        Command::Bench(arguments) => bench::bench(arguments),
        Command::Devices(arguments) => devices::devices(arguments),
    };
    match result {
        // A line that could not be told is a failure.
        Ok(()) if stderr_lost() => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Left>() => ExitCode::from(error.downcast::<Left>().map_or(1, |left| left.0)),
        Err(error) => {
            let pages = pages(error);
            for page in &pages {
                tell(page.render(colour()).trim_end_matches('\n'));
            }
            ExitCode::from(pages.first().map_or(1, |page| page.exit_code() as u8))
        }
    }
}

/// Shows what clap has to say: help and the version as a result, anything else as a mistake.
fn told(answer: &clap::Error) -> ExitCode {
    if answer.use_stderr() {
        let _ = answer.print();
        return ExitCode::from(answer.exit_code() as u8);
    }
    let text = answer.render();
    let text = if lines::is_read_by_a_person() { text.ansi().to_string() } else { text.to_string() };
    match lines::print(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            pages(error).iter().for_each(|page| tell(&page.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// A script that ended by itself, with this exit code.
#[derive(Debug)]
struct Left(u8);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the script ended with code {}", self.0)
    }
}

impl std::error::Error for Left {}

/// What a subcommand ends with.
type Outcome = anyhow::Result<()>;

/// The pages to show for an error: a script's own, or one with the whole chain of messages. Whose mistake it was and
/// what would be right come from the library's error, if there is one below; anything else is a failure of the run.
fn pages(error: anyhow::Error) -> Vec<Page> {
    let whole = format!("{error:#}");
    let error = match error.downcast::<Pages>() {
        Ok(pages) => return pages.0,
        Err(error) => error,
    };
    let error = match error.downcast::<Box<Page>>() {
        Ok(page) => return vec![*page],
        Err(error) => error,
    };
    let Error { blame, hint, .. } = error.downcast().unwrap_or_else(|_| Error::run(""));
    vec![Error { blame, message: whole, hint }.into()]
}

/// What is wrong with several scripts: at least one page.
#[derive(Debug)]
struct Pages(Vec<Page>);

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|page| writeln!(f, "{page}"))
    }
}

impl std::error::Error for Pages {}

/// Whether stderr is a terminal that wants colours (https://no-color.org).
fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The definition of one subcommand, for its help text.
fn subcommand(name: &str) -> clap::Command {
    let mut command = Cli::command();
    command.build();
    command.find_subcommand(name).cloned().unwrap_or(command)
}

/// Reads an amount of memory, for clap.
fn memory(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text).map_err(|error| match error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message,
    })?;
    match bytes < 1 << 20 {
        true => Err(format!("{text} holds no tensor worth the name; at least 1MiB")),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    /// Exit code, message and hint of the only page.
    fn shown(error: anyhow::Error) -> (i32, String, Option<String>) {
        let pages = pages(error);
        assert_eq!(pages.len(), 1);
        (pages[0].exit_code(), pages[0].message.clone(), pages[0].hint.clone())
    }

    #[test]
    fn the_library_s_errors_keep_blame_and_hint_under_any_context() {
        let wrong = || Error::user("there is no folder photos").hint("give a folder");
        let hint = Some("give a folder".to_string());
        assert_eq!(shown(wrong().into()), (2, "there is no folder photos".into(), hint.clone()));
        let wrapped = Err::<(), _>(wrong()).context("the script's data").context("run").unwrap_err();
        assert_eq!(shown(wrapped), (2, "run: the script's data: there is no folder photos".into(), hint));
        assert_eq!(shown(Error::run("disk full").into()).0, 1);
        assert_eq!(shown(Error::interrupted().into()), (130, "interrupted".into(), None));
    }

    #[test]
    fn other_crates_errors_are_the_run_s_failures() {
        let failed = std::io::Error::other("out of threads");
        let wrapped = Err::<(), _>(failed).context("no handler for Ctrl-C").unwrap_err();
        assert_eq!(shown(wrapped), (1, "no handler for Ctrl-C: out of threads".into(), None));
        assert_eq!(shown(anyhow!("something")).0, 1);
    }

    #[test]
    fn pages_of_scripts_are_shown_as_they_are() {
        let page = |message: &str| Page::from(Error::user(message));
        assert_eq!(shown(Box::new(page("one")).into()), (2, "one".into(), None));
        let several = pages(Pages(vec![page("one"), page("two")]).into());
        assert_eq!(several.iter().map(|page| &*page.message).collect::<Vec<_>>(), ["one", "two"]);
    }
}
