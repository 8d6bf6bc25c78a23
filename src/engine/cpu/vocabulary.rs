//! The loss of a decoder over a large vocabulary, tile by tile: the logits of all rows are never there at once.
//!
//! A tile is [`ROWS`] rows by the whole vocabulary, which is cut into [`GROUPS`] groups of words. Groups run side by
//! side: each multiplies the tile's rows by its words' vectors and takes exponentials against its own maximum while
//! they are in cache. The groups' maxima and sums give each row's log-sum-exp. Where gradients are wanted, each group
//! then scales its exponentials into weight · (probability − 1 at the target), which is the gradient of its logits, and
//! multiplies on: words' gradients grow from tile to tile in one place, rows' gradients are summed over the groups in
//! their order. Tiles and groups depend on the sizes alone, so no bit depends on the number of threads.

use super::kernels::lanes::Isa;
use super::kernels::softmax::{exponentials, scale_and_add};
use super::kernels::sums::Write;
use super::product::{Matrix, product};
use crate::{Result, interrupt};
use rayon::prelude::*;

/// Rows of a tile: enough that reading all words' vectors once a tile costs little beside their products.
const ROWS: usize = 256;

/// Groups of the vocabulary: as many threads can share a tile.
const GROUPS: usize = 16;

const LANES: usize = 16;

/// Which gradients are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub rows: bool,
    pub words: bool,
    pub bias: bool,
}

impl Wanted {
    pub fn any(self) -> bool {
        self.rows || self.words || self.bias
    }
}

/// What the loss is of.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Hidden rows, targets × width.
    pub rows: &'a [f32],
    /// The decoder's matrix, vocabulary × width.
    pub words: &'a [f32],
    /// One number per word.
    pub bias: &'a [f32],
    /// The word that each row should have given, below the vocabulary's size.
    pub targets: &'a [u32],
    /// What each row's gradient is multiplied by; none: 1.
    pub weights: Option<&'a [f32]>,
}

impl Inputs<'_> {
    fn width(&self) -> usize {
        self.rows.len() / self.targets.len()
    }
}

/// Negative log-likelihoods, and the gradients of their weighted sum.
#[derive(Default)]
pub struct Outputs {
    /// One per target.
    pub losses: Vec<f32>,
    /// In the shapes of the inputs; empty where not wanted.
    pub rows: Vec<f32>,
    pub words: Vec<f32>,
    pub bias: Vec<f32>,
}

/// The memory of a pass, kept for the next one.
#[derive(Default)]
pub struct Scratch {
    groups: Vec<Group>,
}

/// A group's share of a tile.
#[derive(Default)]
struct Group {
    /// Logits, then exponentials, then gradients: rows × stride.
    tile: Vec<f32>,
    /// The words' bias, −∞ beyond the last.
    bias: Vec<f32>,
    /// The bias's gradient over all tiles so far.
    bias_sums: Vec<f32>,
    /// By row: the maximum, the sum of exponentials, and the target's logit where the target is in this group.
    most: Vec<f32>,
    sums: Vec<f32>,
    target: Vec<f32>,
    /// The group's part of the rows' gradients.
    rows: Vec<f32>,
}

/// A tile's rows.
struct Tile<'a> {
    rows: &'a [f32],
    targets: &'a [u32],
    weights: Option<&'a [f32]>,
    /// By row: the maximum over all groups and the sum of exponentials against it.
    totals: Vec<(f32, f64)>,
}

/// Where a group's words are.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    count: usize,
    /// Floats of a row in the tile: the words, filled up to whole lane groups.
    stride: usize,
}

