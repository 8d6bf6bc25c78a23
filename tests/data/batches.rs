//! Batches are a function of seed, stream and place; augmentation does what the paper says.

use crate::files::*;
use candlewick::data::*;
use candlewick::random::Seed;
use tempfile::tempdir;

fn digits() -> ImageSet {
    images(&Source::Digits, &ImageOptions::default()).unwrap().train
}

fn batches(set: &ImageSet, size: usize, options: BatchOptions) -> Batches {
    Batches::new(set, size, &options, Seed(2), "train").unwrap()
}

fn standard() -> BatchOptions {
    BatchOptions { augment: Augment::Standard, ..Default::default() }
}

/// Values and labels, as bits.
fn bits(batch: &Batch) -> (Vec<u32>, Vec<u32>, Vec<usize>) {
    let x = batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    (x.iter().map(|v| v.to_bits()).collect(), batch.labels.to_vec1().unwrap(), batch.indices.clone())
}

#[test]
fn an_epoch_visits_every_image_once_in_a_fresh_order() {
    let set = digits();
    let train = batches(&set, 64, standard());
    assert_eq!(train.len(), set.len().div_ceil(64));
    let visit = |epoch| -> Vec<usize> { train.epoch(epoch).flat_map(|batch| batch.unwrap().indices).collect() };
    let (first, second) = (visit(0), visit(1));
    assert_ne!(first, second);
    for mut order in [first.clone(), second] {
        order.sort_unstable();
        assert_eq!(order, (0..set.len()).collect::<Vec<_>>());
    }
    assert_eq!(first, visit(0), "the same epoch is the same order");
    let sizes: Vec<usize> = train.epoch(0).map(|batch| batch.unwrap().len()).collect();
    assert_eq!(sizes.last(), Some(&(set.len() % 64)));
    assert!(sizes[..sizes.len() - 1].iter().all(|&size| size == 64));
    let whole = batches(&set, 64, BatchOptions { drop_last: true, ..standard() });
    assert!(whole.epoch(3).all(|batch| batch.unwrap().len() == 64));
    assert_eq!(whole.len(), set.len() / 64);
}

