//! JPEGs. The pixels are those of libjpeg-turbo, bit for bit, which Pillow and many others decode with: so a network
//! sees elsewhere what it was trained on.
//!
//! And whether a JPEG is whole. Decoders show what they can of a file that is cut short or rotten, as a viewer should;
//! nobody wants to learn from that. So the entropy-coded data are walked once, code by code, without a pixel being
//! made: every scan has to hold just the blocks that the header promises, and the end has to be there (ITU-T T.81,
//! annexes B, F and G).
//!
//! A changed bit that leaves another valid picture of the same number of blocks cannot be told from a picture.

mod huffman;
mod scan;

use super::one_line;
use huffman::Table;
use image::{DynamicImage, GrayImage, RgbImage};
use libjpeg_turbo_rs::{Decoder, JpegError, PixelFormat};
use scan::{Scan, Selected};

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const DHT: u8 = 0xC4;
const DRI: u8 = 0xDD;
const DQT: u8 = 0xDB;

/// The picture in a JPEG that is whole; nothing where it is of four inks or of more than 8 bits, which is left to the
/// decoder of other forms.
///
/// # Errors
/// As [`check`], and what cannot be decoded.
pub(super) fn open(bytes: &[u8]) -> Result<Option<DynamicImage>, String> {
    check(bytes)?;
    let plain = |error: JpegError| match error {
        JpegError::Unsupported(what) => format!("its form cannot be read: {}", one_line(&what)),
        error => format!("damaged: {}", one_line(&error.to_string())),
    };
    let mut decoder = Decoder::new(bytes).map_err(plain)?;
    let header = decoder.header();
    let format = match (header.components.len(), header.precision) {
        (1, 8) => PixelFormat::Grayscale,
        (3, 8) => PixelFormat::Rgb,
        _ => return Ok(None),
    };
    decoder.set_output_format(format);
    let image = decoder.decode_image().map_err(plain)?;
    let (width, height) = (image.width as u32, image.height as u32);
    Ok(match format {
        PixelFormat::Grayscale => GrayImage::from_raw(width, height, image.data).map(DynamicImage::from),
        _ => RgbImage::from_raw(width, height, image.data).map(DynamicImage::from),
    })
}

/// Checks that a JPEG is whole. What only the decoder can judge (forms that are rare, or that it cannot read) passes.
///
/// # Errors
/// Where the file is cut short or damaged, in words that follow the file's name.
fn check(bytes: &[u8]) -> Result<(), String> {
    let mut walk = Walk { bytes, at: 2, ..Walk::default() };
    if !bytes.starts_with(&[0xFF, SOI]) {
        return Ok(());
    }
    loop {
        match walk.step()? {
            Step::On => {}
            Step::Whole => return Ok(()),
        }
    }
}

enum Step {
    On,
    /// The end, or a form that is left to the decoder.
    Whole,
}

/// A component of the frame.
#[derive(Default)]
struct Component {
    id: u8,
    across: usize,
    down: usize,
    /// Blocks of its own, as scans of one component count them.
    blocks: (usize, usize),
    /// Whether a scan held its first coefficients.
    seen: bool,
    /// Progressive: a bit for each coefficient of each block that is not zero so far.
    nonzero: Vec<u64>,
}

/// What a frame's header says.
#[derive(Default)]
struct Frame {
    progressive: bool,
    components: Vec<Component>,
    /// Units of an interleaved scan.
    units: usize,
}

