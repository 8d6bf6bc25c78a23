//! `--device`: what cannot run where it was asked to says so at once.

use std::process::{Command, Stdio};

fn run_on(device: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("s.rhai"), "print(zeros([2]));").expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_candlewick"))
        .args(["run", "s.rhai", "--device", device])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_number_that_no_device_can_have_is_refused() {
    for device in ["cuda:", "cuda:x", "cuda:-1", "cuda:4294967296"] {
        let (code, page) = run_on(device);
        assert_eq!(code, Some(2), "{device}: {page}");
        assert!(page.contains("is no device number"), "{device}: {page}");
    }
}

#[test]
fn a_device_that_is_not_there_is_refused_with_a_page() {
    // No machine has this one, with CUDA or without.
    let (code, page) = run_on("cuda:9999");
    assert_eq!(code, Some(2), "{page}");
    assert!(page.starts_with("error: ") && page.contains("--device cpu") && !page.contains("panicked"), "{page}");
}

/// Without the feature candle's CUDA device is an empty stand-in, which any machine can make.
#[cfg(not(feature = "cuda"))]
#[test]
fn networks_are_refused_where_they_are_made_on_a_cuda_device() {
    use candle_core::Device;
    use candlewick::script::{self, Host, Script, Setup};
    let images = "#{ channels: 1, size: 8, classes: 10 }";
    for script in [
        format!("let net = supernet({images}, #{{ channels: 2, layers: 3, nodes: 1 }});\nnet.forward(());"),
        format!("let net = network({images}, |g, x| g.linear(g.global_pool(x), 10));\nnet.forward(());"),
    ] {
        let setup = Setup { device: Device::Cuda(candle_core::CudaDevice), ..Setup::default() };
        let run = || Script::compile(Host::new(setup), script.clone())?.run();
        let page = script::on_script_thread(run).expect("the thread runs").expect_err("it is refused");
        assert_eq!(page.exit_code(), 2);
        let page = page.render(false);
        for text in ["networks run on the processor only", "script.rhai:1:11", "hint: run with --device cpu"] {
            assert!(page.contains(text), "no {text:?} in:\n{page}");
        }
    }
}
