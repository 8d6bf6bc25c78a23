//! What is loaded into the driver is made of the kernels' sources: NVIDIA's compiler, which needs no GPU, makes the
//! same PTX again. It also says how many registers a kernel takes; each kernel bounds them with `AT_LEAST`.
//!
//! The first run makes a Python environment with the compiler below `target/tmp` and later ones find it there. Where
//! that fails (no Python, no network) the test is skipped, or fails with `CANDLEWICK_REQUIRE=1`.

use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGE: &str = "nvidia-cuda-nvrtc-cu12==12.0.140";

/// Registers of a multiprocessor, and threads of a block.
const REGISTERS: u64 = 65536;
const THREADS: u64 = 256;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn finish(command: &mut Command) -> Result<String, String> {
    let ended = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match ended.status.success() {
        true => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&ended.stderr).trim_end())),
    }
}

/// A Python with the compiler.
fn python() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nvrtc");
    let python = folder.join("bin/python");
    // Written last, so an unfinished environment is replaced.
    let ready = folder.join(PACKAGE);
    if ready.exists() {
        return Ok(python);
    }
    let _ = std::fs::remove_dir_all(&folder);
    finish(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "0", "--timeout", "10"];
    finish(Command::new(&python).args(pip).arg(PACKAGE))?;
    std::fs::write(&ready, "").map_err(|error| error.to_string())?;
    Ok(python)
}

/// How many blocks of threads a multiprocessor must hold at once, as the kernel's source says.
fn at_least(file: &str, kernel: &str) -> u64 {
    let path = root().join(format!("src/engine/cuda/kernels/{file}.cu"));
    let source = std::fs::read_to_string(path).expect("the kernels' source");
    let (before, _) = source.split_once(&format!(") {kernel}(Pass pass")).expect("the kernel's first line");
    let (_, blocks) = before.rsplit_once("AT_LEAST(").expect("a bound");
    blocks.parse().expect("a number")
}

#[test]
fn ptx_is_made_of_the_sources_and_keeps_within_registers() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) => return crate::require::skipped(&format!("there is no NVRTC: {reason}")),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let script = root().join("tests/cuda/nvrtc.py");
    let said = finish(Command::new(python).arg(script).arg("--write").arg(folder.path())).expect("the kernels compile");
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let entry = entry.expect("a file");
        let kept = root().join("src/engine/cuda/kernels").join(entry.file_name());
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(
            read(&entry.path()) == read(&kept),
            "{} is not made of its source: python tests/cuda/nvrtc.py --write",
            kept.display()
        );
        files += 1;
    }
    assert_eq!(files, 3);
    let mut kernels = 0;
    for line in said.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("a line is an object");
        let (file, kernel) = (row["file"].as_str().expect("a file"), row["kernel"].as_str().expect("a kernel"));
        let number = |field: &str| row[field].as_u64().expect("a number");
        assert!(number("stores") + number("loads") == 0, "spills: {row}");
        assert!(number("registers") * THREADS * at_least(file, kernel) <= REGISTERS, "{row}");
        kernels += 1;
    }
    assert_eq!(kernels, 2 * 5, "{said}");
}
