//! Every example of the reference on a GPU that holds a script's tensors: it passes, or is refused by name as what runs
//! on the processor only.

use crate::binary::{command, finish, folder_with};
use crate::shim::driver;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The blocks of code in the scripts' reference.
fn examples() -> Vec<String> {
    let text = include_str!("../../scripts/reference.md");
    let blocks = text.split("```rhai\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_string()).collect()
}

#[test]
fn every_example_runs_there_or_is_refused_by_name() {
    let Some(library) = driver() else { return };
    let (examples, next, refused) = (examples(), AtomicUsize::new(0), AtomicUsize::new(0));
    assert!(examples.len() > 300, "{} examples", examples.len());
    let work = || {
        while let Some(example) = examples.get(next.fetch_add(1, Ordering::Relaxed)) {
            let folder = folder_with(example);
            let mut command = command(folder.path());
            command.env("LD_LIBRARY_PATH", library.parent().expect("a folder")).env("CANDLEWICK_CELLS", "off");
            command.args(["run", "s.rhai", "--device", "cuda", "--out", "run", "--threads", "1"]);
            let ended = finish(&mut command);
            match ended.stderr.contains("language models run on the processor only") {
                true => {
                    refused.fetch_add(1, Ordering::Relaxed);
                    ended.shows(2, &["hint: run with --device cpu"]);
                }
                false => assert!(ended.code == Some(0), "{example}\n{}", ended.stderr),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let refused = refused.into_inner();
    assert!(refused < examples.len() / 5, "{refused} of {} are refused", examples.len());
}
