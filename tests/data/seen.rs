//! What a viewer shows is what is learnt: whatever the form, a picture is upright, before its background, and whole.

use crate::files::*;
use candlewick::data::{Expected, ImageOptions, Source, images, single, survey};
use candlewick::shape::Shape;
use candlewick::space::Legend;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage, RgbaImage};
use serde::Deserialize;
use std::fs::write;
use std::path::Path;
use tempfile::tempdir;

const MOST: u64 = ImageOptions::MOST_PIXELS;

/// A picture's pixels, red, green and blue after one another, as a network without normalisation sees them.
fn seen(bytes: &[u8], height: usize, width: usize) -> candlewick::Result<Vec<u8>> {
    let folder = tempdir().unwrap();
    // The ending says nothing.
    let path = folder.path().join("picture.jpg");
    write(&path, bytes).unwrap();
    let shape = Shape { channels: 3, height, width };
    let planes = single(&path, &Expected { shape, legend: Legend::plain(2, 3) }, MOST)?;
    let byte = |value: f32| (value * 255.0).round() as u8;
    let pixel = |at: usize| [0, 1, 2].map(|channel| byte(planes[channel * height * width + at]));
    Ok((0..height * width).flat_map(pixel).collect())
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// A line of `variants.jsonl`; `variants/make.py` says what it holds.
#[derive(Deserialize)]
pub struct Variant {
    pub name: String,
    file: String,
    size: [usize; 2],
    pixels: String,
    off: u8,
}

impl Variant {
    pub fn bytes(&self) -> Vec<u8> {
        unhex(&self.file)
    }
}

pub fn variants() -> Vec<Variant> {
    include_str!("variants/variants.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_hundred_variants_are_seen_as_pillow_shows_them() {
    let variants = variants();
    assert!(variants.len() >= 100);
    for variant in &variants {
        let [height, width] = variant.size;
        let found = seen(&variant.bytes(), height, width).unwrap_or_else(|error| panic!("{}: {error}", variant.name));
        let off = found.iter().zip(unhex(&variant.pixels)).map(|(&a, b)| a.abs_diff(b)).max().unwrap();
        assert!(off <= variant.off, "{}: {off} off, {} allowed", variant.name, variant.off);
    }
}

#[test]
fn jpegs_have_the_pixels_of_libjpeg_turbo_bit_for_bit() {
    // Where inks are many, the way to red, green and blue is each program's own.
    let inks = |name: &str| name.contains("cmyk") || name.contains("ycck");
    let mut count = 0;
    for variant in variants().iter().filter(|v| v.name.starts_with("jpeg") && !inks(&v.name)) {
        let [height, width] = variant.size;
        let found = seen(&variant.bytes(), height, width).unwrap_or_else(|error| panic!("{}: {error}", variant.name));
        assert!(found == unhex(&variant.pixels), "{}", variant.name);
        count += 1;
    }
    assert!(count > 30, "{count}");
}

/// An orientation tag as EXIF has it (`tests` of single bytes, so written out).
fn exif(tag: u8) -> Vec<u8> {
    let entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, tag, 0, 0];
    [&b"MM\0*\0\0\0\x08\0\x01"[..], &entry, &[0; 4]].concat()
}

/// A TIFF with an orientation tag: one strip of plain colours.
fn tiff(image: &RgbImage, tag: u8) -> Vec<u8> {
    let (width, height) = (image.width() as u16, image.height() as u16);
    let bytes = image.as_raw();
    let strip = 8 + bytes.len() as u32;
    let bits = strip + 2 + 10 * 12 + 4;
    let short = |value: u16| (3u16, [value.to_be_bytes(), [0; 2]].concat());
    let long = |value: u32| (4u16, value.to_be_bytes().to_vec());
    let entries: Vec<(u16, u32, (u16, Vec<u8>))> = vec![
        (256, 1, short(width)),
        (257, 1, short(height)),
        (258, 3, (3, bits.to_be_bytes().to_vec())),
        (259, 1, short(1)),
        (262, 1, short(2)),
        (273, 1, long(8)),
        (274, 1, short(u16::from(tag))),
        (277, 1, short(3)),
        (278, 1, short(height)),
        (279, 1, long(bytes.len() as u32)),
    ];
    let mut file = [&b"MM\0*"[..], &strip.to_be_bytes(), bytes, &10u16.to_be_bytes()].concat();
    for (name, count, (kind, value)) in entries {
        file.extend([&name.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), &value].concat());
    }
    file.extend([&[0; 4][..], &[0, 8, 0, 8, 0, 8]].concat());
    file
}

