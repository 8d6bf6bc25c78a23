//! `candlewick run SCRIPT`: runs a script, or with `--help` says what it is and which parameters it has.

use super::device::DeviceName;
use super::workers::start_workers;
use super::{Outcome, subcommand};
use crate::random::Seed;
use crate::script::{self, Host, Param, Script, Setup};
use crate::{Error, Result, interrupt};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    /// The script.
    #[arg(required_unless_present = "help")]
    script: Option<PathBuf>,
    /// Give a parameter of the script another value; repeatable.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Where tensors live: cpu, cuda or cuda:N. Networks run on cpu only.
    #[arg(long, default_value = "cpu")]
    device: DeviceName,
    /// Worker threads; by default one for every core.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// The seed of every random number.
    #[arg(long, default_value_t = 2)]
    seed: u64,
    /// The run folder; by default a new one in runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A folder the script may read; repeatable.
    #[arg(long, value_name = "DIR")]
    data: Vec<PathBuf>,
    /// How much the script's tensors may hold at once, in GiB.
    #[arg(long, value_name = "GIB", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    memory: u64,
    /// This help; with a script, what the script is and its parameters.
    #[arg(short, long)]
    help: bool,
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write NAME=VALUE".into()),
    }
}

pub fn run(arguments: Arguments) -> Outcome {
    let Some(path) = arguments.script.clone() else {
        println!("{}", subcommand("run").render_long_help());
        return Ok(());
    };
    if arguments.help {
        return Ok(script::on_script_thread(|| help(&path))??);
    }
    script::quiet_panics();
    listen_for_ctrl_c()?;
    let host = host(arguments, path)?;
    Ok(script::on_script_thread(|| Script::load(host)?.run())??)
}

/// Validates what the command line gave and starts the worker threads.
fn host(arguments: Arguments, script: PathBuf) -> Result<Arc<Host>> {
    for folder in &arguments.data {
        if !folder.is_dir() {
            return Err(
                Error::user(format!("there is no folder \"{}\"", folder.display())).hint("--data takes a folder")
            );
        }
    }
    let mut settings = BTreeMap::new();
    for (name, value) in arguments.settings {
        if settings.insert(name.clone(), value).is_some() {
            return Err(Error::user(format!("--set {name} is given twice")));
        }
    }
    let threads = start_workers(arguments.threads)?;
    Ok(Host::new(Setup {
        script,
        seed: Seed(arguments.seed),
        device: arguments.device.open()?,
        threads,
        out: arguments.out,
        settings,
        data: arguments.data,
        memory: arguments.memory << 30,
    }))
}

/// The first Ctrl-C asks the run to stop in good order; the second does not ask.
fn listen_for_ctrl_c() -> Result<()> {
    let handler = || {
        if interrupt::requested() {
            std::process::exit(130);
        }
        interrupt::request();
    };
    ctrlc::set_handler(handler).map_err(|error| Error::run(format!("no handler for Ctrl-C: {error}")))
}

/// Prints what the script's leading comment says and its parameters.
fn help(path: &Path) -> Result<(), Box<script::Page>> {
    let script = Script::load(Host::new(Setup { script: path.into(), ..Setup::default() }))?;
    let mut text = format!("{}\n", script.about());
    let listing = script.params();
    if listing.params.is_empty() {
        text.push_str("\nThe script has no parameters.\n");
    } else {
        text.push_str("\nParameters, changed with --set NAME=VALUE:\n");
    }
    let heads: Vec<String> = listing.params.iter().map(head).collect();
    let width = heads.iter().map(|head| head.chars().count()).max().unwrap_or(0);
    for (head, param) in heads.iter().zip(&listing.params) {
        let line = format!("  {head:width$}  {}", param.help.as_deref().unwrap_or_default());
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.push_str("\n`candlewick run --help` lists the options of the command itself.\n");
    print!("{text}");
    Ok(())
}

fn head(param: &Param) -> String {
    match &param.default {
        Some(default) => format!("{}={}", param.name, script::literal(default)),
        None => format!("{}=…", param.name),
    }
}
