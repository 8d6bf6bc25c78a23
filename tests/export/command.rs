//! `candlewick export` as a user meets it.

use super::networks::{cifar, discrete};
use crate::binary::candlewick;
use candlewick::export::proto::{GraphProto, ModelProto};
use candlewick::space::{DiscreteOptions, Legend, Network, SavedNetwork};
use prost::Message;
use serde_json::{Map, Value, json};
use std::path::Path;

/// A folder with a run in `runs/train`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("runs/train");
    std::fs::create_dir_all(run.join("plots")).unwrap();
    std::fs::write(run.join("journal.jsonl"), "").unwrap();
    folder
}

fn legend() -> Legend {
    let classes = (0..10).map(|class| format!("kind \"{class}\"")).collect();
    Legend { classes, mean: vec![0.5, 0.25, 0.125], std: vec![0.25, 0.5, 0.75], background: [0, 0, 9] }
}

fn save(network: &Network, path: &Path) {
    let about: Map<String, Value> = json!({ "epoch": 3 }).as_object().unwrap().clone();
    SavedNetwork::write(path, network, &legend(), &about).unwrap();
}

fn network() -> Network {
    discrete("DARTS_V2", &DiscreteOptions { channels: 4, layers: 3, auxiliary: true, ..cifar() })
}

fn model(path: &Path) -> ModelProto {
    ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap()
}

fn constant(graph: &GraphProto, name: &str) -> Vec<u8> {
    graph.initializer.iter().find(|tensor| tensor.name == name).unwrap().raw_data.clone()
}

#[test]
fn a_run_s_best_network_is_written_with_what_a_reader_needs() {
    let folder = folder();
    let at = |path: &str| folder.path().join(path);
    let best = network();
    save(&best, &at("runs/train/best.safetensors"));
    let flat = best.weights().detached();
    best.set_weights(&(flat * 2.0).unwrap()).unwrap();
    save(&best, &at("runs/train/last.safetensors"));

    let ended = candlewick(folder.path(), &["export", "runs/train", "--onnx", "best.onnx"]);
    ended.shows(0, &[]);
    let sizes = ["batch × 3 × 32 × 32", "batch × 10"];
    for text in
        ["best.onnx", "runs/train/best.safetensors", "DARTS_V2", "[0.5, 0.25", "[0, 0, 9]"].into_iter().chain(sizes)
    {
        assert!(ended.stdout.contains(text), "no {text:?} in {}", ended.stdout);
    }
    let written = model(&at("best.onnx"));
    let entries: Vec<(&str, &str)> =
        written.metadata_props.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
    let about = |key: &str| entries.iter().find(|(known, _)| *known == key).map(|(_, value)| *value).unwrap();
    assert!(about("genotype").starts_with("Genotype(normal=[('sep_conv_3x3', 0)"));
    assert_eq!(serde_json::from_str::<Vec<String>>(about("classes")).unwrap(), legend().classes);
    assert_eq!((about("mean"), about("std")), ("[0.5,0.25,0.125]", "[0.25,0.5,0.75]"));
    assert_eq!((about("candlewick_version"), about("about")), (env!("CARGO_PKG_VERSION"), "{\"epoch\":3}"));
    assert!(about("input").contains("less mean"));
    assert_eq!(about("background"), "[0,0,9]");
    assert!(about("pictures").contains("upright by their orientation tag"));

    // A file by its name; the best of a run comes before the last.
    candlewick(folder.path(), &["export", "runs/train/last.safetensors", "--onnx", "last.onnx"]).shows(0, &[]);
    let [best, last] = ["best.onnx", "last.onnx"].map(|path| model(&at(path)).graph.unwrap());
    assert_ne!(constant(&best, "stem.0.weight"), constant(&last, "stem.0.weight"));
    std::fs::remove_file(at("runs/train/best.safetensors")).unwrap();
    candlewick(folder.path(), &["export", "runs/train", "--onnx", "again.onnx"]).shows(0, &[]);
    let again = model(&at("again.onnx")).graph.unwrap();
    assert_eq!(constant(&again, "stem.0.weight"), constant(&last, "stem.0.weight"));
}