fn webp(image: &RgbImage, metadata: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = WebPEncoder::new_lossless(&mut bytes);
    encoder.set_exif_metadata(metadata).unwrap();
    encoder.write_image(image.as_raw(), image.width(), image.height(), ExtendedColorType::Rgb8).unwrap();
    bytes
}

/// The picture in each form that carries an orientation tag.
fn tagged(image: &RgbImage, tag: u8) -> Vec<(&'static str, Vec<u8>)> {
    let (width, height) = image.dimensions();
    let mut jpeg = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 100);
    encoder.set_exif_metadata(exif(tag)).unwrap();
    encoder.encode_image(image).unwrap();
    let mut png = Vec::new();
    let mut encoder = PngEncoder::new(&mut png);
    encoder.set_exif_metadata(exif(tag)).unwrap();
    encoder.write_image(image.as_raw(), width, height, ExtendedColorType::Rgb8).unwrap();
    let prefixed = [&b"Exif\0\0"[..], &exif(tag)].concat();
    vec![
        ("JPEG", jpeg),
        ("PNG", png),
        ("WebP", webp(image, exif(tag))),
        ("WebP as some write it", webp(image, prefixed)),
        ("TIFF", tiff(image, tag)),
    ]
}

/// Two pictures' worth of a quarter each, in four colours that tell the corners apart, 16 high and 32 wide.
fn corners() -> RgbImage {
    let colour = |x: u32, y: u32| match (x < 16, y < 8) {
        (true, true) => [230, 20, 20],
        (false, true) => [20, 230, 20],
        (true, false) => [20, 20, 230],
        (false, false) => [200, 200, 200],
    };
    RgbImage::from_fn(32, 16, |x, y| Rgb(colour(x, y)))
}

#[test]
fn every_orientation_tag_counts_in_every_form_that_has_one() {
    let stored = corners();
    let (width, height) = (32, 16);
    for tag in 1..=8 {
        // Where a stored pixel is shown, as the standard words it (EXIF 2.3, table 6): what the 0th row and column are.
        let place = |row: usize, column: usize| match tag {
            1 => (row, column),
            2 => (row, width - 1 - column),
            3 => (height - 1 - row, width - 1 - column),
            4 => (height - 1 - row, column),
            5 => (column, row),
            6 => (column, height - 1 - row),
            7 => (width - 1 - column, height - 1 - row),
            _ => (width - 1 - column, row),
        };
        let (shown_height, shown_width) = if tag < 5 { (height, width) } else { (width, height) };
        for (form, bytes) in tagged(&stored, tag) {
            let found = seen(&bytes, shown_height, shown_width).unwrap_or_else(|e| panic!("{form} {tag}: {e}"));
            for (row, column) in [(2, 3), (3, 29), (13, 2), (12, 28)] {
                let (shown_row, shown_column) = place(row, column);
                let at = 3 * (shown_row * shown_width + shown_column);
                let expected = stored.get_pixel(column as u32, row as u32).0;
                let off = (0..3).map(|c| found[at + c].abs_diff(expected[c])).max().unwrap();
                assert!(off < 12, "{form}, tag {tag}: {:?} for {expected:?}", &found[at..at + 3]);
            }
        }
    }
}

#[test]
fn pictures_that_lie_on_their_side_are_of_the_size_that_is_shown() {
    let folder = tempdir().unwrap();
    let upright = RgbImage::from_fn(8, 16, |_, y| Rgb([if y < 8 { 255 } else { 0 }; 3]));
    // Tag 6: the stored picture's left side is shown on top.
    let lying = RgbImage::from_fn(16, 8, |x, _| Rgb([if x < 8 { 255 } else { 0 }; 3]));
    for (class, image, tag) in [("turned", &lying, 6), ("upright", &upright, 1)] {
        std::fs::create_dir(folder.path().join(class)).unwrap();
        for k in 0..6 {
            let (_, jpeg) = tagged(image, tag).swap_remove(0);
            write(folder.path().join(class).join(format!("{k}.jpg")), jpeg).unwrap();
        }
    }
    let source = Source::Folder(folder.path().into());
    let found = survey(&source, &ImageOptions::default()).unwrap();
    assert_eq!((found.shape.height, found.shape.width), (16, 8));
    let data = open(folder.path()).unwrap();
    assert_eq!((data.shape().height, data.shape().width), (16, 8));
    assert!(!data.notes.iter().any(|note| note.contains("resized")), "{:?}", data.notes);
    for set in [&data.train, &data.test] {
        for k in 0..set.len() {
            let pixels = set.pixels(k).unwrap();
            assert!(pixels[8 * 3 + 4] > 240 && pixels[8 * 12 + 4] < 15, "upper half white, lower half black");
        }
    }
}

