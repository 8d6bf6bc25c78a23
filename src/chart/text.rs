//! Letters: the embedded font (Inter, SIL Open Font License), their widths, and the one piece of markup charts know,
//! `c_{k-2}` for a subscript.
//!
//! The font travels inside the binary because a machine may have none, and a chart must look the same everywhere. An
//! SVG names the family and leaves the drawing to the viewer; where Inter is absent the fallbacks are slightly
//! narrower, so what was laid out for Inter still fits. What Inter lacks, [`fallback`] may have.

use super::fallback::{self, Piece};
use ab_glyph::{Font, FontRef};
use plotters::style::{FontDesc, FontFamily, FontStyle, register_font};
use std::collections::BTreeSet;
use std::sync::{Once, OnceLock};

/// The family as SVG files name it, and the key under which plotters knows the embedded font.
const FAMILY: &str = "Inter, Helvetica Neue, Helvetica, Arial, sans-serif";

/// Height of capital letters in em, to centre a line on a point.
pub const CAP_HEIGHT: f64 = 0.727;

/// Where a text sits relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Center,
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Regular,
    SemiBold,
}

impl Weight {
    fn style(self) -> FontStyle {
        match self {
            Weight::Regular => FontStyle::Normal,
            Weight::SemiBold => FontStyle::Bold,
        }
    }
}

const REGULAR: &[u8] = include_bytes!("font/Inter-Regular.otf");

/// Whether the embedded font has a glyph for a character, or it needs none.
pub fn is_embedded(c: char) -> bool {
    static FONT: OnceLock<Option<FontRef<'static>>> = OnceLock::new();
    let font = FONT.get_or_init(|| FontRef::try_from_slice(REGULAR).ok());
    c.is_ascii() || c.is_whitespace() || font.as_ref().is_none_or(|font| font.glyph_id(c).0 != 0)
}

/// The characters of a text that can only be drawn as boxes.
pub fn missing(text: &str) -> BTreeSet<char> {
    let letters = |piece: Piece<'_>| match piece {
        Piece::Letters(text) => text.chars().filter(|&c| !is_embedded(c)).collect(),
        Piece::Pixels(_) => Vec::new(),
    };
    fallback::pieces(text).into_iter().flat_map(letters).collect()
}

/// plotters' description of the embedded font at `size` of its own units.
pub fn font(size: f64, weight: Weight) -> FontDesc<'static> {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // A refusal would leave the family unknown, and the first text drawn would say so as an error.
        let _ = register_font(FAMILY, FontStyle::Normal, REGULAR);
        let _ = register_font(FAMILY, FontStyle::Bold, include_bytes!("font/Inter-SemiBold.otf"));
    });
    FontDesc::new(FontFamily::Name(FAMILY), size, weight.style())
}

/// Units of plotters' bitmap font size per em: Inter's ascent minus descent.
pub const BITMAP_UNITS_PER_EM: f64 = (2728.0 + 680.0) / 2816.0;

/// Width of `text`, subscripts included, at `em`; the same unit as `em`.
pub fn width(text: &str, em: f64, weight: Weight) -> f64 {
    runs(text).iter().map(|run| run_width(run, em, weight)).sum()
}

/// Width of one run.
pub fn run_width(run: &Run, em: f64, weight: Weight) -> f64 {
    // plotters rounds widths down to whole units: measure large, scale down.
    const LARGE: f64 = 1000.0;
    let em = if run.subscript { em * SUBSCRIPT_SIZE } else { em };
    let letters = font(LARGE * BITMAP_UNITS_PER_EM, weight);
    let width = |piece: Piece<'_>| match piece {
        Piece::Letters(text) => letters.layout_box(text).map_or(0.0, |(_, (right, _))| f64::from(right) / LARGE),
        Piece::Pixels(glyph) => fallback::advance(glyph),
    };
    em * fallback::pieces(&run.text).into_iter().map(width).sum::<f64>()
}

/// Size of a subscript relative to its text.
pub const SUBSCRIPT_SIZE: f64 = 0.72;
/// How far a subscript's baseline lies below its text's, in em.
pub const SUBSCRIPT_DROP: f64 = 0.18;

/// A stretch of text at one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub text: String,
    pub subscript: bool,
}

/// `text` split at its subscripts, which are written `_{…}`; a hyphen in a subscript is a minus sign.
pub fn runs(text: &str) -> Vec<Run> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut push = |text: &str, subscript: bool| {
        if !text.is_empty() {
            // SVG viewers drop a space at the start of a text, but not one that may not break.
            let text = if subscript { text.replace('-', "\u{2212}") } else { text.replace(' ', "\u{a0}") };
            found.push(Run { text, subscript });
        }
    };
    while let Some((before, inside, after)) = rest.split_once("_{").and_then(|(before, tail)| {
        let (inside, after) = tail.split_once('}')?;
        Some((before, inside, after))
    }) {
        push(before, false);
        push(inside, true);
        rest = after;
    }
    push(rest, false);
    found
}

/// `text` cut to at most `limit` wide, with an ellipsis where something was cut.
pub fn fitted(text: &str, em: f64, weight: Weight, limit: f64) -> String {
    if width(text, em, weight) <= limit {
        return text.to_string();
    }
    let mut kept: Vec<char> = text.chars().collect();
    while kept.pop().is_some() {
        let shorter = format!("{}…", kept.iter().collect::<String>().trim_end());
        if width(&shorter, em, weight) <= limit {
            return shorter;
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscripts_are_split_off() {
        let split = runs("c_{k-2} → 0");
        assert_eq!(split.len(), 3);
        assert_eq!(split[1], Run { text: "k\u{2212}2".into(), subscript: true });
        assert_eq!(runs("sep_conv_3x3").len(), 1);
    }

    #[test]
    fn what_the_font_lacks_is_known() {
        assert!(missing("Café, Überlauf, 3×3 → c_{k−2} …").is_empty());
        assert_eq!(missing("cat 猫 🐈 حصان"), BTreeSet::from(['🐈', 'ا', 'ح', 'ص', 'ن']));
    }

    #[test]
    fn widths_come_from_the_embedded_font() {
        let narrow = width("iii", 16.0, Weight::Regular);
        let wide = width("mmm", 16.0, Weight::Regular);
        assert!(narrow > 5.0 && wide > 2.0 * narrow, "{narrow} {wide}");
        assert!(width(&fitted("a_long_name_of_an_op", 16.0, Weight::Regular, 60.0), 16.0, Weight::Regular) <= 60.0);
    }
}
