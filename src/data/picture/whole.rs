//! Damage that the decoders of these forms pass over: they show what they can, as a viewer should.

use image::ImageFormat;
use png::{ColorType, Decoder, Transformations};
use std::io::Cursor;

/// Checks what a decoder does not. Damage that keeps this from being looked at is for the decoder to name.
///
/// # Errors
/// What is wrong, in words that follow the file's name.
pub(super) fn check(bytes: &[u8], format: ImageFormat) -> Result<(), String> {
    let found = match format {
        ImageFormat::WebP => webp(bytes),
        ImageFormat::Png => palette(bytes),
        ImageFormat::Pnm => samples(bytes),
        _ => None,
    };
    found.map_or(Ok(()), Err)
}

/// A WebP says at its beginning how long it is; libwebp refuses what is shorter, too.
fn webp(bytes: &[u8]) -> Option<String> {
    let size = bytes.get(4..8)?.try_into().map(u32::from_le_bytes).ok()?;
    let (there, promised) = (bytes.len() as u64, u64::from(size) + 8);
    (there < promised).then(|| format!("cut short: {there} of {promised} bytes"))
}

/// A PNG's pixel may ask for a colour that its palette does not have.
fn palette(bytes: &[u8]) -> Option<String> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().ok()?;
    let info = reader.info();
    let (bits, width) = (info.bit_depth as usize, info.width as usize);
    let colours = info.palette.as_ref()?.len() / 3;
    if info.color_type != ColorType::Indexed || colours >= 1 << bits {
        return None;
    }
    let mut rows = vec![0; reader.output_buffer_size()?];
    let frame = reader.next_frame(&mut rows).ok()?;
    let number = |row: &[u8], x: usize| {
        let at = x * bits;
        usize::from(row[at / 8]) >> (8 - bits - at % 8) & ((1 << bits) - 1)
    };
    let numbers = rows.chunks_exact(frame.line_size).flat_map(|row| (0..width).map(move |x| number(row, x)));
    let odd = numbers.filter(|&number| number >= colours).max()?;
    Some(format!("damaged: a pixel has colour {odd} of a palette of {colours}, counted from 0"))
}

/// A PGM or PPM says what its brightest sample may be.
fn samples(bytes: &[u8]) -> Option<String> {
    let (mut at, mut header) = (2, [0usize; 3]);
    for number in &mut header {
        *number = word(bytes, &mut at)?;
    }
    let [width, height, most] = header;
    let each = match bytes.get(1)? {
        b'2' | b'5' => 1,
        b'3' | b'6' => 3,
        _ => return None,
    };
    let count = width.checked_mul(height)?.checked_mul(each)?;
    let greatest = match bytes[1] {
        b'2' | b'3' => (0..count).map_while(|_| word(bytes, &mut at)).max(),
        _ if most < 256 => bytes.get(at + 1..)?.iter().take(count).map(|&sample| usize::from(sample)).max(),
        _ => {
            let pairs = bytes.get(at + 1..)?.chunks_exact(2).take(count);
            pairs.map(|pair| usize::from(u16::from_be_bytes([pair[0], pair[1]]))).max()
        }
    }?;
    (greatest > most).then(|| format!("damaged: a sample is {greatest}, above its maximum of {most}"))
}

/// The next number of a PNM's text, after spaces and comments.
fn word(bytes: &[u8], at: &mut usize) -> Option<usize> {
    loop {
        match bytes.get(*at)? {
            b'#' => *at += bytes[*at..].iter().position(|&byte| byte == b'\n')?,
            byte if byte.is_ascii_whitespace() => *at += 1,
            _ => break,
        }
    }
    let digits = bytes[*at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&bytes[*at..*at + digits]).ok()?.parse().ok()?;
    *at += digits;
    Some(number)
}
