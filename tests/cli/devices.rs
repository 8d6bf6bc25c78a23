//! `--device` and `candlewick devices`: what cannot run where it was asked to says so at once, and what is missing is
//! named. Drivers that are not there are made by the C compiler.

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
    ended.shows(2, &["hint: "]);
    assert!(ended.stderr.starts_with("error: ") && !ended.stderr.contains("panicked"), "{}", ended.stderr);
}

/// A build that links the driver's library finds it before the program starts; the others look for it when asked.
#[cfg(all(feature = "gpu", not(feature = "cuda"), target_os = "linux"))]
mod drivers {
    use crate::binary::{Ended, command, finish, folder_with};
    use crate::require::skipped;
    use std::path::Path;
    use std::process::Command;

    /// A folder with a script and a library that the loader takes for the driver's. None without a C compiler.
    fn machine(defines: &[&str]) -> Option<tempfile::TempDir> {
        let folder = folder_with("print(zeros([2]));");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/fake_driver.c");
        let mut compiler = Command::new(std::env::var("CC").unwrap_or("cc".into()));
        compiler.args(["-shared", "-fPIC", "-w"]).args(defines.iter().map(|define| format!("-D{define}")));
        let status = compiler.arg("-o").arg(folder.path().join("libcuda.so")).arg(source).status();
        match status {
            Ok(status) => {
                assert!(status.success(), "the stand-in compiles");
                Some(folder)
            }
            Err(error) => {
                skipped(&format!("there is no C compiler: {error}"));
                None
            }
        }
    }

    fn on(folder: &Path, arguments: &[&str]) -> Ended {
        finish(command(folder).env("LD_LIBRARY_PATH", folder).args(arguments))
    }

    fn run_on(folder: &Path, device: &str) -> Ended {
        on(folder, &["run", "s.rhai", "--device", device])
    }

    #[track_caller]
    fn refused(ended: &Ended, texts: &[&str]) {
        ended.shows(2, texts);
        ended.shows(2, &["--device cpu always works"]);
        assert!(ended.stderr.starts_with("error: ") && !ended.stderr.contains("panicked"), "{}", ended.stderr);
    }

    #[test]
    fn no_driver_is_a_page() {
        let folder = folder_with("print(zeros([2]));");
        // In the way of a driver that this machine may have.
        let missing = on(folder.path(), &["devices"]);
        if !missing.stdout.contains("no NVIDIA driver") {
            return skipped("this machine has a driver");
        }
        missing.shows(0, &[]);
        refused(&run_on(folder.path(), "cuda"), &["there is no NVIDIA driver", "libcuda", "525"]);
    }

    #[test]
    fn a_driver_that_lacks_functions_is_a_page() {
        let Some(folder) = machine(&["ONLY_INIT"]) else { return };
        refused(&run_on(folder.path(), "cuda"), &["too old", "lacks cuDriverGetVersion", "525"]);
        let listed = on(folder.path(), &["devices"]);
        listed.shows(0, &[]);
        assert!(listed.stdout.contains("lacks cuDriverGetVersion"), "{}", listed.stdout);
    }

    #[test]
    fn a_driver_that_is_too_old_is_a_page() {
        let Some(folder) = machine(&["VERSION=11080"]) else { return };
        refused(&run_on(folder.path(), "cuda"), &["too old", "knows CUDA 11.8", "12.0 is needed"]);
    }

    #[test]
    fn a_driver_that_does_not_answer_is_a_page() {
        let Some(folder) = machine(&["SILENT"]) else { return };
        refused(&run_on(folder.path(), "cuda"), &["the NVIDIA driver cannot be used", "unknown error", "nvidia-smi"]);
    }

    #[test]
    fn no_gpu_is_a_page() {
        let Some(folder) = machine(&["GPUS=0"]) else { return };
        refused(&run_on(folder.path(), "cuda"), &["there is no cuda:0", "finds no NVIDIA GPU"]);
        let listed = on(folder.path(), &["devices"]);
        listed.shows(0, &[]);
        assert!(listed.stdout.contains("finds no NVIDIA GPU"), "{}", listed.stdout);
    }

    #[test]
    fn a_number_past_the_last_gpu_is_a_page() {
        let Some(folder) = machine(&[]) else { return };
        let texts = ["there is no cuda:7", "2 GPUs, cuda:0 and cuda:1", "candlewick devices"];
        run_on(folder.path(), "cuda:7").shows(2, &texts);
    }

    #[test]
    fn a_gpu_that_is_too_old_is_a_page() {
        let Some(folder) = machine(&["MAJOR=6"]) else { return };
        refused(&run_on(folder.path(), "cuda"), &["cuda:0 (Stand-in)", "6.0", "8.0 is needed"]);
    }

    #[test]
    fn devices_are_listed_with_name_memory_and_driver() {
        let Some(folder) = machine(&[]) else { return };
        let listed = on(folder.path(), &["devices"]);
        listed.shows(0, &[]);
        let rows: Vec<serde_json::Value> =
            listed.stdout.lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect();
        let [cpu, first, second] = &rows[..] else { panic!("three devices, not {}", listed.stdout) };
        assert!(cpu["device"] == "cpu" && cpu["usable"] == true, "{cpu}");
        for (number, gpu) in [first, second].into_iter().enumerate() {
            assert_eq!(gpu["device"], format!("cuda:{number}"));
            assert_eq!((&gpu["name"], &gpu["driver"]), (&"Stand-in".into(), &"CUDA 12.4".into()));
            assert_eq!((gpu["memory"].as_u64(), &gpu["usable"]), (Some(80 << 30), &true.into()));
        }
    }
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
