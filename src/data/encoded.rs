//! From encoded images (PNG, JPEG …) to bytes in planes, all of one shape; on all cores, as this is most of loading.

use super::options::ImageOptions;
use super::set::Pixels;
use crate::shape::Shape;
use crate::{Error, Result, interrupt};
use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageReader, RgbImage};
use rayon::prelude::*;
use std::borrow::Cow;
use std::fmt;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An image as it lies on disk.
#[derive(Clone)]
pub(super) enum Encoded {
    File(PathBuf),
    Record { file: Arc<Path>, record: usize, bytes: Vec<u8> },
}

impl fmt::Display for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Record { file, record, .. } => write!(f, "{}: record {record}", file.display()),
        }
    }
}

impl Encoded {
    fn bytes(&self) -> Result<Cow<'_, [u8]>, String> {
        match self {
            Self::File(path) => std::fs::read(path).map(Cow::Owned).map_err(|error| error.to_string()),
            Self::Record { bytes, .. } => Ok(Cow::Borrowed(bytes)),
        }
    }

    /// The shape in the header; nothing is decoded.
    ///
    /// # Errors
    /// A file that cannot be read, or bytes that are not an image; the text says which, without the name.
    pub fn probe(&self) -> Result<Shape, String> {
        let bytes = self.bytes()?;
        let reader = ImageReader::new(Cursor::new(&bytes[..])).with_guessed_format().map_err(|e| e.to_string())?;
        let decoder = reader.into_decoder().map_err(|error| error.to_string())?;
        let (width, height) = decoder.dimensions();
        let channels = if decoder.color_type().has_color() { 3 } else { 1 };
        Ok(Shape { channels, height: height as usize, width: width as usize })
    }

    /// The whole image.
    fn open(&self) -> Result<DynamicImage, String> {
        image::load_from_memory(&self.bytes()?).map_err(|error| error.to_string())
    }

    /// Decodes into `out`, the bytes of one image of `shape`.
    ///
    /// # Errors
    /// A file that cannot be read, or an image that is damaged; the text says which, without the name.
    pub fn decode(&self, shape: Shape, out: &mut [u8]) -> Result<(), String> {
        write_planes(self.open()?, shape, out);
        Ok(())
    }
}

/// Images on disk with their labels.
pub(super) type Files = (Vec<Encoded>, Vec<u32>);

/// Images of one shape.
pub(super) struct Decoded {
    pub train: Pixels,
    pub test: Pixels,
    /// The shape the training images were stored in, most of them.
    pub stored: Shape,
    pub notes: Vec<String>,
}

/// Decodes all images to one shape: what `options` ask for, or what the training images mostly are.
///
/// # Errors
/// Images that cannot be read, counted and the first of them named; with `skip_unreadable` only where none is left.
pub(super) fn decode(
    (train, train_labels): Files,
    (test, test_labels): Files,
    options: &ImageOptions,
) -> Result<Decoded> {
    if test.is_empty() || (train.is_empty() && options.like.is_none()) {
        return Err(Error::user("there are no images to read"));
    }
    let all: Vec<&Encoded> = train.iter().chain(&test).collect();
    let shapes = probe(&all, options.skip_unreadable)?;
    let stored = commonest(shapes[..train.len()].iter().flatten());
    let shape = options.shape(stored);
    let (height, width) = (shape.height, shape.width);
    let mut notes = Vec::new();
    let resized = shapes.iter().flatten().filter(|shape| (shape.height, shape.width) != (height, width)).count();
    if options.size.is_none() && options.like.is_none() && resized > 0 {
        notes.push(format!(
            "{resized} of {} images were resized to {height}×{width}, the size most training images have",
            all.len()
        ));
    }
    let (mut train_bytes, mut test_bytes) = (room_for(train.len(), shape)?, room_for(test.len(), shape)?);
    let outputs = train_bytes.par_chunks_exact_mut(shape.len()).chain(test_bytes.par_chunks_exact_mut(shape.len()));
    let one = unless_interrupted(|(image, out): (&&Encoded, &mut [u8])| image.decode(shape, out));
    let done: Vec<Result<(), String>> = all.par_iter().zip(outputs).map(one).collect();
    let mut train = Pixels { bytes: train_bytes, labels: train_labels, shape };
    let mut test = Pixels { bytes: test_bytes, labels: test_labels, shape };
    if let Some(bad) = unreadable(&all, &done)? {
        let (learn, judge) = done.split_at(train.labels.len());
        let had_some = !learn.is_empty();
        keep(&mut train, learn);
        keep(&mut test, judge);
        if !options.skip_unreadable || (had_some && train.labels.is_empty()) || test.labels.is_empty() {
            return Err(refusal(bad, all.len()));
        }
        notes.push(format!("left out: {} of {} images cannot be read: {}", bad.len(), all.len(), first(&bad)));
    }
    Ok(Decoded { train, test, stored, notes })
}

/// Moves the images that could be read together.
fn keep(pixels: &mut Pixels, done: &[Result<(), String>]) {
    let size = pixels.shape.len();
    let mut kept = 0;
    for (index, _) in done.iter().enumerate().filter(|(_, done)| done.is_ok()) {
        pixels.bytes.copy_within(index * size..(index + 1) * size, kept * size);
        pixels.labels[kept] = pixels.labels[index];
        kept += 1;
    }
    pixels.bytes.truncate(kept * size);
    pixels.labels.truncate(kept);
}

