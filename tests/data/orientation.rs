//! A picture is upright wherever its file says how it lies.

use crate::seen::seen;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};
use std::io::Write;

const SHORT: u8 = 3;
const LONG: u8 = 4;

/// An orientation tag as EXIF has it.
fn exif(tag: u8, kind: u8) -> Vec<u8> {
    let value = if kind == SHORT { [0, tag, 0, 0] } else { [0, 0, 0, tag] };
    let entry = [&[0x01, 0x12, 0, kind, 0, 0, 0, 1][..], &value].concat();
    [&b"MM\0*\0\0\0\x08\0\x01"[..], &entry, &[0; 4]].concat()
}

/// As XMP has it: an attribute, or an element.
fn xmp(tag: u8, element: bool) -> Vec<u8> {
    let said = match element {
        true => format!("><tiff:Orientation>{tag}</tiff:Orientation></rdf:Description>"),
        false => format!(" tiff:Orientation=\"{tag}\"/>"),
    };
    let names = "xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"";
    let tiff = "xmlns:tiff=\"http://ns.adobe.com/tiff/1.0/\"";
    let inner = format!("<rdf:RDF {names}><rdf:Description {tiff}{said}</rdf:RDF>");
    format!("<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">{inner}</x:xmpmeta>").into_bytes()
}

/// A TIFF of one strip, 8 bits a sample, three or four samples a pixel, with tags of one number besides.
pub fn tiff(pixels: &[u8], (width, height): (u16, u16), more: &[(u16, u16)]) -> Vec<u8> {
    tiff_with(pixels, (width, height), more, &[])
}

fn tiff_with(pixels: &[u8], (width, height): (u16, u16), more: &[(u16, u16)], packet: &[u8]) -> Vec<u8> {
    let samples = (pixels.len() / usize::from(width) / usize::from(height)) as u16;
    let bits = 8 + pixels.len() as u32;
    let after = bits + 8;
    let start = after + packet.len() as u32;
    let short = |value: u16| (3u16, 1, [value.to_be_bytes(), [0; 2]].concat());
    let long = |value: u32| (4u16, 1, value.to_be_bytes().to_vec());
    let mut entries = vec![
        (256, short(width)),
        (257, short(height)),
        (258, (3, u32::from(samples), bits.to_be_bytes().to_vec())),
        (259, short(1)),
        (262, short(2)),
        (273, long(8)),
        (277, short(samples)),
        (278, short(height)),
        (279, long(pixels.len() as u32)),
    ];
    entries.extend(more.iter().map(|&(tag, value)| (tag, short(value))));
    if !packet.is_empty() {
        entries.push((700, (1, packet.len() as u32, after.to_be_bytes().to_vec())));
    }
    entries.sort_by_key(|(tag, _)| *tag);
    let mut file = [&b"MM\0*"[..], &start.to_be_bytes(), pixels, &[0, 8, 0, 8, 0, 8, 0, 8], packet].concat();
    file.extend((entries.len() as u16).to_be_bytes());
    for (name, (kind, count, value)) in entries {
        file.extend([&name.to_be_bytes()[..], &kind.to_be_bytes(), &count.to_be_bytes(), &value].concat());
    }
    file.extend([0; 4]);
    file
}

/// A JPEG with segments of metadata.
fn jpeg(image: &RgbImage, segments: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 100).encode_image(image).unwrap();
    let segment = |data: &Vec<u8>| [&[0xFF, 0xE1][..], &(data.len() as u16 + 2).to_be_bytes(), data].concat();
    let segments: Vec<u8> = segments.iter().flat_map(segment).collect();
    [&bytes[..2], &segments, &bytes[2..]].concat()
}

/// A JPEG as phones write it.
pub fn turned_jpeg(image: &RgbImage, tag: u8) -> Vec<u8> {
    jpeg(image, &[[&b"Exif\0\0"[..], &exif(tag, SHORT)].concat()])
}

/// A PNG with a chunk before or after its pixels.
fn png(image: &RgbImage, kind: &[u8; 4], data: &[u8], late: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(image.as_raw(), image.width(), image.height(), ExtendedColorType::Rgb8)
        .unwrap();
    let mark: &[u8] = if late { b"IEND" } else { b"IDAT" };
    let place = bytes.windows(4).position(|four| four == mark).unwrap() - 4;
    let body = [&kind[..], data].concat();
    let chunk = [&(data.len() as u32).to_be_bytes()[..], &body, &crc32fast::hash(&body).to_be_bytes()].concat();
    [&bytes[..place], &chunk, &bytes[place..]].concat()
}

