//! `candlewick export RUN --onnx FILE`: a trained network for other runtimes.

use super::Outcome;
use super::lines::print;
use crate::export::{INPUT, IR_VERSION, OPSET, OUTPUT};
use crate::script::{Exported, legend_of};
use crate::space::SavedNetwork;
use crate::{Error, Result};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What scripts save in a run's folder, in the order in which they are looked for.
const SAVED: [&str; 2] = ["best.safetensors", "last.safetensors"];

#[derive(clap::Args)]
pub struct Arguments {
    /// A run's folder (its best weights are taken, else its last), or a file that `net.save` wrote.
    run: PathBuf,
    /// The ONNX file to write.
    #[arg(long, value_name = "FILE")]
    onnx: PathBuf,
    /// Merge batch norms into the convolution before them; the others stay nodes.
    #[arg(long)]
    fold_norms: bool,
    /// Normalise inside the network: its input is then pixels from 0 to 1.
    #[arg(long)]
    normalise: bool,
}

pub fn export(arguments: Arguments) -> Outcome {
    let Arguments { run, onnx, fold_norms, normalise } = arguments;
    let from = saved_in(&run)?;
    check_target(&onnx, &from)?;
    let saved = SavedNetwork::read(&from)?;
    let network = &saved.network;
    let legend = legend_of(network);
    let exported = Exported { network, legend: &legend, about: &saved.about, fold_norms, normalise };
    let size = exported.write(&onnx)?;
    let mut told = format!("{}: {size} bytes, opset {OPSET}, IR version {IR_VERSION}\n", onnx.display());
    let _ = writeln!(told, "from {}", from.display());
    if let Some(recipe) = network.recipe() {
        let _ = writeln!(told, "{recipe}");
    }
    let shape = network.graph().shape(network.graph().input());
    let scale = match normalise {
        true => "pixels from 0 to 1".to_string(),
        false => format!("pixels from 0 to 1, less {:?}, divided by {:?}", legend.mean, legend.std),
    };
    let _ = writeln!(told, "input {INPUT}: batch × {} × {} × {}, {scale}", shape.channels, shape.height, shape.width);
    let _ = writeln!(told, "output {OUTPUT}: batch × {}", network.classes());
    print(&told)?;
    if network.graph().noise_count() > 0 {
        eprintln!("note: the genotype holds noise, so the logits differ from run to run, and not every runtime has it");
    }
    Ok(())
}

/// The saved network that `run` means: the file itself, or the best or else the last of a run's folder.
fn saved_in(run: &Path) -> Result<PathBuf> {
    if run.is_file() {
        return Ok(run.to_path_buf());
    }
    if !run.is_dir() {
        return Err(not_there(run));
    }
    if let Some(found) = SAVED.map(|name| run.join(name)).into_iter().find(|path| path.is_file()) {
        return Ok(found);
    }
    let holds = names(run);
    let others: Vec<&String> = holds.iter().filter(|name| name.ends_with(".safetensors")).collect();
    let error = match &holds[..] {
        [] => Error::user(format!("{} holds no saved network: it is empty", run.display())),
        _ => Error::user(format!("{} holds no saved network, only {}", run.display(), shortened(&holds))),
    };
    Err(match others[..] {
        [first, ..] => error.hint(format!("if one of them is a saved network, name it: {}", run.join(first).display())),
        [] => error.hint(
            "`net.save(\"best.safetensors\")` in a script keeps a network in its run's folder; scripts/train.rhai does \
             so whenever the accuracy is the best so far",
        ),
    })
}

/// The error for a run that does not exist, with the one that was probably meant.
fn not_there(run: &Path) -> Error {
    let error = Error::user(format!("there is no run folder or file {}", run.display()));
    let runs = Path::new("runs");
    if run.is_relative() && runs.join(run).exists() {
        return error.hint(format!("did you mean {}?", runs.join(run).display()));
    }
    let folder = run.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(runs);
    let name = run.file_name().unwrap_or_default().to_string_lossy();
    let known = names(folder);
    match crate::error::closest(&name, known.iter().map(String::as_str)) {
        Some(close) => error.hint(format!("did you mean {}?", folder.join(close).display())),
        None => error.hint("name a run's folder, for example runs/train, or a file that `net.save` wrote"),
    }
}

/// What a folder holds, sorted; nothing where it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = folder.read_dir() else { return vec![] };
    let mut names: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The first few names, and how many there are besides.
fn shortened(names: &[String]) -> String {
    const MOST: usize = 8;
    match names.len() > MOST {
        true => format!("{} and {} more", names[..MOST].join(", "), names.len() - MOST),
        false => names.join(", "),
    }
}

/// Checks, before the work begins, that `onnx` is a place for a file and not the network's own.
fn check_target(onnx: &Path, from: &Path) -> Result<()> {
    let refused = |why: &str, hint: &str| Err(Error::user(format!("{} {why}", onnx.display())).hint(hint));
    let example = "name a file, for example --onnx network.onnx";
    if onnx.file_name().is_none() {
        return refused("names no file", example);
    }
    let folder = onnx.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return refused("cannot be written: there is no such folder", &format!("make {} first", folder.display()));
    }
    match onnx.metadata() {
        Ok(found) if found.is_dir() => refused("is a folder", example),
        // A rename would put the file in a device's place.
        Ok(found) if !found.is_file() => refused("is not a file that can be replaced", example),
        Ok(_) if onnx.canonicalize().ok() == from.canonicalize().ok() => {
            refused("is the saved network itself", "write the ONNX file beside it, under another name")
        }
        _ => Ok(()),
    }
}