/// The shapes in the headers.
pub(super) fn probe(images: &[&Encoded], skip_unreadable: bool) -> Result<Vec<Result<Shape, String>>> {
    let one = unless_interrupted(|image: &&Encoded| image.probe());
    let shapes: Vec<Result<Shape, String>> = images.par_iter().map(one).collect();
    if shapes.iter().any(Result::is_err) && !skip_unreadable {
        // Something has to be repaired, so list all that is damaged, not only what headers give away.
        let whole: Vec<_> = images.par_iter().map(unless_interrupted(|image: &&Encoded| image.open())).collect();
        if let Some(bad) = unreadable(images, &whole)? {
            return Err(refusal(bad, images.len()));
        }
    }
    Ok(shapes)
}

/// The size that most images have (the first such in a tie), in colour if one of them is.
pub(super) fn commonest<'a>(shapes: impl Iterator<Item = &'a Shape>) -> Shape {
    let mut counts: Vec<((usize, usize), usize)> = Vec::new();
    let mut channels = 1;
    for shape in shapes {
        channels = channels.max(shape.channels);
        let size = (shape.height, shape.width);
        match counts.iter_mut().find(|(known, _)| *known == size) {
            Some((_, count)) => *count += 1,
            None => counts.push((size, 1)),
        }
    }
    // `max_by_key` would give the last in a tie.
    let (height, width) = counts.iter().rev().max_by_key(|(_, count)| count).map_or((1, 1), |(size, _)| *size);
    Shape { channels, height, width }
}

/// Turns the rest of a parallel loop into nothing once the user asked to stop.
fn unless_interrupted<A, B>(work: impl Fn(A) -> Result<B, String>) -> impl Fn(A) -> Result<B, String> {
    move |argument| if interrupt::requested() { Err("interrupted".into()) } else { work(argument) }
}

/// The images that cannot be read, each with the reason; an error if the user asked to stop.
fn unreadable<T>(images: &[&Encoded], results: &[Result<T, String>]) -> Result<Option<Vec<String>>> {
    interrupt::check()?;
    let reason =
        |(image, result): (&&Encoded, &Result<T, String>)| Some(format!("{image}: {}", result.as_ref().err()?));
    let bad: Vec<String> = images.iter().zip(results).filter_map(reason).collect();
    Ok((!bad.is_empty()).then_some(bad))
}

/// The first three, and how many more there are.
fn first(bad: &[String]) -> String {
    let more = if bad.len() > 3 { format!("; and {} more", bad.len() - 3) } else { String::new() };
    format!("{}{more}", bad[..bad.len().min(3)].join("; "))
}

fn refusal(bad: Vec<String>, all: usize) -> Error {
    let message = match bad.len() {
        1 => first(&bad),
        n => format!("{n} of {all} images cannot be read: {}", first(&bad)),
    };
    Error::user(message)
        .hint("repair or remove the damaged files; for class folders skip_unreadable: true leaves them out")
}

/// Zeroed memory for `count` images.
fn room_for(count: usize, shape: Shape) -> Result<Vec<u8>> {
    let mut room = Vec::new();
    let bytes = count.checked_mul(shape.len());
    match bytes.map(|bytes| room.try_reserve_exact(bytes)) {
        Some(Ok(())) => room.resize(bytes.unwrap_or_default(), 0),
        _ => {
            return Err(Error::user(format!("{count} images of {shape:#} do not fit into memory"))
                .hint("resize them on the way in with the option size"));
        }
    }
    Ok(room)
}

/// Brings `pixels` to `shape` and gives the new meaning of full brightness.
pub(super) fn reshape(pixels: &mut Pixels, levels: u8, shape: Shape) -> Result<u8> {
    if pixels.shape == shape {
        return Ok(levels);
    }
    // Coarse levels (the digits' 0..16) are spread out first, or averaging would round most of them away.
    let gain = 255 / levels;
    let mut reshaped = room_for(pixels.labels.len(), shape)?;
    let old = pixels.shape;
    let images = pixels.bytes.par_chunks_exact(old.len());
    images.zip(reshaped.par_chunks_exact_mut(shape.len())).for_each(|(image, out)| {
        let bright = |plane: usize, pixel: usize| image[plane * old.height * old.width + pixel] * gain;
        let pixel = |x: u32, y: u32| y as usize * old.width + x as usize;
        let (width, height) = (old.width as u32, old.height as u32);
        let image = match old.channels {
            1 => GrayImage::from_fn(width, height, |x, y| [bright(0, pixel(x, y))].into()).into(),
            _ => {
                RgbImage::from_fn(width, height, |x, y| [0, 1, 2].map(|plane| bright(plane, pixel(x, y))).into()).into()
            }
        };
        write_planes(image, shape, out);
    });
    interrupt::check()?;
    *pixels = Pixels { bytes: reshaped, labels: std::mem::take(&mut pixels.labels), shape };
    Ok(levels * gain)
}

/// Resizes (stretching, bilinear), turns grey or coloured, and lays the channels out one after another.
fn write_planes(image: DynamicImage, shape: Shape, out: &mut [u8]) {
    let (height, width) = (shape.height as u32, shape.width as u32);
    let fits = (image.height(), image.width()) == (height, width);
    let image = if fits { image } else { image.resize_exact(width, height, FilterType::Triangle) };
    if shape.channels == 1 {
        out.copy_from_slice(image.into_luma8().as_raw());
        return;
    }
    let interleaved = image.into_rgb8();
    for (channel, plane) in out.chunks_exact_mut(shape.height * shape.width).enumerate() {
        for (value, pixel) in plane.iter_mut().zip(interleaved.as_raw().chunks_exact(3)) {
            *value = pixel[channel];
        }
    }
}
