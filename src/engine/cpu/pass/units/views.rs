//! Loading a view (a stored tensor seen through its norm and an activation) into the scratch plane, and the
//! activation's slopes for the backward pass.

use crate::engine::cpu::kernels::load::{LoadPlane, load};
use crate::engine::cpu::kernels::sums::Slope;
use crate::engine::cpu::memory::Scratch;
use crate::engine::cpu::pass::{Image, Run};
use crate::graph::Activation;
use crate::graph::plan::{LANES, ViewId};

impl Run<'_> {
    /// Loads a view into the scratch plane, unless it is there already; with `slopes`, also its activation's
    /// derivatives (ReLU's are read off the loaded values).
    pub(in crate::engine::cpu::pass) fn load_view(
        &self,
        id: ViewId,
        image: &Image,
        scratch: &mut Scratch,
        slopes: bool,
    ) {
        let view = &self.plan().views[id];
        let slopes = slopes && view.activation.is_some_and(|a| a != Activation::Relu);
        if scratch.loaded.is_some_and(|(v, i, s)| v == id && i == image.index && (s || !slopes)) {
            return;
        }
        let from = self.plan().values[view.value].raw;
        let raw = &self.plan().raws[from];
        let padded = (raw.height + 2 * view.pad.0) * (raw.width + 2 * view.pad.1) * LANES;
        let (source, plane) = (self.raw(image, from), self.plane(from));
        for (block, &filled) in raw.layout.filled().iter().enumerate() {
            let (scale, shift) = self.norm_block(view.value, block);
            let load_plane =
                LoadPlane { size: (raw.height, raw.width), pad: view.pad, scale, shift, activation: view.activation };
            let to = if slopes { scratch.slopes.at(block * plane, plane) } else { std::ptr::null_mut() };
            // SAFETY: planes of the tensor and of the scratch buffers, which hold the largest view.
            unsafe {
                let source = source.add(block * plane);
                load(self.isa, scratch.padded.at(block * padded, padded), source, to, load_plane, filled);
            }
        }
        scratch.loaded = Some((id, image.index, slopes));
    }

    /// The slopes of one block of a loaded view, from its first pixel on, and the floats from row to row there.
    pub(in crate::engine::cpu::pass) fn slopes(&self, view: ViewId, block: usize, scratch: &Scratch) -> (Slope, usize) {
        let view = &self.plan().views[view];
        let raw = &self.plan().raws[self.plan().values[view.value].raw];
        match view.activation {
            None => (Slope::One, 0),
            Some(Activation::Relu) => {
                let width = raw.width + 2 * view.pad.1;
                let at = ((block * (raw.height + 2 * view.pad.0) + view.pad.0) * width + view.pad.1) * LANES;
                // From the first pixel of the interior to its last.
                let len = ((raw.height - 1) * width + raw.width) * LANES;
                (Slope::Positive(scratch.padded.at(at, len)), width * LANES)
            }
            Some(_) => {
                let plane = raw.pixels() * LANES;
                (Slope::Times(scratch.slopes.at(block * plane, plane)), raw.width * LANES)
            }
        }
    }
}
