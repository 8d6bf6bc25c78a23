//! `scripts/fixture.rhai` holds the engine against reference values: it accepts the right ones on every instruction
//! set, and only those.

use crate::binary::{Ended, command, finish};
use crate::scripts::shipped;
use crate::shared::reference;
use crate::simd::simd_paths;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::Path;

fn compare(file: &Path, simd: &str, threads: &str, parameters: &[&str]) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    let script = shipped("fixture.rhai");
    let mut run = command(folder.path());
    run.env("CANDLEWICK_SIMD", simd).arg("run").arg(script).args(["--threads", threads]);
    run.arg("--set").arg(format!("file={}", file.display()));
    parameters.iter().for_each(|parameter| _ = run.args(["--set", parameter]));
    finish(&mut run)
}

fn small() -> Option<std::path::PathBuf> {
    reference("fixtures/cnn-c4-l3-n2.safetensors")
}

#[track_caller]
fn agrees(file: &Path, simd: &str, threads: &str) {
    let ended = compare(file, simd, threads, &[]);
    ended.shows(0, &[]);
    let [line] = ended.stdout.lines().collect::<Vec<_>>()[..] else { panic!("not one line: {}", ended.stdout) };
    let report: Value = serde_json::from_str(line).expect("the line is JSON");
    assert!(report["weights"].as_u64().is_some_and(|weights| weights > 100), "{line}");
    for name in ["logits", "loss", "order1.alpha_normal", "order1.alpha_reduce", "worst_weight_error"] {
        assert!(report[name].as_f64().is_some_and(|error| error <= 1e-4), "{name} in {line}");
    }
    for name in ["order2.alpha_normal", "order2.alpha_reduce"] {
        assert!(report[name].as_f64().is_some_and(|error| error <= 2e-2), "{name} in {line}");
    }
}

#[test]
fn the_small_fixture_agrees() {
    let Some(file) = small() else { return };
    for simd in simd_paths() {
        agrees(&file, simd, "1");
        agrees(&file, simd, "2");
    }
}

#[test]
fn the_large_fixture_agrees() {
    let Some(file) = reference("fixtures/cnn-c8-l6-n4.safetensors") else { return };
    for simd in simd_paths() {
        agrees(&file, simd, "1");
        agrees(&file, simd, "2");
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
    let Some(file) = small() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("wrong.safetensors");
    // The second order's tolerance is two percent.
    let changes = [
        ("logits", 1.01),
        ("loss", 1.01),
        ("grad.head.weight", 1.01),
        ("order1.alpha_reduce", 1.01),
        ("order2.alpha_normal", 1.03),
    ];
    for (name, factor) in changes {
        changed(&file, name, factor, &wrong);
        let ended = compare(&wrong, "portable", "1", &["tries=2"]);
        ended.shows(1, &["past tolerance", &format!("{name}: ")]);
    }
}

#[test]
fn a_fixture_of_something_else_is_told_what_it_lacks() {
    let ended = compare(Path::new(""), "portable", "1", &[]);
    ended.shows(1, &["give the fixture: --set file=FILE.safetensors", "fixture.rhai:"]);
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty.safetensors");
    std::fs::write(&empty, "{}").expect("written");
    compare(&empty, "portable", "1", &[]).shows(2, &["is not a safetensors file", "load_tensors(file)"]);
}
