//! Bad input is refused with a message that names the file, what is wrong with it and what would be right.

use crate::files::*;
use candlewick::data::{ImageOptions, Source, images};
use std::fs::{create_dir, read, write};
use std::path::Path;
use tempfile::tempdir;

/// The message and hint of reading `folder`, which must fail as the user's mistake.
fn refusal(folder: &Path) -> String {
    refusal_with(folder, &ImageOptions::default())
}

fn refusal_with(folder: &Path, options: &ImageOptions) -> String {
    let error = images(&Source::Folder(folder.into()), options).expect_err("this should be refused");
    assert_eq!(error.exit_code(), 2, "{error}");
    format!("{} / {}", error.message, error.hint.expect("a hint"))
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "\"{part}\" is missing in: {text}");
    }
}

#[test]
fn no_such_folder() {
    says(&refusal(Path::new("no/such")), &["there is no folder no/such", "digits, cifar10"]);
    says(&refusal(Path::new("digit")), &["there is no folder digit", "did you mean \"digits\"?"]);
    let folder = tempdir().unwrap();
    let file = folder.path().join("train-0.parquet");
    write(&file, "x").unwrap();
    says(&refusal(&file), &["is not a folder", "the folder that holds"]);
}

#[test]
fn a_folder_of_something_else_lists_what_was_looked_for() {
    let folder = tempdir().unwrap();
    says(&refusal(folder.path()), &["no images found; it is empty"]);
    write(folder.path().join("notes.txt"), "").unwrap();
    let text = refusal(folder.path());
    says(
        &text,
        &["it holds notes.txt", "train-*.parquet", "data_batch_1.bin", "train-images-idx3-ubyte", "folder per class"],
    );
}

#[test]
fn an_empty_class_folder() {
    let folder = tempdir().unwrap();
    class_folders(folder.path(), &[("ape", vec![grey_image(4, 4); 3]), ("bee", vec![])]);
    write(folder.path().join("bee/readme.txt"), "").unwrap();
    says(&refusal(folder.path()), &["bee: this class folder holds no images", "png, jpg"]);
}

#[test]
fn a_class_with_one_image_or_a_single_class() {
    let folder = tempdir().unwrap();
    class_folders(folder.path(), &[("ape", vec![grey_image(4, 4); 3])]);
    says(&refusal(folder.path()), &["there is only one class, ape", "at least two"]);
    class_folders(folder.path(), &[("bee", vec![grey_image(4, 4)])]);
    says(&refusal(folder.path()), &["class \"bee\" has 1 image(s)", "train/ and test/"]);
}

#[test]
fn a_class_that_only_the_test_images_have() {
    let folder = tempdir().unwrap();
    let some = || vec![grey_image(4, 4); 2];
    class_folders(&folder.path().join("train"), &[("ape", some()), ("bee", some())]);
    class_folders(&folder.path().join("test"), &[("ape", some()), ("cow", some())]);
    says(&refusal(folder.path()), &["cow: there is no training folder of this class", "ape, bee"]);
    class_folders(&folder.path().join("train"), &[("coww", some())]);
    says(&refusal(folder.path()), &["did you mean \"coww\"?"]);
}

#[test]
fn unreadable_images_are_counted_and_named() {
    let folder = tempdir().unwrap();
    class_folders(folder.path(), &[("ape", vec![grey_image(4, 4); 9]), ("bee", vec![grey_image(4, 4); 9])]);
    write(folder.path().join("ape/3.png"), "no png at all").unwrap();
    says(&refusal(folder.path()), &["ape/3.png: ", "repair, convert or remove"]);
    // The header is whole, the rest is missing.
    let whole = png(&colour_image(0, 30, 30));
    for k in 0..5 {
        write(folder.path().join(format!("bee/{k}.png")), &whole[..60]).unwrap();
    }
    write(folder.path().join("ape/3.png"), &whole).unwrap();
    let options = ImageOptions { test: Some(0.5), ..Default::default() };
    let text = refusal_with(folder.path(), &options);
    says(&text, &["bee/", ".png: "]);
    for k in 5..9 {
        write(folder.path().join(format!("bee/{k}.png")), "").unwrap();
    }
    says(&refusal(folder.path()), &["9 of 18 images cannot be read", "; and 6 more"]);
}

#[test]
fn a_parquet_file_that_is_cut_short_or_is_none() {
    let folder = tempdir().unwrap();
    parquet_folder(folder.path());
    let path = folder.path().join("train-00000-of-00001.parquet");
    let whole = read(&path).unwrap();
    for length in [0, 5, whole.len() / 2, whole.len() - 1] {
        write(&path, &whole[..length]).unwrap();
        says(&refusal(folder.path()), &["train-00000-of-00001.parquet: ", "damaged or cut short"]);
    }
}