/// Runs a pass.
///
/// # Errors
/// An interruption.
pub fn run(isa: Isa, inputs: &Inputs, wanted: Wanted, scratch: &mut Scratch) -> Result<Outputs> {
    let (count, width, vocabulary) = (inputs.targets.len(), inputs.width(), inputs.bias.len());
    let stride = vocabulary.div_ceil(GROUPS).next_multiple_of(LANES);
    let spans: Vec<Span> = (0..vocabulary)
        .step_by(stride)
        .map(|first| Span { first, count: stride.min(vocabulary - first), stride })
        .collect();
    let sized = |wanted: bool, len: usize| vec![0.0; if wanted { len } else { 0 }];
    let mut outputs = Outputs {
        losses: vec![0.0; count],
        rows: sized(wanted.rows, inputs.rows.len()),
        words: sized(wanted.words, inputs.words.len()),
        bias: sized(wanted.bias, vocabulary),
    };
    scratch.groups.resize_with(spans.len().max(scratch.groups.len()), Group::default);
    let groups = &mut scratch.groups[..spans.len()];
    groups.iter_mut().zip(&spans).for_each(|(group, span)| group.prepare(*span, ROWS.min(count), width, inputs.bias));
    // One of the workers goes through the tiles: a thread from outside would sleep and be woken several times a tile.
    rayon::scope(|_| tiles(isa, inputs, wanted, &spans, groups, &mut outputs))?;
    if wanted.bias {
        for (group, span) in groups.iter().zip(&spans) {
            outputs.bias[span.first..][..span.count].copy_from_slice(&group.bias_sums[..span.count]);
        }
    }
    Ok(outputs)
}

/// Goes through the tiles in order.
fn tiles(
    isa: Isa,
    inputs: &Inputs,
    wanted: Wanted,
    spans: &[Span],
    groups: &mut [Group],
    outputs: &mut Outputs,
) -> Result<()> {
    let (count, width, stride) = (inputs.targets.len(), inputs.width(), spans[0].stride);
    for start in (0..count).step_by(ROWS) {
        interrupt::check()?;
        let end = (start + ROWS).min(count);
        let mut tile = Tile {
            rows: &inputs.rows[start * width..end * width],
            targets: &inputs.targets[start..end],
            weights: inputs.weights.map(|weights| &weights[start..end]),
            totals: vec![],
        };
        let each = groups.par_iter_mut().zip(spans).with_max_len(1);
        each.for_each(|(group, span)| group.exponentials(isa, &tile, *span, inputs.words, width));
        tile.finish(groups, spans, &mut outputs.losses[start..end]);
        if !wanted.any() {
            continue;
        }
        // One chunk of the words' gradients a group, or none of them.
        let mut chunks: Vec<Option<&mut [f32]>> = match wanted.words {
            true => outputs.words.chunks_mut(stride * width).map(Some).collect(),
            false => spans.iter().map(|_| None).collect(),
        };
        let each = groups.par_iter_mut().zip(spans).zip(&mut chunks).with_max_len(1);
        each.for_each(|((group, span), words)| {
            group.gradients(isa, &tile, *span);
            group.multiply(&tile, *span, inputs.words, width, words.as_deref_mut(), wanted.rows);
        });
        if wanted.rows {
            let parts: &[Group] = groups;
            let rows = outputs.rows[start * width..end * width].par_chunks_mut(width).enumerate();
            rows.for_each(|(row, to)| add_up(to, parts, row));
        }
    }
    Ok(())
}

/// Adds the groups' parts of a row's gradient.
fn add_up(to: &mut [f32], groups: &[Group], row: usize) {
    for group in groups {
        let part = &group.rows[row * to.len()..][..to.len()];
        to.iter_mut().zip(part).for_each(|(to, part)| *to += part);
    }
}

impl Tile<'_> {
    fn weight(&self, row: usize) -> f32 {
        self.weights.map_or(1.0, |weights| weights[row])
    }

    /// Puts the groups' maxima and sums together: each row's loss.
    fn finish(&mut self, groups: &[Group], spans: &[Span], losses: &mut [f32]) {
        self.totals = (0..self.targets.len())
            .map(|row| {
                let most = groups.iter().map(|group| group.most[row]).fold(f32::MIN, f32::max);
                let part = |group: &Group| f64::from(group.sums[row]) * f64::from(group.most[row] - most).exp();
                (most, groups.iter().map(part).sum())
            })
            .collect();
        for (row, loss) in losses.iter_mut().enumerate() {
            let (most, sum) = self.totals[row];
            let group = self.targets[row] as usize / spans[0].stride;
            let logit = groups[group].target[row];
            *loss = (f64::from(most) - f64::from(logit) + sum.ln()) as f32;
        }
    }
}

