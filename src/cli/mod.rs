//! The command line: parses, dispatches, and turns errors into pages and exit codes. One file a subcommand.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 success, 1 the run failed, 2 the user's mistake, 130
//! interrupted.

mod bench;
mod check;
mod device;
mod doc;
mod export;
mod lines;
mod run;
mod workers;

use crate::bytes::parse_bytes;
use crate::script::Page;
use clap::{CommandFactory, Parser, Subcommand};
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
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::check(arguments),
        Command::Doc(arguments) => doc::doc(arguments),
        Command::Export(arguments) => export::export(arguments),
        Command::Bench(arguments) => bench::bench(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(pages) => {
            for page in &pages.0 {
                eprint!("{}", page.render(colour()));
            }
            ExitCode::from(pages.0.first().map_or(1, |page| page.exit_code() as u8))
        }
    }
}

/// What went wrong: at least one page.
struct Pages(Vec<Page>);

impl From<crate::Error> for Pages {
    fn from(error: crate::Error) -> Self {
        Self(vec![error.into()])
    }
}

impl From<Box<Page>> for Pages {
    fn from(page: Box<Page>) -> Self {
        Self(vec![*page])
    }
}

type Outcome = Result<(), Pages>;

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
    parse_bytes(text).map_err(|error| match error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message,
    })
}
