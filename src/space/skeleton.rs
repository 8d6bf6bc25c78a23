//! What the search network and the discrete network have in common: where the reduction cells are, and the sizes that
//! they can halve.

use super::cell::CellKind;
use crate::graph::Shape;
use crate::graph::bounds::MOST;
use crate::{Error, Result};

/// Checks numbers of things, each with the name that the option has.
///
/// # Errors
/// A number that is 0 or above [`MOST`].
pub fn check_counts(counts: &[(&str, usize)]) -> Result<()> {
    match counts.iter().find(|(_, count)| !(1..=MOST).contains(count)) {
        Some((name, count)) => Err(Error::user(format!("{name} must be from 1 to {MOST}, not {count}"))),
        None => Ok(()),
    }
}

/// The kind of each cell, first to last. `reductions`: which ones reduce; none: a third and two thirds of the depth.
///
/// # Errors
/// A reduction beyond the last cell.
pub fn cell_kinds(layers: usize, reductions: Option<&[usize]>) -> Result<Vec<CellKind>> {
    let usual = [layers / 3, 2 * layers / 3];
    let chosen = reductions.unwrap_or(&usual);
    if let Some(beyond) = chosen.iter().find(|&&cell| cell >= layers) {
        return Err(Error::user(format!("cell {beyond} cannot be a reduction: there are {layers} cells"))
            .hint(format!("cells are numbered 0 to {}", layers.saturating_sub(1))));
    }
    let kind = |cell| if chosen.contains(&cell) { CellKind::Reduction } else { CellKind::Normal };
    Ok((0..layers).map(kind).collect())
}

/// Checks that a reduction cell can halve its input. `images`: the network's own input, for the hint.
///
/// # Errors
/// An odd height or width.
pub fn even_size(input: Shape, cell: usize, kinds: &[CellKind], images: Shape) -> Result<()> {
    if input.height.is_multiple_of(2) && input.width.is_multiple_of(2) {
        return Ok(());
    }
    let count = kinds.iter().filter(|&&kind| kind == CellKind::Reduction).count();
    Err(Error::user(format!(
        "cell {cell} (reduction) needs an even height and width to halve, but its input is {}×{}",
        input.height, input.width
    ))
    .hint(format!(
        "images are {}×{}; with {count} reductions use sizes that are multiples of {}, or fewer reductions",
        images.height,
        images.width,
        1u64 << count.min(32)
    )))
}
