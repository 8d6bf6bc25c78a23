//! What a viewer shows is what is learnt: whatever the form, a picture is upright, before its background, and whole.

use crate::files::*;
use crate::orientation::{tiff, turned_jpeg};
use candlewick::data::{Expected, ImageOptions, Source, images, single, survey};
use candlewick::shape::Shape;
use candlewick::space::Legend;
use image::{Rgb, RgbImage, RgbaImage};
use serde::Deserialize;
use std::fs::write;
use std::path::Path;
use tempfile::tempdir;

const MOST: u64 = ImageOptions::MOST_PIXELS;

/// A picture's pixels, red, green and blue after one another, as a network without normalisation sees them.
pub fn seen(bytes: &[u8], height: usize, width: usize) -> candlewick::Result<Vec<u8>> {
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

#[test]
fn pictures_that_lie_on_their_side_are_of_the_size_that_is_shown() {
    let folder = tempdir().unwrap();
    let upright = RgbImage::from_fn(8, 16, |_, y| Rgb([if y < 8 { 255 } else { 0 }; 3]));
    // Tag 6: the stored picture's left side is shown on top.
    let lying = RgbImage::from_fn(16, 8, |x, _| Rgb([if x < 8 { 255 } else { 0 }; 3]));
    for (class, image, tag) in [("turned", &lying, 6), ("upright", &upright, 1)] {
        std::fs::create_dir(folder.path().join(class)).unwrap();
        for k in 0..6 {
            let jpeg = turned_jpeg(image, tag);
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

#[test]
fn colours_that_are_multiplied_by_alpha_are_not_multiplied_again() {
    // One pixel, in part clear, by the tag of extra samples: red over white, green, blue.
    for (kind, expected) in [(1, [100 + 155, 50 + 155, 155]), (2, [194, 175, 155])] {
        let found = seen(&tiff(&[100, 50, 0, 100], (1, 1), &[(338, kind)]), 1, 1).unwrap();
        assert_eq!(found, expected, "extra samples {kind}");
    }
}

#[test]
fn what_a_gif_s_first_frame_leaves_free_is_clear_as_browsers_show_it() {
    // A canvas of 4×2 whose frame of one pixel, blue, lies at its right end.
    let head = [&b"GIF89a\x04\0\x02\0\x80\0\0"[..], &[255, 0, 0, 0, 0, 255]].concat();
    let frame = [0x2C, 3, 0, 1, 0, 1, 0, 1, 0, 0, 2, 2, 0x4C, 1, 0, 0x3B];
    let found = seen(&[&head[..], &frame].concat(), 2, 4).unwrap();
    let expected = [&[255; 21][..], &[0, 0, 255]].concat();
    assert_eq!(found, expected);
}
