//! How a picture has to be turned to be upright, wherever its file says so: in EXIF data, or where they say nothing of
//! it in XMP. As Pillow's `exif_transpose` finds it: the first EXIF data of a file count.

use super::directory;
use flate2::read::ZlibDecoder;
use image::ImageFormat;
use image::metadata::Orientation;
use std::borrow::Cow;
use std::io::Read;

const ORIENTATION: usize = 0x112;
const XMP: usize = 700;

/// What is said about a picture beside its pixels.
#[derive(Default)]
struct Said<'a> {
    exif: Option<Cow<'a, [u8]>>,
    xmp: Option<Cow<'a, [u8]>>,
}

/// How the picture in a file has to be turned.
pub(super) fn of(bytes: &[u8], format: ImageFormat) -> Orientation {
    let said = match format {
        ImageFormat::Jpeg => in_jpeg(bytes),
        ImageFormat::Png => in_png(bytes),
        ImageFormat::WebP => in_webp(bytes),
        ImageFormat::Tiff => {
            Said { exif: Some(Cow::Borrowed(bytes)), xmp: directory::bytes(bytes, XMP).map(Cow::Borrowed) }
        }
        _ => return Orientation::NoTransforms,
    };
    // Some programs write the words that stand before such data in a JPEG elsewhere, too.
    let exif = said.exif.as_deref().map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif));
    let number = exif.and_then(|exif| directory::number(exif, ORIENTATION)).or_else(|| in_xmp(said.xmp.as_deref()?));
    let number = number.and_then(|number| u8::try_from(number).ok());
    number.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

/// Before the first scan.
fn in_jpeg(bytes: &[u8]) -> Said<'_> {
    let (mut said, mut at) = (Said::default(), 2);
    while let Some([0xFF, marker, rest @ ..]) = bytes.get(at..) {
        match *marker {
            0xFF => at += 1,
            0x01 | 0xD0..=0xD8 => at += 2,
            0xD9 | 0xDA => break,
            marker => {
                let Some((&[high, low], _)) = rest.split_first_chunk() else { break };
                let length = usize::from(u16::from_be_bytes([high, low]));
                let Some(segment) = rest.get(2..length) else { break };
                if marker == 0xE1 {
                    let after = |mark: &[u8]| segment.strip_prefix(mark).map(Cow::Borrowed);
                    said.exif = said.exif.or_else(|| after(b"Exif\0\0"));
                    said.xmp = said.xmp.or_else(|| after(b"http://ns.adobe.com/xap/1.0/\0"));
                }
                at += 2 + length;
            }
        }
    }
    said
}

/// Before or after the pixels: in a chunk of their own, or in a text as ImageMagick writes it.
fn in_png(bytes: &[u8]) -> Said<'_> {
    let (mut said, mut at) = (Said::default(), 8);
    let mut profile = None;
    while let Some((head, rest)) = bytes.get(at..).and_then(|rest| rest.split_first_chunk::<8>()) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(data) = rest.get(..length) else { break };
        match &head[4..] {
            b"eXIf" => said.exif = said.exif.or(Some(Cow::Borrowed(data))),
            b"iTXt" => {
                let text = data.strip_prefix(b"XML:com.adobe.xmp\0");
                said.xmp = said.xmp.or_else(|| international(text?));
            }
            b"tEXt" | b"zTXt" => {
                let text = ["exif", "APP1"].iter().find_map(|kind| {
                    let key = format!("Raw profile type {kind}\0");
                    data.strip_prefix(key.as_bytes())
                });
                profile = profile.or_else(|| match head[4] {
                    b't' => unhex(text?),
                    _ => unhex(&inflated(text?.get(1..)?)?),
                });
            }
            _ => {}
        }
        at += 12 + length;
    }
    said.exif = said.exif.or(profile.map(Cow::Owned));
    said
}

/// A text after its keyword: whether it is compressed, how, a language and a translated keyword come first.
fn international(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (&[compressed, _], rest) = text.split_first_chunk()?;
    let text = rest.splitn(3, |&byte| byte == 0).nth(2)?;
    if compressed == 0 { Some(Cow::Borrowed(text)) } else { inflated(text).map(Cow::Owned) }
}

/// At most a mebibyte: such data are short.
fn inflated(data: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    ZlibDecoder::new(data).take(1 << 20).read_to_end(&mut text).ok()?;
    Some(text)
}

/// "\nexif\n      34\n" and then two digits a byte, in lines.
fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.splitn(4, |&byte| byte == b'\n').nth(3)?;
    let digits: Vec<u8> = digits.iter().filter_map(|&digit| char::from(digit).to_digit(16)).map(|d| d as u8).collect();
    Some(digits.chunks_exact(2).map(|pair| 16 * pair[0] + pair[1]).collect())
}

fn in_webp(bytes: &[u8]) -> Said<'_> {
    let (mut said, mut at) = (Said::default(), 12);
    while let Some((head, rest)) = bytes.get(at..).and_then(|rest| rest.split_first_chunk::<8>()) {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let Some(data) = rest.get(..length) else { break };
        match &head[..4] {
            b"EXIF" => said.exif = said.exif.or(Some(Cow::Borrowed(data))),
            b"XMP " => said.xmp = said.xmp.or(Some(Cow::Borrowed(data))),
            _ => {}
        }
        at += 8 + length + length % 2;
    }
    said
}

/// `tiff:Orientation="6"` or `<tiff:Orientation>6<`.
fn in_xmp(xmp: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(xmp);
    text.split("tiff:Orientation").skip(1).find_map(|rest| {
        let value = rest.trim_start().trim_start_matches('=').trim_start().strip_prefix(['"', '\'', '>'])?.trim_start();
        let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        value[..digits].parse().ok()
    })
}
