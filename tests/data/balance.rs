//! Batches where classes are unbalanced, and batches of mixed images.

use crate::files::*;
use candlewick::data::*;
use candlewick::random::Seed;
use image::{DynamicImage, RgbImage};
use tempfile::tempdir;

/// Ten images of "a", four of "b" and one of "c", all of them training images.
fn unbalanced() -> ImageSet {
    let folder = tempdir().unwrap();
    let some = |count: usize, from: usize| (from..from + count).map(noise).collect();
    class_folders(&folder.path().join("train"), &[("a", some(10, 0)), ("b", some(4, 10)), ("c", some(1, 20))]);
    class_folders(&folder.path().join("test"), &[("a", some(1, 0)), ("b", some(1, 10)), ("c", some(1, 20))]);
    open(folder.path()).unwrap().train
}

/// Pictures no one of which lies between two others.
fn noise(image: usize) -> DynamicImage {
    let value = |x: u32, y: u32, channel: usize| {
        let hash = (image as u32 * 193 + x * 8 + y * 67 + channel as u32 * 29 + 1).wrapping_mul(0x9e37_79b9);
        (hash >> 24) as u8
    };
    RgbImage::from_fn(8, 8, |x, y| [0, 1, 2].map(|channel| value(x, y, channel)).into()).into()
}

fn batches(set: &ImageSet, size: usize, options: BatchOptions) -> Batches {
    Batches::new(set, size, &options, Seed(2), "train").unwrap()
}

fn rows(targets: &candle_core::Tensor) -> Vec<Vec<f32>> {
    targets.to_vec2().unwrap()
}

#[test]
fn balanced_weights_stand_in_the_targets() {
    let set = unbalanced();
    let train = batches(&set, 15, BatchOptions { weights: ClassWeights::Balanced, ..BatchOptions::default() });
    let batch = train.next().unwrap();
    // N/(K · n): 15/(3 · 10), 15/(3 · 4), 15/(3 · 1).
    let weights = [0.5, 1.25, 5.0];
    let labels = batch.labels.to_vec1::<u32>().unwrap();
    for (row, label) in rows(batch.targets.as_ref().unwrap()).iter().zip(labels) {
        let mut expected = [0.0; 3];
        expected[label as usize] = weights[label as usize];
        assert_eq!(row[..], expected);
    }
    let plain = batches(&set, 15, BatchOptions::default()).next().unwrap();
    assert!(plain.targets.is_none() && plain.indices == batch.indices, "the order is that without weights");
}

#[test]
fn balanced_sampling_shows_every_class_as_often() {
    let set = unbalanced();
    let options = BatchOptions { sampling: Sampling::Balanced, ..BatchOptions::default() };
    let train = batches(&set, 4, options);
    for epoch in 0..4 {
        let visited: Vec<usize> = train.epoch(epoch).flat_map(|batch| batch.unwrap().indices).collect();
        let of = |class: u32| visited.iter().filter(|&&index| set.label(index) == Some(class)).count();
        assert_eq!([of(0), of(1), of(2)], [5, 5, 5]);
    }
    let visit = |epoch| -> Vec<usize> { train.epoch(epoch).flat_map(|batch| batch.unwrap().indices).collect() };
    assert_eq!(visit(3), visit(3), "the same epoch is the same order");
    assert_ne!(visit(0), visit(1));
}

