//! Every source is read right: counts, order of pixels, classes, sizes.

use crate::files::*;
use crate::shared::reference;
use candlewick::data::{ImageOptions, Source, images};
use candlewick::shape::Shape;
use parquet::file::reader::SerializedFileReader;
use parquet::record::Field;
use std::fs::File;
use tempfile::tempdir;

const CIFAR_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

fn shape(channels: usize, height: usize, width: usize) -> Shape {
    Shape { channels, height, width }
}

#[test]
fn digits_need_no_file() {
    let digits = images(&Source::parse("digits"), &ImageOptions::default()).unwrap();
    assert_eq!(digits.train.len() + digits.test.len(), 1797);
    assert_eq!(digits.test.class_counts(), [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]);
    assert_eq!(digits.shape(), shape(1, 8, 8));
    assert_eq!(digits.classes(), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(digits.train.levels(), 16);
    assert!(!digits.train.mirrors(), "a mirrored digit is another sign");
    // The file's first image, a zero.
    assert_eq!(digits.train.label(0), Some(0));
    assert_eq!(&digits.train.pixels(0).unwrap()[..16], [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0]);
    // 4.88 and 6.01 of 16 are the published moments of all 1,797; the training part lies near.
    assert!((digits.train.mean()[0] * 16.0 - 4.88).abs() < 0.05, "{:?}", digits.train.mean());
    assert!((digits.train.std()[0] * 16.0 - 6.01).abs() < 0.05, "{:?}", digits.train.std());
}

#[test]
fn digits_can_be_enlarged_and_coloured() {
    let options = ImageOptions { size: Some((16, 12)), channels: Some(3), ..Default::default() };
    let digits = images(&Source::Digits, &options).unwrap();
    assert_eq!(digits.shape(), shape(3, 16, 12));
    assert_eq!(digits.train.levels(), 240);
    assert!((digits.train.mean()[2] * 16.0 - 4.88).abs() < 0.1, "{:?}", digits.train.mean());
}

#[test]
fn cifar_parquet_is_whole_balanced_and_not_transposed() {
    let Some(folder) = reference("data/cifar10") else { return };
    let cifar = open(&folder).unwrap();
    assert_eq!((cifar.train.len(), cifar.test.len()), (10_000, 2_000));
    assert_eq!(cifar.train.class_counts(), [1000; 10]);
    assert_eq!(cifar.test.class_counts(), [200; 10]);
    assert_eq!((cifar.name(), cifar.shape()), ("CIFAR-10", shape(3, 32, 32)));
    assert_eq!(cifar.classes(), CIFAR_CLASSES);
    assert_eq!(cifar.train.mean(), [0.491_399_68, 0.482_158_27, 0.446_531_24]);
    assert_eq!(cifar.train.std(), [0.247_032_33, 0.243_485_05, 0.261_587_68]);

    // Another way through the parquet and image crates: rows, then single pixels.
    let file = File::open(folder.join("test-00000-of-00001.parquet")).unwrap();
    let rows = SerializedFileReader::new(file).unwrap().into_iter().map(Result::unwrap);
    for (k, row) in rows.enumerate().step_by(97) {
        let (mut picture, mut label) = (None, None);
        for (_, field) in row.get_column_iter() {
            match field {
                Field::Group(img) => {
                    let bytes = img.get_column_iter().find_map(|(_, field)| match field {
                        Field::Bytes(bytes) => Some(bytes.data().to_vec()),
                        _ => None,
                    });
                    picture = bytes.map(|bytes| image::load_from_memory(&bytes).unwrap().to_rgb8());
                }
                Field::Long(value) => label = Some(*value as u32),
                _ => {}
            }
        }
        let (picture, pixels) = (picture.unwrap(), cifar.test.pixels(k).unwrap());
        assert_eq!(cifar.test.label(k), label);
        for (row, column, channel) in [(0, 31, 0), (31, 0, 1), (5, 20, 2), (20, 5, 0), (31, 31, 2)] {
            let expected = picture.get_pixel(column as u32, row as u32).0[channel];
            assert_eq!(pixels[channel * 1024 + row * 32 + column], expected, "image {k} ({row}, {column}) {channel}");
        }
    }
}

#[test]
fn parquet_in_several_shards_and_row_groups_keeps_its_order() {
    let folder = tempdir().unwrap();
    parquet_folder(folder.path());
    parquet(&folder.path().join("train-00001-of-00002.parquet"), &parquet_rows()[..7]);
    let data = open(folder.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.shape()), (27, 20, shape(3, 8, 8)));
    for k in 0..27 {
        let pixels = data.train.pixels(k).unwrap();
        let expected = colour(k % 20, 2, 5);
        assert_eq!([0, 1, 2].map(|channel| pixels[channel * 64 + 2 * 8 + 5]), expected);
        assert_eq!(data.train.label(k), Some((k % 20 % 10) as u32));
    }
}

