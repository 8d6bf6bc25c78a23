//! `scripts/fixture.rhai` holds the engine against reference values: it accepts the right ones, in double precision
//! exactly and in single precision on every instruction set but for kinks that it names, and only those.

use crate::binary::{Ended, command, finish};
use crate::scripts::shipped;
use crate::shared::reference;
use crate::simd::simd_paths;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn compare(file: &Path, arguments: &[&str]) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = command(folder.path());
    run.arg("run").arg(shipped("fixture.rhai")).args(["--threads", "2"]);
    run.arg("--set").arg(format!("file={}", file.display())).args(arguments);
    finish(&mut run)
}

fn small() -> PathBuf {
    reference("fixtures/cnn-c4-l3-n2.safetensors").expect("it is in the repository")
}

fn large() -> Option<PathBuf> {
    reference("fixtures/cnn-c8-l6-n4.safetensors")
}

/// The lines of a comparison that passed, by quantity.
#[track_caller]
fn lines(ended: &Ended) -> HashMap<String, Value> {
    ended.shows(0, &[]);
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("every line is JSON");
        (value["quantity"].as_str().expect("a line names its quantity").to_string(), value)
    };
    ended.stdout.lines().map(line).collect()
}

const QUANTITIES: [&str; 8] = [
    "logits",
    "loss",
    "grad.alpha_normal",
    "grad.alpha_reduce",
    "order1.alpha_normal",
    "order1.alpha_reduce",
    "order2.alpha_normal",
    "order2.alpha_reduce",
];

#[test]
fn in_double_precision_every_quantity_agrees_at_once() {
    for file in [Some(small()), large()].into_iter().flatten() {
        let lines = lines(&compare(&file, &["--precision", "f64"]));
        assert!(lines["grad of all weights"]["weights"].as_u64().is_some_and(|weights| weights > 100), "{lines:?}");
        assert_eq!(lines.len(), QUANTITIES.len() + 1, "nothing has to be explained: {lines:?}");
        for name in QUANTITIES.into_iter().chain(["grad of all weights"]) {
            let most = if name.starts_with("order2") { 1e-4 } else { 1e-6 };
            assert!(lines[name]["error"].as_f64().is_some_and(|error| error <= most), "{name} in {lines:?}");
            assert!(lines[name].get("kinks").is_none(), "{name} in {lines:?}");
        }
    }
}

/// An error past its tolerance comes with the kinks that explain it, and they do.
#[track_caller]
fn explained(line: &Value) {
    let number = |key: &str| line.get(key).and_then(Value::as_f64);
    let (Some(error), Some(tolerance)) = (number("error"), number("tolerance")) else { return };
    if error > tolerance {
        let decisions = number("kinks").expect("a count of kinks") + number("windows").expect("a count of windows");
        assert!(decisions > 0.0 && error <= tolerance + number("explained").expect("what they explain"), "{line}");
    }
}

#[test]
fn in_single_precision_what_differs_is_explained_on_every_instruction_set() {
    for simd in simd_paths() {
        for file in [Some(small()), large()].into_iter().flatten() {
            let folder = tempfile::tempdir().expect("a folder");
            let mut run = command(folder.path());
            run.env("CANDLEWICK_SIMD", simd).arg("run").arg(shipped("fixture.rhai")).args(["--threads", "2"]);
            run.arg("--set").arg(format!("file={}", file.display()));
            let lines = lines(&finish(&mut run));
            assert!(QUANTITIES.iter().all(|name| lines.contains_key(*name)), "{simd}: {lines:?}");
            lines.values().for_each(explained);
        }
    }
}

/// A copy of the fixture with one tensor multiplied.
fn changed(file: &Path, name: &str, factor: f32, to: &Path) {
    let bytes = std::fs::read(file).expect("the fixture can be read");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("it has a header");
    let tensors = SafeTensors::deserialize(&bytes).expect("it is whole");
    let tensor = tensors.tensor(name).expect("it has the tensor");
    assert_eq!(tensor.dtype(), Dtype::F32);
    let floats = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let scaled: Vec<u8> = floats.flat_map(|value| (value * factor).to_le_bytes()).collect();
    let views = tensors.iter().map(|(own, view)| match own == name {
        true => (own, TensorView::new(Dtype::F32, tensor.shape().to_vec(), &scaled).expect("the shape is the old one")),
        false => (own, view),
    });
    safetensors::serialize_to_file(views, header.metadata().clone(), to).expect("it can be written");
}

#[test]
fn reference_values_that_are_off_by_a_percent_fail_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("wrong.safetensors");
    // The second order's tolerance in single precision is two percent.
    let changes = [
        ("logits", 1.01),
        ("loss", 1.01),
        ("grad.head.weight", 1.01),
        ("order1.alpha_reduce", 1.01),
        ("order2.alpha_normal", 1.03),
    ];
    for (name, factor) in changes {
        changed(&small(), name, factor, &wrong);
        compare(&wrong, &[]).shows(1, &["past tolerance", &format!("{name}: ")]);
    }
    // In double precision a hundredth of that is seen.
    changed(&small(), "grad.stem.0.weight", 1.0001, &wrong);
    compare(&wrong, &["--precision", "f64"]).shows(1, &["past tolerance", "grad.stem.0.weight: "]);
}

#[test]
fn a_fixture_of_something_else_is_told_what_it_lacks() {
    let ended = compare(Path::new(""), &[]);
    ended.shows(1, &["give the fixture: --set file=FILE.safetensors", "fixture.rhai:"]);
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty.safetensors");
    std::fs::write(&empty, "{}").expect("written");
    compare(&empty, &[]).shows(2, &["is not a safetensors file", "load_tensors(file)"]);
}
