//! Forms that people have besides the usual ones.

use crate::files::*;
use candlewick::data::{ImageOptions, Images, Source, images};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs::{File, create_dir_all, remove_file, write};
use std::path::Path;
use std::sync::Arc;
use tempfile::tempdir;

fn with(folder: &Path, options: ImageOptions) -> candlewick::Result<Images> {
    images(&Source::Folder(folder.into()), &options)
}

/// Letters counted from one; each image has one lit pixel, at row 3, column 20.
fn letters(folder: &Path, train: &str, test: &str) {
    let labels: Vec<u8> = (0..78).map(|k| 1 + k % 26).collect();
    let mut image = vec![0; 784];
    image[28 * 3 + 20] = 255;
    for set in [train, test] {
        let images = idx(0x803, &[78, 28, 28], &image.repeat(78));
        write(folder.join(format!("{set}-images-idx3-ubyte.gz")), gzip(&images)).unwrap();
        write(folder.join(format!("{set}-labels-idx1-ubyte.gz")), gzip(&idx(0x801, &[78], &labels))).unwrap();
    }
}

/// Row and column of an image's brightest pixel.
fn lit(data: &Images) -> (usize, usize) {
    let at = data.train.pixels(0).unwrap().iter().position(|&pixel| pixel == 255).unwrap();
    (at / 28, at % 28)
}

#[test]
fn emnist_under_its_own_names_is_turned_upright() {
    let folder = tempdir().unwrap();
    letters(folder.path(), "emnist-letters-train", "emnist-letters-test");
    let data = open(folder.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.classes().len()), (78, 78, 26));
    assert_eq!((data.classes()[0].as_str(), data.classes()[25].as_str()), ("A", "Z"));
    assert_eq!(lit(&data), (20, 3));
    assert!(!data.train.mirrors());
    assert!(data.notes.iter().any(|note| note.contains("transpose: false")), "{:?}", data.notes);
    let as_stored = with(folder.path(), ImageOptions { transpose: Some(false), ..Default::default() }).unwrap();
    assert_eq!(lit(&as_stored), (3, 20));
}

#[test]
fn emnist_under_mnist_s_names_is_read_as_stored_and_can_be_turned() {
    let folder = tempdir().unwrap();
    letters(folder.path(), "train", "t10k");
    let data = open(folder.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.classes().len()), (78, 78, 26));
    assert_eq!((data.classes()[0].as_str(), data.classes()[25].as_str()), ("1", "26"));
    assert_eq!((lit(&data), data.train.mirrors()), ((3, 20), false));
    let turned = with(folder.path(), ImageOptions { transpose: Some(true), ..Default::default() }).unwrap();
    assert_eq!(lit(&turned), (20, 3));
    // Unless the folder says what they are.
    let named = folder.path().join("EMNIST_letters");
    create_dir_all(&named).unwrap();
    letters(&named, "train", "t10k");
    let data = open(&named).unwrap();
    assert_eq!((lit(&data), data.name(), data.classes()[25].as_str()), ((20, 3), "EMNIST_letters", "Z"));
}

#[test]
fn idx_files_in_folders_of_their_own_names_are_read() {
    let (plain, folder) = (tempdir().unwrap(), tempdir().unwrap());
    idx_folder(plain.path());
    for entry in std::fs::read_dir(plain.path()).unwrap() {
        let entry = entry.unwrap();
        let inner = folder.path().join(entry.file_name());
        create_dir_all(&inner).unwrap();
        std::fs::copy(entry.path(), inner.join(entry.file_name())).unwrap();
    }
    let (expected, found) = (open(plain.path()).unwrap(), open(folder.path()).unwrap());
    assert_eq!((found.train.labels(), found.test.len()), (expected.train.labels(), expected.test.len()));
}

#[test]
fn several_sets_in_one_folder_are_told_apart() {
    let folder = tempdir().unwrap();
    letters(folder.path(), "emnist-letters-train", "emnist-letters-test");
    letters(folder.path(), "emnist-digits-train", "emnist-digits-test");
    let error = open(folder.path()).unwrap_err();
    assert!(error.message.contains("several sets in one folder: emnist-digits-, emnist-letters-"), "{error}");
}