#[test]
fn labels_stay_with_their_images() {
    let set = digits();
    for batch in batches(&set, 100, BatchOptions::default()).epoch(5) {
        let batch = batch.unwrap();
        assert_eq!(batch.images.dims(), [batch.len(), 1, 8, 8]);
        let (x, y) =
            (batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap(), batch.labels.to_vec1::<u32>().unwrap());
        for (k, &place) in batch.indices.iter().enumerate() {
            assert_eq!(Some(y[k]), set.label(place));
            let pixel = f32::from(set.pixels(place).unwrap()[20]);
            assert_eq!(x[k * 64 + 20], (pixel / 16.0 - set.mean()[0]) / set.std()[0]);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_does_not() {
    let set = digits();
    let run = |seed, stream: &str| -> Vec<_> {
        let train = Batches::new(&set, 50, &BatchOptions { cutout: 3, ..standard() }, Seed(seed), stream).unwrap();
        (0..40).map(|_| bits(&train.next().unwrap())).collect()
    };
    assert_eq!(run(2, "train"), run(2, "train"));
    assert_ne!(run(2, "train"), run(3, "train"));
    assert_ne!(run(2, "train"), run(2, "valid"));
}

#[test]
fn next_runs_through_epochs_and_goes_on_from_a_saved_position() {
    let set = digits().take(70).unwrap();
    let endless = batches(&set, 32, standard());
    let all: Vec<_> = (0..8).map(|_| bits(&endless.next().unwrap())).collect();
    let epochs: Vec<_> = (0..3).flat_map(|epoch| endless.epoch(epoch)).map(|batch| bits(&batch.unwrap())).collect();
    assert_eq!(all, epochs[..8], "next and epoch are two views of one row of batches");
    assert_eq!(endless.position(), Position { epoch: 2, index: 2 });

    let resumed = batches(&set, 32, standard());
    resumed.set_position(Position { epoch: 1, index: 1 }).unwrap();
    assert_eq!(bits(&resumed.next().unwrap()), all[4]);
    assert_eq!(bits(&resumed.next().unwrap()), all[5]);
    resumed.set_position(Position { epoch: 0, index: 2 }).unwrap();
    assert_eq!(bits(&resumed.next().unwrap()), all[2], "a position may also be set back");
    let rest: Vec<_> = resumed.epoch_from(Position { epoch: 1, index: 2 }).map(|b| bits(&b.unwrap())).collect();
    assert_eq!(rest, all[5..6]);
}

#[test]
fn evaluation_keeps_the_order_and_every_image() {
    let set = digits();
    let seen: Vec<usize> = set.batches_in_order(256).unwrap().flat_map(|batch| batch.unwrap().indices).collect();
    assert_eq!(seen, (0..set.len()).collect::<Vec<_>>());
    let plain = set.batches_in_order(1).unwrap().next().unwrap().unwrap();
    let values = plain.images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (value, &byte) in values.iter().zip(set.pixels(0).unwrap()) {
        assert_eq!(*value, (f32::from(byte) / 16.0 - set.mean()[0]) / set.std()[0]);
    }
}

/// Six 16×16 images of one brightness each.
fn plain(brightness: [u8; 3]) -> ImageSet {
    let folder = tempdir().unwrap();
    let images = || brightness.map(|v| image::RgbImage::from_pixel(16, 16, [v; 3].into()).into()).to_vec();
    class_folders(&folder.path().join("train"), &[("ash", images()), ("oak", images())]);
    class_folders(&folder.path().join("test"), &[("ash", images()), ("oak", images())]);
    open(folder.path()).unwrap().train
}

#[test]
fn cropping_pads_with_black_before_normalisation_and_covers_all_offsets() {
    let set = plain([255; 3]);
    let normalised = |byte: f32| (byte / 255.0 - set.mean()[0]) / set.std()[0];
    let train = batches(&set, 6, BatchOptions { pad: Some(2), ..BatchOptions::default() });
    let mut corners = [[0u32; 5]; 5];
    for epoch in 0..200 {
        for batch in train.epoch(epoch) {
            for image in batch.unwrap().images.first_channel() {
                // White rows are those inside; black ones show how far the window moved.
                let white_row = |y: usize| image[y].contains(&normalised(255.0));
                let top = (0..16).find(|&y| white_row(y)).unwrap();
                let bottom = (0..16).rev().find(|&y| white_row(y)).unwrap();
                let left = (0..16).find(|&x| image[top][x] == normalised(255.0)).unwrap();
                let right = (0..16).rev().find(|&x| image[top][x] == normalised(255.0)).unwrap();
                assert!(image.iter().flatten().all(|&v| v == normalised(0.0) || v == normalised(255.0)));
                assert_eq!(bottom - top, 15 - (top + 15 - bottom));
                corners[2 + top - (15 - bottom)][2 + left - (15 - right)] += 1;
            }
        }
    }
    // 1,200 windows over 25 places: 48 each, give or take 7.
    assert!(corners.iter().flatten().all(|&count| (20..80).contains(&count)), "{corners:?}");
}

#[test]
fn half_of_the_images_are_mirrored() {
    let folder = tempdir().unwrap();
    let some = || (0..4).map(|k| colour_image(k, 8, 8)).collect();
    class_folders(folder.path(), &[("ash", some()), ("oak", some())]);
    let set = open(folder.path()).unwrap().train;
    let train = batches(&set, 6, BatchOptions { pad: Some(0), ..standard() });
    let mut mirrored = 0;
    for _ in 0..200 {
        let batch = train.next().unwrap();
        let x = batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for image in x.chunks_exact(3 * 64) {
            // Green counts the columns upwards.
            let row: Vec<f32> = image[64..72].to_vec();
            assert!(row.is_sorted() || row.iter().rev().is_sorted(), "{row:?}");
            mirrored += usize::from(row[0] > row[7]);
        }
    }
    assert!((520..680).contains(&mirrored), "{mirrored} of 1200");
    assert!(batches(&set, 6, standard()).augmentation().flip);
    assert!(!batches(&set, 6, BatchOptions { flip: Some(false), ..standard() }).augmentation().flip);
    assert_eq!(batches(&digits(), 6, standard()).augmentation(), Augmentation { pad: 1, flip: false, cutout: 0 });
}

#[test]
fn cutout_clears_a_clipped_square_after_normalisation() {
    let set = plain([40, 200, 220]);
    let train = batches(&set, 6, BatchOptions { cutout: 6, ..BatchOptions::default() });
    let (mut areas, mut total) = (std::collections::BTreeSet::new(), 0usize);
    for _ in 0..200 {
        for image in train.next().unwrap().images.first_channel() {
            let hole: Vec<(usize, usize)> =
                (0..256).map(|k| (k / 16, k % 16)).filter(|&(y, x)| image[y][x] == 0.0).collect();
            let (height, width) = (span(hole.iter().map(|p| p.0)), span(hole.iter().map(|p| p.1)));
            assert_eq!(hole.len(), height * width, "a full rectangle");
            areas.insert((height, width));
            total += hole.len();
        }
    }
    // A side reaches from c-3 to c+3, clipped: 3 at the very edge, 6 inside.
    assert_eq!((areas.first(), areas.last()), (Some(&(3, 3)), Some(&(6, 6))));
    // Mean side over centres 0..15: (3+4+5+11·6+5+4)/16 = 87/16.
    let expected = 1200.0 * (87.0f64 / 16.0).powi(2);
    assert!((total as f64 / expected - 1.0).abs() < 0.03, "{total} against {expected}");
}

fn span(values: impl Iterator<Item = usize> + Clone) -> usize {
    values.clone().max().unwrap() - values.min().unwrap() + 1
}

trait FirstChannel {
    /// Channel 0 of each image, row by row.
    fn first_channel(&self) -> Vec<Vec<Vec<f32>>>;
}

impl FirstChannel for candle_core::Tensor {
    fn first_channel(&self) -> Vec<Vec<Vec<f32>>> {
        self.narrow(1, 0, 1).unwrap().squeeze(1).unwrap().to_vec3().unwrap()
    }
}

#[test]
fn batches_that_nobody_takes_end_with_their_owner() {
    let set = digits();
    for _ in 0..50 {
        let train = batches(&set, 16, standard());
        train.next().unwrap();
        drop(train.epoch(0));
    }
}

#[test]
fn impossible_batches_are_refused() {
    let set = digits().take(10).unwrap();
    let refused = |size, options| match Batches::new(&set, size, &options, Seed(0), "train") {
        Ok(_) => panic!("accepted"),
        Err(error) => format!("{error} / {}", error.hint.clone().unwrap_or_default()),
    };
    assert!(refused(0, standard()).contains("at least one image"));
    assert!(refused(16, BatchOptions { drop_last: true, ..standard() }).contains("no whole batch of 16 in 10 images"));
    let cutout = refused(4, BatchOptions { cutout: 16, ..standard() });
    assert!(cutout.contains("cutout must fit into images of 8×8, but it is 16"));
    assert!(refused(4, BatchOptions { pad: Some(9), ..standard() }).contains("at most 8"));
    assert!(Augment::parse("standart").unwrap_err().hint.unwrap().contains("\"standard\""));
    let train = batches(&set, 4, standard());
    assert!(train.set_position(Position { epoch: 0, index: 3 }).unwrap_err().hint.unwrap().contains("3 batches"));
}
