//! One encoded picture, seen as every viewer shows it: the right way up, nothing of what transparency hides, and whole.
//!
//! Colour profiles are not applied: numbers mean sRGB, as in nearly every file, and as torchvision and Keras take them.

mod directory;
mod jpeg;
mod orientation;
mod other;
mod refusal;
mod whole;

use crate::shape::Shape;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use std::io::{Cursor, ErrorKind};

pub(super) use refusal::Refusal;

/// How pictures are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// What shows through where a picture is transparent: red, green, blue.
    pub background: [u8; 3],
    /// Pictures of more pixels are refused.
    pub most_pixels: u64,
}

impl Look {
    /// What most viewers show behind a picture.
    pub const WHITE: [u8; 3] = [255; 3];
    /// Beyond what a phone makes today, and half a gigabyte once decoded.
    pub const MOST_PIXELS: u64 = 178_000_000;

    fn grey(&self) -> bool {
        let [red, green, blue] = self.background;
        red == green && green == blue
    }
}

/// The shape in a picture's header, as it is seen; nothing is decoded.
///
/// # Errors
/// Bytes that are no picture, or one that is too large.
pub(super) fn probe(bytes: &[u8], look: &Look) -> Result<Shape, Refusal> {
    let (format, decoder) = decoder(bytes, look)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = if lies(orientation::of(bytes, format)) { (height, width) } else { (width, height) };
    let kind = decoder.color_type();
    let coloured = kind.has_color() || (kind.has_alpha() && !look.grey());
    Ok(Shape { channels: if coloured { 3 } else { 1 }, height: height as usize, width: width as usize })
}

/// The whole picture, of 8 bits and without transparency.
///
/// # Errors
/// As [`probe`], and a picture that is damaged or cut short.
pub(super) fn open(bytes: &[u8], look: &Look) -> Result<DynamicImage, Refusal> {
    let (format, decoder) = decoder(bytes, look)?;
    whole::check(bytes, format)?;
    let jpeg = if format == ImageFormat::Jpeg { jpeg::open(bytes)? } else { None };
    let image = jpeg.map_or_else(|| DynamicImage::from_decoder(decoder).map_err(|error| plain(&error)), Ok)?;
    let premultiplied = format == ImageFormat::Tiff && directory::number(bytes, EXTRA_SAMPLES) == Some(1);
    let mut image = flattened(image, look, premultiplied);
    image.apply_orientation(orientation::of(bytes, format));
    Ok(image)
}

/// The decoder that these bytes need, whatever their file is called.
fn decoder<'a>(bytes: &'a [u8], look: &Look) -> Result<(ImageFormat, impl ImageDecoder + 'a), Refusal> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    // BigTIFF is not among the forms that are guessed.
    if [&b"II+\0"[..], b"MM\0+"].iter().any(|mark| bytes.starts_with(mark)) {
        reader.set_format(ImageFormat::Tiff);
    }
    let known = reader.format().filter(ImageFormat::reading_enabled);
    let Some(format) = known else { return Err(other::name(bytes).into()) };
    let mut limits = Limits::default();
    // Eight bytes a pixel are the most there are; what a decoder needs besides is small.
    limits.max_alloc = Some(look.most_pixels.saturating_mul(8).saturating_add(64 << 20));
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| plain(&error))?;
    let (width, height) = decoder.dimensions();
    let (pixels, most) = (u64::from(width) * u64::from(height), look.most_pixels);
    if pixels > most {
        return Err(Refusal::TooLarge(format!(
            "its {width}×{height} pixels are {:.0} million, more than the {:.0} million that are read; the option \
             max_megapixels raises that",
            pixels as f64 / 1e6,
            most as f64 / 1e6
        )));
    }
    Ok((format, decoder))
}

/// Whether height and width change places.
fn lies(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// The tag by which a TIFF says what its alpha is: 1 for colours that are multiplied by it already.
const EXTRA_SAMPLES: usize = 338;

/// The image of 8 bits before the background; `premultiplied`: its colours are multiplied by alpha already.
fn flattened(image: DynamicImage, look: &Look, premultiplied: bool) -> DynamicImage {
    let over = |value: u8, behind: u8, alpha: u8| {
        let (value, behind, alpha) = (u32::from(value), u32::from(behind), u32::from(alpha));
        let own = if premultiplied { value * 255 } else { value * alpha };
        ((own + behind * (255 - alpha) + 127) / 255).min(255) as u8
    };
    let (coloured, clear) = (image.color().has_color(), image.color().has_alpha());
    match (coloured || (clear && !look.grey()), clear) {
        (false, false) => image.into_luma8().into(),
        (true, false) => image.into_rgb8().into(),
        (false, true) => {
            let image = image.into_luma_alpha8();
            let pixels = image.pixels().map(|pixel| over(pixel[0], look.background[0], pixel[1])).collect();
            GrayImage::from_raw(image.width(), image.height(), pixels).unwrap_or_default().into()
        }
        (true, true) => {
            let image = image.into_rgba8();
            let pixel = |pixel: &image::Rgba<u8>| [0, 1, 2].map(|c| over(pixel[c], look.background[c], pixel[3]));
            let pixels = image.pixels().flat_map(pixel).collect();
            RgbImage::from_raw(image.width(), image.height(), pixels).unwrap_or_default().into()
        }
    }
}

/// A decoder's error without the name of the decoder around it, in one line.
fn plain(error: &image::ImageError) -> String {
    let text = match error {
        image::ImageError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            "cut short: it ends too soon".into()
        }
        image::ImageError::Unsupported(error) => format!("its form cannot be read: {error}"),
        error => error.to_string(),
    };
    one_line(&text)
}

/// A text without line breaks.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
