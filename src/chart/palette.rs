//! Colours: the inks of every chart and one colour an op, the same in every chart of a run.
//!
//! The eight candidates of DARTS have colours that stay apart under the three colour blindnesses (a test simulates
//! them): separable convolutions are blue, dilated ones green, pools warm, the small kernel of a pair the light one.
//! Any other name gets a colour from a second list, chosen by its hash.

use plotters::style::RGBColor;

pub type Color = RGBColor;

/// Text and everything that must be read.
pub const INK: Color = RGBColor(0x1f, 0x23, 0x28);
/// Axis labels and other secondary text.
pub const MUTED: Color = RGBColor(0x59, 0x63, 0x6e);
/// Axis lines and borders.
pub const RULE: Color = RGBColor(0xb4, 0xbb, 0xc3);
/// Grid lines.
pub const GRID: Color = RGBColor(0xe6, 0xe9, 0xed);
/// The background.
pub const PAPER: Color = RGBColor(0xff, 0xff, 0xff);

/// Series of a line chart, in order; for more series the list starts over.
pub const SERIES: [Color; 8] = [
    RGBColor(0x2b, 0x6c, 0xb0),
    RGBColor(0xd9, 0x6a, 0x1c),
    RGBColor(0x11, 0x77, 0x33),
    RGBColor(0x88, 0x22, 0x55),
    RGBColor(0x44, 0xaa, 0x99),
    RGBColor(0x59, 0x63, 0x6e),
    RGBColor(0xc8, 0x93, 0x0e),
    RGBColor(0xd4, 0x7f, 0xa6),
];

/// Ops with a colour of their own.
const NAMED: [(&str, Color); 14] = [
    ("none", RGBColor(0xa3, 0xaa, 0xb2)),
    ("max_pool_3x3", RGBColor(0xc8, 0x93, 0x0e)),
    ("avg_pool_3x3", RGBColor(0xc2, 0x4a, 0x74)),
    ("skip_connect", RGBColor(0x7d, 0x22, 0xa0)),
    ("sep_conv_3x3", RGBColor(0x4c, 0x86, 0xe9)),
    ("sep_conv_5x5", RGBColor(0x2b, 0x1b, 0x80)),
    ("dil_conv_3x3", RGBColor(0x52, 0xcf, 0x7c)),
    ("dil_conv_5x5", RGBColor(0x12, 0x5f, 0x30)),
    ("sep_conv_7x7", RGBColor(0x2f, 0x57, 0xc4)),
    ("identity", RGBColor(0x7d, 0x22, 0xa0)),
    ("tanh", RGBColor(0x2b, 0x1b, 0x80)),
    ("relu", RGBColor(0xc8, 0x93, 0x0e)),
    ("sigmoid", RGBColor(0x52, 0xcf, 0x7c)),
    ("noise", RGBColor(0x6b, 0x5b, 0x4b)),
];

/// Colours for names nobody knows beforehand.
const OTHERS: [Color; 8] = [
    RGBColor(0xaa, 0x44, 0x99),
    RGBColor(0x99, 0x99, 0x33),
    RGBColor(0xe0, 0x7b, 0x39),
    RGBColor(0x66, 0x33, 0x00),
    RGBColor(0x00, 0x88, 0x9c),
    RGBColor(0xe7, 0x8a, 0xc3),
    RGBColor(0x7a, 0x9a, 0x01),
    RGBColor(0x45, 0x4b, 0x66),
];

/// One colour for each op of a chart.
#[derive(Clone, Debug)]
pub struct Palette(Vec<(String, Color)>);

impl Palette {
    /// Known ops have fixed colours; the others start at their hash and step on while another op of the chart has that
    /// colour.
    pub fn of<'a>(ops: impl IntoIterator<Item = &'a str>) -> Self {
        let mut chosen: Vec<(String, Color)> = Vec::new();
        for op in ops {
            if chosen.iter().any(|(name, _)| name == op) {
                continue;
            }
            let color = NAMED.iter().find(|(name, _)| *name == op).map(|(_, color)| *color).unwrap_or_else(|| {
                let start = hash(op);
                (0..OTHERS.len())
                    .map(|i| OTHERS[(start + i) % OTHERS.len()])
                    .find(|color| chosen.iter().all(|(_, taken)| taken != color))
                    .unwrap_or(OTHERS[start % OTHERS.len()])
            });
            chosen.push((op.to_string(), color));
        }
        Self(chosen)
    }

    /// The colour of `op`; muted ink for an op that is not in the chart.
    pub fn color(&self, op: &str) -> Color {
        self.0.iter().find(|(name, _)| name == op).map_or(MUTED, |(_, color)| *color)
    }
}

/// A spread of short names that never changes between releases (sum of bytes times their positions).
fn hash(name: &str) -> usize {
    name.bytes().zip(1..).map(|(byte, place): (u8, usize)| usize::from(byte) * place).sum()
}

/// `share` of `a` over `b`: 1 is `a`, 0 is `b`.
pub fn blend(a: Color, b: Color, share: f64) -> Color {
    let mix = |a: u8, b: u8| (f64::from(a) * share + f64::from(b) * (1.0 - share)).round() as u8;
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// Whether light text reads better on `color` than dark text (relative luminance of WCAG 2.2 below its middle).
pub fn is_dark(color: Color) -> bool {
    let linear = |c: u8| {
        let c = f64::from(c) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(color.0) + 0.7152 * linear(color.1) + 0.0722 * linear(color.2) < 0.25
}
