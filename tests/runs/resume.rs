//! An interrupted run goes on, and what it leaves is bit for bit what the run leaves that was never stopped.

use crate::binary::{Ended, candlewick, folder_with};
use crate::scripts::{run, shipped};
use crate::start::{interrupt, start};
use candlewick::run::{difference, read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A search with everything that a checkpoint must not forget: weights, alphas, running statistics, both optimisers,
/// the places in images and text, random streams drawn in the loop and before it, drop path, a controller, kept values.
const SEARCH: &str = r#"
let epochs = param("epochs", 3);
let data  = images("digits").train.take(128);
let train = data.batches(32, #{ augment: "standard" });
let valid = data.batches(32);
let words = text("austen").valid.windows(8, #{ length: 40, jitter: "evaluation" });
let net   = supernet(data, #{ channels: 4, layers: 3, nodes: 2 });
let w_opt = sgd(net.weights, #{ lr: 0.05, momentum: 0.9, clip: 5.0 });
let a_opt = adam(net.alphas, #{ lr: 0.006 });
let cell  = discrete(genotype("DARTS_V2"), #{ images: data, channels: 4, layers: 3, drop_path: 0.3 });
let c_opt = sgd(cell.weights, #{ lr: 0.05 });
let bias  = #{ inside: parameter(normal([3])) };
let b_opt = adam(bias, #{ lr: 0.1 });
let run = start_run([net, w_opt, a_opt, train, valid, words, cell, c_opt, bias, b_opt],
    #{ keep: #{ best: -1.0 / 0.0, cells: [], count: 1 } });
run.log(#{ began: normal([2]) });
for epoch in run.epochs(epochs) {
    let noise = normal([3]);
    for batch in run.steps(train) {
        a_opt.step(alpha_gradient(net, batch, valid.next(), #{ order: 2, optimizer: w_opt }));
        b_opt.step(gradient(sum(bias.inside * bias.inside + bias.inside * noise), bias));
        let second = c_opt.step(weight_gradient(cell, batch));
        let window = words.next();
        run.log(#{ train_loss: w_opt.step(weight_gradient(net, batch)), second_loss: second, read: window.start });
    }
    let score = evaluate(net, data);
    run.kept.best = if -score.loss > run.kept.best { -score.loss } else { run.kept.best };
    run.kept.cells.push(random_genotype());
    run.kept.count += epoch;
    run.log(#{ valid_loss: score.loss, alphas_now: net.alphas["normal"], bias: bias.inside, genotype: derive(net) });
    run.draw(derive(net));
}
print(run.kept);
print(`${evaluate(net, data).loss} ${evaluate(cell, data).loss}`);
"#;

/// How many lines the journal of the run in `folder` has so far.
fn lines(folder: &Path) -> usize {
    std::fs::read(folder.join("journal.jsonl")).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
}

/// Starts a command and kills it without warning once the run's journal has `count` lines.
fn killed_at(folder: &Path, run: &Path, count: usize, arguments: &[&str]) {
    let mut child = start(folder, arguments);
    let begun = Instant::now();
    while lines(run) < count && child.try_wait().expect("the child can be asked").is_none() {
        assert!(begun.elapsed() < Duration::from_secs(300), "{count} lines never came");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
}

/// The search without interruption, in a folder of its own.
fn unbroken(arguments: &[&str]) -> (tempfile::TempDir, Ended) {
    let folder = folder_with(SEARCH);
    let ended = candlewick(folder.path(), &[&["run", "s.rhai", "--out", "whole"], arguments].concat());
    ended.shows(0, &[]);
    (folder, ended)
}

#[track_caller]
fn same_journals(one: &Path, other: &Path) {
    let [one, other] = [one, other].map(|run| read(&run.join("journal.jsonl")).expect("a journal"));
    assert_eq!(difference(&one, &other), None);
}

fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(run.join("checkpoint")).expect("checkpoints");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn a_run_that_was_killed_anywhere_ends_as_if_it_never_had_been() {
    let (folder, whole) = unbroken(&[]);
    let (folder, run) = (folder.path(), folder.path().join("broken"));
    for (restart, count) in [1, 4, 9, 12, 14].into_iter().enumerate() {
        let first: &[&str] = &["run", "s.rhai", "--out", "broken"];
        let again: &[&str] = &["run", "s.rhai", "--out", "broken", "--resume"];
        killed_at(folder, &run, count, if restart == 0 { first } else { again });
    }
    let ended = candlewick(folder, &["run", "s.rhai", "--out", "broken", "--resume"]);
    ended.shows(0, &["broken goes on after epoch 2"]);
    assert_eq!(ended.stdout, whole.stdout);
    same_journals(&folder.join("whole"), &run);
    assert_eq!(checkpoints(&run).len(), 2);
    let info = std::fs::read_to_string(run.join("run.json")).expect("run.json");
    assert!(info.contains("\"resumed\""), "{info}");
}

#[test]
fn ctrl_c_says_how_to_go_on_and_settings_are_remembered() {
    let arguments = ["--set", "epochs=4", "--seed", "5"];
    let (folder, whole) = unbroken(&arguments);
    let folder = folder.path();
    let run = folder.join("runs/s");
    let mut child = start(folder, &[&["run", "s.rhai"], arguments.as_slice()].concat());
    while lines(&run) < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    candlewick(folder, &["run", "s.rhai", "--resume"])
        .shows(2, &["another process is writing runs/s/journal.jsonl", "hint: one run, one process"]);
    interrupt(&child);
    let mut page = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("a pipe"), &mut page).expect("it says something");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(page.contains("hint: go on with: candlewick run s.rhai --resume --out runs/s\n"), "{page}");

    candlewick(folder, &["run", "s.rhai", "--resume", "--seed", "6"]).shows(2, &["has the seed 5, not 6"]);
    let ended = candlewick(folder, &["run", "s.rhai", "--resume", "--threads", "3"]);
    // Before an epoch or after one, as far as the run came meanwhile.
    ended.shows(0, &["runs/s goes on "]);
    assert_eq!(ended.stdout, whole.stdout);
    same_journals(&folder.join("whole"), &run);
}

#[test]
fn a_finished_run_takes_further_epochs() {
    let (folder, whole) = unbroken(&[]);
    let folder = folder.path();
    candlewick(folder, &["run", "s.rhai", "--out", "short", "--set", "epochs=1"]).shows(0, &[]);
    let ended = candlewick(folder, &["run", "s.rhai", "--out", "short", "--resume", "--set", "epochs=3"]);
    ended.shows(0, &["short goes on after epoch 1"]);
    assert_eq!(ended.stdout, whole.stdout);
    same_journals(&folder.join("whole"), &folder.join("short"));
    let once_more = candlewick(folder, &["run", "s.rhai", "--out", "short", "--resume"]);
    once_more.shows(0, &["goes on after epoch 3"]);
    assert_eq!(once_more.stdout, whole.stdout);
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
    let (folder, whole) = unbroken(&[]);
    let folder = folder.path();
    let run = folder.join("whole");
    let before = read(&run.join("journal.jsonl")).expect("a journal");
    let damage = |path: &Path| {
        let mut bytes = std::fs::read(path).expect("a checkpoint");
        let middle = bytes.len() / 2;
        bytes[middle] = bytes[middle].wrapping_add(1);
        std::fs::write(path, bytes).expect("it can be written");
    };
    damage(&checkpoints(&run)[1]);
    let ended = candlewick(folder, &["run", "s.rhai", "--out", "whole", "--resume"]);
    ended.shows(0, &["is damaged; the checkpoint before it is taken"]);
    assert_eq!(ended.stdout, whole.stdout);
    assert_eq!(difference(&before, &read(&run.join("journal.jsonl")).expect("a journal")), None);

    checkpoints(&run).iter().for_each(|path| damage(path));
    let ended = candlewick(folder, &["run", "s.rhai", "--out", "whole", "--resume"]);
    ended.shows(2, &["no checkpoint in whole/checkpoint is whole", "hint: the files were damaged"]);
    assert_eq!(difference(&before, &read(&run.join("journal.jsonl")).expect("a journal")), None);
}

#[test]
fn what_cannot_be_resumed_is_told() {
    let (folder, _) = unbroken(&["--set", "epochs=1"]);
    let folder = folder.path();
    candlewick(folder, &["run", "s.rhai", "--resume"]).shows(2, &["runs holds no run of s", "hint: --resume goes on"]);
    candlewick(folder, &["run", "s.rhai", "--resume", "--out", "none"]).shows(2, &["none holds no run"]);
    let write = |text: &str| std::fs::write(folder.join("s.rhai"), text).expect("a script");

    write(&SEARCH.replace("[net, w_opt, a_opt, train, valid,", "[net, w_opt, a_opt, train,"));
    let ended = candlewick(folder, &["run", "s.rhai", "--resume", "--out", "whole"]);
    ended.shows(2, &["the checkpoint holds network, optimizer, optimizer, batches, batches,", "with the script"]);
    assert!(ended.stderr.contains("warning: the script is not the one that the run began with"), "{}", ended.stderr);

    write(&SEARCH.replace("channels: 4, layers: 3, nodes: 2", "channels: 8, layers: 3, nodes: 2"));
    candlewick(folder, &["run", "s.rhai", "--resume", "--out", "whole"])
        .shows(2, &["the checkpoint's network at index 0 does not fit", "s.rhai:17"]);

    write("let run = start_run([]);\nfor step in run.steps(2) {}\n");
    candlewick(folder, &["run", "s.rhai", "--out", "steps"]).shows(0, &[]);
    let ended = candlewick(folder, &["run", "s.rhai", "--out", "steps", "--resume"]);
    ended.shows(0, &["steps has no checkpoint yet: the run starts over"]);
    assert!(folder.join("steps/journal-1.jsonl").is_file(), "what was logged is not lost");
}

#[test]
fn start_run_wants_all_that_its_optimizers_move() {
    let script = "let w = parameter(ones([2]));\nlet opt = sgd(w, #{ lr: 0.1 });\nstart_run([opt]);\n";
    run(script).shows(2, &["the optimizer at index 0 of the list moves parameters", "list its network too"]);
    run(&script.replace("[opt]", "[#{ all: [w] }, opt]")).shows(0, &[]);
    run("start_run([|x| x]);\n").shows(2, &["no state that the loop changes", "#{ keep:"]);
    run("start_run([], #{ keep: #{ f: zeros([2]) } });\n").shows(2, &["`f`: a tensor cannot be kept"]);
    run("save_tensors(\"checkpoint/x\", #{ x: zeros([1]) });\n").shows(2, &["belongs to the run itself"]);
}

#[test]
fn a_training_finds_its_best_network_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (folder, script) = (folder.path(), shipped("train.rhai").display().to_string());
    let settings =
        ["data=digits", "limit=96", "channels=4", "layers=3", "epochs=3", "batch=32", "cutout=0", "auxiliary=0"];
    let arguments = |out: &'static str| {
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        ["run", &script, "--out", out].into_iter().chain(settings).collect::<Vec<&str>>()
    };
    let whole = candlewick(folder, &arguments("whole"));
    whole.shows(0, &[]);
    killed_at(folder, &folder.join("broken"), 9, &arguments("broken"));
    let ended = candlewick(folder, &["run", &script, "--out", "broken", "--resume"]);
    // After the first epoch, or where writing was slow from the beginning.
    ended.shows(0, &["broken goes on "]);
    assert_eq!(ended.stdout.replace("broken/", "whole/"), whole.stdout);
    same_journals(&folder.join("whole"), &folder.join("broken"));
    for file in ["best.safetensors", "last.safetensors"] {
        let [one, other] = ["whole", "broken"].map(|run| std::fs::read(folder.join(run).join(file)).expect(file));
        assert!(one == other, "{file} differs");
    }
}