#[test]
fn folding_and_normalising_are_asked_for_by_name_and_a_file_is_replaced_whole() {
    let folder = folder();
    save(&network(), &folder.path().join("net.safetensors"));
    let path = folder.path().join("net.onnx");
    std::fs::write(&path, "something else").unwrap();
    candlewick(folder.path(), &["export", "net.safetensors", "--onnx", "net.onnx"]).shows(0, &[]);
    let plain = model(&path).graph.unwrap();
    let ended =
        candlewick(folder.path(), &["export", "net.safetensors", "--onnx", "net.onnx", "--fold-norms", "--normalise"]);
    ended.shows(0, &[]);
    assert!(ended.stdout.contains("pixels from 0 to 1\n"), "{}", ended.stdout);
    let written = model(&path);
    assert!(written.metadata_props.iter().any(|entry| entry.key == "input" && entry.value.contains("the graph")));
    let other = written.graph.unwrap();
    let norms = |graph: &GraphProto| graph.node.iter().filter(|node| node.op_type == "BatchNormalization").count();
    assert!(norms(&plain) > 0);
    assert_eq!(norms(&other), 0);
    assert_eq!(other.node[0].op_type, "Sub");
    assert_eq!((&other.node[1].op_type[..], &other.node[1].output[..]), ("Div", &["normalise".to_string()][..]));
    let mut names: Vec<_> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["net.onnx", "net.safetensors", "runs"], "nothing is left beside the file");
}

#[test]
fn runs_that_cannot_be_exported_say_what_is_there_and_what_would_help() {
    let folder = folder();
    let export = |run: &str| candlewick(folder.path(), &["export", run, "--onnx", "net.onnx"]);
    export("runs/train").shows(2, &["holds no saved network, only journal.jsonl, plots", "net.save(", "train.rhai"]);
    export("train").shows(2, &["there is no run folder or file train", "did you mean runs/train?"]);
    export("runs/trian").shows(2, &["runs/trian", "did you mean runs/train?"]);
    export("nowhere/at/all").shows(2, &["nowhere/at/all", "net.save"]);
    std::fs::create_dir(folder.path().join("runs/bare")).unwrap();
    export("runs/bare").shows(2, &["it is empty"]);
    export("runs/train/journal.jsonl").shows(2, &["journal.jsonl is not a saved network"]);
    std::fs::write(folder.path().join("runs/train/mine.safetensors"), "").unwrap();
    export("runs/train").shows(2, &["mine.safetensors", "name it: runs/train/mine.safetensors"]);
    assert!(!folder.path().join("net.onnx").exists());
    candlewick(folder.path(), &["export", "runs/train"]).shows(2, &["--onnx"]);
}

#[test]
fn files_that_cannot_be_written_are_told_and_what_stood_there_stays() {
    let folder = folder();
    let saved = folder.path().join("net.safetensors");
    save(&network(), &saved);
    let before = std::fs::read(&saved).unwrap();
    let export = |onnx: &str| candlewick(folder.path(), &["export", "net.safetensors", "--onnx", onnx]);
    export("runs").shows(2, &["runs is a folder", "network.onnx"]);
    export("models/net.onnx").shows(2, &["models/net.onnx", "no such folder", "make models first"]);
    export("./net.safetensors").shows(2, &["is the saved network itself"]);
    export("").shows(2, &["--onnx"]);
    if cfg!(target_os = "linux") {
        export("/dev/null").shows(2, &["/dev/null is not a file that can be replaced"]);
        export("/proc/net.onnx").shows(2, &["/proc/net.onnx"]);
    }
    assert!(std::fs::read(&saved).unwrap() == before);
}
