//! Packs weights for the products: panels of columns, each row after row, zeros behind the last column.

use super::super::kernels::products::panel_width;
use super::super::plan::Packing;
use super::{Run, each};

impl Run<'_> {
    /// Packs all weights that the plan's products need.
    pub(super) fn pack(&self) {
        let wide = panel_width(self.isa);
        let panels = |packing: &Packing| packing.width.div_ceil(wide);
        let all = self.plan.packings.iter().map(panels).sum();
        each(all, |panel| {
            let mut panel = panel;
            for (packing, &at) in self.plan.packings.iter().zip(&self.tape.packings) {
                if panel < panels(packing) {
                    let out = self.tape.packed.at(at + panel * wide * packing.depth, wide * packing.depth);
                    // SAFETY: panels lie apart.
                    let out = unsafe { std::slice::from_raw_parts_mut(out, wide * packing.depth) };
                    self.pack_panel(packing, panel * wide, wide, out);
                    if let Some(bias) = packing.bias {
                        let (matrix, _) = packing.len(self.isa);
                        let out = self.tape.packed.at(at + matrix + panel * wide, wide);
                        // SAFETY: the same.
                        let out = unsafe { std::slice::from_raw_parts_mut(out, wide) };
                        let bias = &self.w[self.graph.weights()[bias].range()];
                        out.fill(0.0);
                        let own = &bias[panel * wide..bias.len().min((panel + 1) * wide)];
                        out[..own.len()].copy_from_slice(own);
                    }
                    return;
                }
                panel -= panels(packing);
            }
        });
    }

    /// The panel whose first column is `first`.
    fn pack_panel(&self, packing: &Packing, first: usize, wide: usize, out: &mut [f32]) {
        let info = &self.graph.weights()[packing.weight];
        let (weight, columns) = (&self.w[info.range()], info.shape[1]);
        let rows = packing.rows.iter().flat_map(|&(first, count)| first..first + count);
        let own = wide.min(packing.width - first);
        if packing.transposed {
            if own < wide {
                out.fill(0.0);
            }
            for (lane, row) in rows.skip(first).take(own).enumerate() {
                let row = &weight[row * columns..(row + 1) * columns];
                out.iter_mut().skip(lane).step_by(wide).zip(row).for_each(|(out, value)| *out = *value);
            }
        } else {
            for (out, row) in out.chunks_exact_mut(wide).zip(rows) {
                let at = row * columns + first;
                out[..own].copy_from_slice(&weight[at..at + own]);
                out[own..].fill(0.0);
            }
        }
    }
}