#[test]
fn cifar_binary_batches_are_read_in_order() {
    let folder = tempdir().unwrap();
    cifar_folder(folder.path(), 20);
    let cifar = open(folder.path()).unwrap();
    assert_eq!((cifar.train.len(), cifar.test.len(), cifar.name()), (100, 20, "CIFAR-10"));
    assert_eq!(cifar.shape(), shape(3, 32, 32));
    assert_eq!(cifar.classes(), CIFAR_CLASSES);
    // The third image of the second batch; its blue plane begins at pixel 2048.
    assert_eq!(cifar.train.label(22), Some(2));
    assert_eq!(cifar.train.pixels(22).unwrap()[2048 + 33], ((2 + 1 + 2048 + 33) % 256) as u8);
}

#[test]
fn fashion_idx_is_whole_and_balanced() {
    let Some(folder) = reference("data/fashion-mnist") else { return };
    let fashion = open(&folder).unwrap();
    assert_eq!((fashion.train.len(), fashion.test.len()), (10_000, 2_000));
    assert_eq!(fashion.train.class_counts(), [1000; 10]);
    assert_eq!(fashion.test.class_counts(), [200; 10]);
    assert_eq!((fashion.name(), fashion.shape()), ("Fashion-MNIST", shape(1, 28, 28)));
    assert_eq!(fashion.classes()[9], "Ankle boot");
    // The data set's first image is an ankle boot on black.
    assert_eq!(fashion.train.label(0), Some(9));
    assert_eq!(fashion.train.pixels(0).unwrap()[0], 0);
    // The published mean is 0.2860, the deviation 0.3530.
    assert!((fashion.train.mean()[0] - 0.286).abs() < 0.005, "{:?}", fashion.train.mean());
    assert!((fashion.train.std()[0] - 0.353).abs() < 0.005, "{:?}", fashion.train.std());
}

