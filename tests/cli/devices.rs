//! `--device`: what cannot run where it was asked to says so at once.

use crate::binary::Ended;
use crate::scripts::run_with;

fn run_on(device: &str) -> Ended {
    run_with("print(zeros([2]));", &["--device", device])
}

#[test]
fn a_number_that_no_device_can_have_is_refused() {
    for device in ["cuda:", "cuda:x", "cuda:-1", "cuda:4294967296"] {
        run_on(device).shows(2, &["is not a device number"]);
    }
}

#[test]
fn a_device_that_is_not_there_is_refused_with_a_page() {
    // No machine has this one, with CUDA or without.
    let ended = run_on("cuda:9999");
    ended.shows(2, &["--device cpu"]);
    assert!(ended.stderr.starts_with("error: ") && !ended.stderr.contains("panicked"), "{}", ended.stderr);
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
