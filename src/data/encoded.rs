//! From encoded images (PNG, JPEG …) to bytes in planes, all of one shape; on all cores, as this is most of loading.

use super::list::Content;
use super::options::ImageOptions;
use super::parts::Parts;
use super::picture::{self, Look, Refusal};
use super::set::Pixels;
use crate::error::shown;
use crate::shape::Shape;
use crate::{Error, Result, interrupt};
use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, RgbImage};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// An image as it lies on disk. Small, for there may be a million.
pub(super) enum Encoded {
    File { folder: Arc<Path>, name: Box<OsStr> },
    Record { file: Arc<Path>, record: usize, bytes: Box<[u8]> },
}

impl fmt::Display for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { folder, name } => f.write_str(&shown(&folder.join(&**name))),
            Self::Record { file, record, .. } => write!(f, "{}: record {record}", shown(file)),
        }
    }
}

impl Encoded {
    /// The image in the file at `path`.
    pub fn file(path: &Path) -> Self {
        let folder = path.parent().unwrap_or(Path::new("")).into();
        Self::File { folder, name: path.file_name().unwrap_or_default().into() }
    }

    fn bytes(&self) -> Result<Cow<'_, [u8]>, Refusal> {
        match self {
            Self::File { folder, name } => {
                std::fs::read(folder.join(&**name)).map(Cow::Owned).map_err(|error| error.to_string().into())
            }
            Self::Record { bytes, .. } => Ok(Cow::Borrowed(bytes)),
        }
    }

    /// The shape in the header; nothing is decoded.
    ///
    /// # Errors
    /// A file that cannot be read, or bytes that are not an image.
    fn probe(&self, look: &Look) -> Result<Shape, Refusal> {
        picture::probe(&self.bytes()?, look)
    }

    /// The shape of the image, which is decoded to make sure that it is whole.
    fn check(&self, look: &Look) -> Result<Shape, Refusal> {
        let image = picture::open(&self.bytes()?, look)?;
        let channels = if image.color().has_color() { 3 } else { 1 };
        Ok(Shape { channels, height: image.height() as usize, width: image.width() as usize })
    }

    /// Decodes into `out`, the bytes of one image of `shape`; what a file holds goes into `content`.
    ///
    /// # Errors
    /// A file that cannot be read, or an image that is damaged.
    pub fn decode(&self, shape: Shape, look: &Look, out: &mut [u8], content: &mut Content) -> Result<(), Refusal> {
        let bytes = self.bytes()?;
        if let Self::File { .. } = self {
            *content = Content::of(&bytes);
        }
        write_planes(picture::open(&bytes, look)?, shape, out);
        Ok(())
    }
}

/// Images on disk with their labels.
pub(super) type Files = (Vec<Encoded>, Vec<u32>);

/// Images of one shape.
pub(super) struct Decoded {
    pub parts: Parts<Pixels>,
    /// The shape the training images were stored in, most of them.
    pub stored: Shape,
    /// What each file holds, of all parts in order, those left out included.
    pub contents: Vec<Content>,
    pub notes: Vec<String>,
}

/// Decodes all images to one shape: what `options` ask for, or what the training images mostly are. `classes` are
/// there for messages.
///
/// # Errors
/// Images that cannot be read, counted and the first of them named; with `skip_unreadable` only where a class loses
/// all its training or test images.
pub(super) fn decode(parts: Parts<Files>, classes: &[String], options: &ImageOptions) -> Result<Decoded> {
    if parts.test.0.is_empty() || (parts.train.0.is_empty() && options.like.is_none()) {
        return Err(Error::user("there are no images to read"));
    }
    let look = options.look();
    let all: Vec<&Encoded> = parts.iter().flat_map(|(images, _)| images).collect();
    let shapes = probe(&all, &look, options.skip_unreadable)?;
    let stored = commonest(shapes[..parts.train.0.len()].iter().flatten());
    let shape = options.shape(stored);
    let (height, width) = (shape.height, shape.width);
    // Where each image is a file, the list of files has them in this order.
    let files = matches!(all.first(), Some(Encoded::File { .. }));
    let listed = |range: Range<usize>| if files { range.map(|image| image as u32).collect() } else { Vec::new() };
    let mut notes = Vec::new();
    let resized = shapes.iter().flatten().filter(|shape| (shape.height, shape.width) != (height, width)).count();
    if options.size.is_none() && options.like.is_none() && resized > 0 {
        notes.push(format!(
            "{resized} of {} images were resized to {height}×{width}, the size most training images have",
            all.len()
        ));
    }
    let mut bytes = room_for(all.len(), shape)?;
    let mut contents = vec![Content::default(); all.len()];
    type Place<'a> = ((&'a &'a Encoded, &'a mut [u8]), &'a mut Content);
    let one = unless_interrupted(|((image, out), content): Place| image.decode(shape, &look, out, content));
    let places = all.par_iter().zip(bytes.par_chunks_exact_mut(shape.len())).zip(contents.par_iter_mut());
    let done: Vec<Result<(), Refusal>> = places.map(one).collect();
    let bad = unreadable(&all, &done)?;
    if let Some(bad) = &bad {
        if !options.skip_unreadable {
            return Err(refusal(bad, all.len()));
        }
        notes.push(format!("left out: {} of {} images cannot be read: {}", bad.len(), all.len(), bad.first()));
    }
    // From the end on, so that nothing but what is cut off is moved.
    let mut cut = |labels: Vec<u32>, from: usize| {
        let end = from + labels.len();
        let mut part = Pixels { bytes: bytes.split_off(from * shape.len()), labels, shape, listed: listed(from..end) };
        keep(&mut part, &done[from..end]);
        part
    };
    let (learnt, judged) = (parts.train.1.len(), parts.test.1.len());
    let counts = Parts { train: &parts.train.1, test: &parts.test.1, valid: parts.valid.as_ref().map(|v| &v.1) };
    let before = counts.map(|labels| count(labels, classes.len()));
    let valid = parts.valid.map(|(_, labels)| cut(labels, learnt + judged));
    let test = cut(parts.test.1, learnt);
    let mut train = Pixels { bytes, labels: parts.train.1, shape, listed: listed(0..learnt) };
    keep(&mut train, &done[..learnt]);
    let parts = Parts { train, test, valid };
    if let Some(bad) = bad {
        nothing_lost(&before.train, &parts.train, "training", classes, &bad)?;
        nothing_lost(&before.test, &parts.test, "test", classes, &bad)?;
    }
    Ok(Decoded { parts, stored, contents, notes })
}