/// Writes a picture of one colour per name, all of which look empty.
fn empty_looking(folder: &Path) {
    for (class, colour) in [("red", [255, 0, 0, 0]), ("black", [0, 0, 0, 0])] {
        std::fs::create_dir(folder.join(class)).unwrap();
        for k in 0..4 {
            let image = RgbaImage::from_pixel(8, 8, image::Rgba(colour));
            image.save(folder.join(class).join(format!("{k}.png"))).unwrap();
        }
    }
    // A palette whose only colour is red, and clear.
    let palette = variants().into_iter().find(|v| v.name == "png palette with clear colours").unwrap();
    assert!(seen(&palette.bytes(), 6, 8).is_ok());
}

#[test]
fn what_transparency_hides_is_not_learnt() {
    let folder = tempdir().unwrap();
    empty_looking(folder.path());
    let read = |background| {
        let options = ImageOptions { background, ..ImageOptions::default() };
        images(&Source::Folder(folder.path().into()), &options).unwrap()
    };
    for (background, expected) in [(None, [255; 3]), (Some([0; 3]), [0; 3]), (Some([10, 20, 30]), [10, 20, 30])] {
        let data = read(background);
        assert_eq!(data.train.legend().background, expected);
        for k in 0..data.train.len() {
            let pixels = data.train.pixels(k).unwrap();
            assert_eq!([pixels[0], pixels[64], pixels[128]], expected, "image {k} before {background:?}");
        }
    }
}

#[test]
fn a_network_s_background_is_that_of_its_training_images() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("clear.png");
    RgbaImage::from_pixel(2, 2, image::Rgba([9, 9, 9, 0])).save(&path).unwrap();
    let legend = Legend { background: [0, 51, 255], ..Legend::plain(2, 3) };
    let expected = Expected { shape: Shape { channels: 3, height: 1, width: 1 }, legend };
    assert_eq!(single(&path, &expected, MOST).unwrap(), [0.0, 0.2, 1.0]);
    // Networks saved before there was a choice have white.
    let old: Legend = serde_json::from_str(r#"{"classes": ["a"], "mean": [0.0], "std": [1.0]}"#).unwrap();
    assert_eq!(old.background, [255; 3]);
}

#[test]
fn too_large_a_picture_says_its_size_the_limit_and_the_option() {
    let folder = tempdir().unwrap();
    let picture = || vec![grey_image(40, 50); 3];
    class_folders(folder.path(), &[("ape", picture()), ("bee", picture())]);
    let options = ImageOptions { most_pixels: Some(1999), ..ImageOptions::default() };
    let source = Source::Folder(folder.path().into());
    for error in [images(&source, &options).unwrap_err(), survey(&source, &options).unwrap_err()] {
        for part in ["ape/0.png", "50×40", "max_megapixels"] {
            assert!(error.message.contains(part), "\"{part}\" is missing in: {error}");
        }
        assert!(error.hint.unwrap().starts_with("make it smaller or raise max_megapixels"));
    }
    images(&source, &ImageOptions { most_pixels: Some(2000), ..ImageOptions::default() }).unwrap();
    let expected = Expected { shape: Shape { channels: 1, height: 1, width: 1 }, legend: Legend::plain(2, 1) };
    let error = single(&folder.path().join("ape/0.png"), &expected, 1999).unwrap_err();
    assert!(error.message.contains("50×40"), "{error}");
    assert_eq!(error.hint.unwrap(), "make it smaller, or raise max_megapixels");
    // Beside a damaged one both are told, and what can be done about either.
    write(folder.path().join("bee/1.png"), "").unwrap();
    let error = images(&source, &options).unwrap_err();
    assert!(error.message.contains("6 of 6 images cannot be read"), "{error}");
    assert!(error.hint.unwrap().starts_with("repair, convert or remove"));
}