#[test]
fn idx_files_of_other_numbers_are_read() {
    let values: [f32; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
    let floats: Vec<u8> = values.repeat(6).into_iter().flat_map(f32::to_be_bytes).collect();
    let doubles: Vec<u8> = values.repeat(6).into_iter().flat_map(|v| f64::from(255.0 * v).to_be_bytes()).collect();
    let shorts: Vec<u8> = values.repeat(6).into_iter().flat_map(|v| ((255.0 * v) as i16).to_be_bytes()).collect();
    for (kind, bytes) in [(0xD03, floats), (0xE03, doubles), (0xB03, shorts)] {
        let folder = tempdir().unwrap();
        idx_folder(folder.path());
        write(folder.path().join("train-images-idx3-ubyte"), idx(kind, &[6, 2, 3], &bytes)).unwrap();
        let data = open(folder.path()).unwrap();
        assert_eq!(data.train.pixels(0).unwrap(), [0, 51, 102, 153, 204, 255], "{kind:#x}");
    }
    let folder = tempdir().unwrap();
    idx_folder(folder.path());
    let odd: Vec<u8> = [-1.0f32; 36].into_iter().flat_map(f32::to_be_bytes).collect();
    write(folder.path().join("train-images-idx3-ubyte"), idx(0xD03, &[6, 2, 3], &odd)).unwrap();
    assert!(open(folder.path()).unwrap_err().message.contains("a pixel is -1"));
    // Labels of floats are whole numbers all the same, and names say "double" or "short" as well.
    let folder = tempdir().unwrap();
    idx_folder(folder.path());
    let labels = |values: [f64; 6]| idx(0xE01, &[6], &values.map(f64::to_be_bytes).concat());
    remove_file(folder.path().join("train-labels-idx1-ubyte.gz")).unwrap();
    write(folder.path().join("train-labels-idx1-double"), labels([0.0, 1.0, 2.0, 0.0, 1.0, 2.0])).unwrap();
    assert_eq!(open(folder.path()).unwrap().train.labels(), [0, 1, 2, 0, 1, 2]);
    write(folder.path().join("train-labels-idx1-double"), labels([0.0, 1.0, 2.0, 0.5, 1.0, 2.0])).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(error.message.contains("record 3 has label 0.5"), "{error}");
}

#[test]
fn cifar_100_is_read_with_fine_and_coarse_labels() {
    let folder = tempdir().unwrap();
    for name in ["train.bin", "test.bin"] {
        let record = |k: u8| [vec![k / 5, k], vec![k; 3072]].concat();
        write(folder.path().join(name), (0..100).flat_map(record).collect::<Vec<u8>>()).unwrap();
    }
    let names: Vec<String> = (0..100).map(|k| format!("fine{k}")).collect();
    write(folder.path().join("fine_label_names.txt"), names.join("\n")).unwrap();
    let data = open(folder.path()).unwrap();
    assert_eq!((data.name(), data.train.len(), data.test.len()), ("CIFAR-100", 100, 100));
    assert_eq!(data.classes(), names);
    assert_eq!((data.test.label(42), data.test.pixels(42).unwrap()[7]), (Some(42), 42));
    let coarse = with(folder.path(), ImageOptions { labels: Some("coarse".into()), ..Default::default() }).unwrap();
    assert_eq!((coarse.classes().len(), coarse.test.label(42)), (20, Some(8)));
    let error = with(folder.path(), ImageOptions { labels: Some("corse".into()), ..Default::default() }).unwrap_err();
    assert!(error.hint.unwrap().contains("did you mean \"coarse\"?"));
}

#[test]
fn cifar_as_pickles_says_what_to_get() {
    let folder = tempdir().unwrap();
    for name in ["data_batch_1", "data_batch_2", "test_batch", "batches.meta"] {
        write(folder.path().join(name), b"\x80\x02}q\0.").unwrap();
    }
    let error = open(folder.path()).unwrap_err();
    assert!(error.message.contains("CIFAR-10 as Python's pickles"), "{error}");
    assert!(error.hint.unwrap().contains("cifar-10-binary.tar.gz"));
    // As the archive unpacks, one level down.
    let outer = tempdir().unwrap();
    let inner = outer.path().join("cifar-100-python");
    create_dir_all(&inner).unwrap();
    for name in ["meta", "train", "test"] {
        write(inner.join(name), b"\x80\x02}q\0.").unwrap();
    }
    let error = open(outer.path()).unwrap_err();
    assert!(error.message.contains("CIFAR-100 as Python's pickles"), "{error}");
}

/// A table whose labels are words and whose images are plain bytes.
fn table_of_words(path: &Path, labels: &[&str]) {
    let schema = "message schema { required binary image; required binary label (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let images: Vec<ByteArray> = (0..labels.len()).map(|k| png(&colour_image(k, 8, 8)).into()).collect();
    let words: Vec<ByteArray> = labels.iter().map(|&word| ByteArray::from(word)).collect();
    for values in [images, words] {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn labels_of_a_table_may_be_words() {
    let folder = tempdir().unwrap();
    let (train, test) = (folder.path().join("train.parquet"), folder.path().join("test.parquet"));
    table_of_words(&train, &["owl", "cat", "owl", "Caf\u{e9}", "Cafe\u{301}", "cat"]);
    table_of_words(&test, &["cat", "owl"]);
    let data = open(folder.path()).unwrap();
    assert_eq!(data.classes(), ["Caf\u{e9}", "cat", "owl"]);
    assert_eq!(data.train.labels(), [2, 1, 2, 0, 0, 1]);
    assert_eq!(data.test.labels(), [1, 2]);
    table_of_words(&test, &["cat", "ow"]);
    let error = open(folder.path()).unwrap_err();
    assert!(error.message.contains("test.parquet: record 1 has the label \"ow\""), "{error}");
    remove_file(&test).unwrap();
    table_of_words(&train, &["owl", "cat", "owl", "cat"]);
    assert_eq!(open(folder.path()).unwrap().test.class_counts(), [1, 1]);
}

/// A table whose labels are places among the names that its metadata gives.
fn table_of_places(path: &Path, names: &str, labels: &[i64]) {
    let features = format!(r#"{{"info":{{"features":{{"label":{{"names":{names}}}}}}}}}"#);
    write_table::<Int64Type>(path, "int64", labels, Some(features));
}

#[test]
fn tables_name_the_same_classes_in_the_same_order() {
    let folder = tempdir().unwrap();
    let (train, test) = (folder.path().join("train.parquet"), folder.path().join("test.parquet"));
    table_of_places(&train, r#"["cat","dog"]"#, &[0, 1, 1, 0]);
    table_of_places(&test, r#"["cat","dog"]"#, &[1, 0]);
    assert_eq!(open(folder.path()).unwrap().classes(), ["cat", "dog"]);
    table_of_places(&test, r#"["dog","cat"]"#, &[1, 0]);
    let error = open(folder.path()).unwrap_err();
    assert!(error.message.contains("class 0 is \"dog\", in "), "{error}");
}

#[test]
fn names_beside_cifar_s_files_count_or_it_is_told_why_not() {
    let folder = tempdir().unwrap();
    let record = |k: usize| [vec![(k % 20) as u8, (k % 100) as u8], vec![9; 3072]].concat();
    for file in ["train.bin", "test.bin"] {
        write(folder.path().join(file), (0..100).flat_map(record).collect::<Vec<u8>>()).unwrap();
    }
    let lines = |count: usize| (0..count).map(|k| format!("word{k}\n")).collect::<String>();
    write(folder.path().join("fine_label_names.txt"), lines(100)).unwrap();
    assert_eq!(open(folder.path()).unwrap().classes()[99], "word99");
    write(folder.path().join("fine_label_names.txt"), lines(99)).unwrap();
    let data = open(folder.path()).unwrap();
    assert_eq!(data.classes()[99], "99");
    let told = "fine_label_names.txt is not used: it should name 100 classes, and names 99";
    assert!(data.notes.iter().any(|note| note.contains(told)), "{:?}", data.notes);

    let folder = tempdir().unwrap();
    cifar_folder(folder.path(), 20);
    assert_eq!(open(folder.path()).unwrap().classes()[0], "airplane");
    write(folder.path().join("batches.meta.txt"), lines(10)).unwrap();
    let data = open(folder.path()).unwrap();
    assert_eq!(data.classes()[0], "word0");
    assert!(data.notes.iter().any(|note| note.contains("named by batches.meta.txt")), "{:?}", data.notes);
    write(folder.path().join("batches.meta.txt"), "cat\n".repeat(10)).unwrap();
    let data = open(folder.path()).unwrap();
    assert_eq!(data.classes()[0], "airplane");
    assert!(data.notes.iter().any(|note| note.contains("and names 1 different ones")), "{:?}", data.notes);
}

/// A table whose labels are of a type of their own.
fn table_of<T: DataType>(path: &Path, kind: &str, labels: &[T::T]) {
    write_table::<T>(path, kind, labels, None);
}

fn write_table<T: DataType>(path: &Path, kind: &str, labels: &[T::T], features: Option<String>) {
    let schema = format!("message schema {{ required binary image; required {kind} label; }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::default()).unwrap();
    if let Some(features) = features {
        writer.append_key_value_metadata(KeyValue::new("huggingface".into(), features));
    }
    let mut group = writer.next_row_group().unwrap();
    let images: Vec<ByteArray> = (0..labels.len()).map(|k| png(&colour_image(k, 8, 8)).into()).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&images, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(labels, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn labels_of_a_table_may_be_truths_or_whole_floats() {
    let folder = tempdir().unwrap();
    let train = folder.path().join("TRAIN.PARQUET");
    let read = || open(folder.path()).map(|data| (data.classes().to_vec(), data.train.len() + data.test.len()));
    table_of::<BoolType>(&train, "boolean", &[true, false, true, false, true, false, false, true]);
    assert_eq!(read().unwrap(), (vec!["false".into(), "true".into()], 8));
    table_of::<DoubleType>(&train, "double", &[0.0, 1.0, 2.0, 1.0, 0.0, 2.0]);
    assert_eq!(read().unwrap().0, ["0", "1", "2"]);
    table_of::<FloatType>(&train, "float", &[0.0, 1.0, 1.0, 0.0]);
    assert_eq!(read().unwrap().0, ["0", "1"]);
    table_of::<FloatType>(&train, "float", &[0.0, 1.0, 0.5, 0.0]);
    let error = read().unwrap_err();
    assert!(error.message.contains("TRAIN.PARQUET: record 2 has label 0.5"), "{error}");
    table_of::<DoubleType>(&train, "double", &[0.0, f64::NAN, 1.0, 0.0]);
    assert!(read().unwrap_err().message.contains("record 1 has label NaN"));
}

#[test]
fn tables_in_folders_of_their_part_are_read_and_listed_apart() {
    let folder = tempdir().unwrap();
    for (file, labels) in [("train/0000", vec![0, 1, 0, 1]), ("train/0001", vec![1, 0]), ("test/0000", vec![0, 1, 1])] {
        table_of::<Int64Type>(&folder.path().join(format!("{file}.parquet")), "int64", &labels);
    }
    let data = open(folder.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (6, 3));
    let files: Vec<&str> = data.list.iter().map(|listed| listed.file.as_str()).collect();
    assert_eq!(files, ["train/0000.parquet", "train/0001.parquet", "test/0000.parquet"]);
    let words = folder.path().join("words/train.parquet");
    create_dir_all(words.parent().unwrap()).unwrap();
    table_of_words(&words, &["", "owl", "", "owl"]);
    assert_eq!(open(words.parent().unwrap()).unwrap().classes(), ["", "owl"]);
}
