//! What a run keeps of its data, and what a run that is refused, deleted or asked to end leaves.

use crate::binary::{Ended, candlewick, folder_with};
use crate::start::signal;
use candlewick::data::{Content, Listed};
use candlewick::run::{Recorded, write_data};
use image::{Rgb, RgbImage};
use std::fs::{create_dir_all, read, read_to_string, remove_dir_all, remove_file, write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const SCRIPT: &str = r#"
let epochs = param("epochs", 1);
let channels = param("channels", 4);
let data  = images("photos");
let train = data.train.batches(8);
let net   = discrete(genotype("DARTS_V2"), #{ images: data, channels: channels, layers: 3, drop_path: 0.0 });
let w_opt = sgd(net.weights, #{ lr: 0.05 });
let run   = start_run([net, w_opt, train]);
for epoch in run.epochs(epochs) {
    for batch in run.steps(train) { run.log(#{ train_loss: w_opt.step(weight_gradient(net, batch)) }); }
}
"#;

fn photo(folder: &Path, class: &str, name: &str) {
    create_dir_all(folder.join("photos").join(class)).unwrap();
    RgbImage::from_pixel(8, 8, Rgb([9; 3])).save(folder.join("photos").join(class).join(name)).unwrap();
}

/// A folder with the script and a run of it.
fn trained() -> tempfile::TempDir {
    let folder = folder_with(SCRIPT);
    for class in ["cat", "dog"] {
        (0..8).for_each(|k| photo(folder.path(), class, &format!("{k}.png")));
    }
    candlewick(folder.path(), &["run", "s.rhai", "--out", "r"]).shows(0, &["photos: 2 classes, "]);
    folder
}

fn resumed(folder: &Path, arguments: &[&str]) -> Ended {
    candlewick(folder, &[&["run", "s.rhai", "--out", "r", "--resume", "--set", "epochs=2"], arguments].concat())
}

#[test]
fn what_was_held_out_is_in_the_run_s_folder() {
    let folder = trained();
    let list = read_to_string(folder.path().join("r/data/1.csv")).unwrap();
    assert!(list.starts_with("part,class,file,bytes,crc32\n"), "{list}");
    assert_eq!(list.lines().count(), 17);
    assert!(list.lines().any(|line| line.starts_with("test,cat,cat/")), "{list}");
    assert!(list.lines().any(|line| line.starts_with("train,dog,dog/")), "{list}");
}

#[test]
fn a_run_goes_on_with_other_data_only_when_forced() {
    let folder = trained();
    let folder = folder.path();
    photo(folder, "cat", "new.png");
    remove_file(folder.join("photos/dog/3.png")).unwrap();
    write(folder.join("photos/dog/5.png"), [read(folder.join("photos/dog/5.png")).unwrap(), vec![0; 9]].concat())
        .unwrap();
    let info = read(folder.join("r/run.json")).unwrap();
    let refused = resumed(folder, &[]);
    refused.shows(2, &["gone: dog/3.png", "new: cat/new.png", "of another size: dog/5.png", "--force", "s.rhai:4"]);
    assert_eq!(read(folder.join("r/run.json")).unwrap(), info, "nothing was written");
    resumed(folder, &["--force"]).shows(0, &["r goes on after epoch 1"]);
    assert!(read_to_string(folder.join("r/data/1.csv")).unwrap().contains("cat/new.png"));
    // From now on these are the run's data.
    candlewick(folder, &["run", "s.rhai", "--out", "r", "--resume", "--set", "epochs=3"]).shows(0, &[]);
}

#[test]
fn data_are_known_again_in_whatever_order_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let list = |part: &str, file: &str, bytes| {
        let content = Content { bytes, crc32: Some(7) };
        vec![Listed { part: part.into(), class: String::new(), file: file.into(), content }]
    };
    let (cats, dogs) = (|| list("train", "cat.png", 1), || list("test", "dog.png", 2));
    let (words, rows) = (|| list("text", "a.txt", 3), || list("table", "t.csv", 4));
    for (number, list) in [cats(), words(), dogs(), rows()].iter().enumerate() {
        write_data(folder.path(), number + 1, list).unwrap();
    }
    let larger = |mut list: Vec<Listed>| {
        list[0].content.bytes += 1;
        list
    };
    type Met = Vec<Option<(usize, bool)>>;
    let cases: Vec<(&str, Vec<Vec<Listed>>, Met)> = vec![
        ("backwards", vec![rows(), dogs(), words(), cats()], [4, 3, 2, 1].map(|k| Some((k, false))).into()),
        ("changed ones last", vec![dogs(), larger(cats())], vec![Some((3, false)), Some((1, true))]),
        ("one of another kind", vec![larger(rows()), larger(words())], vec![Some((4, true)), Some((2, true))]),
        ("a third", vec![dogs(), cats(), list("train", "emu.png", 5)], vec![Some((3, false)), Some((1, false)), None]),
    ];
    for (what, lists, expected) in cases {
        let mut recorded = Recorded::of(folder.path()).unwrap();
        let found: Met =
            lists.iter().map(|list| recorded.meet(list).map(|(number, told)| (number, told.is_some()))).collect();
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn a_folder_for_runs_that_cannot_be_made_says_how_to_name_another() {
    let folder = folder_with(SCRIPT);
    ["cat", "dog"].iter().for_each(|class| (0..8).for_each(|k| photo(folder.path(), class, &format!("{k}.png"))));
    write(folder.path().join("runs"), "a file").unwrap();
    candlewick(folder.path(), &["run", "s.rhai"]).shows(2, &["runs: ", "--out names another folder"]);
}

#[test]
fn a_run_notices_a_picture_that_was_changed_without_changing_its_size() {
    let folder = trained();
    let folder = folder.path();
    let path = folder.join("photos/cat/2.png");
    let (before, mut after) = (read(&path).unwrap(), Vec::new());
    // Another grey, in a file of as many bytes.
    for grey in (0..=255).filter(|grey| *grey != 9) {
        photo(folder, "cat", "2.png");
        RgbImage::from_pixel(8, 8, Rgb([grey; 3])).save(&path).unwrap();
        after = read(&path).unwrap();
        if after.len() == before.len() {
            break;
        }
    }
    assert!(after.len() == before.len() && after != before);
    resumed(folder, &[]).shows(2, &["with other content: cat/2.png", "--force"]);
    // A list from before there were checksums says nothing of contents.
    let list = read_to_string(folder.join("r/data/1.csv")).unwrap();
    let old: String = list.lines().map(|line| line.rsplit_once(',').unwrap().0.to_string() + "\n").collect();
    write(folder.join("r/data/1.csv"), old).unwrap();
    resumed(folder, &[]).shows(0, &["r goes on after epoch 1"]);
    write(folder.join("r/data/1.csv"), list).unwrap();
    resumed(folder, &["--force"]).shows(0, &["r goes on after epoch 2"]);
}

#[test]
fn a_run_notices_a_table_that_was_changed_without_changing_its_size() {
    let script = SCRIPT.replace("photos", "signs");
    let folder = folder_with(&script);
    let folder = folder.path();
    let signs = folder.join("signs");
    create_dir_all(&signs).unwrap();
    let idx = |magic: u32, sizes: &[u32], values: &[u8]| {
        let head = [magic].into_iter().chain(sizes.iter().copied()).flat_map(u32::to_be_bytes);
        head.chain(values.iter().copied()).collect::<Vec<u8>>()
    };
    let pixels: Vec<u8> = (0..8 * 64).map(|k| (k * 7 % 251) as u8).collect();
    for part in ["train", "t10k"] {
        write(signs.join(format!("{part}-images-idx3-ubyte")), idx(0x803, &[8, 8, 8], &pixels)).unwrap();
        write(signs.join(format!("{part}-labels-idx1-ubyte")), idx(0x801, &[8], &[0, 1, 0, 1, 0, 1, 0, 1])).unwrap();
    }
    candlewick(folder, &["run", "s.rhai", "--out", "r"]).shows(0, &[]);
    write(signs.join("train-labels-idx1-ubyte"), idx(0x801, &[8], &[1, 0, 0, 1, 0, 1, 0, 1])).unwrap();
    resumed(folder, &[]).shows(2, &["with other content: train-labels-idx1-ubyte"]);
}

#[test]
fn a_run_notices_texts_and_tables_that_were_changed() {
    let folder = folder_with(
        "let epochs = param(\"epochs\", 1);\nlet words = text(\"corpus\");\nlet one = text(\"one.txt\");\n\
         let rows = load_table(\"table.csv\");\nlet run = start_run([words.train.windows(1, #{ length: 2 })]);\n\
         for epoch in run.epochs(epochs) {\n  let own = save_table(\"own.csv\", [\"epoch\"], [[epoch]]);\n  \
         run.log(#{ rows: rows.len() + load_table(\"table.csv\").len() + load_table(\"own.csv\").len() });\n}\n",
    );
    let folder = folder.path();
    create_dir_all(folder.join("corpus")).unwrap();
    let files = ["corpus/train.txt", "corpus/valid.txt", "corpus/test.txt", "one.txt", "table.csv"];
    let held = ["a b c\nd e f\n", "a b c\n", "c b a\n", &"some words ".repeat(99), "cell,accuracy\nx,0.5\n"];
    let put = |at: usize| write(folder.join(files[at]), held[at]).unwrap();
    (0..files.len()).for_each(put);
    candlewick(folder, &["run", "s.rhai", "--out", "r"]).shows(0, &[]);
    let list = |number: usize| read_to_string(folder.join(format!("r/data/{number}.csv"))).unwrap();
    assert!(list(1).contains("train,,train.txt,12,") && list(1).contains("valid,,valid.txt,6,"), "{}", list(1));
    assert!(list(2).contains("text,,one.txt,") && list(3).contains("table,,table.csv,20,"), "{}", list(3));
    // Neither what is read again nor what the run wrote itself counts once more.
    assert!(!folder.join("r/data/4.csv").exists());

    let changed = ["a b c\nd f e\n", "a b d\n", "c b b\n", &"more words ".repeat(99), "cell,accuracy\nx,0.6\n"];
    for (at, line) in [(0, 2), (1, 2), (2, 2), (3, 3), (4, 4)] {
        write(folder.join(files[at]), changed[at]).unwrap();
        let name = Path::new(files[at]).file_name().unwrap().to_str().unwrap();
        resumed(folder, &[]).shows(2, &[&format!("with other content: {name}"), "--force", &format!("s.rhai:{line}")]);
        put(at);
    }
    write(folder.join("table.csv"), "cell,accuracy\nx,0.5\ny,0.6\n").unwrap();
    resumed(folder, &[]).shows(2, &["of another size: table.csv"]);
    resumed(folder, &["--force"]).shows(0, &["r goes on after epoch 1"]);
    // From now on this is the run's table.
    candlewick(folder, &["run", "s.rhai", "--out", "r", "--resume", "--set", "epochs=3"]).shows(0, &[]);
}

#[test]
fn a_refused_resume_writes_nothing_and_names_the_setting() {
    let folder = trained();
    let folder = folder.path();
    let files = ["run.json", "s.rhai", "journal.jsonl", "data/1.csv"];
    let all = || files.map(|name| read(folder.join("r").join(name)).unwrap());
    let before = all();
    resumed(folder, &["--set", "channels=8"])
        .shows(2, &["does not fit", "channels is 8, was 4", "leave out the --set"]);
    assert_eq!(all(), before);
    resumed(folder, &[]).shows(0, &["r goes on after epoch 1"]);
}

const SLOW: &str = "let run = start_run([]);\nfor epoch in run.epochs(900) {\n  for step in run.steps(9) {\n    \
                    run.log(#{ loss: 1.0 });\n    sleep(0.02);\n  }\n}\n";

/// A child whose journal has begun.
fn begun(folder: &Path, out: &str) -> Child {
    // Whoever started the tests may ignore the signal of a terminal that goes away; the child shall not.
    let mut command = std::process::Command::new("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_candlewick"), "run", "s.rhai", "--out", out]);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let since = Instant::now();
    while read(folder.join(out).join("journal.jsonl")).map_or(0, |text| text.len()) < 200 {
        assert!(since.elapsed() < Duration::from_secs(120), "the run never began");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn ended(child: Child) -> (Option<i32>, String) {
    let ended = child.wait_with_output().unwrap();
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_whose_folder_is_deleted_ends_with_one_page() {
    for gone in ["r", "r/journal.jsonl"] {
        let folder = folder_with(SLOW);
        let child = begun(folder.path(), "r");
        let path = folder.path().join(gone);
        if path.is_dir() {
            remove_dir_all(&path).unwrap()
        } else {
            remove_file(&path).unwrap()
        }
        let (code, told) = ended(child);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("error: r/journal.jsonl was deleted while the run went on"), "{told}");
        assert!(!told.contains("warning") && told.matches("error:").count() == 1, "{told}");
        assert!(!folder.path().join("r/journal.jsonl").exists());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn requests_to_end_are_told_like_ctrl_c_and_the_way_on_is_quoted() {
    for number in [libc::SIGTERM, libc::SIGHUP] {
        let folder = folder_with(SLOW);
        let child = begun(folder.path(), "my run");
        signal(&child, number);
        let (code, told) = ended(child);
        assert_eq!(code, Some(130), "{told}");
        assert!(told.contains("go on with: candlewick run s.rhai --resume --out 'my run'"), "{told}");
    }
}

#[test]
fn curves_are_drawn_over_a_quantity_of_their_own() {
    let folder = folder_with(
        "let run = start_run([]);\n\
         run.plot_curves(\"best\", \"cells trained\", #{ by_chance: [[1, 0.25], [2.5, 0.5]], ageing: [[2, 0.75]] });\n",
    );
    candlewick(folder.path(), &["run", "s.rhai", "--out", "r"]).shows(0, &[]);
    let chart = read_to_string(folder.path().join("r/plots/best.svg")).unwrap();
    // Spaces that no viewer folds.
    for text in ["cells\u{a0}trained", "by\u{a0}chance", "ageing", "1.2", "2.4"] {
        assert!(chart.contains(&format!(">\n{text}\n<")), "{text} in {chart}");
    }
    let journal = read_to_string(folder.path().join("r/journal.jsonl")).unwrap();
    assert!(journal.contains("\"by_chance\":[[1.0,0.25],[2.5,0.5]]"), "{journal}");
    for (curves, error) in [
        ("#{ a: [[1, 2], [0.5, 3]] }", "the curve \"a\" runs backwards: 0.5 follows 1"),
        ("#{ a: [[1, 2, 3]] }", "`a` is not a list of points"),
        ("#{ a: 3 }", "`a` is not a list of points"),
    ] {
        let folder = folder_with(&format!("start_run([]).plot_curves(\"best\", \"x\", {curves});"));
        candlewick(folder.path(), &["run", "s.rhai", "--out", "r"]).shows(2, &[error]);
    }
}

#[test]
fn two_charts_never_share_a_file() {
    let folder = folder_with(
        "let run = start_run([]);\nfor step in run.steps(3) {\n  \
         run.log(#{ macs: 1.0, a: 2.0, b: 3.0, \"a-b\": 4.0 });\n}\n\
         run.plot(\"macs\");\nrun.plot_groups(\"macs\", #{ one: [1.0, 2.0], two: [3.0] });\n\
         run.plot(\"a-b\");\nrun.plot(\"a\", \"b\");\n",
    );
    candlewick(folder.path(), &["run", "s.rhai", "--out", "r"]).shows(0, &[]);
    let mut names: Vec<String> = std::fs::read_dir(folder.path().join("r/plots"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".svg"))
        .collect();
    names.sort();
    assert_eq!(names, ["a-b-2.svg", "a-b.svg", "macs-2.svg", "macs.svg"]);
}