/// Images of each class.
pub(super) fn count(labels: &[u32], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for &label in labels {
        if let Some(count) = counts.get_mut(label as usize) {
            *count += 1;
        }
    }
    counts
}

/// Checks that every class that had images still has one.
fn nothing_lost(before: &[usize], now: &Pixels, part: &str, classes: &[String], bad: &Bad) -> Result<()> {
    let left = count(&now.labels, classes.len());
    match (0..classes.len()).find(|&class| before[class] > 0 && left[class] == 0) {
        None => Ok(()),
        Some(class) => Err(Error::user(format!(
            "class \"{}\" has no {part} image left: all {} cannot be read; in all: {}",
            classes[class],
            before[class],
            bad.first()
        ))
        .hint("skip_unreadable leaves files out, but every class needs one that can be read: repair or replace some")),
    }
}

/// Moves the images that could be read together.
fn keep(pixels: &mut Pixels, done: &[Result<(), Refusal>]) {
    let size = pixels.shape.len();
    let mut kept = 0;
    for (index, _) in done.iter().enumerate().filter(|(_, done)| done.is_ok()) {
        if kept < index {
            pixels.bytes.copy_within(index * size..(index + 1) * size, kept * size);
            pixels.labels[kept] = pixels.labels[index];
            if !pixels.listed.is_empty() {
                pixels.listed[kept] = pixels.listed[index];
            }
        }
        kept += 1;
    }
    pixels.bytes.truncate(kept * size);
    pixels.labels.truncate(kept);
    pixels.listed.truncate(kept);
}

/// The shapes in the headers.
fn probe(images: &[&Encoded], look: &Look, skip_unreadable: bool) -> Result<Vec<Result<Shape, Refusal>>> {
    let one = unless_interrupted(|image: &&Encoded| image.probe(look));
    let shapes: Vec<Result<Shape, Refusal>> = images.par_iter().map(one).collect();
    if shapes.iter().any(Result::is_err) && !skip_unreadable {
        // Something has to be repaired, so list all that is damaged, not only what headers give away.
        check(images, look, false)?;
    }
    Ok(shapes)
}

/// The shapes of images, all of which are decoded where one has to be left out, so that the count is right; else those
/// in the headers.
pub(super) fn look_over(
    images: &[&Encoded],
    look: &Look,
    skip_unreadable: bool,
) -> Result<Vec<Result<Shape, Refusal>>> {
    if skip_unreadable { check(images, look, true) } else { probe(images, look, false) }
}

/// Decodes all images, one after another per core.
fn check(images: &[&Encoded], look: &Look, skip_unreadable: bool) -> Result<Vec<Result<Shape, Refusal>>> {
    let whole: Vec<_> = images.par_iter().map(unless_interrupted(|image: &&Encoded| image.check(look))).collect();
    match unreadable(images, &whole)? {
        Some(bad) if !skip_unreadable => Err(refusal(&bad, images.len())),
        _ => Ok(whole),
    }
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
fn unless_interrupted<A, B>(work: impl Fn(A) -> Result<B, Refusal>) -> impl Fn(A) -> Result<B, Refusal> {
    move |argument| if interrupt::requested() { Err("interrupted".to_string().into()) } else { work(argument) }
}

/// Images that cannot be read.
struct Bad {
    /// Each with the reason.
    named: Vec<String>,
    /// Whether being too large is all that is wrong with them.
    only_large: bool,
}

impl Bad {
    fn len(&self) -> usize {
        self.named.len()
    }

    /// The first three, and how many more there are.
    fn first(&self) -> String {
        let more = if self.len() > 3 { format!("; and {} more", self.len() - 3) } else { String::new() };
        format!("{}{more}", self.named[..self.len().min(3)].join("; "))
    }
}

/// The images that cannot be read; an error if the user asked to stop.
fn unreadable<T>(images: &[&Encoded], results: &[Result<T, Refusal>]) -> Result<Option<Bad>> {
    interrupt::check()?;
    let bad = || images.iter().zip(results).filter_map(|(image, result)| Some((image, result.as_ref().err()?)));
    let named: Vec<String> = bad().map(|(image, reason)| format!("{image}: {reason}")).collect();
    let only_large = bad().all(|(_, reason)| matches!(reason, Refusal::TooLarge(_)));
    Ok((!named.is_empty()).then_some(Bad { named, only_large }))
}

fn refusal(bad: &Bad, all: usize) -> Error {
    let message = match bad.len() {
        1 => bad.first(),
        n => format!("{n} of {all} images cannot be read: {}", bad.first()),
    };
    Error::user(message).hint(match bad.only_large {
        true => "make it smaller or raise max_megapixels; skip_unreadable: true leaves out what is too large",
        false => "repair, convert or remove what is named, or leave it out with skip_unreadable: true",
    })
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
    (pixels.bytes, pixels.shape) = (reshaped, shape);
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