#[derive(Default)]
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<Frame>,
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    /// Units between two restart markers; 0: none.
    interval: usize,
    scratch: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn step(&mut self) -> Result<Step, String> {
        let marker = self.marker()?;
        match marker {
            EOI => return self.end(),
            // Without a length.
            0x01 | 0xD0..=0xD8 => return Ok(Step::On),
            _ => {}
        }
        let segment = self.segment()?;
        match marker {
            0xC0..=0xC2 if self.frame.is_none() => match frame(segment, marker == 0xC2) {
                Some(frame) => self.frame = Some(frame),
                None => return Ok(Step::Whole),
            },
            0xC0..=0xCF if marker != DHT => return Ok(Step::Whole),
            DHT => tables(segment, &mut self.dc, &mut self.ac)?,
            DQT => quantization(segment)?,
            DRI => self.interval = segment.get(..2).map_or(0, |b| usize::from(u16::from_be_bytes([b[0], b[1]]))),
            SOS => return self.scan(segment),
            _ => {}
        }
        Ok(Step::On)
    }

    /// The next marker; between two segments there may be fill bytes.
    fn marker(&mut self) -> Result<u8, String> {
        let missing = || "cut short: its end is missing".to_string();
        while self.bytes.get(self.at) == Some(&0) {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(0xFF) => {}
            Some(_) => return Err(format!("damaged: stray bytes at {}", self.at)),
            None => return Err(missing()),
        }
        while self.bytes.get(self.at) == Some(&0xFF) {
            self.at += 1;
        }
        let marker = *self.bytes.get(self.at).ok_or_else(missing)?;
        self.at += 1;
        Ok(marker)
    }

    /// What a segment holds.
    fn segment(&mut self) -> Result<&'a [u8], String> {
        let start = self.at + 2;
        let length = self.bytes.get(self.at..start).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])));
        let end = self.at + length.unwrap_or(usize::MAX - self.at);
        match self.bytes.get(start..end) {
            Some(segment) => {
                self.at = end;
                Ok(segment)
            }
            None if end < start => Err(format!("damaged: an impossible length at {}", self.at)),
            None => Err("cut short within its header".into()),
        }
    }

    fn end(&self) -> Result<Step, String> {
        match &self.frame {
            None => Err("it holds no picture".into()),
            Some(frame) if frame.components.iter().any(|c| !c.seen) => Err("cut short: a part of it is missing".into()),
            Some(_) => Ok(Step::Whole),
        }
    }

    fn scan(&mut self, segment: &[u8]) -> Result<Step, String> {
        let damaged = || "damaged: a scan that contradicts its header".to_string();
        let Some(frame) = &mut self.frame else { return Err(damaged()) };
        // Moving pictures leave out the tables that all of them share.
        if self.dc.iter().chain(&self.ac).all(Option::is_none) {
            return Ok(Step::Whole);
        }
        let count = usize::from(*segment.first().ok_or_else(damaged)?);
        let choices = segment.get(1..1 + 2 * count).ok_or_else(damaged)?;
        let rest = segment.get(1 + 2 * count..4 + 2 * count).ok_or_else(damaged)?;
        let mut selected = Vec::new();
        for choice in choices.chunks_exact(2) {
            let component = frame.components.iter().position(|c| c.id == choice[0]).ok_or_else(damaged)?;
            let (dc, ac) = (usize::from(choice[1] >> 4) & 3, usize::from(choice[1]) & 3);
            selected.push(Selected { component, dc: self.dc[dc].as_ref(), ac: self.ac[ac].as_ref() });
        }
        if selected.is_empty() || selected.len() > 4 {
            return Err(damaged());
        }
        let mut scan = Scan {
            frame,
            selected,
            from: rest[0],
            to: rest[1],
            refines: rest[2] >> 4 != 0,
            interval: self.interval,
            scratch: std::mem::take(&mut self.scratch),
        };
        if !scan.is_possible() {
            return Err(damaged());
        }
        self.at = scan.walk(self.bytes, self.at)?;
        self.scratch = scan.scratch;
        Ok(Step::On)
    }
}

/// What a frame's header says; `None` where only the decoder can judge it.
fn frame(segment: &[u8], progressive: bool) -> Option<Frame> {
    let [precision, h1, h0, w1, w0, count, parts @ ..] = segment else { return None };
    let (height, width) = (u16::from_be_bytes([*h1, *h0]), u16::from_be_bytes([*w1, *w0]));
    let (height, width) = (usize::from(height), usize::from(width));
    if *precision != 8 || height == 0 || width == 0 || parts.len() < 3 * usize::from(*count) {
        return None;
    }
    let mut components: Vec<Component> = Vec::new();
    for part in parts.chunks_exact(3).take(usize::from(*count)) {
        let (across, down) = (usize::from(part[1] >> 4), usize::from(part[1] & 15));
        components.push(Component { id: part[0], across, down, ..Component::default() });
    }
    let most = |of: fn(&Component) -> usize| components.iter().map(of).max().unwrap_or(0);
    let (across, down) = (most(|c| c.across), most(|c| c.down));
    if components.iter().any(|c| !(1..=4).contains(&c.across) || !(1..=4).contains(&c.down)) {
        return None;
    }
    for component in &mut components {
        let wide = (width * component.across).div_ceil(across).div_ceil(8);
        let high = (height * component.down).div_ceil(down).div_ceil(8);
        component.blocks = (wide, high);
        if progressive {
            component.nonzero = vec![0; wide * high];
        }
    }
    let units = width.div_ceil(8 * across) * height.div_ceil(8 * down);
    (!components.is_empty()).then_some(Frame { progressive, components, units })
}

/// Checks the tables of divisors of a segment: no divisor is 0 (T.81, table B.4).
fn quantization(mut segment: &[u8]) -> Result<(), String> {
    let damaged = || "damaged: a table of divisors is not one".to_string();
    while let [head, rest @ ..] = segment {
        let wide = head >> 4 != 0;
        let (table, more) = rest.split_at_checked(if wide { 128 } else { 64 }).ok_or_else(damaged)?;
        if table.chunks(if wide { 2 } else { 1 }).any(|divisor| divisor.iter().all(|byte| *byte == 0)) {
            return Err(damaged());
        }
        segment = more;
    }
    Ok(())
}

/// Reads the tables of a segment.
fn tables(mut segment: &[u8], dc: &mut [Option<Table>; 4], ac: &mut [Option<Table>; 4]) -> Result<(), String> {
    let damaged = || "damaged: a table of codes is not one".to_string();
    while let [head, rest @ ..] = segment {
        let counts: &[u8; 16] = rest.first_chunk().ok_or_else(damaged)?;
        let symbols: usize = counts.iter().map(|&n| usize::from(n)).sum();
        let values = rest.get(16..16 + symbols).ok_or_else(damaged)?;
        let table = Table::new(counts, values).ok_or_else(damaged)?;
        let place = usize::from(head & 15);
        let tables = if head >> 4 == 0 { &mut *dc } else { &mut *ac };
        *tables.get_mut(place).ok_or_else(damaged)? = Some(table);
        segment = &rest[16 + symbols..];
    }
    Ok(())
}
