//! Runs ONNX files in onnxruntime.
//!
//! The first test makes a Python environment with onnxruntime below `target/tmp` and later ones find it there. Where
//! that fails (no Python, no network) the tests are skipped, or fail with `CANDLEWICK_REQUIRE=1`.

use candle_core::{DType, Tensor};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const PACKAGES: [&str; 3] = ["onnxruntime", "numpy", "onnx"];

/// A file, and what it is run on.
pub struct Session {
    pub file: Vec<u8>,
    pub runs: Vec<Run>,
}

/// Inputs by name, and the shapes of the outputs by name; all outputs are floats.
pub struct Run {
    pub inputs: Vec<(String, Tensor)>,
    pub outputs: Vec<(String, Vec<usize>)>,
}

/// The outputs of a run, by name, row-major.
pub type Outputs = HashMap<String, Vec<f32>>;

/// What onnxruntime makes of each file, run by run, after ONNX's own checker has passed it; none where there is no
/// onnxruntime.
pub fn run(sessions: &[Session]) -> Option<Vec<Vec<Outputs>>> {
    let python = python()?;
    let folder = tempfile::tempdir().unwrap();
    let mut files = 0;
    let mut next = || {
        files += 1;
        folder.path().join(files.to_string())
    };
    let (mut listed, mut expected) = (vec![], vec![]);
    for Session { file, runs } in sessions {
        let model = next();
        std::fs::write(&model, file).unwrap();
        let (mut list, mut outputs) = (vec![], vec![]);
        for run in runs {
            let inputs: Map<String, Value> =
                run.inputs.iter().map(|(name, x)| (name.clone(), input(x, next()))).collect();
            let places: Vec<(String, PathBuf)> = run.outputs.iter().map(|(name, _)| (name.clone(), next())).collect();
            let output = |((name, shape), (_, path)): (&(String, Vec<usize>), &(String, PathBuf))| {
                (name.clone(), json!({ "file": path, "shape": shape }))
            };
            let outputs_of_run: Map<String, Value> = run.outputs.iter().zip(&places).map(output).collect();
            list.push(json!({ "inputs": inputs, "outputs": outputs_of_run }));
            outputs.push(places);
        }
        listed.push(json!({ "model": model, "runs": list }));
        expected.push(outputs);
    }
    let list = folder.path().join("list.json");
    std::fs::write(&list, json!(listed).to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export/run.py");
    finish(Command::new(python).arg(script).arg(&list)).unwrap();
    let read = |places: Vec<(String, PathBuf)>| places.into_iter().map(|(name, path)| (name, floats(&path))).collect();
    Some(expected.into_iter().map(|runs| runs.into_iter().map(read).collect()).collect())
}

/// Writes an input; gives its entry in the list.
fn input(x: &Tensor, path: PathBuf) -> Value {
    let flat = x.flatten_all().unwrap();
    let (bytes, kind): (Vec<u8>, &str) = match x.dtype() {
        DType::I64 => (flat.to_vec1::<i64>().unwrap().into_iter().flat_map(i64::to_le_bytes).collect(), "<i8"),
        _ => (values(&flat).into_iter().flat_map(f32::to_le_bytes).collect(), "<f4"),
    };
    std::fs::write(&path, bytes).unwrap();
    json!({ "file": path, "shape": x.dims(), "type": kind })
}

fn floats(path: &Path) -> Vec<f32> {
    std::fs::read(path).unwrap().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

pub fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Checks that outputs agree to 1e-5 of the largest, which it gives.
#[track_caller]
pub fn close(name: &str, expected: &[f32], got: &[f32]) -> f32 {
    assert_eq!(expected.len(), got.len(), "{name}");
    let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let error = expected.iter().zip(got).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(error <= 1e-5 * largest, "{name}: off by {error:e} at values up to {largest}");
    largest
}

/// A Python that knows onnxruntime.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match PYTHON.get_or_init(|| environment(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("onnxruntime"))) {
        Ok(python) => Some(python),
        Err(reason) => {
            crate::require::skipped(&format!("there is no onnxruntime to compare with: {reason}"));
            None
        }
    }
}

fn environment(folder: &Path) -> Result<PathBuf, String> {
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    // Written last, so an unfinished environment is replaced.
    let ready = folder.join("ready");
    if ready.exists() {
        return Ok(python);
    }
    let _ = std::fs::remove_dir_all(folder);
    finish(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "0", "--timeout", "10"];
    finish(Command::new(&python).args(pip).args(PACKAGES))?;
    std::fs::write(&ready, PACKAGES.join(" ")).map_err(|error| error.to_string())?;
    Ok(python)
}

fn finish(command: &mut Command) -> Result<(), String> {
    let ended = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let told = String::from_utf8_lossy(&ended.stderr);
    match ended.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", told.trim_end())),
    }
}
