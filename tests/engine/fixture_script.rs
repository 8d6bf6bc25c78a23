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

const QUANTITIES: [&str; 9] = [
    "logits",
    "loss",
    "grad.alpha_normal",
    "grad.alpha_reduce",
    "grad of all weights",
    "order1.alpha_normal",
    "order1.alpha_reduce",
    "order2.alpha_normal",
    "order2.alpha_reduce",
];

#[test]
fn in_double_precision_every_quantity_agrees_at_once() {
    for file in [Some(small()), large()].into_iter().flatten() {
        let lines = lines(&compare(&file, &["--precision", "f64"]));
        let each = &lines["grad of each weight"];
        assert!(each["weights"].as_u64().is_some_and(|weights| weights > 100), "{each}");
        assert!(each["unexplained"].as_f64().is_some_and(|error| error <= 1e-6), "{each}");
        for name in QUANTITIES {
            let most = if name.starts_with("order2") { 1e-4 } else { 1e-6 };
            assert!(lines[name]["error"].as_f64().is_some_and(|error| error <= most), "{name} in {lines:?}");
            assert!(lines[name].get("kinks").is_none(), "nothing has to be explained: {lines:?}");
        }
    }
}

/// An error past its tolerance comes with the kinks that explain it, and without them it is within.
#[track_caller]
fn explained(line: &Value) {
    let number = |key: &str| line.get(key).and_then(Value::as_f64);
    let (Some(error), Some(tolerance)) = (number("error"), number("tolerance")) else { return };
    if number("formula").is_some() {
        // Second order: its passes have lines of their own.
        return;
    }
    if error > tolerance {
        let kinks = number("kinks").expect("a count of kinks");
        assert!(kinks > 0.0 && kinks <= number("near").expect("how many are near"), "{line}");
        assert!(number("unexplained").expect("what is left") <= tolerance, "{line}");
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
            let passes = lines.keys().filter(|name| name.starts_with("order2, ")).count();
            assert_eq!(passes, 9, "three passes, each for weights and both alphas: {lines:?}");
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
    for name in ["logits", "loss", "grad.head.weight", "order1.alpha_reduce"] {
        changed(&small(), name, 1.01, &wrong);
        compare(&wrong, &[]).shows(1, &["past tolerance", &format!("{name}: ")]);
    }
    // In double precision a hundredth of that is seen; second order in single precision is held pass by pass instead.
    for (name, factor) in [("grad.stem.0.weight", 1.0001), ("order2.alpha_normal", 1.001)] {
        changed(&small(), name, factor, &wrong);
        compare(&wrong, &["--precision", "f64"]).shows(1, &["past tolerance", &format!("{name}: ")]);
    }
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
