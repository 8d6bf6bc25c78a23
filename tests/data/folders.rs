//! Folders as they are in the world: nothing is left out in silence.

use crate::files::*;
use candlewick::data::{ImageOptions, Images, Nested, Source, images};
use std::ffi::OsStr;
use std::fs::{create_dir_all, remove_file, write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tempfile::tempdir;

/// Writes files; `*` in a path stands for so many numbers. What has an image's ending is one.
pub fn lay(root: &Path, files: &[(&str, usize)]) {
    let picture = png(&colour_image(3, 6, 6));
    for (pattern, count) in files {
        for number in 0..*count {
            let path = root.join(pattern.replace('*', &number.to_string()));
            create_dir_all(path.parent().unwrap()).unwrap();
            let is_picture = ["png", "jpg", "JPG", "jpeg", "jfif", "jpe", "webp", "photo"]
                .iter()
                .any(|e| path.extension().map_or(*e == "photo", |ending| ending == *e));
            write(path, if is_picture { &picture[..] } else { b"words" }).unwrap();
        }
    }
}

/// Class names with how many images train and test, and how many are for validation.
pub fn counts(data: &Images) -> (Vec<(String, usize, usize)>, Option<usize>) {
    let classes = data.classes().iter().cloned().zip(data.train.class_counts()).zip(data.test.class_counts());
    (classes.map(|((name, train), test)| (name, train, test)).collect(), data.valid.as_ref().map(|set| set.len()))
}

#[test]
fn nested_folders_are_read_as_asked() {
    let folder = tempdir().unwrap();
    lay(folder.path(), &[("a/airfield/*.png", 5), ("a/alley/*.png", 5), ("b/bar/*.png", 5), ("b/2024/*.png", 5)]);
    let read = |nested| {
        let options = ImageOptions { nested, ..ImageOptions::default() };
        images(&Source::Folder(folder.path().into()), &options).unwrap().classes().to_vec()
    };
    assert_eq!(read(Nested::Top), ["a", "b"]);
    assert_eq!(read(Nested::Auto), ["a", "b"]);
    assert_eq!(read(Nested::Path), ["a/airfield", "a/alley", "b/2024", "b/bar"]);
}

#[test]
fn a_class_of_pictures_that_are_not_read_says_what_they_are() {
    let folder = tempdir().unwrap();
    lay(folder.path(), &[("a/*.png", 5), ("a/*.heic", 3), ("b/*.heic", 12)]);
    let error = open(folder.path()).unwrap_err();
    assert!(error.message.contains("b: this class folder holds no images (not read: 12 .heic)"), "{error}");
}

#[test]
fn links_count_and_never_lead_round() {
    let folder = tempdir().unwrap();
    lay(folder.path(), &[("cat/*.png", 5), ("dog/*.png", 5)]);
    let link =
        |from: &str, to: &str| std::os::unix::fs::symlink(folder.path().join(from), folder.path().join(to)).unwrap();
    link("dog/0.png", "cat/borrowed.png");
    link("nowhere.png", "cat/gone.png");
    link("", "cat/round");
    let data = open(folder.path()).unwrap();
    assert_eq!(data.train.len() + data.test.len(), 11);
    assert!(data.notes[0].contains("1 links that lead nowhere"), "{}", data.notes[0]);
    assert!(data.notes[0].contains("a link that leads back"), "{}", data.notes[0]);
}

#[test]
fn accents_in_both_forms_are_one_class() {
    let folder = tempdir().unwrap();
    let odd = "R&D <b> 猫, -x";
    lay(folder.path(), &[("train/Caf\u{e9}/*.png", 4), ("test/Cafe\u{301}/*.png", 4)]);
    lay(&folder.path().join("train").join(odd), &[("a photo *.png", 4)]);
    lay(&folder.path().join("test").join(odd), &[("a photo *.png", 4)]);
    let data = open(folder.path()).unwrap();
    assert_eq!(counts(&data).0, [("Caf\u{e9}".into(), 4, 4), (odd.into(), 4, 4)]);
    // In one folder, too.
    lay(folder.path(), &[("train/Cafe\u{301}/more*.png", 3)]);
    assert_eq!(counts(&open(folder.path()).unwrap()).0[0], ("Caf\u{e9}".into(), 7, 4));
}

#[test]
fn names_that_are_no_text_are_read() {
    let folder = tempdir().unwrap();
    lay(folder.path(), &[("cat/*.png", 4), ("dog/*.png", 4)]);
    let picture = png(&colour_image(3, 6, 6));
    write(folder.path().join("cat").join(OsStr::from_bytes(b"Mu\xf1oz.png")), &picture).unwrap();
    let data = open(folder.path()).unwrap();
    assert_eq!(data.train.class_counts()[0] + data.test.class_counts()[0], 5);

    let class = folder.path().join(OsStr::from_bytes(b"ni\xf1o"));
    create_dir_all(&class).unwrap();
    for k in 0..3 {
        write(class.join(format!("{k}.png")), &picture).unwrap();
    }
    let data = open(folder.path()).unwrap();
    assert_eq!(data.classes(), ["cat", "dog", "ni\\xF1o"]);
    assert!(data.notes.iter().any(|note| note.contains("not UTF-8")), "{:?}", data.notes);
}

/// The files that are held out.
fn held_out(folder: &Path, seed: u64) -> Vec<String> {
    let options = ImageOptions { seed, ..ImageOptions::default() };
    let data = images(&Source::Folder(folder.into()), &options).unwrap();
    assert_eq!(data.list.iter().filter(|file| file.part == "test").count(), data.test.len());
    data.list.iter().filter(|file| file.part == "test").map(|file| file.file.clone()).collect()
}

#[test]
fn what_is_held_out_stays_when_files_come_and_go() {
    let folder = tempdir().unwrap();
    lay(folder.path(), &[("cat/photo *.png", 60), ("dog/*.png", 40), ("dog/more/*.png", 20)]);
    let before = held_out(folder.path(), 0);
    assert!((12..=36).contains(&before.len()), "{} of 120", before.len());
    assert_ne!(before, held_out(folder.path(), 1), "the seed decides");
    for k in 0..30 {
        let new = format!("cat/new {k}.png");
        lay(folder.path(), &[(&new, 1)]);
        let now: Vec<String> = held_out(folder.path(), 0).into_iter().filter(|file| *file != new).collect();
        assert_eq!(now, before, "with {new}");
        remove_file(folder.path().join(new)).unwrap();
    }
    for k in 0..30 {
        let gone = format!("dog/{k}.png");
        remove_file(folder.path().join(&gone)).unwrap();
        let expected: Vec<&String> = before.iter().filter(|file| **file != gone).collect();
        let now = held_out(folder.path(), 0);
        assert_eq!(now.iter().collect::<Vec<_>>(), expected, "without {gone}");
        lay(folder.path(), &[(&gone, 1)]);
    }
    // A class of two keeps one of each.
    lay(folder.path(), &[("emu/*.png", 2)]);
    let data = open(folder.path()).unwrap();
    assert_eq!((data.train.class_counts()[2], data.test.class_counts()[2]), (1, 1));
}

#[test]
fn rows_of_a_table_without_a_test_part_stay_when_others_come() {
    let folder = tempdir().unwrap();
    let train = folder.path().join("train-00000-of-00001.parquet");
    let rows: Vec<_> = (0..60).map(|row| (Some(png(&colour_image(row, 8, 8))), row as i64 % 3)).collect();
    let held = |rows: &[(Option<Vec<u8>>, i64)]| {
        parquet(&train, rows);
        let data = open(folder.path()).unwrap();
        assert!(data.notes[0].contains("held out"), "{}", data.notes[0]);
        // The last channel tells the row.
        (0..data.test.len()).map(|k| data.test.pixels(k).unwrap()[128]).collect::<Vec<_>>()
    };
    let before = held(&rows);
    assert!((4..24).contains(&before.len()), "{}", before.len());
    let extra = (Some(png(&colour_image(5, 9, 9))), 0);
    let now = held(&[&[extra], &rows[..]].concat());
    assert!(now.iter().filter(|row| !before.contains(row)).count() <= 1, "{now:?} {before:?}");
}

#[test]
fn tables_tell_of_missing_shards_and_other_parts() {
    let folder = tempdir().unwrap();
    parquet_folder(folder.path());
    let rows = parquet_rows();
    parquet(&folder.path().join("validation-00000-of-00001.parquet"), &rows);
    parquet(&folder.path().join("train-00002-of-00004.parquet"), &rows);
    parquet(&folder.path().join("extra.parquet"), &rows);
    let data = open(folder.path()).unwrap();
    assert_eq!(data.valid.as_ref().map(|set| set.len()), Some(20));
    let told = data.notes.join("\n");
    for part in ["train-00000-of-00004.parquet, train-00001-of-00004.parquet, train-00003", "not used: extra.parquet"] {
        assert!(told.contains(part), "\"{part}\" is missing in: {told}");
    }
}

#[test]
fn tables_one_level_down_are_found() {
    let folder = tempdir().unwrap();
    write(folder.path().join("README.md"), "a data set").unwrap();
    let inner = folder.path().join("data");
    create_dir_all(&inner).unwrap();
    parquet_folder(&inner);
    assert_eq!(open(folder.path()).unwrap().train.len(), 20);
}

#[test]
fn mirroring_is_on_only_where_sides_cannot_matter() {
    for (classes, mirrors, rule) in [
        (&["cat", "dog"][..], true, "no class is"),
        (&["a", "b"], false, "one letter"),
        (&["A", "B", "space"], false, "one letter"),
        (&["a_lower", "A_upper"], false, "one letter"),
        (&["men's shoes", "women's shoes"], true, "no class is"),
        (&["speed_30", "speed_50", "stop"], false, "numbered"),
        (&["1", "2", "none"], false, "numbered"),
        (&["1", "2", "12"], false, "numbered"),
        (&["0", "90", "180", "270"], false, "numbered"),
        (&["sign_001", "sign_002"], false, "numbered"),
        (&["turn left", "stop"], false, "a side"),
        (&["ear-Right", "ear-other"], false, "a side"),
        (&["bright", "leftover"], true, "no class is"),
        (&["mp3 player", "cat"], true, "no class is"),
        (&["east", "west"], false, "a side"),
        (&["links abbiegen", "rechts abbiegen"], false, "a side"),
        (&["port", "sherry"], true, "no class is"),
        (&["zero", "one", "two"], false, "numbered"),
        (&["one", "many"], true, "no class is"),
    ] {
        let folder = tempdir().unwrap();
        for class in classes {
            lay(&folder.path().join(class), &[("*.png", 3)]);
        }
        let train = open(folder.path()).unwrap().train;
        assert_eq!(train.mirrors(), mirrors, "{classes:?}");
        assert!(train.mirror_rule().contains(rule), "{classes:?}: {}", train.mirror_rule());
    }
}
