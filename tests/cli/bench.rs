//! `candlewick bench` says what it measured: the fields that programs read, numbers that fit together, tables for
//! people.

use crate::binary::{Ended, candlewick, command};
use serde_json::Value;
use std::path::Path;

const TINY: [&str; 12] =
    ["--batch", "4", "--channels", "4", "--layers", "3", "--size", "8", "--steps", "2", "--threads", "2"];

fn bench(arguments: &[&str]) -> Ended {
    candlewick(Path::new("."), &[&["bench"], arguments].concat())
}

/// The objects that a benchmark prints into a pipe, one a line.
#[track_caller]
fn lines(arguments: &[&str]) -> Vec<Value> {
    let ended = bench(arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("every line is an object")).collect()
}

fn named(lines: &[Value], what: &str) -> Vec<Value> {
    lines.iter().filter(|line| line["what"] == what).cloned().collect()
}

#[track_caller]
fn number(line: &Value, field: &str) -> f64 {
    line[field].as_f64().unwrap_or_else(|| panic!("no number {field} in {line}"))
}

#[track_caller]
fn all_positive(line: &Value, fields: &[&str]) {
    for field in fields {
        assert!(number(line, field) > 0.0, "{field} in {line}");
    }
}

fn seconds(line: &Value) -> Vec<f64> {
    line["seconds"].as_array().expect("seconds are a list").iter().map(|s| s.as_f64().expect("a number")).collect()
}

const SPEED: [&str; 7] = ["peak_rss_mb", "macs", "gflop_per_step", "gflops", "training_mb", "threads", "batch"];

#[test]
fn a_search_step_reports_its_sizes_seconds_memory_and_arithmetic() {
    let [line] = &lines(&[&["step"], TINY.as_slice()].concat())[..] else { panic!("one line") };
    assert_eq!(line["what"], "search_step");
    let sizes = ["order", "batch", "channels", "layers", "threads"].map(|field| number(line, field));
    assert_eq!(sizes, [1.0, 4.0, 4.0, 3.0, 2.0]);
    assert_eq!(seconds(line).len(), 2);
    assert!(seconds(line).iter().all(|&s| s > 0.0));
    all_positive(line, &SPEED);
    // Two passes with input gradients, one of them with weights' gradients; two operations per multiply-add.
    let gflop = 5.0 * 2.0 * 4.0 * number(line, "macs") / 1e9;
    assert!((number(line, "gflop_per_step") / gflop - 1.0).abs() < 1e-4, "{line}");
}

#[test]
fn the_second_order_counts_thirteen_passes() {
    let [line] = &lines(&[&["step", "--order", "2"], TINY.as_slice()].concat())[..] else { panic!("one line") };
    let gflop = 13.0 * 2.0 * 4.0 * number(line, "macs") / 1e9;
    assert!((number(line, "gflop_per_step") / gflop - 1.0).abs() < 1e-4, "{line}");
}

#[test]
fn a_training_step_reports_the_same() {
    let [line] = &lines(&[&["eval"], TINY.as_slice()].concat())[..] else { panic!("one line") };
    assert_eq!(line["what"], "eval_step");
    assert_eq!(seconds(line).len(), 2);
    all_positive(line, &SPEED);
    all_positive(line, &["params", "channels", "layers"]);
}

#[test]
fn a_profile_accounts_for_all_the_time_and_all_the_arithmetic() {
    // Sixteen channels fill their lanes, so the kernels do what the graph says and little else.
    let sizes = ["--batch", "8", "--channels", "16", "--layers", "3", "--size", "8", "--steps", "3", "--threads", "2"];
    let lines = lines(&[&["step", "--profile"], sizes.as_slice()].concat());
    let [step, summary] = ["search_step", "profile"].map(|what| named(&lines, what)[0].clone());
    let (kernels, cells) = (named(&lines, "profile_kernel"), named(&lines, "profile_cell"));
    for rows in [&kernels, &cells] {
        let shares: f64 = rows.iter().map(|row| number(row, "share")).sum();
        assert!((shares - 1.0).abs() < 0.02, "{shares} in {rows:#?}");
        let whole = number(&summary, "seconds_per_step") * number(&summary, "threads");
        let seconds: f64 = rows.iter().map(|row| number(row, "seconds")).sum();
        assert!((seconds / whole - 1.0).abs() < 0.02, "{seconds} of {whole} in {rows:#?}");
        assert!(rows.iter().all(|row| number(row, "share") >= 0.0), "{rows:#?}");
        let flops: f64 = rows.iter().map(|row| number(row, "floor_seconds")).sum::<f64>()
            * number(&summary, "peak_gflops")
            / number(&summary, "threads");
        assert!((flops / number(&summary, "kernel_gflop") - 1.0).abs() < 0.01, "{flops} in {summary}");
    }
    let surplus = number(&summary, "kernel_gflop") / number(&step, "gflop_per_step");
    assert!((1.0..2.5).contains(&surplus), "kernels did {surplus} times what the graph says: {summary}");
    let names = |rows: &[Value]| -> Vec<(String, String)> {
        let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_string();
        rows.iter().map(|row| (text(row, "name"), text(row, "direction"))).collect()
    };
    for kernel in ["dense", "depthwise_rows", "weighted_sum", "load_affine", "pool"] {
        assert!(names(&kernels).contains(&(kernel.into(), "forward".into())), "no {kernel} in {kernels:#?}");
    }
    for kernel in ["dense_gradient", "depthwise_gradient_row", "dots", "pool_backward", "through_activation"] {
        assert!(names(&kernels).contains(&(kernel.into(), "backward".into())), "no {kernel} in {kernels:#?}");
    }
    for cell in ["stem", "cells.0", "cells.1", "cells.2"] {
        for direction in ["forward", "backward"] {
            assert!(names(&cells).contains(&(cell.into(), direction.into())), "no {cell} in {cells:#?}");
        }
    }
    for rest in ["between kernels", "between stages", "waiting for other threads", "outside the engine"] {
        assert!(names(&kernels).contains(&(rest.into(), String::new())), "no {rest} in {kernels:#?}");
    }
}