#[test]
fn idx_plain_and_gzipped_may_be_mixed() {
    let folder = tempdir().unwrap();
    idx_folder(folder.path());
    let data = open(folder.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.shape()), (6, 3, shape(1, 2, 3)));
    assert_eq!(data.classes(), ["0", "1", "2"]);
    assert_eq!(data.train.pixels(4).unwrap(), [24, 25, 26, 27, 28, 29]);
    assert_eq!(data.train.labels(), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn one_folder_a_class_divided_by_the_user() {
    let folder = tempdir().unwrap();
    let some = |count| (0..count).map(|k| colour_image(k, 6, 4)).collect();
    class_folders(&folder.path().join("train"), &[("cat", some(5)), ("dog", some(3))]);
    class_folders(&folder.path().join("val"), &[("cat", some(2)), ("dog", some(1))]);
    std::fs::write(folder.path().join("train/cat/notes.txt"), "not an image").unwrap();
    let data = open(folder.path()).unwrap();
    assert_eq!(data.classes(), ["cat", "dog"]);
    assert_eq!((data.train.class_counts(), data.test.class_counts()), (vec![5, 3], vec![2, 1]));
    assert_eq!(data.shape(), shape(3, 6, 4));
    assert!(data.train.mirrors());
    let pixels = data.test.pixels(1).unwrap();
    assert_eq!([0, 1, 2].map(|channel| pixels[channel * 24 + 5 * 4 + 3]), colour(1, 5, 3));
    // Folders list class by class; cut by order, both halves must still know every class.
    assert!(!data.train.labels().is_sorted());
    assert!(data.notes.iter().any(|note| note.contains("shuffled")), "{:?}", data.notes);
}

#[test]
fn one_folder_a_class_without_a_test_set_holds_out_a_share_of_each() {
    let folder = tempdir().unwrap();
    let greys = || (0..10).map(|_| grey_image(5, 5)).collect();
    class_folders(folder.path(), &[("2", greys()), ("10", greys()), ("1", greys())]);
    let held = |options: &ImageOptions| images(&Source::Folder(folder.path().into()), options).unwrap();
    let data = held(&ImageOptions::default());
    assert_eq!(data.classes(), ["1", "2", "10"], "numbers sort as numbers");
    assert_eq!((data.train.class_counts(), data.test.class_counts()), (vec![8; 3], vec![2; 3]));
    assert_eq!(data.shape(), shape(1, 5, 5), "grey stays grey");
    assert_eq!(data.train.pixels(0).unwrap()[3 * 5 + 4], 16 * 3 + 4);
    let half = held(&ImageOptions { test: Some(0.5), ..Default::default() });
    // Each image for itself, so the share is met only about.
    assert!(half.test.class_counts().iter().all(|count| (3..=7).contains(count)), "{:?}", half.test.class_counts());
}

#[test]
fn which_images_are_held_out_follows_the_seed() {
    let folder = tempdir().unwrap();
    let some = || (0..20).map(|k| colour_image(k, 4, 4)).collect();
    class_folders(folder.path(), &[("left", some()), ("right", some())]);
    let marks = |seed| -> Vec<u8> {
        let options = ImageOptions { seed, ..Default::default() };
        let data = images(&Source::Folder(folder.path().into()), &options).unwrap();
        (0..data.test.len()).map(|k| data.test.pixels(k).unwrap()[32]).collect()
    };
    assert_eq!(marks(0), marks(0));
    assert_ne!(marks(0), marks(1));
}

#[test]
fn images_of_several_sizes_become_the_commonest_and_that_is_said() {
    let folder = tempdir().unwrap();
    let sizes = [(8, 8), (6, 7), (6, 7), (6, 7), (12, 3)];
    let mixed = || sizes.iter().map(|&(h, w)| colour_image(1, h, w)).collect();
    class_folders(folder.path(), &[("ape", mixed()), ("bee", mixed())]);
    let data = open(folder.path()).unwrap();
    assert_eq!(data.shape(), shape(3, 6, 7));
    assert!(data.notes.iter().any(|note| note.contains("4 of 10 images were resized to 6×7")), "{:?}", data.notes);

    let options = ImageOptions { size: Some((5, 5)), channels: Some(1), ..Default::default() };
    let data = images(&Source::Folder(folder.path().into()), &options).unwrap();
    assert_eq!(data.shape(), shape(1, 5, 5));
}

#[test]
fn parts_of_a_set_share_its_images() {
    let train = images(&Source::Digits, &ImageOptions::default()).unwrap().train;
    let (first, second) = train.split(0.5).unwrap();
    assert_eq!((first.len(), second.len()), (train.len() / 2, train.len() - train.len() / 2));
    assert_eq!(second.pixels(0), train.pixels(first.len()));
    assert_eq!(second.pixels(0).unwrap().as_ptr(), train.pixels(first.len()).unwrap().as_ptr());
    assert_eq!(train.take(100).unwrap().split(0.29).unwrap().0.len(), 29);
    let some = train.subset(&[7, 3, 7]).unwrap();
    assert_eq!(some.labels(), [7, 3, 7].map(|k| train.label(k).unwrap()));
    assert_eq!(some.class_counts().iter().sum::<usize>(), 3);
}
