//! Which way up a picture is, in all places where a file may say so: EXIF in every form that carries it, ImageMagick's
//! way of putting it into the text of a PNG, and XMP where EXIF says nothing. Data that cannot be read say nothing.

use exif::{In, Reader, Tag};
use flate2::read::ZlibDecoder;
use image::metadata::Orientation;
use image::{ImageDecoder, ImageFormat};
use std::io::{Cursor, Read};

/// The most bytes of a PNG's packed text that are looked at.
const MOST_TEXT: u64 = 1 << 20;

/// How the picture in these bytes has to be turned to be upright.
pub(super) fn of(bytes: &[u8], format: ImageFormat, decoder: &mut impl ImageDecoder) -> Orientation {
    let contained = || match format {
        ImageFormat::Jpeg | ImageFormat::Png => Reader::new().read_from_container(&mut Cursor::new(bytes)).ok(),
        _ => None,
    };
    let tag = contained().as_ref().and_then(tag);
    let tag = tag.or_else(|| bare(&decoder.exif_metadata().ok()??));
    let png = || (format == ImageFormat::Png).then(|| texts(bytes)).unwrap_or_default();
    let tag = tag.or_else(|| png().iter().find_map(|text| profile(text)));
    let tag = tag.or_else(|| from_xmp(&decoder.xmp_metadata().ok()??));
    let tag = tag.or_else(|| png().iter().find_map(|text| from_xmp(text)));
    match tag.and_then(|tag| Orientation::from_exif(u8::try_from(tag).ok()?)) {
        Some(orientation) => orientation,
        // A TIFF's own tag.
        None => decoder.orientation().unwrap_or(Orientation::NoTransforms),
    }
}

/// The tag of the main picture.
fn tag(exif: &exif::Exif) -> Option<u32> {
    exif.get_field(Tag::Orientation, In::PRIMARY)?.value.get_uint(0)
}

/// The tag in EXIF data by themselves. Some programs write the words that stand before them in a JPEG elsewhere, too.
fn bare(data: &[u8]) -> Option<u32> {
    let data = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
    Reader::new().read_raw(data.to_vec()).ok().as_ref().and_then(tag)
}

/// The texts of a PNG, keyword first, unpacked.
fn texts(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    let mut rest = bytes.get(8..).unwrap_or_default();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (Some(kind), Some(data)) = (behind.get(..4), behind.get(4..4 + length)) else { break };
        match kind {
            b"tEXt" | b"iTXt" => texts.push(data.to_vec()),
            b"zTXt" => {
                if let Some(end) = data.iter().position(|&byte| byte == 0) {
                    let mut text = data[..=end].to_vec();
                    let packed = data.get(end + 2..).unwrap_or_default();
                    // What is damaged is looked at as far as it goes.
                    let _ = ZlibDecoder::new(packed).take(MOST_TEXT).read_to_end(&mut text);
                    texts.push(text);
                }
            }
            _ => {}
        }
        rest = behind.get(4 + length + 4..).unwrap_or_default();
    }
    texts
}

/// The tag in EXIF data that ImageMagick wrote as text: a name, how many bytes they are, and these in hexadecimal.
fn profile(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text.strip_prefix(b"Raw profile type ")?).ok()?;
    let (kind, text) = text.split_once('\0')?;
    if !["exif", "APP1"].contains(&kind) {
        return None;
    }
    let digits: String = text.split_ascii_whitespace().skip(2).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    bare(&digits.as_bytes().chunks_exact(2).map(byte).collect::<Option<Vec<u8>>>()?)
}

/// The tag in XMP, as an attribute or an element.
fn from_xmp(xmp: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"tiff:Orientation";
    let found = xmp.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME);
    found.map(|(at, _)| &xmp[at + NAME.len()..]).find_map(|rest| match rest {
        [b'>', digit, ..] | [b'=', b'"' | b'\'', digit, ..] => (*digit as char).to_digit(10),
        _ => None,
    })
}
