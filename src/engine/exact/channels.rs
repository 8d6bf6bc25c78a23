//! Channels moved as they are.
//!
//! * Concatenation: the channels of all inputs side by side, in their order.
//! * Selection: output channel o is input channel s[o]. Slices are selections, and so are channel shuffles (Zhang et
//!   al. 2018: groups × channels/groups, transposed).
//!
//! The gradient of a channel goes back to where it came from; a channel selected twice gets the sum.

use super::maps::Maps;
use crate::graph::Shape;

/// y of a concatenation.
pub(super) fn forward_concat(inputs: &[&Maps], batch: usize, to: Shape) -> Maps {
    let sources: Vec<(&Maps, usize)> =
        inputs.iter().flat_map(|&x| (0..x.shape.channels).map(move |channel| (x, channel))).collect();
    Maps::from_planes(batch, to, |image, o, y| {
        let (x, channel) = sources[o];
        y.copy_from_slice(x.plane(image, channel));
    })
}

/// dL/dx of the input of a concatenation whose channels begin at `first`.
pub(super) fn backward_concat(dy: &Maps, first: usize, from: Shape) -> Maps {
    Maps::from_planes(dy.batch, from, |image, channel, dx| dx.copy_from_slice(dy.plane(image, first + channel)))
}

/// y of a selection.
pub(super) fn forward_select(x: &Maps, selected: &[u32], to: Shape) -> Maps {
    Maps::from_planes(x.batch, to, |image, o, y| y.copy_from_slice(x.plane(image, selected[o] as usize)))
}

/// dL/dx of a selection.
pub(super) fn backward_select(dy: &Maps, selected: &[u32], from: Shape) -> Maps {
    Maps::from_planes(dy.batch, from, |image, channel, dx| {
        for o in (0..selected.len()).filter(|&o| selected[o] as usize == channel) {
            dx.iter_mut().zip(dy.plane(image, o)).for_each(|(dx, dy)| *dx += dy);
        }
    })
}
