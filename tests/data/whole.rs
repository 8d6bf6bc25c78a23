//! A file that is not whole is refused by name before training begins, or left out and counted.

use crate::files::*;
use crate::seen::variants;
use candlewick::data::{Expected, ImageOptions, Source, images, single, survey};
use candlewick::shape::Shape;
use candlewick::space::Legend;
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use std::fs::{create_dir, write};
use std::path::Path;
use tempfile::tempdir;

/// Whether a file of these bytes is taken for a picture.
fn is_read(bytes: &[u8]) -> Result<(), String> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("picture.jpg");
    write(&path, bytes).unwrap();
    let expected = Expected { shape: Shape { channels: 3, height: 4, width: 4 }, legend: Legend::plain(2, 3) };
    single(&path, &expected, ImageOptions::MOST_PIXELS).map(drop).map_err(|error| {
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.message.contains("picture.jpg: "), "{error}");
        assert!(!error.message.contains('\n') && !error.message.contains("  "), "{error}");
        error.message
    })
}

/// A picture full of detail.
fn noise(side: u32, mark: u32) -> RgbImage {
    let value = |x: u32, y: u32, c: u32| ((x * 7919 + y * 104_729 + c * 1301 + mark * 31) % 257).min(255) as u8;
    RgbImage::from_fn(side, side, |x, y| Rgb([0, 1, 2].map(|c| value(x, y, c))))
}

fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(image).unwrap();
    bytes
}

#[test]
fn a_jpeg_cut_at_any_place_is_refused() {
    let mut files: Vec<(String, Vec<u8>)> = variants().iter().map(|v| (v.name.clone(), v.bytes())).collect();
    files.retain(|(name, _)| name.starts_with("jpeg"));
    assert!(files.len() > 30 && files.iter().filter(|(name, _)| name.contains("progressive")).count() > 10);
    // Flat pictures go on looking whole for long, since a few bits are many blocks.
    files.push(("flat".into(), jpeg(&RgbImage::from_pixel(200, 200, Rgb([90; 3])))));
    for (name, whole) in &files {
        is_read(whole).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        for length in (0..whole.len()).filter(|length| length % 29 == 0 || length + 12 > whole.len()) {
            assert!(is_read(&whole[..length]).is_err(), "{name}, {length} of {} bytes", whole.len());
            // What a download manager or a card reader makes of it.
            let filled: Vec<u8> = whole[..length].iter().copied().chain(vec![0; whole.len() - length]).collect();
            assert!(is_read(&filled).is_err(), "{name}, zeros from {length} of {}", whole.len());
        }
    }
}

#[test]
fn a_jpeg_whose_divisors_became_zeros_is_refused() {
    let picture = RgbImage::from_fn(32, 32, |x, y| [(8 * x) as u8, (8 * y) as u8, 99].into());
    let whole = jpeg(&picture);
    let table = whole.windows(2).position(|marker| marker == [0xFF, 0xDB]).unwrap();
    let mut damaged = whole.clone();
    damaged[table + 9..table + 49].fill(0);
    let folder = tempdir().unwrap();
    for (name, bytes) in [("cat/1.jpg", &whole), ("cat/2.jpg", &whole), ("dog/1.jpg", &whole), ("dog/2.jpg", &damaged)]
    {
        std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        write(folder.path().join(name), bytes).unwrap();
    }
    let error = open(folder.path()).unwrap_err();
    assert!(error.message.contains("dog/2.jpg: damaged: a table of divisors"), "{error}");
}

#[test]
fn a_jpeg_cut_and_given_an_end_is_refused() {
    for (name, whole) in [("noise", jpeg(&noise(64, 1))), ("flat", jpeg(&RgbImage::from_pixel(64, 64, Rgb([9; 3]))))] {
        let head = whole.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap() + 14;
        for length in (head..whole.len() - 4).step_by(5) {
            let ended = [&whole[..length], &[0xFF, 0xD9]].concat();
            assert!(is_read(&ended).is_err(), "{name}, {length} of {} bytes and an end", whole.len());
        }
    }
}

#[test]
fn rotten_bytes_are_found_where_they_leave_no_picture() {
    // A changed bit may leave another picture of as many blocks; a changed run of bytes hardly ever does.
    let whole = jpeg(&noise(64, 2));
    let head = whole.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap() + 14;
    let (mut tried, mut found) = (0, 0);
    for place in (head..whole.len() - 40).step_by(37) {
        for rot in [[0; 16], [0x55; 16], [0xA7; 16]] {
            let mut rotten = whole.clone();
            rotten[place..place + 16].copy_from_slice(&rot);
            tried += 1;
            found += usize::from(is_read(&rotten).is_err());
        }
    }
    assert!(tried > 300 && found * 100 >= tried * 95, "{found} of {tried} found");
}