#[test]
fn primitives_stand_beside_the_limits_of_the_machine() {
    let lines = lines(&["primitives", "--only", "3x3", "--milliseconds", "2", "--threads", "2"]);
    let limits = named(&lines, "peak");
    for name in ["multiply-adds", "read, 16 KiB", "read, memory", "write, 256 KiB", "write, memory"] {
        for threads in [1, 2] {
            let found = limits.iter().find(|l| l["name"] == name && l["threads"] == threads);
            let limit = found.unwrap_or_else(|| panic!("no {name} of {threads} in {limits:#?}"));
            all_positive(limit, &[if name == "multiply-adds" { "gflops" } else { "gbps" }]);
        }
    }
    let primitives = named(&lines, "primitive");
    for name in ["depthwise 3x3, forward", "depthwise 3x3 dilation 2, weights' gradient", "dense 3x3, forward"] {
        for channels in [16, 32, 64] {
            let found = primitives.iter().find(|p| p["name"] == name && p["channels"] == channels);
            let line = found.unwrap_or_else(|| panic!("no {name} with {channels} channels in {primitives:#?}"));
            all_positive(line, &["microseconds", "gflops", "gbps", "share_of_multiply_adds", "share_of_cache", "size"]);
        }
    }
    assert!(primitives.iter().all(|p| p["name"].as_str().is_some_and(|name| name.contains("3x3"))), "{primitives:#?}");
}

#[test]
fn a_table_varies_one_size_at_a_time() {
    let grid = ["--batches", "2,4", "--channels", "4", "--layers", "3", "--threads", "1,2", "--centre", "4,4,3"];
    let lines = lines(&[&["table", "--size", "8", "--steps", "1"], grid.as_slice()].concat());
    let rows = named(&lines, "table_row");
    let sizes = |row: &Value| ["batch", "channels", "layers"].map(|field| number(row, field) as usize);
    let varied: Vec<(String, [usize; 3])> =
        rows.iter().map(|row| (row["varied"].as_str().unwrap_or_default().to_string(), sizes(row))).collect();
    let expected = [
        ("batch", [2, 4, 3]),
        ("batch", [4, 4, 3]),
        ("channels", [4, 4, 3]),
        ("layers", [4, 4, 3]),
        ("threads", [4, 4, 3]),
        ("threads", [4, 4, 3]),
    ];
    assert_eq!(varied, expected.map(|(name, sizes)| (name.to_string(), sizes)));
    for row in &rows {
        assert_eq!((seconds(row).len(), &row["order"]), (1, &Value::from(1)));
        all_positive(row, &["ms_per_image", "gflops", "gflop_per_step", "peak_rss_mb", "training_mb"]);
        all_positive(row, &["time_to_arithmetic", "memory_to_training", "threads"]);
    }
    assert_eq!(rows[4]["threads"], 1);
    assert_eq!(rows[5]["threads"], 2);
    assert_eq!(rows[0]["time_to_arithmetic"], 1.0);
    let arithmetic = number(&rows[1], "gflop_per_step") / number(&rows[0], "gflop_per_step");
    assert!((arithmetic - 2.0).abs() < 1e-4, "twice the images are twice the arithmetic, not {arithmetic}");
    let summary = &named(&lines, "table_summary")[0];
    assert!(summary["no_faster_than_arithmetic"].is_boolean(), "{summary}");
    all_positive(summary, &["worst_time_to_arithmetic", "one_thread_to_all"]);
}