/// EXIF data as ImageMagick puts them into a text.
fn profile(tag: u8) -> Vec<u8> {
    let data = [&b"Exif\0\0"[..], &exif(tag, SHORT)].concat();
    let digits: Vec<String> = data.iter().map(|byte| format!("{byte:02x}")).collect();
    let lines: Vec<String> = digits.chunks(16).map(<[String]>::concat).collect();
    format!("\nexif\n{:8}\n{}\n", data.len(), lines.join("\n")).into_bytes()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn webp(image: &RgbImage, exif: Option<Vec<u8>>, xmp: Option<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = WebPEncoder::new_lossless(&mut bytes);
    if let Some(exif) = exif {
        encoder.set_exif_metadata(exif).unwrap();
    }
    encoder.write_image(image.as_raw(), image.width(), image.height(), ExtendedColorType::Rgb8).unwrap();
    let Some(xmp) = xmp else { return bytes };
    // The encoder writes none: put into the extended form, with a header that says so.
    let sides = [image.width() - 1, image.height() - 1].map(|side| side.to_le_bytes()[..3].to_vec()).concat();
    let header = [&b"VP8X\x0a\0\0\0\x04\0\0\0"[..], &sides].concat();
    let chunk = [&b"XMP "[..], &(xmp.len() as u32).to_le_bytes(), &xmp, &vec![0; xmp.len() % 2]].concat();
    let body = [&b"WEBP"[..], &header, &bytes[12..], &chunk].concat();
    [&b"RIFF"[..], &(body.len() as u32).to_le_bytes(), &body].concat()
}

/// The picture with its tag in each place that files have for it.
fn tagged(image: &RgbImage, tag: u8) -> Vec<(&'static str, Vec<u8>)> {
    let size = (image.width() as u16, image.height() as u16);
    let long = exif(tag, LONG);
    let prefixed = |tag, kind| [&b"Exif\0\0"[..], &exif(tag, kind)].concat();
    let adobe = |element| [&b"http://ns.adobe.com/xap/1.0/\0"[..], &xmp(tag, element)].concat();
    let other = tag % 8 + 1;
    let text = |key: &str, between: &[u8], data: &[u8]| [key.as_bytes(), between, data].concat();
    vec![
        ("JPEG", turned_jpeg(image, tag)),
        ("JPEG, a long number", jpeg(image, &[prefixed(tag, LONG)])),
        ("JPEG, the first of two", jpeg(image, &[prefixed(tag, SHORT), prefixed(other, SHORT)])),
        ("JPEG, XMP", jpeg(image, &[adobe(false)])),
        ("JPEG, XMP's element", jpeg(image, &[adobe(true)])),
        (
            "JPEG, EXIF after XMP",
            jpeg(image, &[text("http://ns.adobe.com/xap/1.0/", b"\0", &xmp(other, false)), prefixed(tag, SHORT)]),
        ),
        ("PNG", png(image, b"eXIf", &exif(tag, SHORT), false)),
        ("PNG, after the pixels", png(image, b"eXIf", &exif(tag, SHORT), true)),
        ("PNG, a long number", png(image, b"eXIf", &long, false)),
        ("PNG, XMP", png(image, b"iTXt", &text("XML:com.adobe.xmp", &[0; 5], &xmp(tag, false)), false)),
        (
            "PNG, packed XMP",
            png(image, b"iTXt", &text("XML:com.adobe.xmp", b"\0\x01\0\0\0", &zlib(&xmp(tag, true))), true),
        ),
        ("PNG, a profile as text", png(image, b"tEXt", &text("Raw profile type exif", &[0], &profile(tag)), false)),
        (
            "PNG, a packed profile",
            png(image, b"zTXt", &text("Raw profile type exif", &[0; 2], &zlib(&profile(tag))), false),
        ),
        ("WebP", webp(image, Some(exif(tag, SHORT)), None)),
        ("WebP, a long number", webp(image, Some(long), None)),
        ("WebP as some write it", webp(image, Some(prefixed(tag, SHORT)), None)),
        ("WebP, XMP", webp(image, None, Some(xmp(tag, false)))),
        ("TIFF", tiff(image.as_raw(), size, &[(274, u16::from(tag))])),
        ("TIFF, XMP", tiff_with(image.as_raw(), size, &[], &xmp(tag, false))),
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
fn every_orientation_tag_counts_in_every_place_that_has_one() {
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