#[test]
fn a_damaged_parquet_file_is_never_a_panic() {
    let folder = tempdir().unwrap();
    parquet_folder(folder.path());
    let path = folder.path().join("train-00000-of-00001.parquet");
    let whole = read(&path).unwrap();
    // Here and there among the pages, and every byte of the footer, where the crate's own assertions sit.
    let footer = whole.len().saturating_sub(700)..whole.len();
    for place in (0..footer.start).step_by(23).chain(footer) {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        write(&path, &damaged).unwrap();
        if let Err(error) = open(folder.path()) {
            assert!(error.message.contains("train-00000") || error.message.contains("class"), "byte {place}: {error}");
        }
    }
}

#[test]
fn zeros_in_a_parquet_file_change_no_image_and_no_label() {
    let folder = tempdir().unwrap();
    parquet_folder(folder.path());
    let path = folder.path().join("train-00000-of-00001.parquet");
    let whole = read(&path).unwrap();
    let look = || {
        let data = open(folder.path())?;
        let pixels: Vec<Vec<u8>> = (0..data.train.len()).map(|k| data.train.pixels(k).unwrap().to_vec()).collect();
        Ok((data.train.labels(), data.classes().to_vec(), pixels))
    };
    let truth = look().unwrap();
    let (mut refused, mut in_dictionary) = (0, 0);
    // More of them near the end, where the labels and the footer lie.
    let places = (0..whole.len() - 1500).step_by(41).chain((whole.len() - 1500..whole.len() - 40).step_by(3));
    for place in places {
        let mut damaged = whole.clone();
        damaged[place..place + 40].fill(0);
        write(&path, &damaged).unwrap();
        match look() {
            Ok(found) => assert!(found == truth, "40 zeros at {place} of {} pass for data", whole.len()),
            Err(error) => {
                let error: candlewick::Error = error;
                refused += 1;
                in_dictionary += usize::from(error.message.contains("a dictionary contradicts itself"));
            }
        }
    }
    assert!(refused > 100 && in_dictionary > 0, "{refused} refused, {in_dictionary} for a dictionary");
}

#[test]
fn a_parquet_record_that_is_no_image_or_has_none() {
    let folder = tempdir().unwrap();
    parquet_folder(folder.path());
    let path = folder.path().join("test-00000-of-00001.parquet");
    let mut rows = parquet_rows();
    rows[13].0.as_mut().unwrap().truncate(70);
    parquet(&path, &rows);
    says(&refusal(folder.path()), &["test-00000-of-00001.parquet: record 13: "]);
    rows[13].0 = None;
    parquet(&path, &rows);
    says(&refusal(folder.path()), &["test-00000-of-00001.parquet: record 13 has no img"]);
}

#[test]
fn parquet_labels_out_of_range() {
    let folder = tempdir().unwrap();
    parquet_folder(folder.path());
    let path = folder.path().join("test-00000-of-00001.parquet");
    let mut rows = parquet_rows();
    rows[4].1 = 10;
    parquet(&path, &rows);
    says(&refusal(folder.path()), &["record 4 has label 10", "10 classes", "from 0 to 9"]);
    rows[4].1 = -1;
    parquet(&path, &rows);
    says(&refusal(folder.path()), &["record 4 has label -1"]);
    let mut rows = parquet_rows();
    rows[15].1 = 99;
    parquet(&folder.path().join("train-00000-of-00001.parquet"), &rows);
    says(&refusal(folder.path()), &["train-00000-of-00001.parquet: record 15 has label 99", "without a gap"]);
}

#[test]
fn a_parquet_file_without_its_partner_or_of_something_else() {
    let folder = tempdir().unwrap();
    parquet_folder(folder.path());
    std::fs::remove_file(folder.path().join("train-00000-of-00001.parquet")).unwrap();
    says(&refusal(folder.path()), &["no train-*.parquet", "it holds test-00000-of-00001.parquet"]);
}