#[test]
fn wrong_options_are_the_users_mistake() {
    bench(&["step", "--steps", "0"]).shows(2, &["--steps", "at least 1"]);
    bench(&["step", "--order", "3", "--size", "8"]).shows(2, &["the order must be 1 or 2, not 3"]);
    bench(&["step", "--batch", "0", "--size", "8"]).shows(2, &["--batch", "at least 1"]);
    bench(&["step", "--size", "9", "--steps", "1"]).shows(2, &["even height and width"]);
    bench(&["primitives", "--only", "depthwise 4x4"]).shows(2, &["no primitive \"depthwise 4x4\"", "depthwise"]);
    let unknown = bench(&["primitives", "--only", "everything"]);
    unknown.shows(2, &["no primitive \"everything\"", "one of: "]);
    assert_eq!(unknown.stderr.matches("depthwise 5x5 dilation 2, input gradient").count(), 1, "{}", unknown.stderr);
    bench(&["table", "--batches", "16,zero"]).shows(2, &["--batches", "zero"]);
    bench(&["table", "--centre", "64,16"]).shows(2, &["--centre is batch, channels and layers, not 2 numbers"]);
    // The mistake is found by the row's own process.
    bench(&["table", "--batches", "2", "--size", "9", "--steps", "1"]).shows(2, &["batch 2", "even height and width"]);
    let simd =
        crate::binary::finish(command(Path::new(".")).args(["bench", "primitives"]).env("CANDLEWICK_SIMD", "sse9"));
    simd.shows(2, &["instruction set", "sse9"]);
}

/// Runs a benchmark with a terminal as its stdout and gives what it shows there.
#[cfg(unix)]
fn on_a_terminal(arguments: &[&str]) -> String {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::{FromRawFd, OwnedFd};
    let (mut master, mut slave) = (0, 0);
    let null = std::ptr::null_mut::<libc::c_char>();
    // SAFETY: two places for descriptors, which are owned from here on; no name, settings or size are asked for.
    let (mut master, slave) = unsafe {
        assert_eq!(libc::openpty(&mut master, &mut slave, null, std::ptr::null_mut(), std::ptr::null_mut()), 0);
        (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
    };
    let mut child = command(Path::new(".")).arg("bench").args(arguments).stdout(slave).spawn().expect("it runs");
    let mut shown = Vec::new();
    let mut some = [0; 4096];
    // Reading fails when the last writer has gone.
    while let Ok(count @ 1..) = master.read(&mut some) {
        shown.extend_from_slice(&some[..count]);
    }
    assert!(child.wait().expect("it ends").success());
    String::from_utf8_lossy(&shown).replace("\r\n", "\n")
}

#[cfg(unix)]
#[test]
fn a_person_at_a_terminal_gets_tables() {
    let shown = on_a_terminal(&[&["step", "--profile"], TINY.as_slice()].concat());
    let heads: Vec<&str> = shown.lines().next().expect("a row of heads").split_whitespace().collect();
    assert_eq!(heads[..4], ["order", "batch", "channels", "layers"]);
    for text in ["median s", "peak MB", "kernel", "floor s", "depthwise_rows", "cells.2", "outside the engine"] {
        assert!(shown.contains(text), "no {text:?} in\n{shown}");
    }
    assert!(!shown.contains('{'), "{shown}");
}

#[test]
fn a_step_on_a_gpu_is_predicted_without_one() {
    let sizes = ["--batch", "4", "--channels", "4", "--layers", "3", "--size", "8", "--device", "cuda", "--predict"];
    for (what, name) in [("step", "search_step_predicted"), ("eval", "eval_step_predicted")] {
        let lines = lines(&[&[what], sizes.as_slice()].concat());
        let (all, kernels) = lines.split_last().expect("lines");
        assert_eq!((&all["what"], &all["kernel"], &all["card"]), (&name.into(), &"all".into(), &"H100".into()));
        // Families share launches, so their sum is none.
        for field in ["bytes", "flops", "seconds"] {
            let sum: f64 = kernels.iter().map(|line| number(line, field)).sum();
            assert!(number(all, field) > 0.0 && (sum / number(all, field) - 1.0).abs() < 1e-3, "{field}: {all}");
        }
        // A launch takes a microsecond at least.
        assert!(number(all, "seconds") > 0.99e-6 * number(all, "launches"), "{all}");
    }
    bench(&["step", "--predict"]).shows(2, &["--predict is about GPUs", "--device cuda"]);
}

#[test]
fn steps_of_full_size_are_predicted_within_their_bounds() {
    // Of an H100: launches, and seconds.
    for (arguments, launches, seconds) in [
        (&["step"][..], 400.0, 12e-3),
        (&["eval", "--channels", "36", "--layers", "20", "--batch", "96"], 400.0, 40e-3),
    ] {
        let lines = lines(&[arguments, &["--device", "cuda", "--predict"]].concat());
        let all = lines.last().expect("a line");
        assert!(number(all, "launches") <= launches && number(all, "seconds") <= seconds, "{all}");
    }
}

#[test]
fn twice_the_images_are_twice_the_bytes_of_a_prediction() {
    let of = |batch: &str| {
        let arguments = ["step", "--channels", "4", "--layers", "3", "--size", "8", "--device", "cuda", "--predict"];
        let lines = lines(&[&arguments[..], &["--batch", batch]].concat());
        let all = lines.last().expect("a line").clone();
        ["launches", "bytes", "flops"].map(|field| number(&all, field))
    };
    let (one, two) = (of("8"), of("16"));
    assert_eq!(two, [one[0], 2.0 * one[1], 2.0 * one[2]]);
}
