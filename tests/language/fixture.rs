//! `scripts/rnn_fixture.rhai` holds the recurrent engine and the second-order gradient against reference values of
//! another program, at the first try.

use crate::binary::{Ended, command, finish};
use crate::scripts::shipped;
use crate::shared::reference;
use std::path::Path;

fn compare(file: &Path, arguments: &[&str]) -> Ended {
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = command(folder.path());
    run.arg("run").arg(shipped("rnn_fixture.rhai")).args(["--threads", "2"]);
    run.arg("--set").arg(format!("file={}", file.display())).args(arguments);
    finish(&mut run)
}

#[test]
fn the_recurrent_fixture_agrees_in_both_precisions() {
    let Some(file) = reference("fixtures/rnn-h8-n4.safetensors") else { return };
    for arguments in [&["--precision", "f64"][..], &[]] {
        let ended = compare(&file, arguments);
        ended.shows(0, &[]);
        let lines: Vec<serde_json::Value> =
            ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        for name in
            ["loss", "hidden", "grad.embedding", "grad.w0", "grad.ws.3", "grad.alpha", "order1.alpha", "order2.alpha"]
        {
            let line =
                lines.iter().find(|line| line["quantity"] == name).unwrap_or_else(|| panic!("no line for {name}"));
            assert!(line["error"].as_f64() <= line["tolerance"].as_f64(), "{line}");
        }
    }
}

#[test]
fn a_wrong_reference_is_refused() {
    let Some(file) = reference("fixtures/rnn-h8-n4.safetensors") else { return };
    let bytes = std::fs::read(&file).expect("the fixture can be read");
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("it has a header");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("it is whole");
    let alpha = tensors.tensor("order2.alpha").expect("it is there");
    let off: Vec<u8> = alpha
        .data()
        .chunks_exact(4)
        .flat_map(|b| (f32::from_le_bytes([b[0], b[1], b[2], b[3]]) * 1.001).to_le_bytes())
        .collect();
    let views = tensors.iter().map(|(name, view)| match name {
        "order2.alpha" => {
            let shape = alpha.shape().to_vec();
            (name, safetensors::tensor::TensorView::new(alpha.dtype(), shape, &off).expect("the shape is the old one"))
        }
        _ => (name, view),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("wrong.safetensors");
    safetensors::serialize_to_file(views, header.metadata().clone(), &wrong).expect("it can be written");
    compare(&wrong, &["--precision", "f64"]).shows(1, &["past tolerance", "order2.alpha"]);
}