#[test]
fn idx_files_that_are_damaged() {
    let folder = tempdir().unwrap();
    idx_folder(folder.path());
    let images = folder.path().join("train-images-idx3-ubyte");
    let labels = folder.path().join("train-labels-idx1-ubyte.gz");
    let (whole_images, whole_labels) = (read(&images).unwrap(), read(&labels).unwrap());
    let refused = |text: String, parts: &[&str]| says(&text, parts);
    let message = || open(folder.path()).unwrap_err().message;

    write(&images, &whole_images[..30]).unwrap();
    refused(message(), &["train-images-idx3-ubyte: cut short: 14 bytes after a header that promises 6×2×3"]);
    write(&images, &whole_images[..9]).unwrap();
    refused(message(), &["cut short within its header"]);
    write(&images, [&whole_images[..], &[0]].concat()).unwrap();
    refused(message(), &["too long: 37 bytes"]);
    write(&images, idx(0x803, &[u32::MAX; 3], &[1, 2, 3])).unwrap();
    refused(message(), &["cut short: 3 bytes"]);
    write(&images, idx(0x801, &[3], &[1, 2, 3])).unwrap();
    refused(refusal(folder.path()), &["not an IDX file of images", "0x00000801", "0x00000803"]);
    write(&images, idx(0x803, &[5, 2, 3], &[7; 30])).unwrap();
    refused(refusal(folder.path()), &["train-images-idx3-ubyte: 5 images, but 6 labels"]);
    write(&images, &whole_images).unwrap();

    write(&labels, &whole_labels[..whole_labels.len() - 6]).unwrap();
    refused(refusal(folder.path()), &["train-labels-idx1-ubyte.gz: the gzip data are damaged"]);
    write(&labels, gzip(&idx(0x801, &[6], &[0, 1, 2, 0, 200, 2]))).unwrap();
    refused(refusal(folder.path()), &["train-labels-idx1-ubyte.gz: record 4 has label 200", "without a gap"]);
    write(&labels, &whole_labels).unwrap();

    let test = folder.path().join("t10k-labels-idx1-ubyte.gz");
    write(&test, gzip(&idx(0x801, &[3], &[0, 1, 3]))).unwrap();
    refused(refusal(folder.path()), &["t10k-labels-idx1-ubyte.gz: record 2 has label 3", "from 0 to 2"]);
    std::fs::remove_file(&test).unwrap();
    refused(refusal(folder.path()), &["no t10k-labels file", "t10k-labels-idx1-ubyte"]);
}

#[test]
fn cifar_batches_that_are_damaged() {
    let folder = tempdir().unwrap();
    cifar_folder(folder.path(), 20);
    let path = folder.path().join("data_batch_3.bin");
    let whole = read(&path).unwrap();
    write(&path, &whole[..whole.len() - 1]).unwrap();
    says(&refusal(folder.path()), &["data_batch_3.bin: 61459 bytes", "3073 bytes"]);
    let mut odd = whole.clone();
    odd[3073 * 7] = 11;
    write(&path, &odd).unwrap();
    says(&refusal(folder.path()), &["data_batch_3.bin: record 7 has label 11", "from 0 to 9"]);
    std::fs::remove_file(&path).unwrap();
    says(&refusal(folder.path()), &["data_batch_3.bin missing", "test_batch.bin"]);
}

#[test]
fn a_known_class_without_training_images() {
    let folder = tempdir().unwrap();
    cifar_folder(folder.path(), 9);
    says(&refusal(folder.path()), &["class \"truck\" has no training image"]);
}

#[test]
fn options_out_of_range_or_without_a_use() {
    let folder = tempdir().unwrap();
    idx_folder(folder.path());
    let text = |options| refusal_with(folder.path(), &options);
    says(&text(ImageOptions { channels: Some(2), ..Default::default() }), &["2 channels", "1 (grey) or 3"]);
    says(&text(ImageOptions { size: Some((0, 8)), ..Default::default() }), &["0×8", "from 1 to 4096"]);
    says(&text(ImageOptions { test: Some(1.5), ..Default::default() }), &["1.5", "between 0 and 1"]);
    says(&text(ImageOptions { test: Some(0.2), ..Default::default() }), &["comes with a test set", "split(0.8)"]);
}

#[test]
fn parts_that_would_be_empty() {
    let set = images(&Source::Digits, &ImageOptions::default()).unwrap().train;
    for fraction in [0.0, 1.0, -0.5, f64::NAN, 1e-9] {
        says(&set.split(fraction).unwrap_err().message, &["leaves one part empty"]);
    }
    says(&set.take(0).unwrap_err().message, &["cannot take 0 of"]);
    says(&set.take(9999).unwrap_err().hint.unwrap(), &["between 1 and 1438"]);
    says(&set.subset(&[5000]).unwrap_err().message, &["no image 5000"]);
    says(&set.subset(&[]).unwrap_err().message, &["at least one"]);
}

#[test]
fn a_training_folder_without_classes() {
    let folder = tempdir().unwrap();
    create_dir(folder.path().join("train")).unwrap();
    says(&refusal(folder.path()), &["there is no class folder"]);
}

#[test]
fn what_holds_images_in_another_form_says_what_to_do() {
    for (file, said) in [
        ("photos.ZIP", "photos.ZIP is an archive: unpack it"),
        ("data.tar.gz", "unpack it"),
        ("set.npz", "set.npz is of a form that is not read"),
        ("svhn.mat", "parquet with the columns image and label"),
        ("set-train.tfrecord-00000-of-00001", "not read"),
        ("data-00000-of-00001.arrow", "not read"),
    ] {
        let folder = tempdir().unwrap();
        write(folder.path().join(file), "something").unwrap();
        says(&refusal(folder.path()), &["no images found", said]);
    }
    let folder = tempdir().unwrap();
    write(folder.path().join("train.parquet"), "version https://git-lfs.github.com/spec/v1\noid sha256:0\n").unwrap();
    says(&refusal(folder.path()), &["train.parquet: ", "Git LFS", "git lfs pull"]);
}
