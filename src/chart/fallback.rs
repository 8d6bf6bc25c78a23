//! Letters that the embedded font lacks, as a bitmap of them: those of GNU Unifont (SIL Open Font License), which has
//! one for nearly every character of the Basic Multilingual Plane, so for Chinese, Japanese and Korean names.
//!
//! Only PNG files need them: viewers of an SVG have fonts of their own. Scripts that are written from right to left
//! would need their letters ordered and joined, so they are left out, as are the colour emoji beyond the plane.

use super::text::is_embedded;
use unicode_width::UnicodeWidthChar;
use unifont::{Glyph, get_glyph};

/// A stretch of text that is drawn in one way.
pub enum Piece<'a> {
    /// In the embedded font.
    Letters(&'a str),
    /// Pixel by pixel; none for a character that takes no room.
    Pixels(Option<&'static Glyph>),
}

/// Rows of a glyph, and how many of them lie above the baseline.
const ROWS: usize = 16;
const ABOVE: usize = 14;

/// The pixels of a character that the embedded font lacks; none where nothing has them.
pub fn glyph(c: char) -> Option<&'static Glyph> {
    let from_right = matches!(c as u32, 0x0590..=0x08ff | 0xfb1d..=0xfdff | 0xfe70..=0xfeff);
    if from_right { None } else { get_glyph(c) }
}

/// A text cut where the way of drawing changes.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices() {
        if is_embedded(c) {
            continue;
        }
        let pixels = match c.width() {
            Some(0) => None,
            _ => match glyph(c) {
                Some(glyph) => Some(glyph),
                None => continue,
            },
        };
        if start < at {
            found.push(Piece::Letters(&text[start..at]));
        }
        found.push(Piece::Pixels(pixels));
        start = at + c.len_utf8();
    }
    if start < text.len() {
        found.push(Piece::Letters(&text[start..]));
    }
    found
}

/// How far a glyph moves what follows, in em.
pub fn advance(glyph: Option<&Glyph>) -> f64 {
    glyph.map_or(0.0, |glyph| glyph.get_width() as f64 / ROWS as f64)
}

/// The runs of dark pixels: left, right, top and bottom in em from the glyph's left end on the baseline, upwards.
pub fn runs(glyph: &Glyph) -> Vec<[f64; 4]> {
    let em = |pixels: f64| pixels / ROWS as f64;
    let mut runs = Vec::new();
    for y in 0..ROWS {
        let top = em(ABOVE as f64 - y as f64);
        let mut x = 0;
        while x < glyph.get_width() {
            let end = (x..glyph.get_width()).find(|&x| !glyph.get_pixel(x, y)).unwrap_or(glyph.get_width());
            if end > x {
                runs.push([em(x as f64), em(end as f64), top, top - em(1.0)]);
            }
            x = end + 1;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_embedded_font_lacks_is_drawn_by_pixels() {
        let shown = |text| {
            let shown = |piece: Piece| match piece {
                Piece::Letters(text) => text.to_string(),
                Piece::Pixels(glyph) => format!("<{}>", advance(glyph)),
            };
            pieces(text).into_iter().map(shown).collect::<String>()
        };
        assert_eq!(shown("Größe Ελλάδα Россия"), "Größe Ελλάδα Россия");
        assert_eq!(shown("cat 猫ネコ 2"), "cat <1><1><1> 2");
        // A heart and the selector of its colour; a cat beyond the plane stays with the font, as a box.
        assert_eq!(
            shown("♥\u{fe0f}"),
            shown("♥").to_string() + if is_embedded('\u{fe0f}') { "\u{fe0f}" } else { "<0>" }
        );
        assert_eq!(shown("🐈"), "🐈");
        assert_eq!(shown("خط"), "خط");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn a_glyph_s_runs_cover_its_dark_pixels() {
        let glyph = glyph('一').unwrap();
        let dark = (0..16).flat_map(|y| (0..16).map(move |x| (x, y))).filter(|&(x, y)| glyph.get_pixel(x, y)).count();
        let covered: f64 = runs(glyph).iter().map(|[left, right, top, bottom]| (right - left) * (top - bottom)).sum();
        assert!(dark > 0 && (covered * 256.0 - dark as f64).abs() < 1e-9, "{dark} {covered}");
    }
}