#[test]
fn damage_in_a_header_is_told_in_one_line() {
    let whole = jpeg(&noise(32, 4));
    let head = whole.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap() + 14;
    let mut refused = 0;
    for place in 2..head {
        for byte in [0, 1, 0x7F, 0xFF, whole[place] ^ 8, whole[place].wrapping_add(1)] {
            let mut rotten = whole.clone();
            rotten[place] = byte;
            // How a refusal has to look is checked there.
            refused += usize::from(is_read(&rotten).is_err());
        }
    }
    assert!(refused > 300, "{refused}");
}

#[test]
fn what_follows_a_picture_s_end_is_nobody_s_business() {
    // Phones put previews and films there.
    let whole = jpeg(&noise(32, 3));
    is_read(&[&whole[..], &whole[..100]].concat()).unwrap();
    is_read(&[&whole[..], &[0; 64]].concat()).unwrap();
}

#[test]
fn every_form_that_is_cut_in_the_middle_is_refused() {
    for form in ["png rgb", "webp rgb", "webp lossy rgb", "gif", "tiff raw", "tiff tiff_lzw", "bmp rgb", "pnm rgb"] {
        let whole = variants().into_iter().find(|variant| variant.name == form).unwrap().bytes();
        is_read(&whole).unwrap();
        assert!(is_read(&whole[..whole.len() / 2]).is_err(), "{form}");
    }
}

#[test]
fn a_webp_that_is_cut_anywhere_is_refused() {
    let mut animated = Vec::new();
    for form in ["webp rgb", "webp lossy rgb"] {
        let whole = variants().into_iter().find(|variant| variant.name == form).unwrap().bytes();
        for length in (whole.len() / 2..whole.len()).chain(12..40) {
            let reason = is_read(&whole[..length]).unwrap_err();
            assert!(reason.contains("cut short: "), "{form}, {length} of {}: {reason}", whole.len());
        }
        // Two frames of it, and a cut in the second.
        animated = animation(&whole[12..]);
        is_read(&animated).unwrap_or_else(|reason| panic!("{form}: {reason}"));
        for length in animated.len() * 6 / 10..animated.len() {
            assert!(is_read(&animated[..length]).is_err(), "{form}, animated, {length} of {}", animated.len());
        }
    }
    // What follows the end does not count.
    is_read(&[&animated[..], &[0; 5]].concat()).unwrap();
}

/// Two frames of 8×6, each of the same chunks.
fn animation(chunks: &[u8]) -> Vec<u8> {
    let chunk =
        |name: &[u8], data: &[u8]| [name, &(data.len() as u32).to_le_bytes(), data, &vec![0; data.len() % 2]].concat();
    let size = [7, 0, 0, 5, 0, 0];
    let frame = chunk(b"ANMF", &[&[0; 6][..], &size, &[100, 0, 0, 0], chunks].concat());
    let header = chunk(b"VP8X", &[&[2, 0, 0, 0][..], &size].concat());
    let body = [&b"WEBP"[..], &header, &chunk(b"ANIM", &[0; 6]), &frame, &frame].concat();
    [&b"RIFF"[..], &(body.len() as u32).to_le_bytes(), &body].concat()
}

