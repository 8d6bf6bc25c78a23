//! From a folder of pictures to a network, its charts and its answers as a table, as a user does it.

use crate::training::{bar, bars, number_after, script};
use candlewick::export::proto::ModelProto;
use candlewick::space::SavedNetwork;
use prost::Message;
use std::path::Path;
use tempfile::tempdir;

#[test]
fn a_folder_of_images_becomes_a_trained_network() {
    let folder = tempdir().unwrap();
    // Odd sizes, colour, three times as many of one class.
    bars(&folder.path().join("bars"), (90, 30), (13, 10), true);
    let ended = script(folder.path(), "own_images.rhai", "run", &["data=bars", "epochs=12", "minutes=0.01"]);
    ended.shows(0, &[]);
    for text in [
        "2 classes, 101 training images, stored as 10×13 in colour",
        "the classes are unbalanced: from 25 to 76 training images",
        "    upright: 25",
        "size 12×12: resized: multiples of 4",
        "batch 16: about 6 steps per epoch",
        "mirrored: no class is a character",
        "training takes about ",
        "class    images  recall  precision",
        "calibration error ",
        "for other programs: run/network.onnx, input: pixels from 0 to 1, 3 × 12 × 12",
    ] {
        assert!(ended.stdout.contains(text), "no {text:?} in {}", ended.stdout);
    }
    let accuracy = number_after(&ended.stdout, "test accuracy");
    assert!(accuracy > 0.9, "standing and lying bars are not hard: {}", ended.stdout);
    let saved = SavedNetwork::read(&folder.path().join("run/last.safetensors")).unwrap();
    assert_eq!(saved.network.legend().unwrap().classes, ["lying", "upright"]);
    let exported =
        ModelProto::decode(std::fs::read(folder.path().join("run/network.onnx")).unwrap().as_slice()).unwrap();
    assert!(
        exported.metadata_props.iter().any(|entry| entry.key == "classes" && entry.value == "[\"lying\",\"upright\"]")
    );
    // It knows a bar that it never saw, of another size and in grey.
    bar(true, 5, (24, 24), false).save(folder.path().join("new.png")).unwrap();
    let asked = script(folder.path(), "predict.rhai", "asked", &["network=run/last.safetensors", "images=new.png"]);
    asked.shows(0, &[]);
    assert!(asked.stdout.contains("new.png: upright"), "{}", asked.stdout);
    assert!(folder.path().join("run/plots/confusion.svg").is_file());

    // A folder of files with odd names is a table that other programs read.
    let odd = ["a,b.png", "say \"hi\".png", "two\nlines.png", "猫 🐈.png", "-x.png"];
    std::fs::create_dir(folder.path().join("odd")).unwrap();
    for name in odd {
        std::fs::copy(folder.path().join("new.png"), folder.path().join("odd").join(name)).unwrap();
    }
    let asked = script(folder.path(), "predict.rhai", "table", &["network=run/last.safetensors", "images=odd"]);
    asked.shows(0, &[]);
    let mut table = csv::Reader::from_path(folder.path().join("table/predictions.csv")).unwrap();
    let header = ["file", "class", "probability", "probability of lying", "probability of upright"];
    assert_eq!(table.headers().unwrap(), &csv::StringRecord::from(header.to_vec()));
    let mut found: Vec<String> = Vec::new();
    for record in table.records().map(Result::unwrap) {
        let name = Path::new(&record[0]).file_name().unwrap().to_str().unwrap().to_string();
        assert_eq!(&record[1], "upright", "{name}");
        let p: Vec<f64> = (2..5).map(|column| record[column].parse().unwrap()).collect();
        assert!((p[1] + p[2] - 1.0).abs() < 1e-9 && p[0] == p[1].max(p[2]), "{record:?}");
        found.push(name);
    }
    found.sort();
    let mut odd = odd.map(String::from);
    odd.sort();
    assert_eq!(found, odd);

    // One damaged file among them stops the others, unless it is to be left out.
    std::fs::write(folder.path().join("odd/cut.png"), &std::fs::read(folder.path().join("new.png")).unwrap()[..40])
        .unwrap();
    let mut given = vec!["network=run/last.safetensors", "images=odd"];
    script(folder.path(), "predict.rhai", "refused", &given).shows(2, &["cut.png: "]);
    given.push("skip_unreadable=true");
    let asked = script(folder.path(), "predict.rhai", "skipped", &given);
    asked.shows(0, &["left out: 1 of 6 files cannot be read: ", "cut.png: "]);
    assert_eq!(csv::Reader::from_path(folder.path().join("skipped/predictions.csv")).unwrap().records().count(), 5);
}

#[test]
fn grey_images_are_not_mirrored_unless_asked() {
    let folder = tempdir().unwrap();
    bars(&folder.path().join("bars/train"), (20, 20), (8, 8), false);
    bars(&folder.path().join("bars/test"), (5, 5), (8, 8), false);
    let said = |flip: &str| {
        let flip = format!("flip={flip}");
        let parameters = ["data=bars", "epochs=1", "channels=2", "layers=3", &flip];
        let ended = script(folder.path(), "own_images.rhai", &flip, &parameters);
        ended.shows(0, &[]);
        ended.stdout
    };
    let grey = said("auto");
    assert!(grey.contains("not mirrored: grey images") && grey.contains("size 8×8: as stored"), "{grey}");
    assert!(grey.contains("40 training images, stored as 8×8 in grey") && grey.contains("on 10 images"), "{grey}");
    assert!(!grey.contains("unbalanced"), "{grey}");
    assert!(said("yes").contains(", mirrored: as asked"));
    let wrong = script(folder.path(), "own_images.rhai", "wrong", &["data=bars", "flip=maybe"]);
    wrong.shows(2, &["flip is \"yes\", \"no\" or \"auto\", not \"maybe\""]);
}
