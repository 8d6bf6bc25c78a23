//! The program on a GPU, through a driver's library whose kernels run behind the shim: searches, checkpoints, what does
//! not run, and a device that is lost.

use crate::binary::{Ended, candlewick, command, finish, folder_with};
use crate::shim::driver;
use candlewick::run::{Entry, read};
use serde_json::Value;
use std::path::Path;

/// A small search, all of which runs on the network's device.
const SEARCH: &str = r#"
let data   = images("digits");
let halves = data.train.take(48).split(0.5);
let train  = halves[0].batches(12);
let valid  = halves[1].batches(12);
let net    = supernet(data, #{ channels: 4, layers: 3, nodes: 1 });
let w_opt  = sgd(net.weights, #{ lr: 0.05, momentum: 0.9, clip: 5.0 });
let a_opt  = adam(net.alphas, #{ lr: 1e-2 });
let run = start_run([net, w_opt, a_opt, train, valid]);
for epoch in run.epochs(2) {
    for batch in run.steps(train) {
        a_opt.step(alpha_gradient(net, batch, valid.next(), #{ order: 2, optimizer: w_opt }));
        run.log(#{ train_loss: w_opt.step(weight_gradient(net, batch)) });
    }
    run.log(#{ valid_loss: evaluate(net, data.test.take(12)).loss });
}
"#;

/// Runs the script in a folder, on a device behind the shim.
fn on_device(folder: &Path, library: &Path, device: &str, more: &[&str], fails_after: Option<u32>) -> Ended {
    let mut command = command(folder);
    command.env("LD_LIBRARY_PATH", library.parent().expect("a folder"));
    if let Some(launches) = fails_after {
        command.env("SHIM_FAILS_AFTER", launches.to_string());
    }
    finish(command.args(["run", "s.rhai", "--device", device, "--out", "run", "--threads", "2"]).args(more))
}

fn losses(folder: &Path) -> Vec<f64> {
    let journal: Vec<Entry> = read(&folder.join("run/journal.jsonl")).expect("a journal");
    let number = |entry: &Entry| ["train_loss", "valid_loss"].iter().find_map(|name| entry.get(*name)?.as_f64());
    journal.iter().filter_map(number).collect()
}

#[test]
fn a_search_learns_what_it_learns_on_the_processor() {
    let Some(library) = driver() else { return };
    let (cpu, gpu) = (folder_with(SEARCH), folder_with(SEARCH));
    on_device(cpu.path(), &library, "cpu", &[], None).shows(0, &[]);
    on_device(gpu.path(), &library, "cuda", &[], None).shows(0, &[]);
    let (cpu, on_gpu) = (losses(cpu.path()), losses(gpu.path()));
    assert_eq!((cpu.len(), on_gpu.len()), (6, 6));
    for (cpu, gpu) in cpu.iter().zip(&on_gpu) {
        assert!((cpu - gpu).abs() < 1e-3, "{cpu} and {gpu}");
    }
    let info = std::fs::read_to_string(gpu.path().join("run/run.json")).expect("run.json");
    let info: Value = serde_json::from_str(&info).expect("run.json is an object");
    assert_eq!(info["device"], "cuda:0");
}

#[test]
fn a_lost_device_ends_the_run_and_its_checkpoint_goes_on_to_the_same_bits() {
    let Some(library) = driver() else { return };
    let (whole, broken) = (folder_with(SEARCH), folder_with(SEARCH));
    on_device(whole.path(), &library, "cuda", &[], None).shows(0, &[]);
    // The first epoch fits, the second does not.
    let mut launches = 20;
    loop {
        let _ = std::fs::remove_dir_all(broken.path().join("run"));
        let ended = on_device(broken.path(), &library, "cuda", &[], Some(launches));
        ended.shows(1, &["CUDA reports: unspecified launch failure"]);
        if ended.stderr.contains("--resume") {
            break;
        }
        launches += 20;
        assert!(launches < 10_000, "{}", ended.stderr);
    }
    on_device(broken.path(), &library, "cuda", &["--resume"], None).shows(0, &[]);
    let bits = |folder: &Path| losses(folder).into_iter().map(f64::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(whole.path()), bits(broken.path()));
    // And on the processor: the same weights, other bits.
    let _ = std::fs::remove_dir_all(broken.path().join("run"));
    on_device(broken.path(), &library, "cuda", &[], Some(launches)).shows(1, &["--resume"]);
    on_device(broken.path(), &library, "cpu", &["--resume"], None).shows(0, &[]);
    for (one, other) in losses(whole.path()).iter().zip(losses(broken.path())) {
        assert!((one - other).abs() < 1e-3, "{one} and {other}");
    }
}

#[test]
fn auto_takes_the_gpu_that_is_there() {
    let Some(library) = driver() else { return };
    let folder = folder_with("print(supernet(#{ channels: 1, size: 8, classes: 10 }, #{ channels: 2, layers: 3 }));");
    let ended = on_device(folder.path(), &library, "auto", &[], None);
    ended.shows(0, &["device: cuda:0 (Shim)"]);
    assert!(ended.stdout.contains("network of "), "{}", ended.stdout);
    // Without the library: the processor, or a GPU that this machine has.
    candlewick(folder.path(), &["run", "s.rhai", "--device", "auto"]).shows(0, &["device: c"]);
}

#[test]
fn a_profile_says_what_each_kernel_took() {
    let Some(library) = driver() else { return };
    let mut command = command(Path::new(env!("CARGO_TARGET_TMPDIR")));
    command.env("LD_LIBRARY_PATH", library.parent().expect("a folder"));
    let sizes = ["--batch", "2", "--channels", "2", "--layers", "3", "--size", "8", "--steps", "1"];
    command.args(["bench", "step", "--device", "cuda", "--profile"]).args(sizes);
    let ended = finish(&mut command);
    ended.shows(0, &[]);
    let lines = ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is an object"));
    let kernels: Vec<Value> = lines.filter(|line| line["what"] == "profile_device").collect();
    let of = |name: &str| kernels.iter().find(|line| line["kernel"] == name).expect("a kernel that ran");
    for name in ["unit_forward", "unit_gradient", "unit_input", "sum_forward", "statistics"] {
        assert!(of(name)["launches"].as_f64() > Some(1.0) && of(name)["seconds"].as_f64() > Some(0.0), "{name}");
    }
    let shares: f64 = kernels.iter().filter_map(|line| line["share"].as_f64()).sum();
    assert!((shares - 1.0).abs() < 1e-3, "{shares}");
}

#[test]
fn a_table_of_sizes_is_measured_on_the_gpu() {
    let Some(library) = driver() else { return };
    let mut command = command(Path::new(env!("CARGO_TARGET_TMPDIR")));
    command.env("LD_LIBRARY_PATH", library.parent().expect("a folder"));
    let sizes = ["--batches", "2,4", "--channels", "4", "--layers", "3", "--centre", "2,4,3", "--size", "8"];
    command.args(["bench", "table", "--device", "cuda", "--steps", "1"]).args(sizes);
    let ended = finish(&mut command);
    ended.shows(0, &[]);
    let lines = ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is an object"));
    let rows: Vec<Value> = lines.filter(|line| line["what"] == "table_row").collect();
    assert_eq!(rows.len(), 4, "{}", ended.stdout);
    assert!(rows.iter().all(|row| row["device"] == "Shim" && row["varied"] != "threads"), "{}", ended.stdout);
}

#[test]
fn a_limit_on_memory_changes_no_bit_of_a_search() {
    let Some(library) = driver() else { return };
    let losses_within = |memory: &str, told: &[&str]| {
        let options = format!("#{{ channels: 4, layers: 3, nodes: 1{memory} }}");
        let folder = folder_with(&SEARCH.replace("#{ channels: 4, layers: 3, nodes: 1 }", &options));
        on_device(folder.path(), &library, "cuda", &[], None).shows(0, told);
        losses(folder.path()).into_iter().map(f64::to_bits).collect::<Vec<_>>()
    };
    assert_eq!(losses_within("", &[]), losses_within(", memory: \"3MB\"", &["are recomputed"]));
}

#[test]
fn what_does_not_run_is_refused_by_name() {
    let Some(library) = driver() else { return };
    let folder = folder_with("supernet(#{ channels: 1, size: 8, classes: 10 }, #{ channels: 2, layers: 3 });");
    let ended = on_device(folder.path(), &library, "cuda", &["--precision", "f64"], None);
    ended.shows(2, &["double precision runs on the processor only"]);
}