#[test]
fn a_mixed_image_is_a_mean_of_two_and_so_is_its_target() {
    let set = unbalanced();
    let options = BatchOptions { weights: ClassWeights::Balanced, ..BatchOptions::default() };
    let alone = batches(&set, 15, options.clone()).next().unwrap();
    let mixed = batches(&set, 15, BatchOptions { mixup: 0.4, ..options.clone() });
    let batch = mixed.next().unwrap();
    assert_eq!(batch.indices, alone.indices);
    let images = |batch: &Batch| batch.images.flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
    let (own, found) = (images(&alone), images(&batch));
    let (own_targets, targets) = (rows(alone.targets.as_ref().unwrap()), rows(batch.targets.as_ref().unwrap()));
    // An image that was laid over another one gives away the share, the same for the whole batch.
    let share = (0..15)
        .flat_map(|i| (0..15).map(move |j| (i, j)))
        .filter(|(i, j)| i != j)
        .filter_map(|(i, j)| {
            let at =
                (0..192).max_by(|&a, &b| (own[i][a] - own[j][a]).abs().total_cmp(&(own[i][b] - own[j][b]).abs()))?;
            let share = (found[i][at] - own[j][at]) / (own[i][at] - own[j][at]);
            let is = |(a, b, c): (f32, f32, f32)| (share * a + (1.0 - share) * b - c).abs() < 1e-4;
            (0..192).all(|k| is((own[i][k], own[j][k], found[i][k]))).then_some((i, j, share))
        })
        .collect::<Vec<_>>();
    assert!(share.len() >= 10, "{share:?}");
    for &(i, j, share) in &share {
        assert!((0.0..=1.0).contains(&share));
        for class in 0..3 {
            let expected = share * own_targets[i][class] + (1.0 - share) * own_targets[j][class];
            assert!((targets[i][class] - expected).abs() < 1e-3, "{:?} {:?}", targets[i], expected);
        }
    }
    let again = batches(&set, 15, BatchOptions { mixup: 0.4, ..options }).next().unwrap();
    assert_eq!(images(&again), found, "the same seed mixes alike");
    assert_ne!(images(&mixed.next().unwrap()), found);
}

#[test]
fn what_balances_nothing_is_refused() {
    let set = unbalanced();
    let refused = |options: BatchOptions| match Batches::new(&set, 4, &options, Seed(0), "train") {
        Ok(_) => panic!("accepted"),
        Err(error) => format!("{error}"),
    };
    let twice = BatchOptions { weights: ClassWeights::Balanced, sampling: Sampling::Balanced, ..Default::default() };
    assert!(refused(twice).contains("balanced twice"));
    let still = BatchOptions { sampling: Sampling::Balanced, shuffle: false, ..Default::default() };
    assert!(refused(still).contains("shuffle is false"));
    let given = BatchOptions { weights: ClassWeights::Given(vec![1.0]), ..Default::default() };
    assert!(refused(given).contains("1 weights for 3 classes"));
    for mixup in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(refused(BatchOptions { mixup, ..Default::default() }).contains("Beta(α, α)"), "{mixup}");
    }
}

#[test]
fn an_image_knows_the_file_that_it_was_read_from() {
    let folder = tempdir().unwrap();
    let some = |count: usize| (0..count).map(|image| colour_image(image, 8, 8)).collect();
    class_folders(folder.path(), &[("a", some(12)), ("b", some(9))]);
    std::fs::write(folder.path().join("a/3.png"), "no png at all").unwrap();
    let options = ImageOptions { skip_unreadable: true, ..ImageOptions::default() };
    let data = images(&Source::Folder(folder.path().into()), &options).unwrap();
    let mut seen = Vec::new();
    for set in [&data.train, &data.test] {
        for index in 0..set.len() {
            let file = set.file(index).unwrap();
            let class = set.label(index).unwrap() as usize;
            assert_eq!(file.split('/').next(), Some(set.classes()[class].as_str()));
            // `colour` puts the image's number into the third channel.
            let number: u8 = file[2..].trim_end_matches(".png").parse().unwrap();
            assert_eq!(set.pixels(index).unwrap()[128], 7 * number, "{file}");
            seen.push(file.to_string());
        }
        assert_eq!(set.file(set.len()), None);
    }
    seen.sort();
    seen.dedup();
    assert!(seen.len() == 20 && !seen.contains(&"a/3.png".to_string()), "{seen:?}");
    assert_eq!(images(&Source::Digits, &ImageOptions::default()).unwrap().test.file(0), None);
}
