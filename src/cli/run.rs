//! `candlewick run SCRIPT`: runs a script, or with `--help` says what it is and which parameters it has.

use super::device::DeviceName;
use super::hang_up;
use super::lines::print;
use super::precision::Precision;
use super::workers::start_workers;
use super::{Left, Outcome, memory, subcommand};
use crate::error::Blame;
use crate::random::Seed;
use crate::run::{self, RunFolder};
use crate::script::{self, Host, Page, Param, Script, Setup};
use crate::{Error, interrupt};
use anyhow::{Context, Result, bail};
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
    /// Where networks run: cpu, cuda, cuda:N, or auto for the first GPU that can be used.
    #[arg(long, default_value = "cpu")]
    device: DeviceName,
    /// What tensors and networks are computed in: f64 runs networks primitive by primitive, exact and far slower.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// Worker threads; by default one for every core.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// The seed of every random number; by default 2.
    #[arg(long, allow_negative_numbers = true, value_parser = seed)]
    seed: Option<u64>,
    /// The run folder; by default a new one in runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with an interrupted run, with its seed and settings: the one in --out, or the script's newest in runs/.
    #[arg(long)]
    resume: bool,
    /// Go on with --resume although the data are not those that the run began with.
    #[arg(long, requires = "resume")]
    force: bool,
    /// A folder the script may read; repeatable.
    #[arg(long, value_name = "DIR")]
    data: Vec<PathBuf>,
    /// How much the script's tensors, and passes of its language models, may hold at once: "8GiB", "500MB".
    #[arg(long, value_name = "AMOUNT", default_value = "8GiB", value_parser = memory)]
    memory: u64,
    /// This help; with a script, what the script is and its parameters.
    #[arg(short, long)]
    help: bool,
}

/// The seed where none is given.
const SEED: u64 = 2;

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a seed is a whole number from 0 to 18446744073709551615".into())
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("write NAME=VALUE".into()),
    }
}

pub fn run(arguments: Arguments) -> Outcome {
    let Some(path) = arguments.script.clone() else {
        return print(&format!("{}\n", subcommand("run").render_long_help()));
    };
    if arguments.help {
        return print(&script::on_script_thread(|| help(&path))??);
    }
    script::quiet_panics();
    listen_for_ctrl_c()?;
    let host = host(arguments, path)?;
    let ended = script::on_script_thread(|| Script::load(host.clone())?.run())?;
    ended.map_err(|page| way_on(page, &host))?;
    host.printed()?;
    match host.left() {
        None | Some(0) => Ok(()),
        Some(code) => Err(Left(code).into()),
    }
}

/// Adds to the page of a run that was interrupted or failed how to go on with it.
fn way_on(mut page: Box<Page>, host: &Host) -> Box<Page> {
    if let (None, Blame::Interrupt | Blame::Run) = (&page.hint, page.blame)
        && let Some(folder) = host.begun_run().filter(|folder| RunFolder::has_checkpoint(folder))
    {
        let (script, folder) = (quoted(&host.setup.script), quoted(&folder));
        page.hint = Some(format!("go on with: candlewick run {script} --resume --out {folder}"));
    }
    page
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    match !path.is_empty() && path.chars().all(plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

/// Validates what the command line gave and starts the worker threads.
fn host(arguments: Arguments, script: PathBuf) -> Result<Arc<Host>> {
    for folder in &arguments.data {
        if !folder.is_dir() {
            bail!(Error::user(format!("there is no folder \"{}\"", folder.display())).hint("--data takes a folder"));
        }
    }
    let mut settings = BTreeMap::new();
    for (name, value) in arguments.settings {
        if settings.insert(name.clone(), value).is_some() {
            bail!(Error::user(format!("--set {name} is given twice")));
        }
    }
    let device = arguments.device.open()?;
    if device.networks.is_some() && arguments.precision.dtype() == candle_core::DType::F64 {
        bail!(Error::user("double precision runs on the processor only").hint("run with --device cpu"));
    }
    let mut setup = Setup {
        seed: Seed(arguments.seed.unwrap_or(SEED)),
        device: device.tensors,
        device_name: device.name,
        networks: device.networks,
        dtype: arguments.precision.dtype(),
        threads: start_workers(arguments.threads)?,
        out: arguments.out,
        resume: None,
        force: arguments.force,
        settings,
        data: arguments.data,
        memory: arguments.memory,
        cells: cell_scores(),
        script,
    };
    if arguments.resume {
        resume(&mut setup, arguments.seed)?;
    }
    Ok(Host::new(setup))
}

/// Where the scores of cells are kept from run to run: in the folder that `CANDLEWICK_CELLS` names, or beside the runs;
/// nowhere if it says "off".
fn cell_scores() -> Option<PathBuf> {
    match std::env::var_os("CANDLEWICK_CELLS") {
        Some(off) if off == "off" => None,
        Some(folder) if !folder.is_empty() => Some(folder.into()),
        _ => Some("runs/cell-scores".into()),
    }
}

/// Fills in what the run that is to go on was begun with; what the command line gives goes before it.
fn resume(setup: &mut Setup, seed: Option<u64>) -> Result<()> {
    let folder = match &setup.out {
        Some(out) => out.clone(),
        None => run::newest(&setup.script.file_stem().unwrap_or_default().to_string_lossy())?,
    };
    let before = RunFolder::info(&folder)?;
    if let Some(seed) = seed.filter(|seed| *seed != before.seed) {
        bail!(
            Error::user(format!("the run in {} has the seed {}, not {seed}", folder.display(), before.seed))
                .hint("a resumed run keeps its seed; without --resume a new one begins")
        );
    }
    setup.seed = Seed(before.seed);
    setup.settings = before.settings.into_iter().chain(std::mem::take(&mut setup.settings)).collect();
    setup.data.extend(before.data);
    setup.resume = Some(folder);
    Ok(())
}

/// The first Ctrl-C, or the system's request to end, asks the run to stop in good order; the second does not ask.
fn listen_for_ctrl_c() -> Result<()> {
    let handler = || {
        if interrupt::requested() {
            std::process::exit(130);
        }
        interrupt::request();
    };
    let ignores_hang_up = hang_up::is_ignored();
    ctrlc::set_handler(handler).context("no handler for Ctrl-C")?;
    if ignores_hang_up {
        hang_up::ignore();
    }
    Ok(())
}

/// What the script's leading comment says, and its parameters.
fn help(path: &Path) -> Result<String, Box<Page>> {
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
    Ok(text)
}

fn head(param: &Param) -> String {
    match &param.default {
        Some(default) => format!("{}={}", param.name, script::literal(default)),
        None => format!("{}=…", param.name),
    }
}