impl Group {
    /// Makes room; what an earlier pass left is no longer needed.
    fn prepare(&mut self, span: Span, rows: usize, width: usize, bias: &[f32]) {
        self.tile.resize(rows * span.stride, 0.0);
        self.rows.resize(rows * width, 0.0);
        for by_row in [&mut self.most, &mut self.sums, &mut self.target] {
            by_row.resize(rows, 0.0);
        }
        self.bias.clear();
        self.bias.extend_from_slice(&bias[span.first..][..span.count]);
        self.bias.resize(span.stride, f32::NEG_INFINITY);
        self.bias_sums.clear();
        self.bias_sums.resize(span.stride, 0.0);
    }

    /// The exponentials of the group's logits against its own maximum in each row.
    fn exponentials(&mut self, isa: Isa, tile: &Tile, span: Span, words: &[f32], width: usize) {
        let Span { first, count, stride } = span;
        let rows = tile.targets.len();
        let vectors = Matrix::new(&words[first * width..], count, width, width).transposed();
        product(&mut self.tile, stride, Matrix::new(tile.rows, rows, width, width), vectors, Write::Over);
        for (row, logits) in self.tile.chunks_exact_mut(stride).take(rows).enumerate() {
            logits[count..].fill(0.0);
            if let Some(target) = within(tile.targets[row], span) {
                self.target[row] = logits[target] + self.bias[target];
            }
            let (most, sum) = (&mut self.most[row], &mut self.sums[row]);
            // SAFETY: a row and the bias are `stride` floats, a multiple of sixteen.
            unsafe { exponentials(isa, logits.as_mut_ptr(), self.bias.as_ptr(), stride / LANES, most, sum) };
        }
    }

    /// Makes the exponentials the gradients of the logits, and adds them up for the bias.
    fn gradients(&mut self, isa: Isa, tile: &Tile, span: Span) {
        let stride = span.stride;
        for (row, values) in self.tile.chunks_exact_mut(stride).take(tile.targets.len()).enumerate() {
            let ((most, sum), weight) = (tile.totals[row], tile.weight(row));
            let factor = f64::from(weight) * f64::from(self.most[row] - most).exp() / sum;
            // SAFETY: a row and the sums are `stride` floats, a multiple of sixteen.
            unsafe {
                scale_and_add(isa, values.as_mut_ptr(), factor as f32, self.bias_sums.as_mut_ptr(), stride / LANES);
            }
            if let Some(target) = within(tile.targets[row], span) {
                values[target] -= weight;
                self.bias_sums[target] -= weight;
            }
        }
    }

    /// Multiplies the logits' gradients on to the words and to the rows.
    fn multiply(
        &mut self,
        tile: &Tile,
        span: Span,
        words: &[f32],
        width: usize,
        words_gradient: Option<&mut [f32]>,
        rows_wanted: bool,
    ) {
        let Span { first, count, stride } = span;
        let rows = tile.targets.len();
        let logits = Matrix::new(&self.tile, rows, count, stride);
        if let Some(to) = words_gradient {
            product(to, width, logits.transposed(), Matrix::new(tile.rows, rows, width, width), Write::Add);
        }
        if rows_wanted {
            let vectors = Matrix::new(&words[first * width..], count, width, width);
            product(&mut self.rows, width, logits, vectors, Write::Over);
        }
    }
}

/// A target's place within a group, if it is there.
fn within(target: u32, span: Span) -> Option<usize> {
    (target as usize).checked_sub(span.first).filter(|place| *place < span.count)
}
