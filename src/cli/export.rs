//! `candlewick export RUN --onnx FILE`: a trained network for other runtimes.

use super::Outcome;
use super::lines::print;
use crate::error::tell;
use crate::export::recurrent::{LOG_PROBABILITIES, WORDS, state_after, state_before};
use crate::export::{INPUT, IR_VERSION, OPSET, OUTPUT};
use crate::script::{Exported, ExportedLanguage, PICTURES, legend_of};
use crate::space::SavedNetwork;
use crate::space::recurrent::SavedLanguage;
use crate::{Error, Result};
use anyhow::bail;
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
    /// Time steps of every window of a language model, for runtimes that need to know; by default each run chooses.
    #[arg(long, value_name = "STEPS")]
    length: Option<usize>,
}

pub fn export(arguments: Arguments) -> Outcome {
    let from = saved_in(&arguments.run)?;
    check_target(&arguments.onnx, &from)?;
    match SavedLanguage::is_one(&from)? {
        true => export_language(&arguments, &from),
        false => export_network(&arguments, &from),
    }
}

fn export_network(arguments: &Arguments, from: &Path) -> Outcome {
    let &Arguments { ref onnx, fold_norms, normalise, length, .. } = arguments;
    if length.is_some() {
        bail!(of_the_other_kind("--length", "language models", from, "a network of images"));
    }
    let saved = SavedNetwork::read(from)?;
    let network = &saved.network;
    let legend = legend_of(network);
    let exported = Exported { network, legend: &legend, about: &saved.about, fold_norms, normalise };
    let mut told = written(onnx, exported.write(onnx)?, from);
    if let Some(recipe) = network.recipe() {
        let _ = writeln!(told, "{recipe}");
    }
    let shape = network.graph().shape(network.graph().input());
    let scale = match normalise {
        true => "pixels from 0 to 1".to_string(),
        false => format!("pixels from 0 to 1, less {:?}, divided by {:?}", legend.mean, legend.std),
    };
    let _ = writeln!(told, "input {INPUT}: batch × {} × {} × {}, {scale}", shape.channels, shape.height, shape.width);
    let _ = writeln!(told, "pictures: {PICTURES}; background {:?}", legend.background);
    let _ = writeln!(told, "output {OUTPUT}: batch × {}", network.classes());
    print(&told)?;
    if network.graph().noise_count() > 0 {
        tell("note: the genotype holds noise, so the logits differ from run to run, and not every runtime has it");
    }
    Ok(())
}

fn export_language(arguments: &Arguments, from: &Path) -> Outcome {
    let &Arguments { ref onnx, fold_norms, normalise, length, .. } = arguments;
    for (given, option) in [(fold_norms, "--fold-norms"), (normalise, "--normalise")] {
        if given {
            bail!(of_the_other_kind(option, "networks of images", from, "a language model"));
        }
    }
    let saved = SavedLanguage::read(from)?;
    let model = &saved.model;
    let exported = ExportedLanguage { model, words: model.words(), length, about: &saved.about };
    let mut told = written(onnx, exported.write(onnx)?, from);
    let _ = writeln!(told, "{}", model.recipe());
    let time = length.map_or("time".to_string(), |length| length.to_string());
    let vocabulary = model.recipe().vocabulary;
    let known = match model.words() {
        Some(_) => "ids, whose words the metadata list",
        None => "ids",
    };
    let _ = writeln!(told, "input {WORDS}: {time} × batch, {known}");
    let mut states = vec![];
    for (layer, parts) in model.parts()?.iter().enumerate() {
        states.extend(parts.graph.states().iter().map(|state| (layer, state.name.clone(), state.width)));
    }
    for (layer, name, width) in &states {
        let _ = writeln!(told, "input {}: batch × {width}, zeros where a text begins", state_before(*layer, name));
    }
    let _ = writeln!(told, "output {LOG_PROBABILITIES}: {time} × batch × {vocabulary}");
    for (layer, name, width) in &states {
        let _ = writeln!(told, "output {}: batch × {width}", state_after(*layer, name));
    }
    print(&told)
}

/// What is told first of a file that was written.
fn written(onnx: &Path, size: usize, from: &Path) -> String {
    format!("{}: {size} bytes, opset {OPSET}, IR version {IR_VERSION}\nfrom {}\n", onnx.display(), from.display())
}

/// The error for an option that the saved network has no use for.
fn of_the_other_kind(option: &str, kind: &str, from: &Path, holds: &str) -> Error {
    Error::user(format!("{option} is for {kind}; {} holds {holds}", from.display())).hint("leave it out")
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