#[test]
fn numbers_beyond_what_a_header_allows_are_refused() {
    let png = |bits: u8, colours: usize, row: &[u8], width: u8| {
        let chunk = |kind: &[u8], data: &[u8]| {
            let body = [kind, data].concat();
            [&(data.len() as u32).to_be_bytes()[..], &body, &crc32fast::hash(&body).to_be_bytes()].concat()
        };
        let head = [0, 0, 0, width, 0, 0, 0, 1, bits, 3, 0, 0, 0];
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, &[&[0], row].concat()).unwrap();
        let chunks = [
            chunk(b"IHDR", &head),
            chunk(b"PLTE", &vec![77; 3 * colours]),
            chunk(b"IDAT", &packed.finish().unwrap()),
            chunk(b"IEND", &[]),
        ];
        [&b"\x89PNG\r\n\x1a\n"[..], &chunks.concat()].concat()
    };
    for (bytes, said) in [
        (png(8, 4, &[0, 3, 1, 2], 4), None),
        (png(8, 4, &[0, 3, 4, 2], 4), Some("colour 4 of a palette of 4")),
        (png(4, 9, &[0x80], 2), None),
        (png(4, 9, &[0x09], 2), Some("colour 9 of a palette of 9")),
        // What fills the last byte of a row does not count.
        (png(4, 9, &[0x8F], 1), None),
        (png(2, 3, &[0b0001_1011], 4), Some("colour 3 of a palette of 3")),
        (png(1, 1, &[0b0000_0001], 7), None),
        (b"P5 2 1 100\n\x64\x00".to_vec(), None),
        (b"P5 # words\n2 1 100\n\x64\x65".to_vec(), Some("a sample is 101, above its maximum of 100")),
        (b"P2 2 1 7 7 8".to_vec(), Some("a sample is 8, above its maximum of 7")),
        (b"P3 1 1 7 7 0 1".to_vec(), None),
        (b"P6 1 1 7\n\x07\x00\x09".to_vec(), Some("a sample is 9")),
        (b"P5 1 1 1000\n\x03\xe8".to_vec(), None),
        (b"P5 1 1 1000\n\x03\xe9".to_vec(), Some("a sample is 1001")),
    ] {
        match (is_read(&bytes), said) {
            (Ok(()), None) => {}
            (Err(reason), Some(said)) => assert!(reason.contains(said), "\"{said}\" is missing in: {reason}"),
            (found, said) => panic!("{found:?} where {said:?} is right: {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
}

#[test]
fn what_is_no_picture_is_named_for_what_it_is() {
    for (bytes, said) in [
        (&b""[..], "empty"),
        (&[0; 4000], "zeros only"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "AVIF"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ", "a Mac's notes"),
        (b"%PDF-1.7", "PDF"),
        (b"some words", "not an image of a known format"),
    ] {
        let reason = is_read(bytes).unwrap_err();
        assert!(reason.contains(said), "\"{said}\" is missing in: {reason}");
    }
}

/// Five pictures of apes, the fourth of which is half a JPEG, and five of bees.
fn half_an_ape(folder: &Path) {
    for class in ["ape", "bee"] {
        create_dir(folder.join(class)).unwrap();
        for k in 0..5 {
            write(folder.join(class).join(format!("{k}.jpg")), jpeg(&noise(64, k))).unwrap();
        }
    }
    let whole = jpeg(&noise(64, 3));
    write(folder.join("ape/3.jpg"), &whole[..whole.len() / 2]).unwrap();
}

#[test]
fn half_a_jpeg_is_refused_by_name_or_left_out_and_counted() {
    let folder = tempdir().unwrap();
    half_an_ape(folder.path());
    let error = open(folder.path()).unwrap_err();
    assert!(error.message.contains("ape/3.jpg: cut short"), "{error}");
    let options = ImageOptions { skip_unreadable: true, ..ImageOptions::default() };
    let source = Source::Folder(folder.path().into());
    let data = images(&source, &options).unwrap();
    assert_eq!(data.train.len() + data.test.len(), 9);
    assert!(data.notes.iter().any(|note| note.contains("1 of 10 images cannot be read")), "{:?}", data.notes);
    let found = survey(&source, &options).unwrap();
    assert_eq!((found.train, found.test), (data.train.class_counts(), data.test.class_counts()));
}

#[test]
fn half_a_jpeg_inside_parquet_is_refused_by_its_record() {
    let folder = tempdir().unwrap();
    parquet_folder(folder.path());
    let mut rows = parquet_rows();
    let whole = jpeg(&noise(8, 1));
    rows[13].0 = Some(whole[..whole.len() - 9].to_vec());
    parquet(&folder.path().join("train-00000-of-00001.parquet"), &rows);
    let error = open(folder.path()).unwrap_err();
    assert!(error.message.contains("train-00000-of-00001.parquet: record 13: cut short"), "{error}");
    let options = ImageOptions { skip_unreadable: true, ..ImageOptions::default() };
    assert_eq!(images(&Source::Folder(folder.path().into()), &options).unwrap().train.len(), 19);
}

#[test]
fn a_class_that_loses_its_last_image_is_an_error_that_says_so() {
    let folder = tempdir().unwrap();
    let some = |n: usize| vec![colour_image(1, 8, 8); n];
    class_folders(&folder.path().join("train"), &[("ape", some(4)), ("bee", some(2))]);
    class_folders(&folder.path().join("test"), &[("ape", some(2)), ("bee", some(1))]);
    let options = ImageOptions { skip_unreadable: true, ..ImageOptions::default() };
    let refusal = || images(&Source::Folder(folder.path().into()), &options).unwrap_err().message;
    write(folder.path().join("test/bee/0.png"), "").unwrap();
    assert!(refusal().contains("class \"bee\" has no test image left: all 1 cannot be read"), "{}", refusal());
    for k in 0..2 {
        write(folder.path().join(format!("train/bee/{k}.png")), "").unwrap();
    }
    assert!(refusal().contains("class \"bee\" has no training image left: all 2 cannot be read"), "{}", refusal());
}
